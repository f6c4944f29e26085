"""The optimum itself: against an independent solver, closed forms, and the certificate."""

from __future__ import annotations

import numpy as np
import pytest

import lopsided as lp
import references

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
COUNTS = ["500x5,100x5", "500,300,100", "300,100", "50x4", "40x3,30x2,7,2", "1000,500,250,120,60,30,15,7"]


def certified(model: lp.UFM, tol: float = 1e-9) -> lp.Solution:
    """Solve, and check what every solution must satisfy."""
    solution = model.solve(tol)
    geometry = solution.geometry
    assert solution.status == "optimal"
    assert 0 <= solution.gap <= tol * max(1.0, solution.objective)
    value = references.ufm_objective(model.counts, geometry.mean_logits, geometry.bias, model.lambda_z, model.lambda_b)
    assert value == pytest.approx(solution.objective, rel=1e-12)
    np.testing.assert_allclose(geometry.mean_logits.sum(axis=1), 0, atol=1e-8 * (1 + abs(geometry.mean_logits).max()))
    check = lp.certify_logits(model, geometry.mean_logits, geometry.bias)
    assert check.gap <= 1e-9 * max(1.0, solution.objective)
    return solution


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "mode", "share"),
    # every counts with every mode and at every decay, and every mode at every decay
    [(counts, mode, (0.05, 0.4, 0.8)[(i + j) % 3]) for i, counts in enumerate(COUNTS) for j, mode in enumerate(MODES)],
)
def test_agrees_with_an_independent_solver(counts: str, mode: str, share: float) -> None:
    settings = MODES[mode]
    lambda_z = share * lp.UFM(counts, 1.0, **settings).thresholds().complete
    model = lp.UFM(counts, lambda_z, **settings)
    solution = certified(model)
    value, logits, bias = references.ufm_by_cvxpy(model.counts, lambda_z, **settings)
    # its own accuracy is about 1e-8; ours must never be the worse of the two
    assert solution.objective <= value + 1e-12
    assert solution.objective == pytest.approx(value, abs=3e-7)
    np.testing.assert_allclose(solution.geometry.mean_logits, logits, atol=0.02)
    if settings.get("lambda_b"):
        np.testing.assert_allclose(solution.geometry.bias, bias, atol=0.01)


@pytest.mark.parametrize(("mode", "lambda_b"), [("no bias", None), ("penalised", 0.02)])
def test_gap_is_the_textbook_one_at_any_point(mode: str, lambda_b: float | None) -> None:
    rng = np.random.default_rng(0)
    model = lp.UFM("50x2,20,5", 0.01, **MODES[mode])
    for scale in (0.01, 1.0, 5.0):
        logits = scale * rng.normal(size=(4, 4)) + scale * np.eye(4)
        bias = scale * rng.normal(size=4) if lambda_b else np.zeros(4)
        expected = references.duality_gap(model.counts, logits, bias, 0.01, lambda_b)
        certificate = lp.certify_logits(model, logits, bias)
        assert certificate.gap == pytest.approx(expected, rel=1e-9)
        assert certificate.objective == pytest.approx(
            references.ufm_objective(model.counts, logits, bias, 0.01, lambda_b or 0.0), rel=1e-12
        )


@pytest.mark.parametrize("mode", MODES)
def test_gap_bounds_the_distance_to_the_optimum(mode: str) -> None:
    rng = np.random.default_rng(1)
    model = lp.UFM("50x2,20,5", 0.01, **MODES[mode])
    optimum = certified(model)
    for scale in (1e-3, 0.1, 2.0):
        logits = optimum.geometry.mean_logits + scale * rng.normal(size=(4, 4))
        bias = optimum.geometry.bias + (scale * rng.normal(size=4) if model.bias else 0)
        certificate = lp.certify_logits(model, logits, bias)
        excess = certificate.objective - optimum.objective
        assert 0 < excess <= certificate.gap


def test_paper_data_set() -> None:
    """UFM optimum of the paper's first data set."""
    solution = certified(lp.UFM("5000x4,4000x3,3000x3", 3.16227766e-5, lambda_b=0.02))
    assert solution.objective == pytest.approx(0.130400535, abs=1e-9)
    own = [cluster.own_logit for cluster in solution.clusters]
    assert own == pytest.approx([5.637531, 5.555841, 5.448239], abs=1e-6)


