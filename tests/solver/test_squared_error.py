"""Squared error: against an independent solver and its closed form, by its certificate, and at its thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
import references
from lopsided.theory import squared_error_optimum

COUNTS = np.repeat([50, 20, 5], [2, 3, 1])
CLASSES = len(COUNTS)
MODES: dict[str, dict[str, Any]] = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
#: One weight a cluster, which neither keeps nor reverses the order of the counts.
WEIGHTS = np.repeat([0.5, 2.0, 1.5], [2, 3, 1])

#: The loss, and the same written out for the independent solver.
LOSSES: dict[str, tuple[lp.SquaredError, dict[str, Any]]] = {
    "plain": (lp.SquaredError(), {}),
    "weights, weighted mean": (
        lp.SquaredError(weights=WEIGHTS),
        {"weights": WEIGHTS, "normaliser": float(WEIGHTS @ COUNTS)},
    ),
    "weights, over the samples": (lp.SquaredError(weights=WEIGHTS, reduction="samples"), {"weights": WEIGHTS}),
}


def rank_of(geometry: lp.Geometry) -> int:
    """Rank from the numbers alone."""
    scaled = np.sqrt(geometry.counts)[:, None] * geometry.mean_logits
    return int(np.sum(np.linalg.svd(scaled, compute_uv=False) > 1e-9 * np.sqrt(geometry.counts.max())))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_agrees_with_an_independent_solver(name: str, mode: str, share: float) -> None:
    loss, written_out = LOSSES[name]
    settings = MODES[mode]
    lambda_z = share * lp.UFM(COUNTS, 1.0, loss=loss, **settings).thresholds().complete
    model = lp.UFM(COUNTS, lambda_z, loss=loss, **settings)
    solution = model.solve()
    geometry = solution.geometry
    assert solution.status == "optimal"
    assert 0 < solution.gap <= 1e-9
    penalty = settings.get("lambda_b", 0.0)
    own = references.squared_error_objective(
        COUNTS, geometry.mean_logits, geometry.bias, lambda_z, penalty, **written_out
    )
    assert own == pytest.approx(solution.objective, rel=1e-12)
    assert rank_of(geometry) == geometry.rank <= model.num_directions
    value, logits = references.squared_error_by_cvxpy(COUNTS, lambda_z, **settings, **written_out)
    # its own accuracy is about 1e-8; ours must never be the worse of the two
    assert solution.objective <= value + 1e-9
    assert solution.objective == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(geometry.mean_logits, logits, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_gap_bounds_the_distance_to_the_optimum(name: str, mode: str) -> None:
    """At any logits and any bias: the excess over the best value known, and the objective term by term."""
    loss, written_out = LOSSES[name]
    settings = MODES[mode]
    model = lp.UFM(COUNTS, 0.02, loss=loss, **settings)
    optimum = model.solve()
    best = min(optimum.objective, references.squared_error_by_cvxpy(COUNTS, 0.02, **settings, **written_out)[0])
    rng = np.random.default_rng(3)
    for scale in (1e-4, 1e-2, 1.0, 30.0):
        for centre in (0.0, 1.0):
            logits = centre * optimum.geometry.mean_logits + scale * rng.normal(size=(CLASSES, CLASSES))
            bias = centre * optimum.geometry.bias + (scale * rng.normal(size=CLASSES) if model.bias else 0.0)
            bias = np.broadcast_to(bias, CLASSES)
            found = lp.certify_logits(model, logits, bias)
            own = references.squared_error_objective(COUNTS, logits, bias, 0.02, model.lambda_b, **written_out)
            assert found.objective == pytest.approx(own, rel=1e-12)
            assert 0 < found.objective - best <= found.gap
    at_optimum = lp.certify_logits(model, optimum.geometry.mean_logits, optimum.geometry.bias)
    assert at_optimum.gap <= 1e-12
    assert at_optimum.dual_norm == pytest.approx(1, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("counts", ["500x5,100x5", "500,300,100", "300,100", "17,17", "50x4", "40x3,30x2,7,2"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 1.1])
def test_is_the_closed_form(counts: str, bias: bool, share: float) -> None:
    """Without a bias and with a free one."""
    complete = lp.UFM(counts, 1.0, bias=bias, loss=lp.SquaredError()).thresholds().complete
    model = lp.UFM(counts, share * complete, bias=bias, loss=lp.SquaredError())
    solution, expected = model.solve(), squared_error_optimum(model)
    assert solution.status == "optimal"
    np.testing.assert_allclose(solution.geometry.mean_logits, expected.mean_logits, atol=1e-9)
    np.testing.assert_allclose(solution.geometry.bias, expected.bias, atol=1e-9)
    assert (solution.geometry.rank, solution.geometry.merged) == (expected.rank, expected.merged)


def test_weights_without_a_bias_stretch_each_class_by_its_own() -> None:
    """z_kk = (1 − N'λ/(w_k √n_k))_+ and nothing else."""
    for reduction, normaliser in (("mean", WEIGHTS @ COUNTS), ("samples", COUNTS.sum())):
        loss = lp.SquaredError(weights=WEIGHTS, reduction=reduction)
        logits = lp.UFM(COUNTS, 0.025, bias=False, loss=loss).solve().geometry.mean_logits
        expected = np.maximum(1 - normaliser * 0.025 / (WEIGHTS * np.sqrt(COUNTS)), 0)
        assert 0 < np.count_nonzero(expected) < CLASSES
        np.testing.assert_allclose(logits, np.diag(expected), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_clusters_merge_exactly_at_their_threshold(name: str, mode: str) -> None:
    """w √n / N', in every bias mode."""
    loss, written_out = LOSSES[name]
    model = lp.UFM(COUNTS, 1.0, loss=loss, **MODES[mode])
    weights, normaliser = written_out.get("weights", np.ones(CLASSES)), written_out.get("normaliser", COUNTS.sum())
    within = model.thresholds().within
    assert np.isnan(within).tolist() == [False, False, True]
    for cluster, group in enumerate(model.clusters.classes[:2]):
        threshold = weights[group[0]] * np.sqrt(COUNTS[group[0]]) / normaliser
        assert within[cluster] == pytest.approx(threshold, rel=1e-14)
        for factor, lost in ((1 - 1e-9, False), (1 + 1e-9, True)):
            solution = model.replaced(lambda_z=threshold * factor).solve()
            assert solution.status == "optimal"
            assert any(set(group) <= set(found) for found in solution.geometry.merged) is lost
            assert solution.clusters[cluster].collapsed is lost


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", ["50x2,20x3,5", "500,300,100", "300,100", "20x4", "9,8,7,6,5"])
def test_everything_collapses_exactly_at_the_threshold(counts: str, mode: str) -> None:
    model = lp.UFM(counts, 1.0, loss=lp.SquaredError(), **MODES[mode])
    complete = model.thresholds().complete
    below, above = (model.replaced(lambda_z=complete * factor).solve() for factor in (1 - 1e-7, 1 + 1e-7))
    assert below.status == above.status == "optimal"
    assert below.geometry.rank > 0
    assert above.geometry.rank == 0
    assert above.geometry.merged == [list(range(model.num_classes))]
    np.testing.assert_array_equal(above.geometry.mean_logits, 0)
    if not model.bias:
        assert complete == pytest.approx(np.sqrt(model.counts.max()) / model.num_samples, rel=1e-14)


@pytest.mark.parametrize("mode", MODES)
def test_equal_counts_give_equal_angles(mode: str) -> None:
    """Without a bias orthogonal vectors, with a free one the simplex, and in between what they share shrinks."""
    classes, count = 6, 40
    decay = 0.3 * np.sqrt(count) / (classes * count)
    solution = lp.UFM(f"{count}x{classes}", decay, loss=lp.SquaredError(), **MODES[mode]).solve()
    assert solution.status == "optimal"
    centring = np.eye(classes) - 1 / classes
    within = 0.7 * centring  # (1 − Nλ/√n) C
    shared = solution.geometry.mean_logits - within
    np.testing.assert_allclose(shared, shared.mean(), atol=1e-12)
    if mode == "no bias":
        assert shared.trace() == pytest.approx(0.7, rel=1e-9)
    elif mode == "free":
        assert shared.trace() == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(solution.geometry.bias, 1 / classes, rtol=1e-9)
    else:
        assert -1e-9 <= shared.trace() < 0.7
        assert 0 < solution.geometry.bias.min() <= solution.geometry.bias.max() <= 1 / classes


@pytest.mark.parametrize(
    ("mode", "directions"), [("no bias", CLASSES), ("penalised", CLASSES), ("free", CLASSES - 1)], ids=str
)
def test_as_many_directions_as_the_loss_sees(mode: str, directions: int) -> None:
    """Squared error sees a shift of all logits, which a free bias takes over."""
    model = lp.UFM(COUNTS, 1e-7, loss=lp.SquaredError(), **MODES[mode])
    assert model.num_directions == directions
    assert model.solve().geometry.rank == directions


@pytest.mark.parametrize("mode", MODES)
def test_one_weight_for_all_is_a_decay(mode: str) -> None:
    """Weight 3 over the samples is a loss three times as large; the weighted mean does not see it."""
    settings = dict(MODES[mode])
    plain = lp.UFM(COUNTS, 0.01, loss=lp.SquaredError(), **settings).solve()
    mean = lp.UFM(COUNTS, 0.01, loss=lp.SquaredError(weights=[3] * CLASSES), **settings).solve()
    np.testing.assert_allclose(mean.geometry.mean_logits, plain.geometry.mean_logits, atol=1e-9)
    thrice = lp.SquaredError(weights=[3] * CLASSES, reduction="samples")
    if "lambda_b" in settings:
        settings["lambda_b"] *= 3
    tripled = lp.UFM(COUNTS, 0.03, loss=thrice, **settings).solve()
    np.testing.assert_allclose(tripled.geometry.mean_logits, plain.geometry.mean_logits, atol=1e-9)
    assert tripled.objective == pytest.approx(3 * plain.objective, rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_repeated_samples_are_a_smaller_decay(mode: str) -> None:
    """Counts c·n with λ/√c are the same problem."""
    one = lp.UFM(COUNTS, 0.01, loss=lp.SquaredError(), **MODES[mode]).solve()
    seven = lp.UFM(7 * COUNTS, 0.01 / np.sqrt(7), loss=lp.SquaredError(), **MODES[mode]).solve()
    np.testing.assert_allclose(one.geometry.mean_logits, seven.geometry.mean_logits, atol=1e-9)


def test_a_weight_is_not_a_repeated_sample() -> None:
    """Repeating a class's samples changes the penalty on its features, too: a weight of 4 does not."""
    weighted = lp.UFM("40,10", 0.01, bias=False, loss=lp.SquaredError(weights=[1, 4])).solve()
    repeated = lp.UFM("40,40", 0.01, bias=False, loss=lp.SquaredError()).solve()
    own = [cluster.own_logit for cluster in weighted.clusters]
    assert own == pytest.approx([1 - 80 * 0.01 / np.sqrt(40), 1 - 80 * 0.01 / (4 * np.sqrt(10))], rel=1e-9)
    assert own[1] > repeated.clusters[0].own_logit + 0.05


def test_lost_classes_of_different_counts_meet_at_the_origin() -> None:
    """Without a bias each class has a direction of its own; classes with √n ≤ Nλ are at zero, all in one group."""
    model = lp.UFM("90x2,40,40,10,5", 7 / 275, bias=False, loss=lp.SquaredError())
    solution = model.solve()
    assert solution.status == "optimal"
    assert solution.geometry.merged == [[2, 3, 4, 5]]
    assert [cluster.collapsed for cluster in solution.clusters] == [False, True, True, True]
    np.testing.assert_array_equal(solution.geometry.class_means[2:], 0)


@pytest.mark.parametrize("mode", MODES)
def test_many_clusters(mode: str) -> None:
    counts = np.arange(1, 61)
    model = lp.UFM(counts, 0.3 * np.sqrt(60) / counts.sum(), loss=lp.SquaredError(), **MODES[mode])
    solution = model.solve()
    assert solution.status == "optimal"
    assert 0 < solution.geometry.rank < model.num_directions


@pytest.mark.slow
@pytest.mark.parametrize("counts", ["1,1000000000", "1,10,1000,1000000,1000000000", "1x2,1000000000x2"])
@pytest.mark.parametrize("mode", MODES)
def test_counts_from_one_to_a_billion(counts: str, mode: str) -> None:
    for share in (1e-6, 1e-3, 0.5):
        model = lp.UFM(counts, 1.0, loss=lp.SquaredError(), **MODES[mode])
        solution = model.replaced(lambda_z=share * model.thresholds().complete).solve()
        assert solution.status == "optimal"
        assert solution.gap <= 1e-9 * solution.objective


@pytest.mark.slow
@given(
    counts=st.lists(st.integers(1, 10**4), min_size=2, max_size=7),
    share=st.floats(1e-3, 1.2),
    mode=st.sampled_from(["no bias", "penalised", "free"]),
    weighted=st.booleans(),
    data=st.data(),
)
def test_any_problem_is_solved(counts: list[int], share: float, mode: str, weighted: bool, data: st.DataObject) -> None:
    weights = None
    if weighted:
        weights = data.draw(st.lists(st.floats(0.1, 10), min_size=len(counts), max_size=len(counts)))
    model = lp.UFM(counts, 1.0, loss=lp.SquaredError(weights=weights), **MODES[mode])
    complete = model.thresholds().complete
    solution = model.replaced(lambda_z=share * complete).solve()
    assert solution.status == "optimal"
    assert solution.gap <= 1e-9
    assert (solution.geometry.rank == 0) is (share >= 1)
    check = lp.certify_logits(solution.problem, solution.geometry.mean_logits, solution.geometry.bias)
    assert check.gap <= 1e-9


def test_there_are_no_probabilities() -> None:
    solution = lp.UFM("5,4", 0.05, loss=lp.SquaredError()).solve()
    with pytest.raises(ValueError, match=r"^loss must have probabilities; got SquaredError\(\)"):
        solution.probabilities()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": [1, 0]}, "weights must be finite numbers above 0, one a class; got 0 for class 1"),
        ({"weights": [1, -2]}, "weights must be finite numbers above 0, one a class; got -2 for class 1"),
        ({"weights": [1, float("inf")]}, "weights must be finite"),
        ({"weights": "ab"}, "weights must be"),
        ({"reduction": "sum"}, "reduction must be 'mean' or 'samples'; got 'sum'"),
    ],
)
def test_bad_losses_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        lp.SquaredError(**arguments)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^weights must have one number a class, 3 like counts; got 2"):
        lp.UFM("5,4,3", 0.1, loss=lp.SquaredError(weights=[1, 2]))
    with pytest.raises(ValueError, match=r"^features must be 'any' where the loss is squared error; got 'relu'"):
        lp.UFM("5,4,3", 0.1, loss=lp.SquaredError(), features="relu")
    model = lp.UFM("5,3", 0.1, bias=False, loss=lp.SquaredError())
    with pytest.raises(ValueError, match=r"^bias must be left out or zero"):
        lp.certify_logits(model, np.zeros((2, 2)), np.ones(2))
