"""What must hold for any counts and any decay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lopsided as lp

counts = st.lists(st.integers(1, 2000), min_size=2, max_size=7)
repeated = st.lists(st.tuples(st.integers(1, 500), st.integers(1, 4)), min_size=1, max_size=4).map(
    lambda terms: [count for count, times in terms for _ in range(times)] + [terms[0][0]]
)
modes = st.one_of(
    st.just({"bias": False}),
    st.just({"lambda_b": 0.0}),
    st.floats(1e-4, 10).map(lambda decay: {"lambda_b": decay}),
)
shares = st.floats(1e-4, 1.1)


def model(values: list[int], mode: dict[str, float], share: float) -> lp.UFM:
    return lp.UFM(values, share * lp.UFM(values, 1.0, **mode).thresholds().complete, **mode)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.one_of(counts, repeated), modes, shares)
def test_certificate_and_distance_to_the_labels(values: list[int], mode: dict[str, float], share: float) -> None:
    """Certified, and ‖e_k − p_k‖ ≤ Nλ/√n_k for every class."""
    problem = model(values, mode, share)
    solution = problem.solve()
    assert solution.status == "optimal"
    outputs = solution.geometry.mean_logits + solution.geometry.bias
    weights = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    residual = np.eye(len(values)) - weights / weights.sum(axis=1, keepdims=True)
    bound = problem.num_samples * problem.lambda_z / np.sqrt(problem.counts)
    assert (np.linalg.norm(residual, axis=1) <= bound * (1 + 1e-6) + 1e-9).all()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.one_of(counts, repeated), modes, shares, st.randoms(use_true_random=False))
def test_permuting_the_classes_permutes_the_optimum(values, mode, share, random) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    problem = model(values, mode, share)
    plain = problem.solve()
    shuffled = lp.UFM(np.array(values)[order], problem.lambda_z, **mode).solve()
    scale = 1 + np.abs(plain.geometry.mean_logits).max()
    np.testing.assert_allclose(
        shuffled.geometry.mean_logits, plain.geometry.mean_logits[np.ix_(order, order)], atol=2e-4 * scale
    )
    assert abs(shuffled.objective - plain.objective) <= 1e-9 * max(1.0, plain.objective)
    place = {old: new for new, old in enumerate(order)}
    moved = sorted(sorted(place[k] for k in group) for group in plain.geometry.merged)
    assert moved == shuffled.geometry.merged


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(counts, modes, shares, st.integers(2, 50))
def test_scaling_counts_and_decay_changes_nothing(values, mode, share, factor) -> None:
    """(n, λ) → (c n, λ/√c) leaves Z, b and the objective as they are."""
    problem = model(values, mode, share)
    plain = problem.solve()
    scaled = lp.UFM(np.array(values) * factor, problem.lambda_z / np.sqrt(factor), **mode).solve()
    assert abs(scaled.objective - plain.objective) <= 1e-9 * max(1.0, plain.objective)
    scale = 1 + np.abs(plain.geometry.mean_logits).max()
    np.testing.assert_allclose(scaled.geometry.mean_logits, plain.geometry.mean_logits, atol=2e-4 * scale)
    np.testing.assert_allclose(scaled.geometry.bias, plain.geometry.bias, atol=2e-4 * scale)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_rotating_the_features_changes_no_measure(classes: int, extra: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    means, weight = rng.normal(size=(2, classes, classes + extra))
    rotation = np.linalg.qr(rng.normal(size=(classes + extra, classes + extra)))[0]
    plain = lp.Geometry(np.ones(classes), means, weight)
    rotated = lp.Geometry(np.ones(classes), means @ rotation, weight @ rotation)
    for name in ("mean_logits", "gram_means", "gram_classifier", "cosines_means", "cosines_classifier"):
        np.testing.assert_allclose(getattr(rotated, name), getattr(plain, name), atol=1e-9)
    assert rotated.merged == plain.merged
    assert rotated.rank == plain.rank
