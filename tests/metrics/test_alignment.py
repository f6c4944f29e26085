"""NC2, NC3, NC4 and the spread of rare classes: against the twin, at a known optimum, and at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import lopsided as lp
import references
from lopsided.metrics import Moments, minority_spread, nc2_etf, nc2_etf_classifier, nc3_etf, nc4, nc4_samples
from metrics import twins

COUNTS = [150] * 5 + [30] * 5


def lopsided_digits():
    digits = load_digits()
    keep = np.concatenate([np.flatnonzero(digits.target == k)[: COUNTS[k]] for k in range(10)])
    return digits.data[keep] / 16, digits.target[keep]


@pytest.fixture(scope="module")
def trained():
    """A linear classifier of real images that it does not fit perfectly: features, labels, classifier, geometry."""
    features, labels = lopsided_digits()
    model = LogisticRegression(C=0.01).fit(features, labels)
    moments = Moments(10, 64)
    moments.update(features, labels)
    return features, labels, model, moments.geometry(model.coef_, model.intercept_)


def test_the_known_optimum_of_three_lopsided_classes():
    """500, 300 and 100 samples at λ = 0.008 without bias, minimised afresh in its factors."""
    objective, weight, means = references.factored_ufm([500, 300, 100], 0.008)
    geometry = lp.Geometry([500, 300, 100], means, weight)
    assert objective == pytest.approx(0.7617417847, abs=1e-10)
    np.testing.assert_allclose(np.diag(geometry.gram_classifier), [25.47092856, 19.45847523, 10.45732485], rtol=1e-8)
    assert nc2_etf(geometry) == pytest.approx(0.08136863, abs=2e-8)
    assert nc2_etf_classifier(geometry) == pytest.approx(0.43790783, abs=2e-8)
    assert nc3_etf(geometry) == pytest.approx(0.20550681, abs=2e-8)
    assert nc4(geometry) == 0


@pytest.mark.slow
def test_against_the_twin_on_real_images(trained):
    features, _, model, geometry = trained
    means, weight, bias = geometry.class_means, model.coef_, model.intercept_
    assert nc2_etf(geometry) == pytest.approx(twins.nc2_etf(means, centred=True), rel=1e-12)
    assert nc2_etf_classifier(geometry) == pytest.approx(twins.nc2_etf(weight, centred=False), rel=1e-12)
    assert nc3_etf(geometry) == pytest.approx(twins.nc3_etf(means, weight), rel=1e-12)
    assert nc4(geometry) == twins.nc4(means, weight, bias, means)
    assert nc4_samples(geometry, features) == twins.nc4(means, weight, bias, features)
    assert minority_spread(geometry) == pytest.approx(twins.minority_spread(means, COUNTS), rel=1e-12)


def test_nc4_needs_the_bias(trained):
    features, _, model, geometry = trained
    assert 0 < nc4_samples(geometry, features) < 0.5
    raised = lp.Geometry(geometry.counts, geometry.class_means, model.coef_, np.eye(10)[0] * 100)
    assert nc4(raised) == 0.9
    assert nc4_samples(raised, features) == twins.nc4(geometry.class_means, model.coef_, raised.bias, features)


@pytest.mark.slow
def test_nc4_of_samples_among_distant_means_and_in_chunks():
    """Means one apart at 1e9 from the origin: an expanded square would round their distances away."""
    rng = np.random.default_rng(0)
    means = 1e9 + np.array([[0.0], [1.0], [2.0]])
    labels = rng.integers(0, 3, size=20_000)
    features = means[labels] + rng.uniform(-0.4, 0.4, size=(20_000, 1))
    weight, bias = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, -1e9 - 0.5, -2e9 - 2.0])
    assert nc4_samples(lp.Geometry([1, 1, 1], means, weight, bias), features) == 0
    shifted = lp.Geometry([1, 1, 1], means, weight, bias + np.array([0.0, 0.0, 0.2]))
    assert nc4_samples(shifted, features) == twins.nc4(means, weight, shifted.bias, features)


def test_an_exact_simplex_on_lopsided_counts_scores_zero():
    """About the mean of all samples it would score 0.507: the class means are centred by their own mean."""
    means = twins.simplex(10, 25)
    geometry = lp.Geometry([5000] * 5 + [50] * 5, means + 3.0, 2.0 * means)
    assert nc2_etf(geometry) == pytest.approx(0, abs=1e-12)
    assert nc2_etf_classifier(geometry) == pytest.approx(0, abs=1e-12)
    assert nc3_etf(geometry) == pytest.approx(0, abs=1e-12)
    weighted = means - (np.repeat([5000, 50], 5) / 25250) @ means
    assert twins.nc2_etf(weighted, centred=False) == pytest.approx(0.507, abs=5e-4)


def test_opposite_classifier_is_as_far_as_can_be():
    means = twins.simplex(4, 6)
    assert nc3_etf(lp.Geometry([1] * 4, means, -means)) == pytest.approx(2, rel=1e-12)


def test_absent_classes_take_no_part():
    means, counts = twins.simplex(4, 6), [9, 9, 2, 2]
    weight = np.random.default_rng(0).normal(size=(4, 6))
    whole = lp.Geometry(counts, means, weight)
    gaps = lp.Geometry(
        [*counts[:2], 0, *counts[2:]],
        np.insert(means, 2, np.nan, axis=0),
        np.insert(weight, 2, 0, axis=0),
        np.array([0, 0, -50.0, 0, 0]),
    )
    for function in (nc2_etf, nc3_etf, nc4, minority_spread):
        assert function(gaps) == pytest.approx(function(whole), rel=1e-12)
    points = means + 0.1
    assert nc4_samples(gaps, points) == nc4_samples(whole, points)
    assert nc4(lp.Geometry(gaps.counts, gaps.class_means, gaps.classifier, [0, 0, 50.0, 0, 0])) == 1


def test_minority_spread_through_a_merge_anywhere():
    means = twins.simplex(6, 8)
    counts = [50] * 3 + [5] * 3
    assert minority_spread(lp.Geometry([50] * 6, means)) == pytest.approx(1, rel=1e-12)
    for place in (np.zeros(8), means[0], np.ones(8)):
        for spread in (1e-9, 1e-3):
            near = np.concatenate([means[:3], place + spread * means[3:]])
            value = minority_spread(lp.Geometry(counts, near))
            assert value == pytest.approx(twins.minority_spread(near, counts), rel=1e-5)
            assert value < 2 * spread
    assert minority_spread(lp.Geometry(counts, np.concatenate([means[:3], np.zeros((3, 8))]))) == 0


def test_minority_spread_of_named_classes():
    means = twins.simplex(4, 6)
    means[2] = means[3]
    geometry = lp.Geometry([50, 40, 6, 5], means)
    assert math.isnan(minority_spread(geometry))  # one class alone is rarest
    assert minority_spread(geometry, minority=[2, 3]) == 0
    with pytest.raises(ValueError, match="minority must name classes from 0 to 3; got 4"):
        minority_spread(geometry, minority=[2, 4])


@pytest.mark.parametrize("function", [nc2_etf, nc2_etf_classifier, nc3_etf, minority_spread])
def test_everything_at_zero_has_no_shape(function):
    assert math.isnan(function(lp.Geometry([5, 5, 5], np.zeros((3, 2)), np.zeros((3, 2)))))


@pytest.mark.parametrize("function", [nc2_etf, nc3_etf, nc4, minority_spread])
def test_no_class_present(function):
    assert math.isnan(function(lp.Geometry([0, 0], np.full((2, 3), np.nan), np.ones((2, 3)))))


def test_one_class_is_no_simplex():
    geometry = lp.Geometry([5, 0], np.array([[1.0, 2.0], [np.nan, np.nan]]), np.eye(2))
    assert math.isnan(nc2_etf(geometry))
    assert math.isnan(nc3_etf(geometry))
    assert math.isnan(minority_spread(geometry))
    assert nc4(geometry) == 1  # ⟨w, h̄⟩ is 1 for class 0 and 2 for class 1


@pytest.mark.parametrize("function", [nc2_etf_classifier, nc3_etf, nc4])
def test_without_a_classifier(function):
    with pytest.raises(ValueError, match="classifier is unknown"):
        function(lp.Geometry([5, 5], np.eye(2)))


def test_nc4_samples_refuses_what_does_not_fit(trained):
    geometry = trained[3]
    for features in (torch.ones(3, 63), torch.ones(64), torch.ones(0, 64)):
        with pytest.raises(ValueError, match=r"features must have shape \(B, d\) with B ≥ 1 and d = 64"):
            nc4_samples(geometry, features)
    with pytest.raises(ValueError, match="geometry must have at least one class with samples"):
        nc4_samples(lp.Geometry([0], np.full((1, 2), np.nan), np.ones((1, 2))), torch.ones(3, 2))
