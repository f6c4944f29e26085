from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
import references
from lopsided.solver import orthant_norm, stationary_point
from lopsided.theory import relu_complete_threshold, relu_optimum

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "decay"), [([50, 20, 5], 0.02), ([50, 20, 5], 0.05), ([40, 40, 10, 10], 0.03)])
def test_no_bias_against_direct_minimisation(counts: list[int], decay: float) -> None:
    """None of many random starts ends lower, the best ends there, and the logits are the same."""
    geometry = relu_optimum(lp.UFM(counts, decay, bias=False))
    value = references.ufm_objective(np.array(counts), geometry.mean_logits, np.zeros(len(counts)), 0.0)
    value += (
        decay / 2 * float(np.sum(geometry.classifier**2) + np.array(counts) @ np.sum(geometry.class_means**2, axis=1))
    )
    reached = [references.relu_ufm(counts, decay, seed) for seed in range(5)]
    best, logits = min(reached, key=lambda found: found[0])
    assert min(found[0] for found in reached) >= value - 1e-12
    assert best == pytest.approx(value, rel=1e-7)
    np.testing.assert_allclose(logits, geometry.mean_logits, atol=1e-3)


@given(
    counts=st.lists(st.integers(1, 10**5), min_size=2, max_size=9),
    position=st.floats(1e-3, 3).filter(lambda position: abs(position - 1) > 1e-6),
)
def test_each_class_is_lost_past_its_own_threshold(counts: list[int], position: float) -> None:
    classes, total = len(counts), sum(counts)
    threshold = np.sqrt(counts[0] * (classes - 1) / classes) / total
    model = lp.UFM(counts, position * threshold, bias=False)
    geometry = relu_optimum(model)
    assert (geometry.mean_logits[0, 0] > 0) == (position < 1)
    off = geometry.gram_means[~np.eye(classes, dtype=bool)]
    np.testing.assert_array_equal(off, np.zeros_like(off))
    assert (geometry.class_means >= 0).all()
    lost = np.flatnonzero(np.diag(geometry.mean_logits) == 0).tolist()
    assert geometry.merged == ([lost] if len(lost) > 1 else [])
    assert geometry.rank == np.linalg.matrix_rank(geometry.mean_logits)


def test_balance_of_the_factors() -> None:
    model = lp.UFM("500x2,100x3", lambda_w=0.05, lambda_h=1e-3, bias=False)
    geometry = relu_optimum(model)
    features = geometry.counts[:, None] * geometry.class_means**2
    np.testing.assert_allclose(
        model.lambda_w * np.sum(geometry.classifier**2), model.lambda_h * features.sum(), rtol=1e-12
    )
    same = relu_optimum(lp.UFM("500x2,100x3", model.lambda_z, bias=False))
    np.testing.assert_allclose(same.mean_logits, geometry.mean_logits, rtol=1e-12)


def test_the_papers_early_collapse() -> None:
    """5 × 500, 5 × 100: the networks collapsed between .0063 and .0069, the linear theory says .00745."""
    found = {mode: relu_complete_threshold(lp.UFM("500x5,100x5", 1.0, **MODES[mode])) for mode in MODES}
    for mode, expected in (("no bias", 0.0070710678), ("penalised", 0.0067525457), ("free", 0.0067128033)):
        assert found[mode].lower == pytest.approx(expected, abs=1e-10)
        assert found[mode].upper == pytest.approx(expected, abs=1e-10)
    assert lp.UFM("500x5,100x5", 1.0, lambda_b=0.02).thresholds().complete == pytest.approx(0.0074535599)


@pytest.mark.slow
@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
@pytest.mark.parametrize("counts", ["500x5,100x5", "90,30,10", "500x3,100x7", "200,50x3"])
def test_complete_collapse_on_both_sides(counts: str, options: dict[str, object]) -> None:
    bracket = relu_complete_threshold(lp.UFM(counts, 1.0, **options))
    above = stationary_point(lp.UFM(counts, 1.002 * bracket.upper, features="relu", **options), starts=3)
    assert above.geometry.rank == 0
    assert above.gap < 1e-9
    below = stationary_point(lp.UFM(counts, 0.99 * bracket.lower, features="relu", **options), starts=3)
    assert below.geometry.rank > 0
    assert below.gap < 1e-9
    assert bracket.upper == pytest.approx(bracket.lower, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@given(counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=8))
