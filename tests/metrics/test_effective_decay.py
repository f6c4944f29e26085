"""The decay that a network tells: exact at every optimum, near in a trained network, and said where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lopsided as lp
from lopsided.data import load_data
from lopsided.metrics import Moments, effective_decay
from lopsided.training import build_network, train

COUNTS = st.lists(st.integers(1, 400), min_size=2, max_size=6)
DECAYS = st.floats(-4, 0).map(lambda exponent: 10.0**exponent)


@pytest.mark.slow
@settings(max_examples=25)
@given(COUNTS, st.floats(0.05, 0.8), DECAYS, st.sampled_from([None, 0.0, 0.02]))
def test_every_optimum_tells_its_own_decay(counts, share, ratio, lambda_b):
    mode = {"bias": False} if lambda_b is None else {"lambda_b": lambda_b}
    complete = lp.UFM(counts, 1.0, **mode).thresholds().complete
    lambda_z = share * complete
    model = lp.UFM(counts, lambda_w=lambda_z * ratio, lambda_h=lambda_z / ratio, **mode)
    geometry = model.solve(tol=1e-12).geometry
    decay = effective_decay(geometry, weight_decay=model.lambda_w, bias_decay=lambda_b, has_bias=lambda_b is not None)
    assert decay.lambda_z == pytest.approx(lambda_z, rel=1e-4)
    assert decay.lambda_h == pytest.approx(model.lambda_h, rel=1e-4)
    assert decay.lambda_z_range == pytest.approx((lambda_z, lambda_z), rel=1e-3)
    assert decay.implied_lambda_w == pytest.approx(model.lambda_w, rel=1e-3)
    assert decay.mismatch < 1e-3
    assert decay.balanced
    again = decay.model(counts)
    assert (again.bias, again.lambda_b) == (model.bias, model.lambda_b)


def samples(lambda_z=3e-3, noise=0.0, dim=12):
    """Features and labels around the optimum of 50x3,20x2, its classifier and its bias, in a wider space."""
    geometry = lp.UFM("50x3,20x2", lambda_w=10 * lambda_z, lambda_h=lambda_z / 10, lambda_b=0.02).solve().geometry
    labels = np.repeat(np.arange(5), geometry.counts)
    rng = np.random.default_rng(1)
    turned = np.linalg.qr(rng.normal(size=(dim, geometry.class_means.shape[1])))[0]
    features = geometry.class_means[labels] @ turned.T + noise * rng.normal(size=(len(labels), dim))
    return features, labels, geometry.classifier @ turned.T, geometry.bias


def moments_of(features, labels, **kind):
    moments = Moments(5, features.shape[1], **kind)
    moments.update(features, labels)
    return moments


def by_the_definition(features, weight, decay):
    """λ_h and the mismatch, from the sums over samples."""
    size = np.sum(features**2)
    lambda_h = decay * np.sum(weight**2) / size
    first = decay * sum(np.outer(row, row) for row in weight)
    second = lambda_h * sum(np.outer(row, row) for row in features)
    return lambda_h, np.linalg.norm(first - second) / np.sqrt(np.sum(first**2) + np.sum(second**2))


@pytest.mark.parametrize("noise", [0.0, 0.05, 1.0])
def test_moments_give_what_the_samples_do(noise):
    features, labels, weight, bias = samples(noise=noise)
    decay = effective_decay(moments_of(features, labels), weight, bias, weight_decay=0.03)
    lambda_h, mismatch = by_the_definition(features, weight, 0.03)
    assert decay.lambda_h == pytest.approx(lambda_h, rel=1e-12)
    assert decay.lambda_z == pytest.approx(math.sqrt(0.03 * lambda_h), rel=1e-12)
    assert decay.mismatch == pytest.approx(mismatch, abs=1e-9)
    assert decay.lambda_b == 0.03  # of an optimiser that has all parameters
    assert decay.lambda_z_range[0] <= decay.lambda_z <= decay.lambda_z_range[1]


def test_traces_alone_give_the_size():
    features, labels, weight, bias = samples(noise=0.1)
    full, traces = (
        effective_decay(moments_of(features, labels, scatter=kind), weight, bias, weight_decay=0.03)
        for kind in (True, False)
    )
    assert traces.lambda_h == pytest.approx(full.lambda_h, rel=1e-12)


def test_a_network_off_its_stationary_point_says_so():
    features, labels, weight, bias = samples()
    rng = np.random.default_rng(0)
    turned = weight @ np.linalg.qr(rng.normal(size=(12, 12)))[0]  # of the same size, in other directions
    decay = effective_decay(moments_of(features, labels), turned, bias, weight_decay=0.03)
    assert not decay.balanced
    assert "not in balance" in decay.statement
    assert "train longer" in decay.statement
    low, high = decay.lambda_z_range
    assert high > 1.5 * low
    assert effective_decay(moments_of(features, labels), weight, bias, weight_decay=0.03).balanced


def test_directions_that_share_nothing_have_mismatch_one():
    geometry = lp.Geometry([5, 5], [[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]])
    decay = effective_decay(geometry, weight_decay=0.1)
    assert decay.mismatch == pytest.approx(1.0)
    assert decay.lambda_z_range[1] == math.inf
    assert decay.implied_lambda_w is None
    assert decay.to_dict()["lambda_z_range"][1] is None


@pytest.mark.parametrize(("lambda_z", "lost"), [(3e-3, []), (0.025, [[3, 4]])])
def test_compare_solves_the_model_of_this_network(lambda_z, lost):
    features, labels, weight, bias = samples(lambda_z)
    moments = moments_of(features, labels)
    decay = effective_decay(moments, weight, bias, weight_decay=10 * lambda_z, bias_decay=0.02)
    comparison = decay.compare(moments.geometry(weight, bias))
    assert comparison.predicted.merged == comparison.measured.merged == lost
    for name in ("mean_logits", "gram_means", "gram_classifier"):  # sizes, too
        assert comparison[name].relative_error < 1e-4


@pytest.mark.parametrize(("lambda_z", "lost"), [(0.005, []), (0.014, [[5, 6, 7, 8, 9]])], ids=["kept", "lost"])
@pytest.mark.slow
def test_a_network_trained_on_the_digits_tells_its_decay_and_is_predicted_by_it(lambda_z, lost):
    data = load_data("digits", "60x5,15x5")
    network = build_network("mlp", data.input_shape, data.num_classes, hidden=(128,), dim=16)
    stated = {"lambda_w": 30 * lambda_z, "lambda_h": lambda_z / 30, "lambda_b": 0.02}
    result = train(network, data, **stated, epochs=150, batch_size=125, learning_rate=0.01)
    head = result.network.head
    decay = effective_decay(
        result.moments, head.weight, head.bias, weight_decay=stated["lambda_w"], bias_decay=stated["lambda_b"]
    )
    assert decay.balanced
    assert decay.lambda_z == pytest.approx(lambda_z, rel=0.02)
    assert decay.lambda_z_range[0] <= lambda_z <= decay.lambda_z_range[1]
    assert decay.implied_lambda_w == pytest.approx(stated["lambda_w"], rel=0.02)
    comparison = decay.compare(result.geometry)
    assert comparison.predicted.merged == comparison.measured.merged == lost
    assert comparison["mean_logits"].relative_error < 0.05
    at_stated = lp.compare(result.model.solve().geometry, result.geometry)["mean_logits"]
    assert comparison["mean_logits"].relative_error < at_stated.relative_error + 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_decay": 0.0}, "weight_decay must be a finite number above 0; got 0.0"),
        ({"weight_decay": math.nan}, "weight_decay must be a finite number above 0; got nan"),
        ({"weight_decay": 0.1, "bias_decay": -1.0}, "bias_decay must be a finite number of at least 0"),
        ({"weight_decay": 0.1, "weight": None}, "weight must be given"),
        (
            {"weight_decay": 0.1, "weight": torch.zeros(5, 12)},
            "weight and features must not be zero.*got a weight",
        ),
        ({"weight_decay": 0.1, "weight": torch.ones(4, 12)}, "weight must have shape"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    features, labels, weight, bias = samples()
    with pytest.raises(ValueError, match=f"^{message}"):
        effective_decay(moments_of(features, labels), **{"weight": weight, "bias": bias, **arguments})


def test_a_geometry_has_its_own_weight():
    geometry = lp.Geometry([5, 5], [[1.0], [-1.0]], [[1.0], [-1.0]])
    with pytest.raises(ValueError, match=r"^weight must be left out"):
        effective_decay(geometry, geometry.classifier, weight_decay=0.1)


def test_an_absent_class_is_not_predicted():
    geometry = lp.Geometry([5, 5, 0], [[1.0], [-1.0], [math.nan]], [[1.0], [-1.0], [0.0]])
    decay = effective_decay(geometry, weight_decay=0.1)
    with pytest.raises(
        ValueError, match=r"^counts must be at least 1 in every class for a prediction; got none in class 2"
    ):
        decay.compare(geometry)
