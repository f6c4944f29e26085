"""Features and bias under a classifier that never moves: the optimum, its gap, and what it says about rare classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lopsided as lp
from lopsided.solver import fixed_classifier_optimum, simplex_gaps
from lopsided.solver.fixed_classifier import _Point, _System
from lopsided.theory import simplex_directions

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
LOSSES = {
    "plain": lp.CrossEntropy(),
    "everything": lp.CrossEntropy(
        weights=[1, 2, 3, 1],
        label_smoothing=0.1,
        logit_adjustment=0.7,
        margins=[0.0, 0.5, 1.0, 2.0],
        scales=[1.0, 0.7, 1.5, 2.0],
    ),
    "by label": lp.CrossEntropy(weights=[1, 2, 3, 1], reduction="samples", scales=[1, 2, 1, 0.5], scale_by="label"),
    "squared": lp.SquaredError(weights=[1, 2, 3, 1]),
    "focal of gamma 0": lp.FocalLoss(gamma=0.0, weights=[1, 2, 3, 1]),
}
COUNTS = "90,30,30,4"


def by_cvxpy(model, weight, *, positive=False):
    """Objective, means and bias by a general convex solver, from the definition, class by class."""
    import cvxpy as cp

    counts, loss = model.counts.astype(float), model.loss
    classes, dim = weight.shape
    sample_weights = np.ones(classes) if loss.weights is None else np.array(loss.weights)
    normaliser = sample_weights @ counts if loss.reduction == "mean" else counts.sum()
    means = cp.Variable((classes, dim), nonneg=positive)
    bias = cp.Variable(classes)
    total = model.lambda_h / 2 * cp.sum([n * cp.sum_squares(means[k]) for k, n in enumerate(counts)])
    for k, count in enumerate(counts):
        logits = weight @ means[k] + bias
        if isinstance(loss, lp.SquaredError):
            value = 0.5 * cp.sum_squares(logits - np.eye(classes)[k])
        elif isinstance(loss, lp.FocalLoss):
            value = cp.log_sum_exp(logits) - logits[k]
        else:
            scales = np.ones(classes) if loss.scales is None else np.array(loss.scales)
            scale = scales if loss.scale_by == "logit" else np.full(classes, scales[k])
            inside = cp.multiply(scale, logits) + loss.logit_adjustment * np.log(counts / counts.sum())
            if loss.margins is not None:
                inside = inside - loss.margins[k] * np.eye(classes)[k]
            targets = (1 - loss.label_smoothing) * np.eye(classes)[k] + loss.label_smoothing / classes
            value = cp.log_sum_exp(inside) - targets @ inside
        total += sample_weights[k] * count / normaliser * value
    if model.lambda_b:
        total += model.lambda_b / 2 * cp.sum_squares(bias)
    program = cp.Problem(cp.Minimize(total), [] if model.bias else [bias == 0])
    program.solve(solver="CLARABEL")
    assert program.status in ("optimal", "optimal_inaccurate")
    return float(program.value), means.value, bias.value


def some_classifier(classes=4, dim=3, seed=0):
    return 2 * np.random.default_rng(seed).normal(size=(classes, dim))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "mode", "dim"),
    # every loss with every mode and both widths, and every mode with both
    [(loss, mode, (2, 6)[(i + j) % 2]) for i, loss in enumerate(LOSSES) for j, mode in enumerate(MODES)],
)
def test_against_cvxpy(loss, mode, dim):
    model = lp.UFM(COUNTS, lambda_w=1.0, lambda_h=3e-3, loss=LOSSES[loss], **MODES[mode])
    weight = some_classifier(dim=dim)
    found = fixed_classifier_optimum(model, weight)
    assert found.status == "optimal"
    assert found.gap < 1e-12
    value, means, bias = by_cvxpy(model, weight)
    assert found.objective == pytest.approx(value, abs=2e-7)
    np.testing.assert_allclose(found.geometry.class_means, means, atol=5e-3)
    if not isinstance(model.loss, lp.SquaredError) and mode == "free":
        direction = 1 / np.array(model.loss.terms(model.counts).column_scales)  # the shift that the loss does not see
        bias = bias - (bias @ direction) / (direction @ direction) * direction
    np.testing.assert_allclose(found.geometry.bias, bias, atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("loss", ["plain", "everything"])
def test_features_of_a_relu_against_cvxpy(loss, mode):
    model = lp.UFM(COUNTS, lambda_w=1.0, lambda_h=3e-3, loss=LOSSES[loss], features="relu", **MODES[mode])
    weight = some_classifier(dim=5, seed=3)
    found = fixed_classifier_optimum(model, weight)
    assert found.status == "optimal"
    assert found.geometry.class_means.min() == 0
    value, means, _ = by_cvxpy(model, weight, positive=True)
    assert found.objective == pytest.approx(value, abs=2e-7)
    np.testing.assert_allclose(found.geometry.class_means, means, atol=5e-3)


@pytest.mark.slow
@given(
    st.sampled_from(sorted(MODES)),
    st.sampled_from(sorted(LOSSES)),
    st.booleans(),
    st.integers(0, 10**6),
    st.floats(-6, 2),
)
@settings(max_examples=30)
def test_the_gap_holds_at_every_point(mode, loss, relu, seed, exponent):
    """Anywhere, the objective less the gap is below the objective at the optimum."""
    relu = relu and loss != "squared"
    model = lp.UFM(
        COUNTS,
        lambda_w=1.0,
        lambda_h=10.0**exponent,
        loss=LOSSES[loss],
        features="relu" if relu else "any",
        **MODES[mode],
    )
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(4, 3))
    means, bias = generator.normal(size=(4, 3)), generator.normal(size=4) * model.bias
    optimum = fixed_classifier_optimum(model, weight)
    assert optimum.status == "optimal"
    elsewhere = _Point(_System(model, weight), np.abs(means) if relu else means, bias)
    assert elsewhere.objective - elsewhere.gap <= optimum.objective + 1e-12
    assert elsewhere.objective >= optimum.objective - optimum.gap


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", ["500x5,100x5", "300,100,20"])
def test_the_classifier_of_the_trained_optimum_gives_its_features_back(counts, mode):
    model = lp.UFM(counts, lambda_w=2e-2, lambda_h=5e-4, **MODES[mode])
    solution = model.solve(tol=1e-13)
    weight = solution.geometry.classifier
    found = fixed_classifier_optimum(model, weight)
    assert found.objective + 0.5 * model.lambda_w * np.sum(weight**2) == pytest.approx(solution.objective, rel=1e-10)
    np.testing.assert_allclose(found.geometry.class_means, solution.geometry.class_means, atol=1e-5)
    shift = solution.geometry.bias.mean() if mode == "free" else 0.0
    np.testing.assert_allclose(found.geometry.bias, solution.geometry.bias - shift, atol=1e-5)
    assert found.geometry.rank == solution.geometry.rank
    assert found.geometry.merged == solution.geometry.merged


@pytest.mark.slow
@pytest.mark.parametrize("weights", [None, [1, 1, 1, 4, 4]])
@pytest.mark.parametrize("dim", [4, 12])
@pytest.mark.parametrize("lambda_h", [1e-8, 1e-3, 10.0])
def test_a_simplex_without_bias_is_the_closed_form(lambda_h, dim, weights):
    """And the scalar equation, by bisection."""
    model = lp.UFM("500x3,10x2", lambda_w=1.0, lambda_h=lambda_h, bias=False, loss=lp.CrossEntropy(weights=weights))
    gaps = simplex_gaps(model, scale=3.0)
    weight = np.ones(5) if weights is None else np.array(weights)
    for share, gap in zip(weight / (weight @ model.counts), gaps, strict=True):
        low, high = 0.0, 700.0
        for _ in range(200):
            middle = (low + high) / 2
            below = middle * (math.exp(middle) + 4) < share / lambda_h * 9 * 25 / 4
            low, high = (middle, high) if below else (low, middle)
        assert gap == pytest.approx(low, rel=1e-12)
    # however the directions are found, from the general starting point on
    found = fixed_classifier_optimum(model, 3 * simplex_directions(5, dim))
    assert found.status == "optimal"
    expected = gaps[:, None] * (np.eye(5) - 0.2)
    np.testing.assert_allclose(found.geometry.mean_logits, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("lambda_h", [1e-4, 1e-2, 1.0])
def test_without_bias_the_count_of_a_class_does_not_matter(lambda_h):
    """Any classifier: class means depend on Nλ_h and W alone, so counts in any order or proportion give the same."""
    weight = some_classifier(5, 3, seed=4)
    results = []
    for counts in ([996, 1, 1, 1, 1], [1, 1, 1, 1, 996], [200] * 5):
        model = lp.UFM(counts, lambda_w=1.0, lambda_h=lambda_h, bias=False)
        results.append(fixed_classifier_optimum(model, weight).geometry.class_means)
    for means in results[1:]:
        np.testing.assert_allclose(means, results[0], atol=1e-7)


@pytest.mark.slow
@given(st.integers(0, 10**6), st.floats(-5, 1), st.sampled_from(sorted(MODES)))
@settings(max_examples=15)
def test_classes_of_distinct_rows_never_coincide(seed, exponent, mode):
    """Stationarity: Nλ_h (h_k − h_l) = Wᵀ(e_k − e_l) if the predictions were the same."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 500, size=6)
    model = lp.UFM(counts, lambda_w=1.0, lambda_h=10.0**exponent, **MODES[mode])
    weight = generator.normal(size=(6, 4))
    found = fixed_classifier_optimum(model, weight)
    assert found.status == "optimal"
    outputs = found.geometry.mean_logits + found.geometry.bias
    probabilities = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    strength = counts.sum() * model.lambda_h
    means = found.geometry.class_means
    np.testing.assert_allclose(strength * means, (np.eye(6) - probabilities) @ weight, atol=1e-4 * max(1, strength))
    for k in range(6):
        for other in range(k):
            apart = means[k] - means[other]
            assert np.linalg.norm(apart) > 0
            # the proof's inequality: monotone predictions leave the pull of the rows
            pull = (weight[k] - weight[other]) @ apart
            assert pull >= strength * float(apart @ apart) - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["penalised", "free"])
