"""Problems that are not the convex one: what is certified, what is not, and what refuses them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import lopsided as lp
import references
from lopsided import solver, theory
from lopsided.solver import focal_tight_from, stationary_point

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
KINDS = {"relu": {"features": "relu"}, "focal": {"loss": lp.FocalLoss(2.0)}}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("decay", [2e-3, 4e-3, 6e-3, 8e-3])
def test_relu_is_certified_and_never_below_unrestricted_features(mode: str, decay: float) -> None:
    solution = lp.UFM("500x5,100x5", decay, features="relu", **MODES[mode]).solve()
    assert (solution.status, solution.gap <= 1e-9) == ("optimal", True)
    assert (solution.geometry.class_means >= 0).all()
    linear = lp.UFM("500x5,100x5", decay, **MODES[mode]).solve()
    assert solution.objective >= linear.objective - linear.gap - 1e-13
    scaled = np.sqrt(solution.problem.counts)[:, None] * solution.geometry.mean_logits
    np.testing.assert_allclose(
        solution.singular_values, np.linalg.svd(scaled, compute_uv=False)[: solution.geometry.rank], rtol=1e-9
    )


def test_objective_of_the_closed_form_is_the_model_s() -> None:
    model = lp.UFM("50,20,5", 0.02, lambda_w=0.07, bias=False, features="relu")
    solution, numerical = model.solve(), stationary_point(model)
    assert (solution.status, solution.iterations) == ("optimal", 0)
    assert "closed form" in solution.message
    assert solution.objective == pytest.approx(numerical.objective, rel=1e-11)
    geometry = solution.geometry
    value = references.ufm_objective(model.counts, geometry.mean_logits, geometry.bias, 0.0)
    value += 0.5 * model.lambda_w * float(np.sum(geometry.classifier**2))
    value += 0.5 * model.lambda_h * float(model.counts @ np.sum(geometry.class_means**2, axis=1))
    assert solution.objective == pytest.approx(value, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_any_sign_through_the_factors_is_the_certified_optimum(mode: str) -> None:
    """The same minimiser and bound, where another road knows the answer: every loss of the family."""
    losses = [
        lp.CrossEntropy(weights=[1, 1, 3], label_smoothing=0.1, logit_adjustment=1.0),
        lp.CrossEntropy(margins=[0, 0.5, 1], scales=[1, 0.7, 0.5]),
        lp.CrossEntropy(scales=[1, 0.7, 0.5], scale_by="label"),
    ]
    for loss in losses:
        model = lp.UFM("60,30,8", 6e-3, loss=loss, **MODES[mode])
        expected, found = model.solve(), stationary_point(model)
        assert found.gap < 1e-9
        assert found.residual < 1e-7
        assert found.objective == pytest.approx(expected.objective, rel=1e-9)
        np.testing.assert_allclose(found.geometry.mean_logits, expected.geometry.mean_logits, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_focal_without_focusing_is_cross_entropy(mode: str) -> None:
    weights = [1, 1, 2, 2]
    plain = lp.UFM("50x2,10x2", 0.01, loss=lp.CrossEntropy(weights=weights), **MODES[mode]).solve()
    certified = lp.UFM("50x2,10x2", 0.01, loss=lp.FocalLoss(0, weights), **MODES[mode]).solve()
    assert (certified.status, certified.objective) == ("optimal", plain.objective)
    # and so does next to none, which goes through the factors
    nearly = lp.UFM("50x2,10x2", 0.01, loss=lp.FocalLoss(1e-9, weights), **MODES[mode]).solve()
    assert nearly.status == "optimal"
    assert nearly.objective == pytest.approx(plain.objective, rel=1e-7)
    np.testing.assert_allclose(nearly.geometry.mean_logits, plain.geometry.mean_logits, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("decay", "certified"), [(3e-3, True), (0.02, False)])
def test_focal_is_certified_exactly_where_every_class_keeps_its_probability(
    mode: str, decay: float, certified: bool
) -> None:
    solution = lp.UFM("50x5,10x5", decay, loss=lp.FocalLoss(2.0), **MODES[mode]).solve()
    least = np.diagonal(solution.probabilities()).min()
    assert (least > focal_tight_from(2.0)) == certified
    assert (solution.gap < 1e-9) == certified
    assert solution.status == ("optimal" if certified else "stationary")
    if not certified:
        assert "the best of" in solution.message
        assert "a bound which may be loose" in solution.message


def test_the_focal_bound_holds_below_every_other_point() -> None:
    """Random logits never reach below objective − gap."""
    model = lp.UFM("50x2,10x2", 0.02, loss=lp.FocalLoss(2.0), lambda_b=0.02)
    solution = model.solve()
    generator = np.random.default_rng(0)
    for scale in (0.0, 0.1, 1.0, 3.0):
        for _ in range(50):
            logits, bias = generator.normal(size=(4, 4)) * scale, generator.normal(size=4) * scale
            probability = np.diagonal(references.softmax_rows(logits + bias))
            loss = model.counts / model.num_samples @ ((1 - probability) ** 2 * -np.log(probability))
            penalty = np.linalg.svd(np.sqrt(model.counts)[:, None] * logits, compute_uv=False).sum()
            value = loss + model.lambda_z * penalty + 0.5 * model.lambda_b * bias @ bias
            assert value >= solution.objective - solution.gap


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode"), [*itertools.product(KINDS, MODES), ("both", "penalised")], ids=lambda name: name
)
def test_thresholds_on_both_sides(kind: str, mode: str) -> None:
    options = {**KINDS["relu"], **KINDS["focal"]} if kind == "both" else KINDS[kind]
    common = 2 if kind == "relu" else 1
    model = lp.UFM(f"60x{common},10x2", 1.0, **options, **MODES[mode])
    found = model.thresholds()
    assert ("stationary points" in found.note) == (kind != "relu" or mode != "no bias")
    rare = [common, common + 1]
    for share, lost in ((0.99, False), (1.01, True)):
        geometry = model.replaced(lambda_z=share * found.within[1]).solve().geometry
        assert any(set(rare) <= set(group) for group in geometry.merged) == lost
        assert (model.replaced(lambda_z=share * found.complete).solve().geometry.rank == 0) == lost


@pytest.mark.slow
def test_bracketed_thresholds_are_the_exact_ones_where_these_are_known() -> None:
    for mode in MODES.values():
        exact = lp.UFM("60x2,10x2", 1.0, **mode).thresholds()
        found = lp.UFM("60x2,10x2", 1.0, loss=lp.FocalLoss(1e-9), **mode).thresholds()
        np.testing.assert_allclose(found.within, exact.within, rtol=2e-3)
        assert found.complete == pytest.approx(exact.complete, rel=1e-6)
        assert (bool(exact.note), bool(found.note)) == (False, True)


@pytest.mark.slow
def test_focal_loss_of_many_classes_collapses_later_than_locally() -> None:
    """Where the loss is concave at the uniform prediction Z = 0 is a local minimum long before it is the best one."""
    model = lp.UFM([10] * 40, 1.0, loss=lp.FocalLoss(5.0), bias=False)
    local = solver.complete_norm(model)
    complete = model.thresholds().complete
    assert complete > 1.02 * local
    between = model.replaced(lambda_z=np.sqrt(local * complete)).solve()
    assert between.geometry.rank > 0
    assert model.replaced(lambda_z=1.01 * complete).solve().geometry.rank == 0


def test_a_lost_class_of_relu_features_need_not_have_company() -> None:
    model = lp.UFM("500,300,100", 0.0095, bias=False, features="relu")
    assert [cluster.collapsed for cluster in model.solve().clusters] == [False, False, True]
    np.testing.assert_allclose(model.thresholds().within, np.sqrt(model.counts * 2 / 3) / 900)


def test_the_model_keeps_and_shows_its_features() -> None:
    model = lp.UFM("500x5,100x5", 3e-3, features="relu").replaced(lambda_z=4e-3)
    assert model.features == "relu"
    assert not model.is_convex
    assert str(model) == "cross-entropy on 500x5,100x5, ReLU features, λ_z = 0.004, free bias"


REFUSING: dict[str, Callable[[lp.UFM], object]] = {
    "critical_path": lambda model: model.critical_path(),
    "the certified solver": lambda model: lp.solve_path(model, [0.01, 0.02]),
    "certify_logits": lambda model: lp.certify_logits(model, np.zeros((4, 4))),
    "deep_stationary_point": lambda model: solver.deep_stationary_point(model, 2),
    "seli_limit": theory.seli_limit,
}


@pytest.mark.parametrize("purpose", REFUSING)
@pytest.mark.parametrize("kind", KINDS)
def test_what_assumes_the_convex_problem_refuses_the_others(kind: str, purpose: str) -> None:
    model = lp.UFM("60x2,10x2", 0.01, lambda_b=0.1, **KINDS[kind])
    first = "features must be 'any'" if kind == "relu" else "loss must be convex in the logits"
    with pytest.raises(ValueError, match=rf"^{first} for {purpose}.*; got [^\n]*; [^\n]*$"):
        REFUSING[purpose](model)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lp.UFM("5,4", 0.1, features="sigmoid"), r"features must be 'any' or 'relu' .*; got 'sigmoid'"),
        (lambda: lp.UFM("5,4", 0.1, features=None), r"features must be 'any' or 'relu' .*; got None"),
        (
            lambda: lp.UFM([5] * 301, 0.1, features="relu").solve(),
            "counts must be of at most 300 classes .*; got 301; .*",
        ),
        (lambda: lp.FocalLoss(-1.0), "gamma must be a finite number of at least 0; got -1.0"),
        (lambda: lp.FocalLoss(np.nan), "gamma must be a finite number of at least 0; got nan"),
        (lambda: lp.FocalLoss("2"), "gamma must be a finite number of at least 0; got '2'"),
        (lambda: lp.FocalLoss(weights=[1, 0]), "weights must be finite numbers above 0.*; got 0 for class 1"),
        (lambda: lp.FocalLoss(reduction="sum"), "reduction must be 'mean' or 'samples'; got 'sum'"),
        (lambda: lp.UFM("5,4", 0.1, loss=lp.FocalLoss(weights=[1])), "weights must have one number a class.*; got 1"),
        (lambda: lp.UFM("5,4", 0.1, features="relu").solve(tol=0.0), "tol must be a number from 1e-14 .*; got 0.0"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
