"""NC2 and NC3 against a prediction: zero at the optimum, the simplex for equal counts, nothing but shape."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
from lopsided.metrics import (
    nc2_etf,
    nc2_etf_classifier,
    nc2_predicted,
    nc2_predicted_classifier,
    nc3_etf,
    nc3_predicted,
)
from metrics import twins

BIASES = [{"bias": False}, {"lambda_b": 0.02}, {"lambda_b": 0.0}]
EVERY = [nc2_predicted, nc2_predicted_classifier, nc3_predicted]


def predict(counts="500x3,100x3", lambda_z=3e-3, **options):
    return lp.UFM(counts, lambda_z=lambda_z, **(options or {"lambda_b": 0.02})).solve().geometry


def measured(seed, counts=(500, 500, 500, 100, 100, 100), dim=9):
    rng = np.random.default_rng(seed)
    return lp.Geometry(counts, rng.normal(size=(len(counts), dim)), rng.normal(size=(len(counts), dim)))


@pytest.mark.slow
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("counts", ["500x3,100x3", "500,300,100", "200x4"])
@pytest.mark.parametrize("lambda_z", [1e-3, 3e-3, 8e-3])
def test_the_optimum_is_at_distance_zero_wherever_it_lies(bias, counts, lambda_z):
    predicted = predict(counts, lambda_z, **bias)
    rng = np.random.default_rng(0)
    width = predicted.class_means.shape[1]
    turn = np.linalg.qr(rng.normal(size=(width + 3, width)))[0].T
    moved = lp.Geometry(
        predicted.counts, 7 * predicted.class_means @ turn + rng.normal(size=width + 3), 3 * predicted.classifier @ turn
    )
    for function in EVERY:
        assert function(moved, predicted) < 1e-7, function.__name__


def test_the_optimum_is_far_from_a_simplex():
    predicted = predict()
    assert nc2_etf(predicted) > 0.15
    assert nc2_etf_classifier(predicted) > 0.15
    assert nc3_etf(predicted) > 0.3
    simplex = lp.Geometry(predicted.counts, *[twins.simplex(6, 8)] * 2)
    assert nc2_predicted(simplex, predicted) > 0.15
    assert nc3_predicted(simplex, predicted) > 0.3


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(2, 7))
def test_equal_counts_are_the_simplex(seed, classes):
    predicted = predict([50] * classes, 3e-3)
    geometry = measured(seed, [50] * classes)
    assert nc2_predicted(geometry, predicted) == pytest.approx(nc2_etf(geometry), abs=1e-9)
    assert nc2_predicted_classifier(geometry, predicted) == pytest.approx(nc2_etf_classifier(geometry), abs=1e-9)
    assert nc3_predicted(geometry, predicted) == pytest.approx(nc3_etf(geometry), abs=1e-9)


PREDICTED = predict()


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_only_shape_counts(seed, scale):
    geometry, rng = measured(seed), np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(9, 9)))[0]
    other = lp.Geometry(
        geometry.counts, scale * geometry.class_means @ turn + rng.normal(size=9), geometry.classifier @ turn / scale
    )
    for function in EVERY:
        assert function(other, PREDICTED) == pytest.approx(function(geometry, PREDICTED), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_against_the_twin(seed):
    geometry = measured(seed)
    means, weight = geometry.class_means, geometry.classifier
    theory = PREDICTED.class_means, PREDICTED.classifier
    assert nc2_predicted(geometry, PREDICTED) == pytest.approx(twins.nc2_predicted(means, theory[0], centred=True))
    assert nc2_predicted_classifier(geometry, PREDICTED) == pytest.approx(
        twins.nc2_predicted(weight, theory[1], centred=False)
    )
    assert nc3_predicted(geometry, PREDICTED) == pytest.approx(twins.nc3_predicted(means, weight, *theory))


def test_a_prediction_with_merged_classes_reads_no_rounding():
    """Rare classes merged: what tells them apart in the solver's answer is its rounding, and must not be blown up."""
    predicted = predict(lambda_z=8e-3)
    assert predicted.merged == [[3, 4, 5]]
    rng = np.random.default_rng(0)
    noisy = lp.Geometry(
        predicted.counts,
        predicted.class_means + 1e-6 * rng.normal(size=predicted.class_means.shape),
        predicted.classifier,
        rank=None,
    )
    assert nc3_predicted(noisy, predicted) < 1e-4


def test_where_nothing_is_left_there_is_no_shape():
    nothing = predict(lambda_z=1.0)
    assert nothing.rank == 0
    for function in EVERY:
        assert math.isnan(function(measured(0), nothing))
    flat = lp.Geometry(PREDICTED.counts, np.ones((6, 9)), np.zeros((6, 9)))
    for function in EVERY:
        assert math.isnan(function(flat, PREDICTED))


def test_an_absent_class():
    full = measured(0)
    means = full.class_means.copy()
    means[4] = np.nan
    geometry = lp.Geometry([500, 500, 500, 100, 0, 100], means, full.classifier)
    kept = [0, 1, 2, 3, 5]
    assert nc2_predicted(geometry, PREDICTED) == pytest.approx(
        twins.nc2_predicted(means[kept], PREDICTED.class_means[kept], centred=True)
    )
    assert math.isnan(nc3_predicted(geometry, PREDICTED))


@pytest.mark.parametrize("function", EVERY)
def test_other_classes(function):
    with pytest.raises(ValueError, match="predicted must have as many classes as are measured, 3; got 6"):
        function(measured(0, [3, 2, 1]), PREDICTED)


@pytest.mark.parametrize("function", [nc2_predicted_classifier, nc3_predicted])
def test_without_a_classifier(function):
    with pytest.raises(ValueError, match="classifier is unknown"):
        function(lp.Geometry(PREDICTED.counts, np.eye(6)), PREDICTED)


def test_a_prediction_travels_to_workers():
    loaded = pickle.loads(pickle.dumps(predict()))
    np.testing.assert_array_equal(loaded.mean_logits, PREDICTED.mean_logits)
    assert (loaded.rank, loaded.merged) == (PREDICTED.rank, PREDICTED.merged)
