"""Statements of docs/theory*.md and docs/method.md that no other test covers, each against its definition."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lopsided as lp
import references
from lopsided.theory import two_cluster_threshold

Array = np.ndarray

COUNTS = np.repeat([50, 20, 5], [2, 3, 2])
CLASSES = len(COUNTS)
RISING = np.linspace(0.2, 1.4, CLASSES)
MODES: dict[str, dict[str, Any]] = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
LOSSES = {
    "cross-entropy": lp.CrossEntropy(),
    "weights": lp.CrossEntropy(weights=RISING),
    "scales by label": lp.CrossEntropy(scales=RISING, scale_by="label"),
    "all at once": lp.CrossEntropy(
        weights=RISING,
        reduction="samples",
        label_smoothing=0.1,
        logit_adjustment=0.5,
        margins=RISING[::-1],
        scales=RISING,
    ),
}
TIES = st.lists(st.integers(1, 10**4), min_size=1, max_size=6)
BIAS_DECAYS = st.floats(-5, 2).map(lambda exponent: 10**exponent)


def nuclear_norm(matrix: Array) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def written_out(model: lp.UFM, logits: Array, bias: Array) -> tuple[float, Array]:
    """The objective, and row k of Γ(t_k − p_k), from the formula of the family."""
    loss, classes = model.loss, model.num_classes
    ones = np.ones(classes)
    weights = ones if loss.weights is None else np.array(loss.weights)
    margins = 0 * ones if loss.margins is None else np.array(loss.margins)
    scales = ones if loss.scales is None else np.array(loss.scales)
    normaliser = weights @ model.counts if loss.reduction == "mean" else model.num_samples
    value, pulls = 0.0, np.zeros((classes, classes))
    for k in range(classes):
        gamma = scales if loss.scale_by == "logit" else ones
        rho = scales[k] if loss.scale_by == "label" else 1.0
        inside = rho * gamma * (logits[k] + bias) + loss.logit_adjustment * np.log(model.counts / model.num_samples)
        inside[k] -= margins[k]
        target = np.full(classes, loss.label_smoothing / classes)
        target[k] += 1 - loss.label_smoothing
        top = inside.max()
        log_sum = top + np.log(np.sum(np.exp(inside - top)))
        value += weights[k] * model.counts[k] / normaliser * (log_sum - target @ inside)
        pulls[k] = gamma * (target - np.exp(inside - log_sum)) * rho * weights[k] / normaliser
    value += model.lambda_z * nuclear_norm(np.sqrt(model.counts)[:, None] * logits)
    return value + 0.5 * model.lambda_b * float(bias @ bias), pulls


def log_excess(model: lp.UFM, decay: float) -> float:
    """log S of statement 18: what tells two clusters apart pays where it is above zero."""
    clusters = model.clusters
    terms = np.log(model.num_classes * clusters.counts / clusters.sizes[::-1])
    leaks = references.two_cluster_leaks(model, decay)
    return float(np.logaddexp.reduce(terms + 2 * leaks) - 2 * np.log(model.num_samples * decay))


@given(st.integers(0, 10**6), st.booleans())
def test_class_means_are_the_best_features(seed: int, positive: bool) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, 3)
    labels = np.repeat(np.arange(3), counts)
    features, weight = rng.normal(size=(len(labels), 4)), rng.normal(size=(3, 4))
    features = np.abs(features) if positive else features

    def objective(features: Array) -> float:
        probability = references.softmax_rows(features @ weight.T)[np.arange(len(labels)), labels]
        return float(-np.mean(np.log(probability)) + 0.05 * np.sum(features**2))

    means = np.stack([features[labels == k].mean(axis=0) for k in range(3)])[labels]
    assert objective(means) <= objective(features) * (1 + 1e-12)
    assert (means >= 0).all() or not positive


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(0.01, 100))
def test_no_factors_are_shorter_than_the_nuclear_norm_says(seed: int, a: float, c: float) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(4, 5)), rng.normal(size=(3, 5))
    least = np.sqrt(a * c) * nuclear_norm(left @ right.T)
    assert least <= (0.5 * a * np.sum(right**2) + 0.5 * c * np.sum(left**2)) * (1 + 1e-12)
    vectors, values, others = np.linalg.svd(left @ right.T, full_matrices=False)
    best_left, best_right = vectors * np.sqrt(values) * (a / c) ** 0.25, others.T * np.sqrt(values) * (c / a) ** 0.25
    assert 0.5 * a * np.sum(best_right**2) + 0.5 * c * np.sum(best_left**2) == pytest.approx(least, rel=1e-12)


@pytest.mark.slow
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_no_chain_of_factors_is_shorter_than_the_quasi_norm_says(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    decays = rng.uniform(0.1, 10, length)
    factors = rng.normal(size=(length, 3, 3))
    left, values, right = np.linalg.svd(reduce(np.matmul, factors))
    least = 0.5 * length * np.prod(decays) ** (1 / length) * np.sum(values ** (2 / length))
    assert least <= 0.5 * decays @ np.sum(factors**2, axis=(1, 2)) * (1 + 1e-12)
    root = np.diag(values ** (1 / length))
    chain = np.array([root] * length)
    chain[0], chain[-1] = left @ chain[0], chain[-1] @ right
    chain *= (np.prod(decays) ** (1 / length) / decays)[:, None, None] ** 0.5
    np.testing.assert_allclose(reduce(np.matmul, chain), reduce(np.matmul, factors), atol=1e-10)
    assert 0.5 * decays @ np.sum(chain**2, axis=(1, 2)) == pytest.approx(least, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_what_projections_say_of_the_optimum(name: str, mode: str) -> None:
    model = lp.UFM(COUNTS, 0.01, loss=LOSSES[name], **MODES[mode])
    solution = model.solve()
    logits = solution.geometry.mean_logits
    assert solution.status == "optimal"
    assert solution.geometry.rank > 1
    shift = np.ones(CLASSES) if name != "all at once" else 1 / RISING
    np.testing.assert_allclose(logits @ shift, 0, atol=1e-9)
    if mode == "free":
        np.testing.assert_allclose(model.counts @ logits / model.num_samples, 0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_distance_to_the_targets_for_every_loss(name: str, mode: str) -> None:
    model = lp.UFM(COUNTS, 0.01, loss=LOSSES[name], **MODES[mode])
    solution = model.solve()
    assert solution.status == "optimal"
    value, pulls = written_out(model, solution.geometry.mean_logits, solution.geometry.bias)
    assert value == pytest.approx(solution.objective, rel=1e-12)
    dual = np.sqrt(COUNTS)[:, None] * pulls / model.lambda_z
    assert np.linalg.norm(dual, ord=2) == pytest.approx(1, abs=1e-6)
    lengths = np.linalg.norm(dual, axis=1)
    assert (lengths <= 1 + 1e-6).all()
    assert lengths.max() > 0.5  # the bound is no empty one


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_the_gap_holds_at_any_point_for_every_loss(name: str, mode: str) -> None:
    model = lp.UFM(COUNTS, 0.01, loss=LOSSES[name], **MODES[mode])
    optimum = model.solve()
    rng = np.random.default_rng(3)
    gaps = []
    for scale in (3.0, 0.3, 1e-3):
        logits = optimum.geometry.mean_logits + scale * rng.normal(size=(CLASSES, CLASSES))
        bias = optimum.geometry.bias + (scale * rng.normal(size=CLASSES) if model.bias else 0)
        certificate = lp.certify_logits(model, logits, bias)
        value, _ = written_out(model, logits, bias)
        assert certificate.objective == pytest.approx(value, rel=1e-10)
        assert 0 < value - optimum.objective <= certificate.gap
        gaps.append(certificate.gap)
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "margins", "expected"),
    [("50x2", [3, 3], np.sqrt(50) / 100 * (1 + np.tanh(1.5))), ("50x2,3", [3, 3, 3], None), ("9x3", [0.5] * 3, None)],
)
def test_large_margins_have_a_threshold_too(counts: str, margins: list[float], expected: float | None) -> None:
    """Two classes of large margin give each other more than half of the mass when they merge."""
    loss = lp.CrossEntropy(margins=margins)
    threshold = lp.UFM(counts, 1.0, bias=False, loss=loss).thresholds().within[0]
    if expected is not None:
        assert threshold == pytest.approx(expected, rel=1e-6)
    for factor, apart in ((1 - 1e-5, True), (1 + 1e-5, False)):
        solution = lp.UFM(counts, threshold * factor, bias=False, loss=loss).solve()
        assert solution.status == "optimal"
        assert (solution.clusters[0].collapsed) is not apart


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "others"), [("900x4,100,50", [4, 5]), ("500x3,100x3,50x3", [3, 4, 5, 6, 7, 8])])
def test_classes_of_different_counts_meet_only_at_the_origin(counts: str, others: list[int]) -> None:
    """Between the first two critical decays nothing but the largest cluster is left."""
    complete, next_drop, *_ = lp.UFM(counts, 1.0, bias=False).critical_path()
    above = lp.UFM(counts, 0.5 * (complete.lambda_z + next_drop.lambda_z), bias=False).solve()
    assert above.geometry.rank > 0
    assert np.abs(above.geometry.class_means[others]).max() < 1e-12
    below = lp.UFM(counts, 0.99 * next_drop.lambda_z, bias=False).solve().geometry.class_means
    assert np.linalg.norm(below[others[0]] - below[others[-1]]) > 0.01 * np.linalg.norm(below[0])


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 4)
@given(counts=TIES, bias_decay=BIAS_DECAYS)
def test_the_largest_count_bounds_complete_collapse(counts: list[int], bias_decay: float) -> None:
    """Shared: equality; single: strictly below."""
    for mode in ({"bias": False}, {}, {"lambda_b": bias_decay}):
        shared = lp.UFM([*counts, max(counts)], 1.0, **mode)
        assert shared.thresholds().complete == pytest.approx(np.sqrt(max(counts)) / shared.num_samples, rel=1e-9)
        single = lp.UFM([*counts, 2 * max(counts)], 1.0, **mode)
        assert single.thresholds().complete < np.sqrt(2 * max(counts)) / single.num_samples


@pytest.mark.parametrize(("mode", "power"), [("no bias", 0), ("free", 1)])
def test_just_below_complete_collapse_all_but_the_largest_class_are_collinear(mode: str, power: int) -> None:
    counts = np.array([500.0, 300.0, 100.0])
    complete = lp.UFM(counts, 1.0, **MODES[mode]).thresholds().complete
    position = 1 / (counts - (counts.sum() * complete) ** 2)
    direction = np.outer(position, position * counts**power)
    errors = []
    for distance in (1e-2, 1e-3):
        geometry = lp.UFM(counts, (1 - distance) * complete, **MODES[mode]).solve(tol=1e-12).geometry
        assert geometry.rank == 1
        found = geometry.mean_logits / np.linalg.norm(geometry.mean_logits)
        errors.append(np.abs(found - direction / np.linalg.norm(direction)).max())
    assert errors[1] < 0.2 * errors[0] < 0.02
    assert list(np.sign(position)) == [1, -1, -1]


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 4)
@given(
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 98)),
    counts=st.tuples(st.integers(1, 1000), st.integers(1, 10**4)),
    bias_decay=BIAS_DECAYS,
)
def test_clusters_are_told_apart_until_one_decay_between_their_thresholds(
    sizes: tuple[int, int], counts: tuple[int, int], bias_decay: float
) -> None:
    """√n_B/N ≤ λ* ≤ √n_A/N, and the signed function falls through λ*, for up to 98 rare classes to each common one."""
    few, many = counts[0], counts[0] + counts[1]
    for mode in ({"bias": False}, {}, {"lambda_b": bias_decay}):
        model = lp.UFM(np.repeat([many, few], sizes), 1.0, **mode)
        threshold = two_cluster_threshold(model)
        low, high = (np.sqrt(count) / model.num_samples for count in (few, many))
        assert low * (1 - 1e-9) <= threshold <= high * (1 + 1e-9)
        assert log_excess(model, threshold * (1 - 1e-4)) > 0 > log_excess(model, threshold * (1 + 1e-4))
        assert log_excess(model, low / 2) > 0


@pytest.mark.parametrize(
    ("mode", "expected"), [("no bias", 10 / 5 + 10 / 5), ("penalised", 4), ("free", 10 * 3000 / (25 * 500))]
)
def test_the_signed_function_at_small_decay(mode: str, expected: float) -> None:
    """Its limit for λ → 0 is K/m_A + K/m_B, but K N/(m²n) of the cluster of more samples with a free bias."""
    model = lp.UFM("500x5,100x5", 1.0, **MODES[mode])
    assert np.exp(log_excess(model, 1e-14)) == pytest.approx(expected, rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "share"), [("no bias", 0.0), ("penalised", 1 / 1.5), ("free", 1.0)])
def test_gap_of_squared_error_in_every_bias_mode(mode: str, share: float) -> None:
    """Statements 22 and 23, along proximal steps from a random start; the last one must close the gap."""
    counts, decay, decay_b = np.array([50.0, 20.0, 20.0, 5.0]), 0.02, 0.5
    total, root = counts.sum(), np.sqrt(counts)
    projection = np.eye(4) - share * np.outer(root, root) / total
    point = 3 * np.random.default_rng(0).normal(size=(4, 4))
    values, bounds = [], []
    for _ in range(500):
        residual = point - np.diag(root)
        gradient = projection @ residual / total
        smooth = 0.5 * float(np.sum(residual * gradient))
        mix = min(1.0, decay / np.linalg.norm(gradient, ord=2))
        norm = nuclear_norm(point)
        gap = (1 - mix) ** 2 * smooth + decay * norm + mix * float(np.sum(gradient * point))
        bias = -share / total * (residual.T @ root)
        direct = 0.5 * np.sum((residual + np.outer(root, bias)) ** 2) / total
        direct += 0.5 * decay_b * bias @ bias if mode == "penalised" else 0
        assert smooth == pytest.approx(direct, rel=1e-9)
        values.append(smooth + decay * norm)
        bounds.append(values[-1] - gap)
        left, stretch, right = np.linalg.svd(point - total * gradient)
        point = (left * np.maximum(stretch - total * decay, 0)) @ right
    assert max(bounds) <= min(values) + 1e-12
    assert values[-1] - bounds[-1] < 1e-10


def test_classes_of_nearly_equal_counts_nearly_coincide() -> None:
    """Past √n/N for both of them; the distance, over the largest mean, falls with the difference of the counts."""
    distances = []
    for difference in (20, 5, 1, 0):
        counts = np.array([5000, 5000, 1000, 1000 - difference])
        geometry = lp.UFM(counts, 1.1 * np.sqrt(1000) / counts.sum(), lambda_b=0.02).solve(tol=1e-12).geometry
        means = geometry.class_means
        distances.append(np.linalg.norm(means[2] - means[3]) / np.linalg.norm(means[0]))
    assert distances[0] > 2 * distances[1] > 4 * distances[2] > 0
    assert distances[3] < 1e-12


@pytest.mark.parametrize("mode", MODES)
def test_the_dual_times_the_optimum_is_symmetric(mode: str) -> None:
    model = lp.UFM("500,300,100,20", 0.004, **MODES[mode])
    geometry = model.solve(tol=1e-12).geometry
    probability = references.softmax_rows(geometry.mean_logits + geometry.bias)
    root = np.sqrt(model.counts)[:, None]
    dual = root * (np.eye(4) - probability) / (model.num_samples * model.lambda_z)
    product = dual @ (root * geometry.mean_logits).T
    np.testing.assert_allclose(product, product.T, atol=1e-6)
    np.testing.assert_allclose(product, root * geometry.gram_means * root.T, atol=1e-6)  # λ_w = λ_h


@pytest.mark.slow
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9))
def test_the_curvature_of_a_softmax_is_at_most_one_half(logits: list[float]) -> None:
    probability = references.softmax_rows(np.array([logits]))[0]
    assert np.linalg.eigvalsh(np.diag(probability) - np.outer(probability, probability))[-1] <= 0.5 + 1e-12


@pytest.mark.slow
@given(st.integers(0, 10**6))
def test_second_derivative_of_the_nuclear_norm(seed: int) -> None:
    """Statement 41 against the nuclear norm itself along a curve of matrices of rank 2."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 2, 2)
    block, below, beside = rng.normal(size=(2, 2)), rng.normal(size=(3, 2)), rng.normal(size=(2, 2))

    def along(step: float) -> float:
        corner = np.diag(values) + step * block
        lower = step**2 * below @ np.linalg.solve(corner, beside)
        return nuclear_norm(np.block([[corner, step * beside], [step * below, lower]]))

    step = 1e-3
    found = (along(step) + along(-step) - 2 * along(0.0)) / step**2
    expected = (block[0, 1] - block[1, 0]) ** 2 / values.sum()
    expected += np.sum(below**2 / values) + np.sum(beside**2 / values[:, None])
    assert found == pytest.approx(expected, rel=1e-2, abs=1e-4)


