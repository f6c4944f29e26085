"""NC1 in each of its conventions and the CDNV: against the twin, on exact sets, and at a merge."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lopsided.metrics import Moments, cdnv, nc1, nc1_rank_aware, nc1_trace_ratio, nc1_unweighted, nc1_weighted
from metrics import twins

CONVENTIONS = [
    (nc1, {"weighted_centre": True, "weighted_scatter": False}),
    (nc1_unweighted, {"weighted_centre": False, "weighted_scatter": False}),
    (nc1_weighted, {"weighted_centre": True, "weighted_scatter": True}),
]
EVERY = [nc1, nc1_unweighted, nc1_weighted, nc1_rank_aware, nc1_trace_ratio, cdnv]


def gather(features, labels, num_classes):
    moments = Moments(num_classes, features.shape[1])
    moments.update(torch.as_tensor(features), torch.as_tensor(labels))
    return moments


def exact_set(means, counts, sigma):
    """Samples whose class means and whose covariance σ²I in every class are exact: mean ± σ√d along each axis."""
    dim = means.shape[1]
    noise = sigma * math.sqrt(dim) * np.concatenate([np.eye(dim), -np.eye(dim)])
    features = [mean + np.tile(noise, (count // (2 * dim), 1)) for mean, count in zip(means, counts, strict=True)]
    return np.concatenate(features), np.repeat(np.arange(len(counts)), counts)


def lopsided_digits():
    digits = load_digits()
    keep = np.concatenate([np.flatnonzero(digits.target == k)[: 150 if k < 5 else 30] for k in range(10)])
    return digits.data[keep][:, 2:30], digits.target[keep]


def test_three_conventions_on_one_lopsided_simplex():
    """5 × 5000 and 5 × 50 samples, σ = 0.05: answers up to 27-fold apart, so each must keep its name."""
    sigma, counts, means = 0.05, [5000] * 5 + [50] * 5, twins.simplex(10, 25)
    moments = gather(*exact_set(means, counts, sigma), 10)
    # Nine eigenvalues of 1/9 in the unweighted Σ_B; the mean g of all samples adds g gᵀ (Sherman–Morrison).
    unweighted = sigma**2 * 9 * 9 / 10
    offset = float(np.sum((np.array(counts) @ means / sum(counts)) ** 2))
    paper = unweighted - sigma**2 / 10 * 81 * offset / (1 + 9 * offset)
    # Weighted: four eigenvalues 10/9 · p inside either group and one between the groups, whose centres are 2/3 apart.
    common, rare = 5000 / 25250, 50 / 25250
    weighted = sigma**2 / 10 * (3.6 / common + 3.6 / rare + 1 / (5 * common * 5 * rare * 4 / 9))
    assert nc1(moments) == pytest.approx(paper, rel=1e-12)
    assert nc1_unweighted(moments) == pytest.approx(unweighted, rel=1e-12)
    assert nc1_weighted(moments) == pytest.approx(weighted, rel=1e-12)
    assert nc1_rank_aware(moments) == pytest.approx(paper, rel=1e-12)


def test_three_conventions_on_normal_noise():
    counts = [5000] * 5 + [50] * 5
    labels = np.repeat(np.arange(10), counts)
    noise = np.random.default_rng(0).normal(size=(len(labels), 16))
    moments = gather(twins.simplex(10, 16)[labels] + 0.05 * noise, labels, 10)
    assert nc1_unweighted(moments) == pytest.approx(0.0203, rel=0.02)
    assert nc1(moments) == pytest.approx(0.0192, rel=0.02)
    assert nc1_weighted(moments) == pytest.approx(0.519, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "convention"), CONVENTIONS)
def test_nc1_against_the_twin_on_real_images(function, convention):
    features, labels = lopsided_digits()
    twin = twins.class_moments(features, labels, 10)
    assert function(gather(features, labels, 10)) == pytest.approx(twins.nc1(twin, **convention), rel=1e-10)


@pytest.mark.parametrize(("function", "convention"), CONVENTIONS)
@pytest.mark.parametrize("dim", [2, 4, 30])
def test_nc1_in_narrow_and_wide_features_with_an_absent_class(function, convention, dim):
    rng = np.random.default_rng(dim)
    labels = rng.choice([0, 1, 2, 4, 5], size=200, p=[0.5, 0.2, 0.2, 0.05, 0.05])
    features = rng.normal(size=(6, dim))[labels] + 0.3 * rng.normal(size=(200, dim))
    twin = twins.class_moments(features, labels, 6)
    assert function(gather(features, labels, 6)) == pytest.approx(twins.nc1(twin, **convention), rel=1e-9)


def test_trace_ratio_rank_and_cdnv_against_the_twin_on_real_images():
    features, labels = lopsided_digits()
    moments, twin = gather(features, labels, 10), twins.class_moments(features, labels, 10)
    assert nc1_trace_ratio(moments) == pytest.approx(twins.nc1_trace_ratio(twin), rel=1e-12)
    assert cdnv(moments) == pytest.approx(twins.cdnv(twin), rel=1e-12)
    groups = [[3, 5, 8], [1, 7]]
    assert cdnv(moments, groups) == pytest.approx(twins.cdnv(twin, groups), rel=1e-12)
    for rank in (1, 4, 9):
        assert nc1_rank_aware(moments, rank) == pytest.approx(twins.nc1_of_rank(twin, rank), rel=1e-10)
    assert nc1_rank_aware(moments, 20) == nc1(moments)  # more directions than there are


@pytest.mark.parametrize(
    ("gap", "low", "high"), [(0.0, 0.01, 0.02), (1e-6, 4e9, 6e9), (1e-4, 4e5, 6e5)], ids=["merged", "1e-6", "1e-4"]
)
def test_where_two_classes_merge_only_the_robust_forms_stay(gap, low, high):
    """The pseudo-inverse jumps by eleven orders of magnitude; rank-aware NC1 and the trace ratio do not move."""
    means = twins.simplex(10, 25)
    means[9] = means[8] + gap * np.linalg.svd(means)[2][-1]  # away from the span of the others
    features, labels = exact_set(means, [500] * 5 + [50] * 5, 0.05)
    moments = gather(features, labels, 10)
    assert low < nc1(moments) < high
    merged = exact_set(np.concatenate([means[:9], means[8:9]]), [500] * 5 + [50] * 5, 0.05)
    assert nc1_rank_aware(moments) == pytest.approx(nc1(gather(*merged, 10)), rel=1e-3)
    assert nc1_trace_ratio(moments) == pytest.approx(nc1_trace_ratio(gather(*merged, 10)), rel=1e-3)


def test_detected_rank_ignores_a_common_offset():
    means = twins.simplex(10, 25)
    means[8:] = means[8]
    features, labels = exact_set(means, [500] * 5 + [50] * 5, 0.05)
    assert nc1_rank_aware(gather(features + 100, labels, 10)) == pytest.approx(
        nc1_rank_aware(gather(features, labels, 10)), rel=1e-9
    )


def test_cdnv_of_merged_means():
    features = np.array([[1.0], [3.0], [1.0], [3.0], [9.0], [11.0]])
    moments = gather(features, np.array([0, 0, 1, 1, 2, 2]), 3)
    assert cdnv(moments) == math.inf
    assert cdnv(moments, [[0, 1]]) == pytest.approx(2 / (2 * 8**2))
    assert math.isnan(cdnv(moments, [[0, 1, 2]]))


def test_cdnv_of_merged_means_without_any_variance():
    moments = gather(np.ones((4, 2)), np.array([0, 0, 1, 1]), 2)
    assert cdnv(moments) == math.inf  # coinciding classes are not told apart, however collapsed


def test_a_singleton_class_does_not_pass_for_a_collapsed_one():
    features, labels = lopsided_digits()
    single = np.flatnonzero(labels == 9)[1:]
    features, labels = np.delete(features, single, axis=0), np.delete(labels, single)
    moments, twin = gather(features, labels, 10), twins.class_moments(features, labels, 10)
    assert cdnv(moments) == pytest.approx(twins.cdnv(twin), rel=1e-12)
    without = gather(features[labels < 9], labels[labels < 9], 10)
    assert cdnv(moments) == pytest.approx(cdnv(without), rel=1e-12)
    assert nc1(moments) == pytest.approx(twins.nc1(twin, **CONVENTIONS[0][1]), rel=1e-10)


@pytest.mark.parametrize("function", EVERY)
def test_full_collapse_is_zero(function):
    means = twins.simplex(4, 6)
    assert function(gather(np.repeat(means, 3, axis=0), np.repeat(np.arange(4), 3), 4)) == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize("function", EVERY)
@pytest.mark.parametrize("labels", [[], [1, 1, 1]], ids=["no sample", "one class"])
def test_nothing_to_compare_is_nan(function, labels):
    features = np.arange(2.0 * len(labels)).reshape(len(labels), 2)
    assert math.isnan(function(gather(features, np.array(labels, dtype=int), 3)))


@pytest.mark.parametrize("function", [nc1, nc1_unweighted, nc1_weighted, nc1_rank_aware, nc1_trace_ratio])
def test_all_means_in_one_point_is_nan_not_collapse(function):
    features = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert math.isnan(function(gather(features, np.array([0, 0, 1, 1]), 2)))


def test_rank_zero_is_nan_and_negative_rank_an_error():
    moments = gather(*lopsided_digits(), 10)
    assert math.isnan(nc1_rank_aware(moments, 0))
    with pytest.raises(ValueError, match="rank must be at least 0, a number of directions; got -1"):
        nc1_rank_aware(moments, -1)
