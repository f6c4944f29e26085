"""Classes whose means are exactly zero: they coincide, whatever their counts."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import lopsided as lp
from lopsided.training.diagnosis import diagnose

MODES: dict[str, dict[str, Any]] = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}


@cache
def path_of(counts: str, mode: str) -> tuple[lp.UFM, list[lp.CriticalDecay]]:
    """A model and its critical decays, each followed once."""
    model = lp.UFM(counts, 1.0, **MODES[mode])
    return model, model.critical_path()


def halfway(model: lp.UFM, path: list[lp.CriticalDecay]) -> lp.Solution:
    """The optimum halfway between the two largest critical decays."""
    first, second = path[:2]
    solution = model.replaced(lambda_z=(first.lambda_z + second.lambda_z) / 2).solve()
    assert solution.status == "optimal"
    assert solution.geometry.rank == first.rank_below == second.rank_above
    return solution


def assert_agreed(solution: lp.Solution, together: list[int]) -> None:
    """One group at zero, and all that reads a geometry says so."""
    geometry = solution.geometry
    assert geometry.merged == [together]
    np.testing.assert_allclose(geometry.class_means[together], 0, atol=1e-13 * np.abs(geometry.class_means).max())
    lost = [set(cluster.classes) <= set(together) for cluster in solution.clusters]
    assert [cluster.collapsed for cluster in solution.clusters] == lost
    # a measurement of the very same layer, told neither rank nor groups
    measured = lp.Geometry(geometry.counts, geometry.class_means, geometry.classifier, geometry.bias)
    assert (measured.rank, measured.merged) == (geometry.rank, [together])
    comparison = lp.compare(geometry, measured)
    assert comparison.same_merged
    assert comparison.same_rank
    row = {"epoch": 9, "objective": 1.0, "decay_factor": 1.0, "nc1_rank_aware": 1e-3, "rank": geometry.rank}
    assert diagnose([row], predicted=geometry, measured=measured) == ()
    assert lp.Outlook.measured(geometry).lost == together


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_two_classes_of_different_counts_meet_at_zero(mode: str) -> None:
    solution = halfway(*path_of("900x4,100,50", mode))
    assert solution.geometry.rank == 3
    assert_agreed(solution, [4, 5])


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_two_clusters_meet_at_zero(mode: str) -> None:
    solution = halfway(*path_of("500x3,100x3,50x3", mode))
    assert solution.geometry.rank == 2
    assert_agreed(solution, [3, 4, 5, 6, 7, 8])


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_two_clusters_that_have_merged_apart_are_two_groups(mode: str) -> None:
    """Between the second critical decay and the rarer clusters' own ones, each is a point, and not the same."""
    model, path = path_of("500x3,100x3,50x3", mode)
    second, third = path[1:3]
    solution = model.replaced(lambda_z=(second.lambda_z + third.lambda_z) / 2).solve()
    assert solution.geometry.merged == [[3, 4, 5], [6, 7, 8]]
    assert [cluster.collapsed for cluster in solution.clusters] == [False, True, True]
    assert lp.Outlook.measured(solution.geometry).lost == [3, 4, 5, 6, 7, 8]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_one_class_alone_at_zero_has_nothing_to_merge_with(mode: str) -> None:
    solution = halfway(*path_of("900x4,100", mode))
    np.testing.assert_allclose(solution.geometry.class_means[4], 0, atol=1e-12)
    assert solution.geometry.merged == []
    assert not any(cluster.collapsed for cluster in solution.clusters)


def test_squared_error_without_a_bias() -> None:
    """Classes are lost one count after another, and meet at zero from the second on."""
    model = lp.UFM("500x2,100,50", 1.0, bias=False, loss=lp.SquaredError())
    path = model.critical_path()
    assert [drop.lambda_z for drop in path] == pytest.approx(np.sqrt([500, 100, 50]) / 1150, rel=1e-8)
    assert [(drop.rank_below, drop.rank_above) for drop in path] == [(2, 0), (3, 2), (4, 3)]
    assert_agreed(halfway(model, path), [2, 3])
    one_lost = model.replaced(lambda_z=(path[1].lambda_z + path[2].lambda_z) / 2).solve()
    assert (one_lost.geometry.rank, one_lost.geometry.merged) == (3, [])


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_origin_is_judged_relative_to_the_longest_row(scale: float) -> None:
    """λ_w and λ_h change the lengths of means and classifier, and not which are zero."""
    decay = halfway(*path_of("900x4,100,50", "penalised")).problem.lambda_z
    solution = lp.UFM("900x4,100,50", lambda_w=scale * decay, lambda_h=decay / scale, lambda_b=0.02).solve()
    assert solution.geometry.merged == [[4, 5]]