@given(counts=st.lists(st.integers(1, 2000), min_size=3, max_size=6), exponent=st.floats(-5, 0))
@settings(max_examples=15)
def test_under_a_simplex_the_bias_follows_the_counts(mode, counts, exponent):
    model = lp.UFM(counts, lambda_w=1.0, lambda_h=10.0**exponent, **MODES[mode])
    found = fixed_classifier_optimum(model, simplex_directions(len(counts), len(counts) + 2))
    assert found.status == "optimal"
    order = np.argsort(counts)
    assert np.all(np.diff(found.geometry.bias[order]) > -1e-6)
    if mode == "free":  # the mean prediction is the frequency of each class
        outputs = found.geometry.mean_logits + found.geometry.bias
        probabilities = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(np.array(counts) @ probabilities, counts, rtol=1e-4)


def test_with_a_free_bias_a_rare_class_is_outvoted_where_without_it_is_not():
    """λ_h so strong that features are small: the bias is then close to the log frequencies and decides."""
    settings = {"lambda_w": 1.0, "lambda_h": 0.1}
    directions = simplex_directions(10, 16)
    leads = {}
    for mode, bias in MODES.items():
        model = lp.UFM("500x5,100x5", **settings, **bias)
        geometry = fixed_classifier_optimum(model, directions).geometry
        outputs = geometry.mean_logits + geometry.bias
        own = np.diagonal(outputs).copy()
        np.fill_diagonal(outputs, -np.inf)
        leads[mode] = own - outputs.max(axis=1)
        assert geometry.merged == []
    assert leads["no bias"].min() > 0
    assert leads["free"][5:].max() < 0 < leads["free"][:5].min()
    model = lp.UFM("500x5,100x5", **settings)
    bias = fixed_classifier_optimum(model, directions).geometry.bias
    assert bias[0] - bias[9] == pytest.approx(math.log(5), rel=0.05)


