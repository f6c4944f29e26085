"""The decays at which the rank drops, against known ones and on both sides of each."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import lopsided as lp
from lopsided.solver import optimum_of
from lopsided.theory import critical_path

KNOWN: list[tuple[str, dict[str, Any], list[float]]] = [
    ("500,300,100", {"bias": False}, [0.022647869, 0.014438574]),
    ("500,300,100", {}, [0.021639118, 0.012594626]),
    ("500x2,100x2", {"bias": False}, [0.018633900, 0.013541328, 0.008333333]),
    ("500x5,100x5", {"bias": False}, [0.007453560, 0.004605316, 0.003333333]),
    ("500x5,100x5", {"lambda_b": 0.02}, [0.007453560, 0.003983263, 0.003333333]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "settings", "decays"), KNOWN)
def test_known_critical_decays(counts: str, settings: dict[str, Any], decays: list[float]) -> None:
    path = lp.UFM(counts, 1.0, **settings).critical_path()
    assert [drop.lambda_z for drop in path] == pytest.approx(decays, abs=2e-9)
    assert path[0].rank_above == 0
    assert path[-1].rank_below == lp.UFM(counts, 1.0).num_classes - 1


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"bias": False}, {"lambda_b": 0.02}, {}])
@pytest.mark.parametrize("counts", ["900,300x2,100,20x2", "70,50,3", "30x4,10x2"])
def test_rank_on_both_sides(counts: str, settings: dict[str, Any]) -> None:
    path = lp.UFM(counts, 1.0, **settings).critical_path()
    for drop in path:
        for factor, rank in ((1 - 1e-5, drop.rank_below), (1 + 1e-5, drop.rank_above)):
            solution = lp.UFM(counts, drop.lambda_z * factor, **settings).solve(tol=1e-11)
            assert solution.status == "optimal"
            assert solution.geometry.rank == rank
    for above, below in itertools.pairwise(path):
        assert above.lambda_z > below.lambda_z
        assert above.rank_below == below.rank_above


@pytest.mark.slow
def test_losses_have_paths_too() -> None:
    loss = lp.CrossEntropy(weights=[1, 1, 3, 3, 3], label_smoothing=0.1)
    path = lp.UFM("50x2,20x3", 1.0, loss=loss, lambda_b=0.02).critical_path()
    assert path[-1].rank_below == 4
    model = lp.UFM("50x2,20x3", 1.0, loss=loss, lambda_b=0.02)
    merging = {cluster: drop.lambda_z for drop in path for cluster in drop.merging}
    assert [merging[0], merging[1]] == pytest.approx(list(model.thresholds().within), rel=1e-9)


def test_equal_counts_drop_at_once() -> None:
    (drop,) = lp.UFM("20x5", 1.0).critical_path()
    assert (drop.rank_below, drop.rank_above, drop.merging) == (4, 0, [0])
    assert drop.lambda_z == pytest.approx(20**0.5 / 100, rel=1e-12)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_bad_search_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="smallest_share"):
        critical_path(lp.UFM("5,3", 1.0), smallest_share=share)


@pytest.mark.slow
def test_a_long_tail_costs_a_few_optima_a_direction_and_each_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every root is bracketed by certified optima, and they are few."""
    solved: list[float] = []

    def counted(reduced: Any, tol: float) -> Any:
        solved.append(reduced.decay)
        return optimum_of(reduced, tol)

    monkeypatch.setattr("lopsided.theory.path.optimum_of", counted)
    told: list[tuple[int, int]] = []
    counts = [round(500 * 0.01 ** (k / 9)) for k in range(10)]
    path = critical_path(lp.UFM(counts, 1.0, lambda_b=0.02), progress=lambda *done: told.append(done))
    assert [drop.rank_below for drop in path] == list(range(1, 10))
    assert len(solved) <= 7 * len(path)
    assert told == [(done, 9) for done in range(10)]
    # the complete threshold needs no bracket; every other root has an optimum near on both sides
    for drop in path[1:]:
        assert max(decay for decay in solved if decay < drop.lambda_z) > drop.lambda_z * (1 - 5e-5)
        assert min(decay for decay in solved if decay > drop.lambda_z) < drop.lambda_z * (1 + 5e-7)
