"""Many classes: what a solve may cost in iterations, products and memory. None of it depends on the machine."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import lopsided as lp
from lopsided.solver import algorithm


def long_tail(num_classes: int, head: float) -> np.ndarray:
    return np.round(head * np.exp(-5.5 * np.arange(num_classes) / num_classes))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "factor", "mode"),
    [
        # 1280: counts with ties; 64,000: all distinct. Each with each decay, and each with every mode of the bias.
        pytest.param(1280.0, 0.5, {"bias": False}, id="ties-0.5-no bias"),
        pytest.param(1280.0, 3.0, {"lambda_b": 0.02}, id="ties-3.0-penalised"),
        pytest.param(1280.0, 0.5, {}, id="ties-0.5-free"),
        pytest.param(64_000.0, 3.0, {"bias": False}, id="all distinct-3.0-no bias"),
        pytest.param(64_000.0, 0.5, {"lambda_b": 0.02}, id="all distinct-0.5-penalised"),
        pytest.param(64_000.0, 3.0, {}, id="all distinct-3.0-free"),
    ],
)
def test_few_iterations_and_products(
    head: float, factor: float, mode: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product with the Hessian costs about as much as a decomposition: both are to stay few."""
    products = []
    newton_step = algorithm.newton_step

    def counted(*arguments: object) -> object:
        step = newton_step(*arguments)  # type: ignore[arg-type]
        if arguments[0].problem.num_clusters > 100:  # type: ignore[attr-defined]
            products.append(step.products)
        return step

    monkeypatch.setattr(algorithm, "newton_step", counted)
    counts = long_tail(250, head)
    model = lp.UFM(counts, factor * np.sqrt(counts.min()) / counts.sum(), **mode)
    solution = model.solve()
    assert solution.status == "optimal"
    assert solution.gap <= 1e-9 * solution.objective
    assert solution.iterations <= 8
    assert 0 < sum(products) <= 40


@pytest.mark.slow
def test_thousands_of_classes_in_little_memory() -> None:
    """5,000 classes from 1000 samples down to 2: one K × K matrix alone would be 200 MB."""
    place = np.arange(5000) / 4999
    counts = np.round(1000 / (1 + (np.sqrt(500) - 1) * place) ** 4)
    counts = np.maximum(counts, 2)
    model = lp.UFM(counts, 0.5 * np.sqrt(2) / counts.sum(), lambda_b=0.02)
    assert 100 < model.clusters.num_clusters < 400
    tracemalloc.start()
    try:
        solution = model.solve()
        thresholds = model.thresholds()
        largest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert solution.status == "optimal"
    assert solution.gap <= 1e-9 * solution.objective
    assert solution.geometry.rank == 4999
    assert model.lambda_z < np.nanmin(thresholds.within)
    assert largest < 60e6
