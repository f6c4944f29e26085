"""Corrections for few samples a class: the formula against second differences, the numbers against simulation."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lopsided.metrics import (
    Moments,
    cdnv,
    cdnv_pairs,
    cdnv_per_class,
    nc1,
    nc1_rank_aware,
    nc1_trace_ratio,
    nc1_trace_ratio_per_class,
    nc1_unweighted,
    nc1_weighted,
)
from lopsided.metrics.small_samples import pooled_covariance, pseudo_inverse_bias
from metrics import twins

EVERY = [nc1, nc1_unweighted, nc1_weighted, nc1_rank_aware, nc1_trace_ratio, cdnv]


def gather(features, labels, num_classes):
    moments = Moments(num_classes, features.shape[1])
    moments.update(torch.as_tensor(features), torch.as_tensor(labels))
    return moments


def random_covariance(rng, dim):
    root = rng.normal(size=(dim, dim)) / np.sqrt(1 + np.arange(dim))
    return root @ root.T


class Population:
    """Normal classes around fixed means, all of one covariance, whose measures at infinitely many samples are known."""

    def __init__(self, counts, dim, variance, seed=0, means=None):
        rng = np.random.default_rng(seed)
        self.counts = np.array(counts)
        self.means = rng.normal(size=(len(counts), dim)) if means is None else means
        covariance = random_covariance(rng, dim)
        self.covariance = covariance * variance / np.trace(covariance)
        self.root = np.linalg.cholesky(self.covariance)
        self.rng = rng

    def draw(self):
        labels = np.repeat(np.arange(len(self.counts)), self.counts)
        noise = self.rng.normal(size=(len(labels), len(self.covariance))) @ self.root.T
        return gather(self.means[labels] + noise, labels, len(self.counts))

    def true_moments(self):
        """The twin's moments of infinitely many samples, in the proportions of the counts."""
        share = self.counts / self.counts.sum()
        trace = float(np.trace(self.covariance))
        return twins.ClassMoments(
            self.counts.tolist(), list(self.means), [trace] * len(share), self.covariance, share @ self.means
        )


@functools.lru_cache(maxsize=4)
def simulated(counts, dim, variance):
    """150 draws of a population, and its moments."""
    population = Population(counts, dim, variance)
    return population.true_moments(), [population.draw() for _ in range(150)]


NC1_CONVENTIONS = [
    (nc1, {"weighted_centre": True, "weighted_scatter": False}),
    (nc1_unweighted, {"weighted_centre": False, "weighted_scatter": False}),
    (nc1_weighted, {"weighted_centre": True, "weighted_scatter": True}),
]


@pytest.mark.parametrize(
    ("rows", "dim", "rank"),
    [(4, 9, 4), (4, 4, 4), (7, 3, 3), (6, 9, 3), (6, 4, 2), (5, 1, 1)],
    ids=["wide", "square", "narrow", "wide, cut", "narrow, cut", "one direction"],
)
def test_second_order_against_second_differences(rows, dim, rank):
    """Where M is cut to a rank, what is cut off is zero, as where classes have merged."""
    rng = np.random.default_rng(rows * dim)
    matrix = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, dim))
    noise, covariance = random_covariance(rng, rows), random_covariance(rng, dim)
    left, values, basis = np.linalg.svd(matrix, full_matrices=False)
    inner = left[:, :rank].T @ noise @ left[:, :rank]
    excess = float(np.trace(noise) - np.trace(inner))
    found = pseudo_inverse_bias(values[:rank] ** 2, basis[:rank], inner, excess, covariance, covariance @ covariance)
    assert found == pytest.approx(twins.second_order_bias(matrix, noise, covariance, rank), rel=1e-4)


@pytest.mark.slow
def test_square_of_a_pooled_covariance_is_unbiased_for_normal_samples():
    rng = np.random.default_rng(0)
    covariance = random_covariance(rng, 3)
    root = np.linalg.cholesky(covariance)
    plain, unbiased = [], []
    for _ in range(4000):
        samples = rng.normal(size=(6, 3)) @ root.T
        estimate = pooled_covariance(samples.T @ samples, 6)
        plain.append(estimate.covariance @ estimate.covariance)
        unbiased.append(estimate.square)
    error = np.std(unbiased, axis=0) / math.sqrt(4000)
    assert np.all(np.abs(np.mean(unbiased, axis=0) - covariance @ covariance) < 4 * error)
    assert np.trace(np.mean(plain, axis=0)) > 1.3 * np.trace(covariance @ covariance)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "convention"), NC1_CONVENTIONS)
