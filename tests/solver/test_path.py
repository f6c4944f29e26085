"""Many decays by warm starts: the answers of cold starts, whatever the order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lopsided as lp

MODES: dict[str, dict[str, Any]] = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
WEIGHTS = np.repeat([0.5, 2.0, 1.5, 1.0], [3, 2, 1, 1])
LOSSES: dict[str, lp.CrossEntropy | lp.SquaredError] = {
    "cross-entropy": lp.CrossEntropy(),
    "every setting": lp.CrossEntropy(
        weights=WEIGHTS, label_smoothing=0.05, logit_adjustment=0.5, margins=WEIGHTS / 5, scales=WEIGHTS**0.1
    ),
    "squared error": lp.SquaredError(),
    "squared error, weights": lp.SquaredError(weights=WEIGHTS, reduction="samples"),
}
COUNTS = "500x3,100x2,40,7"


def assert_cold(model: lp.UFM, decays: list[float], tol: float = 1e-9) -> list[tuple[lp.Solution, lp.Solution]]:
    """Solve a path, and each of its decays by itself: both solutions of each."""
    solutions = lp.solve_path(model, decays, tol=tol)
    assert [solution.problem.lambda_z for solution in solutions] == decays
    colds = [solution.problem.solve(tol) for solution in solutions]
    for solution, cold in zip(solutions, colds, strict=True):
        assert solution.status == cold.status == "optimal"
        assert solution.gap <= tol * max(1.0, solution.objective)
        assert abs(solution.objective - cold.objective) <= 1e-9 * max(1.0, cold.objective)
        assert (solution.geometry.rank, solution.geometry.merged) == (cold.geometry.rank, cold.geometry.merged)
        check = lp.certify_logits(solution.problem, solution.geometry.mean_logits, solution.geometry.bias)
        assert check.gap <= 2 * tol * max(1.0, solution.objective)
    return list(zip(solutions, colds, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("mode", MODES)
def test_a_path_is_its_cold_solves(mode: str, name: str) -> None:
    model = lp.UFM(COUNTS, 1.0, loss=LOSSES[name], **MODES[mode])
    complete = model.thresholds().complete
    decays = (complete * np.geomspace(1e-4, 1.2, 8)).tolist()
    for solution, cold in assert_cold(model, decays, tol=1e-12):
        np.testing.assert_allclose(solution.geometry.mean_logits, cold.geometry.mean_logits, atol=1e-8)
        np.testing.assert_allclose(solution.geometry.bias, cold.geometry.bias, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [lp.CrossEntropy(), lp.SquaredError()], ids=lambda loss: loss.name)
@pytest.mark.parametrize("mode", MODES)
def test_many_clusters(mode: str, loss: lp.CrossEntropy | lp.SquaredError) -> None:
    """More clusters than are solved without a coarser problem first."""
    counts = np.unique(np.round(1280 * np.exp(-5.5 * np.arange(40) / 40)))[::-1]
    model = lp.UFM(counts, 1.0, loss=loss, **MODES[mode])
    assert model.clusters.num_clusters > 24
    assert_cold(model, (np.array([0.03, 0.5, 2.0, 8.0, 12.0]) * np.sqrt(counts.min()) / counts.sum()).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@given(st.lists(st.floats(1e-5, 0.02), max_size=6))
@settings(max_examples=10)
def test_the_order_does_not_matter(mode: str, decays: list[float]) -> None:
    model = lp.UFM("500x3,100x2,40", 1.0, **MODES[mode])
    assert_cold(model, decays)


@pytest.mark.slow
def test_the_order_does_not_change_a_digit() -> None:
    """Decays are solved from the largest down, however they are listed; those given twice get one answer."""
    model = lp.UFM("500x3,100x2,40", 1.0, lambda_b=0.02)
    decays = [0.003, 0.0001, 0.01, 0.003, 0.001]
    there, back = lp.solve_path(model, decays), lp.solve_path(model, decays[::-1])[::-1]
    for one, two in zip(there, back, strict=True):
        assert one.objective == pytest.approx(two.objective, rel=1e-12)
    np.testing.assert_allclose(there[0].geometry.mean_logits, there[3].geometry.mean_logits, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_past_complete_collapse_nothing_is_left(mode: str) -> None:
    for loss in (lp.CrossEntropy(), lp.SquaredError()):
        model = lp.UFM("500x3,100x2,40", 1.0, loss=loss, **MODES[mode])
        complete = model.thresholds().complete
        for solution, _ in assert_cold(model, [complete * factor for factor in (1.001, 50.0, 2.0, 2.0)]):
            assert solution.geometry.rank == 0
            assert len(solution.singular_values) == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_the_rank_never_rises_with_the_decay(mode: str) -> None:
    """Seen here, not proved."""
    model = lp.UFM(COUNTS, 1.0, **MODES[mode])
    decays = model.thresholds().complete * np.geomspace(1e-3, 1.1, 30)
    ranks = [solution.geometry.rank for solution in lp.solve_path(model, decays)]
    assert ranks == sorted(ranks, reverse=True)
    assert (ranks[0], ranks[-1]) == (6, 0)


def test_progress_is_told_decay_by_decay() -> None:
    told: list[tuple[int, int]] = []
    lp.solve_path(lp.UFM("5,3", 1.0), [0.1, 0.2, 0.01], progress=lambda *done: told.append(done))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_no_decay_is_no_solution() -> None:
    assert lp.solve_path(lp.UFM("5,3", 1.0), []) == []


def test_an_iterator_and_the_ratio_of_the_decays() -> None:
    """λ_w/λ_h stays, and decays may come one by one."""
    model = lp.UFM("50,20,3", lambda_w=0.4, lambda_h=0.1)
    for solution in lp.solve_path(model, (decay for decay in (0.01, 0.02))):
        assert solution.problem.lambda_w == pytest.approx(4 * solution.problem.lambda_h)


def test_too_few_iterations_are_confessed() -> None:
    found = lp.solve_path(lp.UFM("500,300,100,20", 1.0, lambda_b=0.02), [1e-3, 5e-3], max_iterations=1)
    assert [solution.status for solution in found] == ["not_certified"] * 2
    assert all(solution.gap > 1e-9 and "max_iterations" in solution.message for solution in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decays": [0.1, -0.1]}, r"^lambda_z must be a finite number above 0; got -0.1$"),
        ({"decays": [0.1], "tol": 0.0}, "^tol must be"),
        ({"decays": [0.1], "max_iterations": 0}, "^max_iterations must be"),
    ],
)
def test_bad_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lp.solve_path(lp.UFM("5,3", 1.0), **arguments)


def test_problems_that_are_not_convex_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^features must be 'any' for the certified solver"):
        lp.solve_path(lp.UFM("5,3", 1.0, features="relu"), [0.1])
