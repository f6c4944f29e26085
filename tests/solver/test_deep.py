from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import lopsided as lp
from lopsided.solver import deep_branch, deep_stationary_point

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("counts", "decay"), [("500x2,100x3", 0.004), ("500x2,100x3", 0.01), ("50,20,5", 0.03)])
def test_one_layer_is_the_certified_optimum(counts: str, decay: float, mode: str) -> None:
    model = lp.UFM(counts, lambda_z=decay, lambda_w=5 * decay, **MODES[mode])
    solution = model.solve()
    assert solution.status == "optimal"
    found = deep_stationary_point(model, 1, starts=3)
    assert found.residual < 1e-4
    assert solution.objective - 1e-12 <= found.objective < solution.objective + 1e-9
    # random starts get there too; zero is a saddle, where a descent method without noise stays
    np.testing.assert_allclose(found.objectives[2:], solution.objective, atol=1e-8)
    assert found.geometry.rank == solution.geometry.rank
    compared = lp.compare(solution.geometry, found.geometry)
    for name in ("mean_logits", "bias", "gram_means", "gram_classifier"):
        assert compared[name].absolute_error < 2e-3 * max(1.0, np.abs(compared[name].predicted).max())


@pytest.mark.slow
@pytest.mark.parametrize("layers", [2, 3, 4])
@pytest.mark.parametrize("decay", [1e-3, 1e-2, 3e-2])
def test_two_classes_against_a_scalar_search(layers: int, decay: float) -> None:
    """K = 2 without a bias: one singular value x√(2N), so that a fine grid finds the global optimum."""
    model = lp.UFM("90,30", decay, bias=False)
    exponent = 2 / (layers + 1)

    def objective(gap: float) -> float:
        penalty = decay * (layers + 1) / 2 * (gap * np.sqrt(2 * 120)) ** exponent
        return float(np.log1p(np.exp(-2 * gap))) + penalty

    grid = np.linspace(0, 12, 4001)
    index = int(np.argmin([objective(gap) for gap in grid]))
    expected = objective(0.0)
    if index:
        bounds = (grid[index - 1], grid[min(index + 1, 4000)])
        expected = min(
            expected, minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-10}).fun
        )
    found = deep_stationary_point(model, layers, starts=2)
    assert found.objective == pytest.approx(expected, rel=1e-9)
    assert (found.status, np.isnan(found.gap)) == ("stationary", True)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [2, 3])
def test_what_a_stationary_point_satisfies(layers: int) -> None:
    """The value is that of the quasi-norm, and layers are balanced: λ_w‖W_L‖² is the common share of the penalty."""
    model = lp.UFM("500x2,100x2", lambda_w=2e-3, lambda_h=1e-4, lambda_b=0.02)
    found = deep_stationary_point(model, layers, starts=3)
    geometry = found.geometry
    assert geometry.rank > 0
    values = np.linalg.svd(np.sqrt(model.counts)[:, None] * geometry.mean_logits, compute_uv=False)
    decay = (2e-3**layers * 1e-4) ** (1 / (layers + 1))
    outputs = geometry.mean_logits + geometry.bias
    loss = np.log(np.exp(outputs).sum(axis=1)) - np.diag(outputs)
    quasi_norm = float(np.sum(values ** (2 / (layers + 1))))
    total = model.counts @ loss / model.num_samples + decay * (layers + 1) / 2 * quasi_norm
    assert found.objective == pytest.approx(total + 0.01 * float(geometry.bias @ geometry.bias), rel=1e-6)
    assert 2e-3 * np.sum(geometry.classifier**2) == pytest.approx(decay * quasi_norm, rel=1e-4)
    assert found.residual < 1e-3
    assert found.objective == found.objectives.min()


@pytest.mark.slow
def test_zero_is_stationary_and_wins_past_some_decay() -> None:
    counts = np.array([50, 50, 10])
    found = deep_stationary_point(lp.UFM(counts, 0.2, bias=False), 3)
    assert found.geometry.rank == 0
    assert found.objective == pytest.approx(np.log(3))
    weak = deep_stationary_point(lp.UFM(counts, 1e-3, bias=False), 3, starts=3)
    assert weak.objectives[1] == pytest.approx(np.log(3))
    assert weak.objective < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "decay"), [("no bias", 0.02), ("penalised", 0.004), ("penalised", 0.02), ("free", 0.004)]
)
def test_the_branch_of_one_layer_is_the_certified_optimum(mode: str, decay: float) -> None:
    """With one layer there is nothing but the optimum to follow."""
    model = lp.UFM("90x2,30", lambda_z=decay, lambda_w=5 * decay, **MODES[mode])
    solution = model.solve()
    found = deep_branch(model, 1, starts=1)
    assert solution.objective - 1e-12 <= found.objective < solution.objective + 1e-8
    assert found.geometry.rank == solution.geometry.rank
    assert found.residual < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "decays"), [(2, [0.01, 0.065, 0.075, 0.1]), (3, [0.01, 0.055, 0.075, 0.1])])
def test_the_branch_lasts_until_its_local_minimum_vanishes(layers: int, decays: list[float]) -> None:
    """K = 2 without a bias: the local minimum beside zero on a fine grid of the gap, which outlives its being best."""
    exponent = 2 / (layers + 1)
    grid = np.linspace(0.02, 12, 40001)
    seen = set()
    for decay in decays:
        penalty = decay * (layers + 1) / 2 * (grid * np.sqrt(2 * 120)) ** exponent
        values = np.log1p(np.exp(-2 * grid)) + penalty
        inner = 1 + np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:]))
        expected = float(values[inner[-1]]) if len(inner) else np.log(2)
        found = deep_branch(lp.UFM("90,30", decay, bias=False), layers, starts=1)
        assert found.objective == pytest.approx(expected, rel=1e-6)
        assert found.geometry.rank == (1 if len(inner) else 0)
        seen.add("vanished" if not len(inner) else "best" if expected < np.log(2) else "outlives")
    assert seen == {"best", "outlives", "vanished"}


@pytest.mark.parametrize("function", [deep_stationary_point, deep_branch])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1; got 0"),
        ({"num_layers": 2.0}, "num_layers must be a whole number of at least 1; got 2.0"),
        ({"num_layers": 2, "starts": -1}, "starts must be a whole number of at least 0; got -1"),
    ],
)
def test_bad_input(function: Callable[..., object], options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        function(lp.UFM("5,4", 0.1), **options)