def test_the_trained_classifier_loses_what_the_fixed_one_keeps():
    model = lp.UFM("500x5,100x5", lambda_w=0.1, lambda_h=1e-3, bias=False)
    assert model.solve().geometry.rank == 0
    fixed = fixed_classifier_optimum(model, simplex_directions(10, 9)).geometry
    assert (fixed.rank, fixed.merged) == (9, [])
    np.testing.assert_allclose(np.diagonal(fixed.mean_logits), 0.9 * simplex_gaps(model), rtol=1e-6)


@pytest.mark.slow
def test_many_classes_have_the_closed_form_or_are_refused():
    counts = np.arange(1, 402)
    model = lp.UFM(counts, lambda_w=1.0, lambda_h=1e-5, bias=False)
    weight = simplex_directions(401, 400)
    found = fixed_classifier_optimum(model, weight)
    assert (found.status, found.iterations) == ("optimal", 0)
    with pytest.raises(ValueError, match=r"^counts must be of at most 300 classes .*; got 401$"):
        fixed_classifier_optimum(lp.UFM(counts, lambda_w=1.0, lambda_h=1e-5), weight)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_many_classes_have_the_closed_form_at_weak_decay_and_from_rows_in_single_precision(scale):
    model = lp.UFM("20x160,5x160", lambda_w=1.0, lambda_h=1e-7, bias=False)
    weight = scale * simplex_directions(320, 319)
    for rows in (weight, weight.astype(np.float32)):
        found = fixed_classifier_optimum(model, rows)
        assert found.status == "optimal"
        gaps = simplex_gaps(model, scale)
        np.testing.assert_allclose(np.diagonal(found.geometry.mean_logits), 319 / 320 * gaps, rtol=1e-5)