@pytest.mark.parametrize(
    ("counts", "dim", "variance"),
    [((5,) * 10, 64, 5.0), ((20,) * 5 + (3,) * 5, 16, 0.5), ((12,) * 4 + (4,) * 4, 5, 0.02), ((3,) * 5, 100, 5.0)],
    ids=["equal", "lopsided", "narrow", "three samples"],
)
def test_simulated_nc1_is_right_on_average_where_the_plain_one_is_not(function, convention, counts, dim, variance):
    true, draws = simulated(counts, dim, variance)
    truth = twins.nc1(true, **convention)
    plain, corrected = ([function(m, corrected=c) / truth for m in draws] for c in (False, True))
    error = np.std(corrected) / math.sqrt(len(draws))
    assert abs(np.mean(corrected) - 1) < 0.01 + 3 * error
    assert abs(np.mean(corrected) - 1) < abs(np.mean(plain) - 1) / 2
    assert np.mean(plain) < 0.96


@pytest.mark.slow
def test_simulated_rank_aware_nc1_of_merged_classes():
    means = np.random.default_rng(1).normal(size=(8, 20))
    means[5:] = means[5]
    population = Population([10] * 5 + [4] * 3, 20, 0.2, means=means)
    truth = twins.nc1_of_rank(population.true_moments(), 5)
    draws = [population.draw() for _ in range(150)]
    plain, corrected = ([nc1_rank_aware(m, 5, corrected=c) / truth for m in draws] for c in (False, True))
    assert np.mean(plain) < 0.9
    assert abs(np.mean(corrected) - 1) < 0.02


@pytest.mark.slow
def test_simulated_traces_and_distances():
    population = Population([10] * 3 + [5] * 3, 10, 1.0)
    draws = [population.draw() for _ in range(200)]
    true = population.true_moments()
    ratio, distances = twins.nc1_trace_ratio(true), twins.cdnv(true)
    for function, truth in ((nc1_trace_ratio, ratio), (cdnv, distances)):
        plain, corrected = ([function(m, corrected=c) / truth for m in draws] for c in (False, True))
        assert np.mean(plain) < 0.9
        # A quotient of unbiased numbers is not unbiased, but nearly.
        assert abs(np.mean(corrected) - 1) < 0.05


@pytest.mark.parametrize("function", EVERY)
def test_many_samples_need_no_correction(function):
    population = Population([4000, 2000, 3000], 6, 0.5)
    moments = population.draw()
    plain, corrected = function(moments), function(moments, corrected=True)
    assert plain != corrected
    assert corrected == pytest.approx(plain, rel=5e-3)


def test_against_the_twin_on_real_images():
    digits = load_digits()
    keep = np.concatenate([np.flatnonzero(digits.target == k)[: 12 if k < 5 else 1 + k % 3] for k in range(9)])
    features, labels = digits.data[keep], digits.target[keep]  # class 6 has one sample, class 9 none
    moments, twin = gather(features, labels, 10), twins.class_moments(features, labels, 10)
    assert twin.counts[6] == 1
    assert nc1_trace_ratio(moments, corrected=True) == pytest.approx(twins.nc1_trace_ratio_corrected(twin), rel=1e-11)
    assert cdnv(moments, corrected=True) == pytest.approx(twins.cdnv_corrected(twin), rel=1e-11)