@pytest.mark.slow
@given(st.integers(0, 10**6))
def test_the_newton_blocks_are_the_second_derivative(seed: int) -> None:
    """Statement 42 without the loss's own curvature: ⟨G₀, corner⟩ + norm, along a curve of matrices of rank 2."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 2, 2)
    block, below, beside = rng.normal(size=(2, 2)), rng.normal(size=(3, 2)), rng.normal(size=(2, 2))
    normal = rng.normal(size=(3, 2))
    normal /= np.linalg.norm(normal, ord=2)

    def along(step: float) -> float:
        corner = np.diag(values) + step * block
        lower = step**2 * below @ np.linalg.solve(corner, beside)
        whole = np.block([[corner, step * beside], [step * below, lower]])
        return nuclear_norm(whole) + float(np.sum(normal * lower))

    images = (
        (block - block.T) / (values[:, None] + values),
        (below + normal @ beside.T) / values,
        (beside + below.T @ normal) / values[:, None],
    )
    pairs = zip(images, (block, below, beside), strict=True)
    expected = sum(float(np.sum(image * direction)) for image, direction in pairs)
    step = 1e-3
    assert expected >= -1e-12
    found = (along(step) + along(-step) - 2 * along(0.0)) / step**2
    assert found == pytest.approx(expected, rel=1e-2, abs=1e-4)
