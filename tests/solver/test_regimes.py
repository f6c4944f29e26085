"""Collapse on both sides of each threshold, degenerate cases, counts far apart, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import lopsided as lp
from lopsided.solver import softmax_start

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", ["500x5,100x5", "500x3,100x7", "900x2,400x3,100x2,10"])
def test_clusters_merge_exactly_at_their_threshold(counts: str, mode: str) -> None:
    settings = MODES[mode]
    model = lp.UFM(counts, 1.0, **settings)
    within = model.thresholds().within
    for cluster in np.flatnonzero(~np.isnan(within)):
        group = model.clusters.classes[cluster]
        for factor, lost in ((1 - 1e-6, False), (1 + 1e-6, True)):
            solution = lp.UFM(counts, within[cluster] * factor, **settings).solve()
            assert solution.status == "optimal"
            together = any(set(group) <= set(found) for found in solution.geometry.merged)
            assert together is lost
            assert solution.clusters[cluster].collapsed is lost
            means = solution.geometry.class_means[group]
            spread = np.linalg.norm(means - means.mean(axis=0))
            assert bool(spread < 1e-12) is lost


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", ["500,300,100", "300,100", "500x5,100x5", "20x10", "10,9,8,7,6,5"])
def test_everything_collapses_exactly_at_the_threshold(counts: str, mode: str) -> None:
    settings = MODES[mode]
    complete = lp.UFM(counts, 1.0, **settings).thresholds().complete
    below = lp.UFM(counts, complete * (1 - 1e-5), **settings).solve()
    above = lp.UFM(counts, complete * (1 + 1e-5), **settings).solve()
    assert below.status == above.status == "optimal"
    assert below.geometry.rank >= 1
    assert above.geometry.rank == 0
    assert above.geometry.merged == [list(range(above.problem.num_classes))]
    assert all(cluster.collapsed for cluster in above.clusters)
    np.testing.assert_array_equal(above.geometry.mean_logits, 0)
    # certified gap to the other side: zero is not optimal below
    zero = lp.certify_logits(below.problem, 0 * below.geometry.mean_logits, above.geometry.bias)
    assert zero.dual_norm > 1


def test_rank_falls_through_the_critical_decays() -> None:
    """(500², 100²) without a bias drops rank at .008333333 (two classes), .013541328 and .018633900."""
    for lambda_z, below, above in ((0.008333333, 3, 2), (0.013541328, 2, 1), (0.018633900, 1, 0)):
        solutions = [lp.UFM("500x2,100x2", lambda_z * factor, bias=False).solve() for factor in (1 - 1e-4, 1 + 1e-4)]
        assert [solution.status for solution in solutions] == ["optimal", "optimal"]
        ranks = [solution.geometry.rank for solution in solutions]
        assert ranks == [below, above]


@pytest.mark.slow
@pytest.mark.parametrize("loss", [lp.CrossEntropy(), lp.SquaredError()], ids=lambda loss: loss.name)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", ["500,300,200,100", "900x4,100,50", "900,500x2,100x3"])
def test_next_to_a_critical_decay(counts: str, mode: str, loss: lp.CrossEntropy | lp.SquaredError) -> None:
    """Where a singular value is all but zero, or a dual slack: certified in a few steps.

    A relative distance δ moves the objective by δ² only, so that nearer than 1e-6 no gap tells the two ranks apart.
    """
    model = lp.UFM(counts, 1.0, loss=loss, **MODES[mode])
    path = model.critical_path()
    assert len(path) >= 3
    for drop in path:
        ranks = (drop.rank_below, drop.rank_above)
        for offset in (1e-8, 1e-7, 1e-6):
            for factor, rank in ((1 - offset, drop.rank_below), (1 + offset, drop.rank_above)):
                solution = model.replaced(lambda_z=drop.lambda_z * factor).solve()
                assert solution.status == "optimal"
                assert solution.iterations <= 25
                assert solution.geometry.rank == rank or (offset < 1e-6 and solution.geometry.rank in ranks)


@pytest.mark.slow
@pytest.mark.parametrize("offset", [1e-8, 1e-7, 1e-6])
def test_next_to_a_critical_decay_of_many_clusters(offset: float) -> None:
    """85 clusters; where the rank falls from 9 to 8 was found by halving the interval to float64."""
    counts = np.round(500 * 0.01 ** (np.arange(100) / 99))
    for side, rank in ((-1, 9), (1, 8)):
        solution = lp.UFM(counts, 0.0016750766837054682 * (1 + side * offset), lambda_b=0.02).solve()
        assert solution.status == "optimal"
        assert solution.iterations <= 25
        assert solution.geometry.rank == rank


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "lambda_z"),
    [
        ("1,1000000000", 1e-7),
        ("1,1000000000", 1e-12),
        ("1x2,1000000000x2", 1e-8),
        ("1,10,1000,1000000,1000000000", 1e-9),
        ("1000000000x3", 1e-9),
        ("1,1", 0.1),
        ("1x50,2", 1e-3),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_counts_from_one_to_a_billion(counts: str, lambda_z: float, mode: str) -> None:
    solution = lp.UFM(counts, lambda_z, **MODES[mode]).solve()
    assert solution.status == "optimal"
    assert solution.gap <= 1e-9 * solution.objective


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_all_distinct_counts(mode: str) -> None:
    counts = np.arange(1, 101)
    solution = lp.UFM(counts, 0.5 / counts.sum(), **MODES[mode]).solve()
    assert solution.status == "optimal"
    assert solution.geometry.merged == []
    assert solution.gap <= 1e-9 * solution.objective


def test_a_decay_of_1e_minus_290_is_solved() -> None:
    solution = lp.UFM("500x5,100x5", 1e-290, bias=False).solve()
    assert solution.geometry.rank == 9
    assert solution.gap <= 1e-9 * solution.objective


def test_an_integer_weight_is_a_repeated_sample() -> None:
    """Counts c·n with λ/√c are the same problem."""
    one = lp.UFM("50x3,10x2", 0.01, lambda_b=0.02).solve()
    seven = lp.UFM("350x3,70x2", 0.01 / np.sqrt(7), lambda_b=0.02).solve()
    assert one.status == seven.status == "optimal"
    np.testing.assert_allclose(one.geometry.mean_logits, seven.geometry.mean_logits, atol=1e-9)


def test_coarse_start_and_direct_start_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.unique(np.round(1280 * np.exp(-5.5 * np.arange(40) / 40)))[::-1]
    model = lp.UFM(counts, 3 * np.sqrt(counts.min()) / counts.sum(), lambda_b=0.02)
    coarse = model.solve()
    monkeypatch.setattr(softmax_start, "SMALL", 1000)
    direct = model.solve()
    assert coarse.status == direct.status == "optimal"
    assert coarse.objective == pytest.approx(direct.objective, rel=1e-12)
    assert coarse.geometry.rank == direct.geometry.rank
    np.testing.assert_allclose(coarse.geometry.mean_logits, direct.geometry.mean_logits, atol=1e-6)


def test_too_few_iterations_are_confessed() -> None:
    solution = lp.UFM("500,300,100,20", 1e-3, lambda_b=0.02).solve(max_iterations=1)
    assert solution.status == "not_certified"
    assert solution.gap > 1e-9
    assert "max_iterations" in solution.message
    enough = lp.UFM("500,300,100,20", 1e-3, lambda_b=0.02).solve(max_iterations=np.int64(50))  # type: ignore[arg-type]
    assert enough.status == "optimal"


def test_what_float64_cannot_certify_is_confessed() -> None:
    solution = lp.UFM("1,1000000000", 1e-250).solve()
    assert solution.status == "not_certified"
    assert solution.gap > 1e-9
    assert "float64 gives no more" in solution.message


@pytest.mark.parametrize(
    ("argument", "value"),
    [("tol", 0.0), ("tol", 1e-16), ("tol", 1.0), ("tol", float("nan")), ("tol", "x"), ("max_iterations", 0)],
)
def test_bad_settings_are_refused(argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=argument):
        lp.UFM("5,3", 0.1).solve(**{argument: value})


def test_foreign_logits_must_fit() -> None:
    model = lp.UFM("5,3", 0.1, bias=False)
    with pytest.raises(ValueError, match="mean_logits must have shape"):
        lp.certify_logits(model, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="mean_logits must be finite"):
        lp.certify_logits(model, np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="bias=False"):
        lp.certify_logits(model, np.zeros((2, 2)), np.ones(2))


def test_a_geometry_of_thousands_of_classes_stays_small() -> None:
    """8142 classes in three clusters: nothing of size K × K until somebody asks for it."""
    solution = lp.UFM("1000x142,100x2000,10x6000", 1e-6, lambda_b=0.02).solve()
    assert solution.status == "optimal"
    assert solution.geometry.rank + sum(len(group) - 1 for group in solution.geometry.merged) == 8141
    assert "_resolved" not in vars(solution.geometry)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lambda_z", [1e-16, 1e-32, 1e-100])
@pytest.mark.parametrize("counts", ["90,10", "500x5,100x5", "50,40,30,7"])
def test_certificate_holds_where_probabilities_round_to_one(counts: str, lambda_z: float, mode: str) -> None:
    """The gap is small against an objective of 1e-100, not only against 1."""
    solution = lp.UFM(counts, lambda_z, **MODES[mode]).solve()
    assert solution.gap <= 1e-9 * solution.objective
    assert solution.geometry.rank == solution.problem.num_classes - 1
    # and a point that is off by a nat is not certified
    wrong = lp.certify_logits(solution.problem, 0.9 * solution.geometry.mean_logits, solution.geometry.bias)
    assert wrong.gap >= (wrong.objective - solution.objective) * (1 - 1e-9) > 0


@pytest.mark.parametrize("lambda_z", [1e-8, 1e-32, 1e-250])
def test_two_classes_at_any_decay(lambda_z: float) -> None:
    solution = lp.UFM("90,10", lambda_z, bias=False).solve()
    half = 0.5 * np.log(1 / (lambda_z * np.sqrt(50)) - 1)
    np.testing.assert_allclose(solution.geometry.mean_logits, [[half, -half], [-half, half]], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("lambda_z", [1e-250, 1e-200, 1e99])
@pytest.mark.parametrize("mode", MODES)
def test_counts_far_apart_at_absurd_decays_are_solved_or_refused(lambda_z: float, mode: str) -> None:
    model = lp.UFM("1,1000000000", lambda_z, **MODES[mode])
    try:
        solution = model.solve()
    except ValueError as error:
        assert str(error).startswith("lambda_z must be of a size")  # noqa: PT017
    else:
        assert solution.objective >= 0
        assert (solution.status == "optimal") is (solution.gap <= 1e-9 * max(1.0, solution.objective))


@pytest.mark.slow
@pytest.mark.parametrize("offset", [1e-7, 1e-6, 1e-5])
@pytest.mark.parametrize(
    ("counts", "margins", "cluster"),
    [
        ("100x3", [0.5] * 3, 0),
        ("300x2,50x3", [0.2, 0.2, 1, 1, 1], 1),
        ("1000,1", None, None),
        ("1000000,3", None, None),
    ],
)
def test_nothing_is_left_above_a_threshold(
    counts: str, margins: list[float] | None, cluster: int | None, offset: float
) -> None:
    """A solve ends when its gap is small, which is before the last direction has quite gone."""
    model = lp.UFM(counts, 1.0, lambda_b=0.02, loss=lp.CrossEntropy(margins=margins))
    thresholds = model.thresholds()
    critical = thresholds.complete if cluster is None else float(thresholds.within[cluster])
    above, below = (model.replaced(lambda_z=critical * (1 + change)).solve() for change in (offset, -1e-4))
    assert max(above.gap / above.objective, below.gap / below.objective) < 1e-9
    assert above.geometry.rank < below.geometry.rank
    if cluster is not None:
        assert above.clusters[cluster].collapsed
        assert not below.clusters[cluster].collapsed