def test_what_is_not_certified_says_so():
    model = lp.UFM(COUNTS, lambda_w=1.0, lambda_h=1e-6)
    found = fixed_classifier_optimum(model, some_classifier(), max_iterations=1)
    assert found.status == "not_certified"
    assert "raise max_iterations" in found.message
    assert found.gap > 1e-9


@pytest.mark.parametrize(
    ("options", "classifier", "message"),
    [
        ({}, np.ones((3, 2)), r"classifier must have shape \(K, d\) with K = 4, one row a class; got \(3, 2\)"),
        ({}, np.full((4, 2), np.nan), "classifier must be finite; got nan"),
        ({"loss": lp.FocalLoss()}, np.ones((4, 2)), "loss must be convex in the logits for a fixed classifier; got .*"),
    ],
)
def test_bad_input(options, classifier, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        fixed_classifier_optimum(lp.UFM(COUNTS, 0.01, **options), classifier)


@pytest.mark.parametrize(
    "model",
    [
        lp.UFM(COUNTS, 0.01),
        lp.UFM(COUNTS, 0.01, bias=False, loss=lp.SquaredError()),
        lp.UFM(COUNTS, 0.01, bias=False, loss=lp.CrossEntropy(label_smoothing=0.1)),
        lp.UFM(COUNTS, 0.01, bias=False, features="relu"),
    ],
)
def test_the_closed_form_is_for_its_own_problem(model):
    with pytest.raises(ValueError, match=r"^problem must be cross-entropy, weighted at most, without a bias"):
        simplex_gaps(model)
    with pytest.raises(ValueError, match=r"^scale must be a finite number above 0; got 0$"):
        simplex_gaps(lp.UFM(COUNTS, 0.01, bias=False), scale=0)


def test_rows_at_unequal_angles_may_leave_a_class_outvoted():
    """Unit rows at 0, 0.2 and −0.4 radians, without a bias: apart, but the first class's samples go to the second."""
    angles = np.array([0.0, 0.2, -0.4])
    model = lp.UFM("9,9,9", lambda_w=1.0, lambda_h=1.0, bias=False)
    found = fixed_classifier_optimum(model, np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert found.status == "optimal"
    assert found.geometry.mean_logits.argmax(axis=1).tolist() == [1, 1, 2]