def test_per_class_numbers_average_to_the_whole():
    digits = load_digits()
    keep = digits.target != 3
    features, labels = digits.data[keep][:400], digits.target[keep][:400]
    moments, twin = gather(features, labels, 10), twins.class_moments(features, labels, 10)
    ratios, distances = nc1_trace_ratio_per_class(moments), cdnv_per_class(moments)
    assert np.isnan(ratios).tolist() == np.isnan(distances).tolist() == [k == 3 for k in range(10)]
    counts = np.array(twin.counts)
    assert np.nansum(counts * ratios) / counts.sum() == pytest.approx(nc1_trace_ratio(moments), rel=1e-12)
    assert np.nanmean(distances) == pytest.approx(cdnv(moments), rel=1e-12)
    gap = twin.means[0] - twin.means[1]
    expected = (twin.variances[0] + twin.variances[1]) / (2 * gap @ gap)
    assert cdnv_pairs(moments)[0, 1] == cdnv_pairs(moments)[1, 0] == pytest.approx(expected, rel=1e-11)
    assert np.isnan(cdnv_pairs(moments, [[0, 1]])[0, 1])
    corrected = nc1_trace_ratio_per_class(moments, corrected=True)
    assert np.nansum(counts * corrected) / counts.sum() == pytest.approx(nc1_trace_ratio(moments, corrected=True))


@pytest.mark.parametrize("function", EVERY)
def test_points_are_collapsed_however_few(function):
    means = twins.simplex(4, 6)
    points = np.repeat(means, 2, axis=0)
    assert function(gather(points, np.repeat(np.arange(4), 2), 4), corrected=True) == pytest.approx(0, abs=1e-25)


@pytest.mark.parametrize("function", EVERY)
@pytest.mark.parametrize("labels", [[], [1, 1, 1], [0, 1, 2]], ids=["no sample", "one class", "one sample each"])
def test_nothing_known_of_noise_is_nan(function, labels):
    features = np.random.default_rng(0).normal(size=(len(labels), 2))
    assert math.isnan(function(gather(features, np.array(labels, dtype=int), 3), corrected=True))


def test_means_within_their_noise_are_infinitely_far_from_collapse():
    moments = gather(np.array([[1.0], [-1.0], [1.1], [-0.9]]), np.array([0, 0, 1, 1]), 2)
    assert math.isfinite(nc1_trace_ratio(moments))
    assert nc1_trace_ratio(moments, corrected=True) == math.inf
    assert cdnv(gather(np.array([[1.0], [-1.0], [1.0], [-1.0]]), np.array([0, 0, 1, 1]), 2), corrected=True) == math.inf


def test_nc1_is_not_corrected_by_more_than_half():
    """Four samples a class that overlap: the correction would be all there is, so there is none."""
    population = Population([4] * 5, 4, 8.0)
    found = [nc1(population.draw(), corrected=True) for _ in range(20)]
    assert sum(math.isnan(value) for value in found) > 10


@pytest.mark.slow
@pytest.mark.parametrize("counts", [[8] * 10, [20] * 5 + [5] * 5], ids=["equal", "lopsided"])
def test_few_real_images_say_what_many_say(counts):
    """Images behind a random ReLU layer: neither normal nor of one covariance, as real features are not."""
    digits, rng = load_digits(), np.random.default_rng(0)
    features = np.maximum(digits.data / 16 @ rng.normal(size=(64, 128)), 0)
    drawers = [np.flatnonzero(digits.target == k) for k in range(10)]

    def draw(times):
        labels = np.repeat(np.arange(10), np.array(counts) * times)
        return gather(features[np.array([rng.choice(drawers[k]) for k in labels])], labels, 10)

    many, few = draw(40), [draw(1) for _ in range(40)]
    for function, bound in ((nc1, 0.15), (nc1_trace_ratio, 0.06), (cdnv, 0.08)):
        plain, corrected = ([function(m, corrected=c) / function(many) for m in few] for c in (False, True))
        assert np.mean(plain) < 0.85
        assert abs(np.mean(corrected) - 1) < bound


@pytest.mark.parametrize("dim", [1, 2, 8, 64])
@pytest.mark.parametrize("gap", [1e-8, 1e-4, 1e-2])
def test_corrected_cdnv_never_says_that_means_closer_than_their_noise_are_apart(dim, gap):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    features = rng.normal(size=(90, dim))
    for k in range(3):  # two classes much closer than their noise, the third far off
        features[labels == k] -= features[labels == k].mean(axis=0)
    features += np.array([0.0, gap, 10.0])[labels, None]
    moments = gather(features, labels, 3)
    assert cdnv(moments, corrected=True) > cdnv(moments) > 1000
    assert 0 < cdnv(moments, [[0, 1]], corrected=True) < 0.1
