"""Directions as far apart as can be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lopsided.solver import largest_cosine, simplex_directions


@pytest.mark.parametrize(("classes", "dim"), [(2, 1), (3, 2), (10, 9), (10, 64), (50, 49)])
def test_a_simplex_where_it_fits(classes, dim):
    rows = simplex_directions(classes, dim, seed=5)
    assert rows.shape == (classes, dim)
    expected = (classes * np.eye(classes) - 1) / (classes - 1)
    np.testing.assert_allclose(rows @ rows.T, expected, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "dim", "best"),
    [
        (7, 2, math.cos(2 * math.pi / 7)),  # a polygon
        (5, 3, 0.0),  # Rankin (1955): 0 from d + 2 to 2d points
        (6, 3, 0.0),
        (8, 4, 0.0),
        (10, 8, 0.0),
        (12, 3, 1 / math.sqrt(5)),  # the icosahedron
    ],
)
def test_spherical_codes_that_are_known(classes, dim, best):
    rows = simplex_directions(classes, dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)
    assert best - 1e-12 <= largest_cosine(rows) < best + 1e-5


@pytest.mark.slow
def test_the_seed_decides():
    for dim in (3, 8):
        first, again, other = (simplex_directions(7, dim, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize(
    ("classes", "dim", "message"),
    [
        (1, 3, "num_classes must be a whole number of at least 2; got 1"),
        (3, 1, "dim must be a whole number of at least 2; got 1"),
        (3, 2.0, "dim must be a whole number of at least 2; got 2.0"),
    ],
)
def test_bad_input(classes, dim, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        simplex_directions(classes, dim)
