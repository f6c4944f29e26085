"""The optimum: against CVXPY, against proximal gradient, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lopsided as lp
from forecast.references import by_cvxpy, loss_of, made_samples, whitened
from lopsided.forecast import algorithm, curvature
from lopsided.forecast.program import Program

COUNTS = (25, 15, 8, 3)
FEATURES, LABELS = made_samples(COUNTS, 6)
COSTS = np.array([1.0, 0.5, 2.0, 1.0, 0.7, 1.3])
BIASES = [{"bias": False}, {"lambda_b": 0.0}, {"lambda_b": 0.02}]
LOSSES = [
    lp.CrossEntropy(),
    lp.CrossEntropy(weights=[1, 1, 2, 4], label_smoothing=0.1, logit_adjustment=1.0),
    lp.CrossEntropy(weights=[1, 2, 2, 3], reduction="samples", margins=[0.0, 0.2, 0.5, 1.0], scales=[1, 1.5, 0.7, 1]),
    lp.CrossEntropy(scales=[1, 1.5, 0.7, 1], scale_by="label"),
]


def stated(features=FEATURES, labels=LABELS, costs=COSTS, tol=1e-9, decay=0.02, **settings):
    return lp.forecast(features, labels, costs=costs, lambda_w=decay, lambda_s=4 * decay, tol=tol, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("mode", BIASES)
@pytest.mark.parametrize("loss", LOSSES, ids=["plain", "adjusted", "margins", "labels"])
def test_optimum_is_that_of_cvxpy(mixing, mode, loss):
    solution = stated(costs=None if mixing else COSTS, loss=loss, **mode).at(0.02)
    lambda_b = None if mode.get("bias") is False else mode["lambda_b"]
    terms = loss.terms(np.array(COUNTS))
    reference = by_cvxpy(
        whitened(FEATURES) if mixing else FEATURES, LABELS, None if mixing else COSTS, 0.04, lambda_b, terms
    )
    assert solution.status == "optimal"
    assert 0 <= solution.gap <= 1e-9
    assert solution.objective == pytest.approx(reference, abs=2e-7)


@pytest.mark.parametrize("mode", BIASES)
def test_the_objective_is_that_of_the_weights_returned(mode):
    solution = stated(**mode).at(0.02)
    bias = solution.bias
    value = loss_of(
        solution.weights, bias, FEATURES, LABELS, np.ones(len(LABELS)), lp.CrossEntropy().terms(np.array(COUNTS))
    )
    value += 0.04 * float(COSTS @ np.linalg.norm(solution.weights, axis=0)) + solution.lambda_b / 2 * float(bias @ bias)
    assert solution.objective == pytest.approx(value, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("mixing", [False, True])
def test_newton_against_proximal_gradient(mixing):
    made = stated(costs=None if mixing else COSTS, lambda_b=0.02, tol=1e-10)
    program, solution = made.program, made.at(0.02)
    step = 1 / np.linalg.eigvalsh((program.features * program.pull[:, None]).T @ program.features)[-1]
    point = ahead = program.zeros()
    momentum = 1.0
    for _ in range(3000):
        gradient = program.slopes(program.evaluate(ahead @ program.features.T).probabilities)
        gradient[:, -1] += program.ridge(0.02) * ahead[:, -1]
        moved = ahead - step * gradient
        moved[:, :-1] = program.penalty.shrink(program.xp, moved[:, :-1], step * 0.04)
        if np.sum((ahead - moved) * (moved - point)) > 0:
            momentum = 1.0
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead, point, momentum = moved + (momentum - 1) / following * (moved - point), moved, following
    value = program.evaluate(point @ program.features.T).loss
    value += 0.04 * program.penalty.value(program.xp, point[:, :-1]) + program.ridge(0.02) / 2 * np.sum(
        point[:, -1] ** 2
    )
    assert -1e-10 <= value - solution.objective <= 1e-8
    weights, bias = made._form.classifier(point[:, :-1], point[:, -1] * program.constant)
    np.testing.assert_allclose(FEATURES @ weights.T + bias, FEATURES @ solution.weights.T + solution.bias, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("mode", BIASES)
def test_everything_is_off_from_the_largest_decay_on(mixing, mode):
    made = stated(costs=None if mixing else COSTS, tol=1e-12, **mode)
    top = made.largest_decay
    above, below = made.at(top * (1 + 1e-9)), made.at(top * (1 - 1e-4))
    assert (above.active, above.status) == (0, "optimal")
    assert np.all(above.weights == 0)
    assert below.active >= 1
    assert below.certified


@pytest.mark.parametrize("mixing", [False, True])
def test_duplicates_are_weights(mixing):
    costs = None if mixing else COSTS
    times = np.random.default_rng(1).integers(1, 4, len(LABELS))
    repeated = stated(np.repeat(FEATURES, times, axis=0), np.repeat(LABELS, times), costs, lambda_b=0.1)
    weighted = stated(costs=costs, sample_weights=times, lambda_b=0.1)
    assert len(repeated.program.labels) == len(weighted.program.labels) <= len(LABELS)
    one, other = repeated.at(0.02), weighted.at(0.02)
    assert one.objective == pytest.approx(other.objective, abs=1e-9)
    np.testing.assert_allclose(one.recall, other.recall)


def test_equal_features_of_different_labels_are_not_merged():
    made = stated([[1.0, 0], [1, 0], [0, 1], [0, 1]], [0, 1, 1, 1], [1, 1])
    assert sorted(made._samples.weights) == [1, 1, 2]


@pytest.mark.slow
def test_turning_the_features_changes_nothing_with_mixing():
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0] * np.array([1, 10, 0.1, 1, 3, 1])
    one, other = stated(costs=None), stated(FEATURES @ turn + 5, costs=None)
    assert other.at(0.02).objective == pytest.approx(one.at(0.02).objective, abs=2e-9)
    assert other.largest_decay == pytest.approx(one.largest_decay, rel=1e-9)


def test_costs_scaled_with_features_change_nothing():
    scales = np.array([1e-3, 1, 2, 10, 0.3, 1e3])
    one, other = stated(lambda_b=0.1).at(0.02), stated(FEATURES * scales, costs=COSTS * scales, lambda_b=0.1).at(0.02)
    assert other.objective == pytest.approx(one.objective, abs=1e-12)
    np.testing.assert_allclose(other.weights * scales, one.weights, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["samples", "classes"])
def test_one_hot_features_give_the_free_features_back(rows):
    """Φ = √N times an orthonormal basis makes ‖V‖_* = ‖Z D^½‖_*/√N, so that λ_z = √(λ_w λ_s/N)."""
    counts = (12, 12, 5, 4)
    labels = np.repeat(np.arange(4), counts)
    features = np.eye(len(labels)) if rows == "samples" else np.eye(4)[labels]
    made = stated(features, labels, None, tol=1e-10)
    for decay in (0.05, 0.3):
        model = lp.UFM(counts, lambda_z=2 * decay / np.sqrt(len(labels)))
        assert made.at(decay).objective == pytest.approx(model.solve().objective, abs=1e-9)
    complete = lp.UFM(counts, 1.0).thresholds().complete
    assert made.largest_decay == pytest.approx(complete * np.sqrt(len(labels)) / 2, rel=1e-9)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 20), min_size=2, max_size=5),
    channels=st.integers(1, 8),
    share=st.floats(1e-3, 1.2),
    mode=st.sampled_from(BIASES),
    mixing=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_answer_is_certified(counts, channels, share, mode, mixing, seed):
    features, labels = made_samples(counts, channels, seed)
    if (features == features[0]).all():
        return
    costs = None if mixing else np.random.default_rng(seed).uniform(0.1, 10, channels)
    made = stated(features, labels, costs, tol=1e-8, **mode)
    solution = made.at(share * made.largest_decay)
    assert solution.certified, solution.message
    assert ((solution.recall >= 0) & (solution.recall <= 1)).all()
    again = stated(features, labels, costs, tol=1e-8, **mode).at(solution.decay)
    assert abs(again.objective - solution.objective) <= 2e-8 * max(1, solution.objective)


@pytest.mark.slow
@pytest.mark.parametrize("mixing", [False, True])
def test_many_samples_and_large_ones_take_the_same_optimum(mixing, monkeypatch):
    """Drawn rows in single precision, and curvatures that are applied only, are other ways to one certified value."""
    costs = None if mixing else COSTS
    plain = stated(costs=costs, tol=1e-8, lambda_b=0.01).path([0.03, 0.003])
    monkeypatch.setattr(curvature, "MANY_SAMPLES", 1)
    monkeypatch.setattr(algorithm, "MANY_SAMPLES", 1)
    drawn = stated(costs=costs, tol=1e-8, lambda_b=0.01).path([0.03, 0.003])
    monkeypatch.setattr(curvature, "LARGEST_DENSE", 1)
    applied = stated(costs=costs, tol=1e-8, lambda_b=0.01).path([0.03, 0.003])
    for one, two, three in zip(plain, drawn, applied, strict=True):
        assert one.certified, two.certified and three.certified
        assert two.objective == pytest.approx(one.objective, abs=2e-8)
        assert three.objective == pytest.approx(one.objective, abs=2e-8)


@pytest.mark.slow
@pytest.mark.parametrize("mixing", [False, True])
def test_torch_gives_numpys_answer(mixing):
    costs = None if mixing else COSTS
    one, other = stated(costs=costs, lambda_b=0.1), stated(costs=costs, lambda_b=0.1, device="cpu")
    assert other.at(0.01).objective == pytest.approx(one.at(0.01).objective, abs=1e-9)
    assert isinstance(other.at(0.01).weights, np.ndarray)


def test_the_second_derivative_is_that_of_the_slopes():
    program: Program = stated(loss=LOSSES[2], lambda_b=0.1).program
    generator = np.random.default_rng(3)
    point, direction = generator.normal(size=(2, 4, 7))
    logits = point @ program.features.T
    every = np.arange(7)
    evaluation = program.evaluate(logits)
    dense = curvature.DenseCurvature(program, evaluation, every, 0.3).apply(direction)
    applied = curvature.AppliedCurvature(program, evaluation, every, 0.3).apply(direction)
    step = 1e-5 * direction @ program.features.T
    ahead, behind = (program.slopes(program.evaluate(logits + sign * step).probabilities) for sign in (1, -1))
    expected = (ahead - behind) / 2e-5
    expected[:, -1] += 0.3 * direction[:, -1]
    np.testing.assert_allclose(dense, expected, atol=1e-7)
    np.testing.assert_allclose(applied, expected, atol=1e-7)