def test_three_classes_without_bias() -> None:
    solution = certified(lp.UFM("500,300,100", 0.008, bias=False))
    assert solution.objective == pytest.approx(0.7617417847, abs=1e-10)
    np.testing.assert_allclose(
        np.diag(solution.geometry.gram_classifier), [25.47092856, 19.45847523, 10.45732485], atol=1e-8
    )


def test_sign_of_the_minority_off_diagonal() -> None:
    """Below the minority threshold its other logits can be positive (the paper's Theorem 3(a) has them < 0)."""
    solution = certified(lp.UFM("500x5,100x5", 0.003, bias=False))
    assert solution.geometry.mean_logits[5, 6] == pytest.approx(0.103419, abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lambda_z", [1e-5, 1e-3, 0.0099])
def test_equal_counts_give_the_simplex(mode: str, lambda_z: float) -> None:
    """Z = αC with α = log(1/(√n λ) − K + 1): the ETF, in every bias mode."""
    solution = certified(lp.UFM("100x10", lambda_z, **MODES[mode]))
    alpha = np.log(1 / (10 * lambda_z) - 9)
    np.testing.assert_allclose(solution.geometry.mean_logits, alpha * (np.eye(10) - 0.1), atol=1e-6 * alpha)
    assert solution.geometry.rank == 9
    off = solution.geometry.cosines_means[~np.eye(10, dtype=bool)]
    np.testing.assert_allclose(off, -1 / 9, atol=1e-6)
    np.testing.assert_allclose(solution.geometry.bias, 0, atol=1e-8)


@pytest.mark.parametrize("counts", ["300,100", "17,17", "100000,3"])
def test_two_classes_without_bias_do_not_see_the_imbalance(counts: str) -> None:
    model = lp.UFM(counts, 1e-3 * lp.UFM(counts, 1.0, bias=False).thresholds().complete, bias=False)
    solution = certified(model, tol=1e-12)  # three samples in a hundred thousand weigh little in the objective
    half = 0.5 * np.log(1 / (model.lambda_z * np.sqrt(model.num_samples / 2)) - 1)
    np.testing.assert_allclose(solution.geometry.mean_logits, [[half, -half], [-half, half]], rtol=1e-6)


def test_two_clusters_with_a_free_bias() -> None:
    """The closed form below λ*: the mass a sample puts on the other cluster."""
    many, few, sizes = 500.0, 100.0, 5.0
    lambda_z, total, classes = 0.003, 3000.0, 10.0
    solution = certified(lp.UFM("500x5,100x5", lambda_z))
    probability = references.softmax_rows(solution.geometry.mean_logits + solution.geometry.bias)
    cross_many = lambda_z * sizes * np.sqrt(total * few / (classes * many))
    cross_few = lambda_z * sizes * np.sqrt(total * many / (classes * few))
    assert probability[0, 5:].sum() == pytest.approx(cross_many, rel=1e-7)
    assert probability[5, :5].sum() == pytest.approx(cross_few, rel=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_separation_inside_a_cluster_is_exact(mode: str) -> None:
    for lambda_z in (1e-4, 1e-3, 3e-3, 5e-3):
        model = lp.UFM("500x3,100x4,30x2,7", lambda_z, **MODES[mode])
        geometry = certified(model).geometry
        probability = references.softmax_rows(geometry.mean_logits + geometry.bias)
        for classes in ((0, 1), (3, 4), (7, 8)):
            count = model.counts[classes[0]]
            expected = max(0.0, 1 - model.num_samples * lambda_z / np.sqrt(count))
            found = probability[classes[0], classes[0]] - probability[classes]
            assert found == pytest.approx(expected, abs=1e-7)


def test_factors_are_balanced_and_reproduce_the_logits() -> None:
    """λ_w WᵀW = λ_h H D Hᵀ at the optimum, and the two penalties are equal."""
    model = lp.UFM("50x3,10x2,4", lambda_w=0.02, lambda_h=0.0005, lambda_b=0.02)
    geometry = certified(model).geometry
    weight, means = geometry.classifier, geometry.class_means
    np.testing.assert_allclose(
        model.lambda_w * weight.T @ weight, model.lambda_h * (means.T * model.counts) @ means, atol=1e-12
    )
    penalty = 0.5 * model.lambda_w * np.sum(weight**2) + 0.5 * model.lambda_h * np.sum(model.counts[:, None] * means**2)
    singular = np.linalg.svd(np.sqrt(model.counts)[:, None] * geometry.mean_logits, compute_uv=False)
    assert penalty == pytest.approx(model.lambda_z * singular.sum(), rel=1e-10)
    assert weight.shape == means.shape == (6, geometry.rank)
