from __future__ import annotations

import itertools

import numpy as np
import pytest

import lopsided as lp
from lopsided.theory import collapse_sizes, seli_limit, small_decay_optimum

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", ["200x5,100x5", "500,300,100", "1000,10x3", "90,10"])
def test_the_error_falls_as_one_over_the_logarithm(counts: str, mode: str) -> None:
    scaled = []
    for exponent in (5, 9, 13):
        model = lp.UFM(counts, 10.0**-exponent, **MODES[mode])
        solution = model.solve(tol=1e-12)
        assert solution.gap < 1e-9 * solution.objective
        predicted = small_decay_optimum(model)
        assert predicted.rank == solution.geometry.rank
        outputs, expected = (geometry.mean_logits + geometry.bias for geometry in (predicted, solution.geometry))
        scaled.append(exponent * np.abs(outputs - expected).max())
    assert max(scaled) < 1.5


def test_decay_over_n_approaches_the_simplex_at_the_predicted_rate() -> None:
    """λ = c/N: the distance of the cosines of Z from −1/(K−1) is given by theory, to first order in 1/log N."""
    factors, errors = [], []
    for size in (1e4, 1e9, 1e14):
        model = lp.UFM((size * np.array([2, 2, 2, 1, 1, 1])).round(), 1e-2 / (9 * size), bias=False)
        found, predicted = (
            np.log(size) * (geometry.cosines_logits[0, 1] + 1 / 5)
            for geometry in (model.solve(tol=1e-12).geometry, small_decay_optimum(model))
        )
        factors.append(found)
        errors.append(np.log(size) * abs(predicted / found - 1))
    assert all(-0.6 < factor < -0.25 for factor in factors)  # neither vanishing nor growing without bound
    assert max(errors) < 6


def test_the_classifier_tends_elsewhere() -> None:
    model = lp.UFM("200x5,100x5", 1e-30, bias=False)
    predicted, limit = small_decay_optimum(model), seli_limit(model)
    assert np.abs(predicted.cosines_classifier - limit.cosines_classifier).max() < 0.005
    assert abs(limit.cosines_classifier[0, 1] + 1 / 9) > 0.015


@pytest.mark.parametrize("mode", MODES)
def test_decay_over_root_n_keeps_the_geometry(mode: str) -> None:
    objectives = []
    for factor in (1, 7, 1000):
        counts = factor * np.array([50, 50, 10, 10, 3])
        objectives.append(lp.UFM(counts, 0.01 / np.sqrt(factor), **MODES[mode]).solve().geometry.mean_logits)
    for first, second in itertools.pairwise(objectives):
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_fixed_decay_collapses_at_the_predicted_size(mode: str) -> None:
    decay, proportions = 1e-3, np.array([5, 5, 5, 1, 1])
    sizes = collapse_sizes(lp.UFM(proportions, decay, **MODES[mode]))
    total = proportions.sum()
    for which, size in (("rare", sizes.within[1]), ("all", sizes.complete)):
        merged = []
        for factor in (0.999, 1.001):
            counts = np.round(proportions * size * factor / total)
            merged.append(lp.UFM(counts, decay, **MODES[mode]).solve().geometry.merged)
        assert merged == ([[], [[3, 4]]] if which == "rare" else [[[3, 4]], [[0, 1, 2, 3, 4]]])


def test_single_classes_have_no_size_of_their_own() -> None:
    sizes = collapse_sizes(lp.UFM("500,100x2", 1e-3))
    assert np.isnan(sizes.within[0])
    assert sizes.within[1] == pytest.approx(1e6 / 7)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"^lambda_z must be small, below .* these counts; got 0.5; use solve\(\)$"):
        small_decay_optimum(lp.UFM("50,10", 0.5))