def test_never_later_than_without_the_restriction(mode: str, counts: list[int]) -> None:
    model = lp.UFM(counts, 1.0, **MODES[mode])
    bracket = relu_complete_threshold(model)
    assert bracket.lower <= bracket.upper * (1 + 1e-12)
    assert bracket.lower <= model.thresholds().complete * (1 + 1e-7)
    if mode == "no bias":
        classes = len(counts)
        expected = np.sqrt(max(counts) * (classes - 1) / classes) / sum(counts)
        assert bracket.upper == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("counts", ["500x5,100x5", "30,20,5,2"])
@pytest.mark.parametrize("position", [0.3, 0.6, 0.9])
def test_stationary_point_without_bias_is_the_closed_form(counts: str, position: float) -> None:
    decay = position * relu_complete_threshold(lp.UFM(counts, 1.0, bias=False)).upper
    model = lp.UFM(counts, decay, lambda_w=3 * decay, bias=False, features="relu")
    found, expected = stationary_point(model, starts=3), relu_optimum(model)
    assert found.gap < 1e-10
    assert found.residual < 1e-8
    assert found.geometry.rank == expected.rank
    np.testing.assert_allclose(found.geometry.mean_logits, expected.mean_logits, atol=1e-6)
    np.testing.assert_allclose(found.geometry.gram_means, expected.gram_means, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.01, 0.03, 0.06])
def test_stationary_point_with_bias_against_direct_minimisation(decay: float) -> None:
    counts = [50, 20, 5]
    found = stationary_point(lp.UFM(counts, decay, lambda_b=0.02, features="relu"))
    reached = [references.relu_ufm(counts, decay, seed, bias_decay=0.02)[0] for seed in range(4)]
    assert min(reached) == pytest.approx(found.objective, rel=1e-7)
    assert found.objective == min(found.objectives)
    assert found.objective - found.gap <= min(reached) + 1e-12
    assert found.objective >= lp.UFM(counts, decay, lambda_b=0.02).solve().objective


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_orthant_norm_holds_on_both_sides(seed: int, classes: int) -> None:
    """Against a fine search of the non-negative directions."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(classes + 1, classes))
    bracket = orthant_norm(matrix)
    directions = np.abs(generator.normal(size=(2000, classes)))
    directions *= generator.random((2000, classes)) < 0.7
    lengths = np.linalg.norm(directions, axis=1)
    directions = directions[lengths > 0] / lengths[lengths > 0, None]
    searched = np.max(np.linalg.norm(directions @ matrix.T, axis=1), initial=0.0)
    assert searched <= bracket.upper * (1 + 1e-12)
    longest_column = float(np.linalg.norm(matrix, axis=0).max())
    assert longest_column <= bracket.lower * (1 + 1e-12)
    assert bracket.lower <= bracket.upper * (1 + 1e-12)
    if (matrix.T @ matrix >= 0).all() or (np.triu(matrix.T @ matrix, 1) <= 0).all():
        assert bracket.lower == pytest.approx(bracket.upper, rel=1e-6)
    assert bracket.upper <= np.linalg.norm(np.abs(matrix.T @ matrix), ord=2) ** 0.5 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: relu_optimum(lp.UFM("5,4", 0.1, lambda_b=0.5)),
            "problem must have bias=False, for which .*; got lambda_b=0.5; use solve.* of a model with features='relu'",
        ),
        (
            lambda: stationary_point(lp.UFM("5,4", 0.1, bias=False), starts=0),
            "starts must be a whole number of at least 1; got 0",
        ),
        (
            lambda: stationary_point(lp.UFM("5,4", 0.1, bias=False), dimension=2.5),
            "dimension must be a whole number of at least 1; got 2.5",
        ),
    ],
)
def test_bad_input(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
