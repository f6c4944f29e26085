import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp

decays = st.floats(1e-12, 1e6)


@given(decays)
def test_lambda_z_alone_is_shared_equally(lambda_z):
    model = lp.UFM([2, 1], lambda_z)
    assert (model.lambda_z, model.lambda_w, model.lambda_h) == (lambda_z, lambda_z, lambda_z)


@given(decays, decays)
def test_any_two_decays_give_the_third(first, second):
    from_factors = lp.UFM([2, 1], lambda_w=first, lambda_h=second)
    assert from_factors.lambda_z == pytest.approx(math.sqrt(first * second), rel=1e-14)
    assert (from_factors.lambda_w, from_factors.lambda_h) == (first, second)

    without_h = lp.UFM([2, 1], first, lambda_w=second)
    assert (without_h.lambda_z, without_h.lambda_w) == (first, second)
    assert without_h.lambda_h * second == pytest.approx(first**2, rel=1e-14)

    without_w = lp.UFM([2, 1], first, lambda_h=second)
    assert (without_w.lambda_z, without_w.lambda_h) == (first, second)
    assert without_w.lambda_w * second == pytest.approx(first**2, rel=1e-14)


@given(decays, decays, st.floats(-0.9e-6, 0.9e-6))
def test_all_three_decays_may_be_given_where_they_agree(lambda_w, lambda_h, slip):
    lambda_z = math.sqrt(lambda_w) * math.sqrt(lambda_h)
    model = lp.UFM([2, 1], lambda_z * (1 + slip), lambda_w=lambda_w, lambda_h=lambda_h)
    assert model.lambda_z == lambda_z


def test_decays_too_small_or_large_to_multiply():
    assert lp.UFM([2, 1], lambda_w=1e-200, lambda_h=1e-200).lambda_z == pytest.approx(1e-200)
    assert lp.UFM([2, 1], lambda_w=1e200, lambda_h=1e-10).lambda_z == pytest.approx(1e95)
    assert lp.UFM([2, 1], 1e-200, lambda_w=1e-200).lambda_h == pytest.approx(1e-200)


def test_the_number_of_samples_does_not_overflow():
    assert lp.UFM([2**53] * 1100, 3e-3).num_samples == 1100 * 2**53


def test_defaults_are_cross_entropy_with_a_free_bias():
    model = lp.UFM("500x5,100x5", 3e-3)
    assert model.bias
    assert model.lambda_b == 0.0
    assert model.loss == lp.CrossEntropy()
    assert (model.num_classes, model.num_samples) == (10, 3000)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [({}, "free bias"), ({"lambda_b": 0.02}, "λ_b = 0.02"), ({"bias": False}, "no bias")],
)
def test_text_names_counts_decay_and_bias(arguments, kind):
    assert str(lp.UFM([500, 500, 100], 3e-3, **arguments)) == f"cross-entropy on 500x2,100, λ_z = 0.003, {kind}"


def test_numpy_scalars_are_numbers():
    model = lp.UFM([2, 1], np.float32(0.5), lambda_b=np.int64(1))
    assert isinstance(model.lambda_z, float)
    assert isinstance(model.lambda_b, float)


def test_a_stated_problem_cannot_be_changed():
    given_counts = np.array([500, 100])
    model = lp.UFM(given_counts, 3e-3)
    given_counts[0] = 7
    assert model.counts.tolist() == [500, 100]
    with pytest.raises(ValueError, match="read-only"):
        model.counts[0] = 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.lambda_z = 1.0


@pytest.mark.parametrize(
    ("arguments", "name", "rule", "received"),
    [
        ({"lambda_z": 0}, "lambda_z", "above 0", "0"),
        ({"lambda_z": -1e-3}, "lambda_z", "above 0", "-0.001"),
        ({"lambda_z": math.nan}, "lambda_z", "finite", "nan"),
        ({"lambda_z": math.inf}, "lambda_z", "finite", "inf"),
        ({"lambda_z": "0.003"}, "lambda_z", "number", "'0.003'"),
        ({"lambda_z": True}, "lambda_z", "number", "True"),
        ({"lambda_w": 0.0, "lambda_h": 1.0}, "lambda_w", "above 0", "0.0"),
        ({"lambda_w": 1.0, "lambda_h": -2.0}, "lambda_h", "above 0", "-2.0"),
        ({}, "lambda_z", "both lambda_w and lambda_h", "nothing"),
        ({"lambda_w": 1.0}, "lambda_z", "both lambda_w and lambda_h", "no lambda_h"),
        ({"lambda_h": 1.0}, "lambda_z", "both lambda_w and lambda_h", "no lambda_w"),
        ({"lambda_z": 1.0, "lambda_w": 1.0, "lambda_h": 4.0}, "lambda_z", "sqrt(lambda_w * lambda_h) = 2", "1.0"),
        ({"lambda_z": 1.0, "lambda_b": -1.0}, "lambda_b", "at least 0", "-1.0"),
        ({"lambda_z": 1.0, "lambda_b": math.nan}, "lambda_b", "finite", "nan"),
        ({"lambda_z": 1.0, "lambda_b": None}, "lambda_b", "number", "None"),
        ({"lambda_z": 1.0, "lambda_b": 0.02, "bias": False}, "lambda_b", "left out where bias=False", "0.02"),
        ({"lambda_z": 1.0, "loss": "hinge"}, "loss", "CrossEntropy", "'hinge'"),
        ({"lambda_z": 1.0, "counts": "500y5"}, "counts", "COUNTxCLASSES", "'500y5'"),
    ],
)
def test_what_breaks_a_rule_is_named_with_the_rule(arguments, name, rule, received):
    with pytest.raises(ValueError, match=rf"^{name}\b") as caught:
        lp.UFM(**({"counts": [500, 100]} | arguments))
    message = str(caught.value)
    assert rule in message
    assert f"got {received}" in message or f"read {received}" in message
    assert "\n" not in message


def test_clusters_are_numbered_by_their_first_class():
    clusters = lp.UFM([100, 500, 100, 7, 500], 1e-3).clusters
    assert clusters.counts.tolist() == [100, 500, 7]
    assert clusters.sizes.tolist() == [2, 2, 1]
    assert clusters.labels.tolist() == [0, 1, 0, 2, 1]
    assert clusters.classes == [[0, 2], [1, 4], [3]]
    assert clusters.num_clusters == 3


@given(st.lists(st.integers(1, 6), min_size=2, max_size=30))
def test_clusters_partition_the_classes_by_count(counts):
    model = lp.UFM(counts, 1e-3)
    clusters = model.clusters
    assert sorted(k for group in clusters.classes for k in group) == list(range(len(counts)))
    for j, group in enumerate(clusters.classes):
        assert group == [k for k in range(len(counts)) if counts[k] == clusters.counts[j]]
        assert clusters.sizes[j] == len(group)
        assert (clusters.labels[group] == j).all()
    assert [group[0] for group in clusters.classes] == sorted(group[0] for group in clusters.classes)
    assert clusters.num_samples == model.num_samples == sum(counts)


@pytest.mark.parametrize("decay", [1e-308, 1e300])
def test_a_decay_beyond_float64_is_refused(decay):
    with pytest.raises(ValueError, match=r"lambda_z must lie between 1e-295 and 1e\+100"):
        lp.UFM("5,3", decay)


@pytest.mark.parametrize("bias", ["no", 1, None])
def test_bias_is_a_yes_or_no(bias):
    with pytest.raises(ValueError, match="bias must be True or False"):
        lp.UFM("5,3", 0.1, bias=bias)
