from __future__ import annotations

import itertools

import numpy as np
import pytest

import references
from lopsided.theory import minority_collapse_ratio
from lopsided.theory.layer_peeled import norm_at_collapse


def test_value_in_the_paper() -> None:
    """Five and five classes with E_W = 1 and E_H = 5; only the product of the energies matters."""
    assert minority_collapse_ratio(5, 5, 5.0) == pytest.approx(12.192447, abs=5e-7)
    assert minority_collapse_ratio(5, 5, 0.5, 10.0) == pytest.approx(12.192447, abs=5e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("majority", "minority", "energy"), [(2, 2, 1.0), (1, 2, 0.5), (2, 3, 2.0)])
def test_cvxpy_on_both_sides(majority: int, minority: int, energy: float) -> None:
    ratio = minority_collapse_ratio(majority, minority, energy)
    bound = (majority + minority) * np.sqrt(energy)
    gaps = []
    for factor in (0.9, 1.1):
        _, logits = references.layer_peeled_by_cvxpy([factor * ratio] * majority + [1.0] * minority, bound)
        gaps.append(logits[-1, -1] - logits[-1, -2])
    assert gaps[0] > 0.02
    assert abs(gaps[1]) < 1e-3
    assert abs(gaps[1]) < gaps[0] / 20


@pytest.mark.parametrize(("majority", "minority"), [(1, 2), (2, 2), (5, 5), (3, 7), (40, 2), (2, 40)])
def test_the_norm_at_collapse_grows_with_the_ratio(majority: int, minority: int) -> None:
    """What makes the ratio the only root; it is not proved."""
    norms = [norm_at_collapse(majority, minority, ratio) for ratio in 1 + np.geomspace(1e-3, 1e5, 25)]
    assert all(a < b for a, b in itertools.pairwise(norms))


def test_more_energy_delays_the_collapse() -> None:
    ratios = [minority_collapse_ratio(5, 5, energy) for energy in (1e-4, 0.1, 1.0, 5.0, 20.0)]
    assert 1 < ratios[0] < 1.01
    assert all(a < b for a, b in itertools.pairwise(ratios))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 1.0), "majority_classes must be a whole number of at least 1; got 0"),
        ((5, 1, 1.0), "minority_classes must be a whole number of at least 2; got 1"),
        ((5, 2.5, 1.0), "minority_classes must be a whole number of at least 2; got 2.5"),
        ((5, 5, -1.0), "feature_energy must be a finite number above 0; got -1.0"),
        ((5, 5, 1.0, float("nan")), "classifier_energy must be a finite number above 0; got nan"),
    ],
)
def test_bad_input(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        minority_collapse_ratio(*arguments)
