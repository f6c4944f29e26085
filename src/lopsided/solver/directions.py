"""Directions for the rows of a classifier that is not trained: as far apart as so many can be in so many dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert
from scipy.optimize import minimize
from scipy.special import logsumexp

from lopsided.core.arguments import check_whole

Array = NDArray[np.float64]

#: Sharpness of the smooth maximum of cosines, from stage to stage.
_SHARPNESS = (4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0)
#: Random starts of a search, of which the best end counts.
_STARTS = 4


def simplex_directions(num_classes: int, dim: int, *, seed: int = 0) -> Array:
    r"""Unit vectors with the least largest cosine, one a class.

    From d = K − 1 dimensions on they are a simplex equiangular tight frame: every cosine is −1/(K − 1), which none can
    beat. Below, they are a spherical code found by descent of a smooth maximum of the cosines that is made sharper and
    sharper: near the best one, which is not known in general.

    Parameters
    ----------
    num_classes : int
        K, at least 2.
    dim : int
        d, at least 2, or 1 for two classes.
    seed : int, default 0
        Decides the orientation, and the starts of the search.

    Returns
    -------
    (K, d) array
        Of unit rows.

    Notes
    -----
    That a simplex is where training leads balanced classes, and may be fixed from the start: Zhu et al. (NeurIPS 2021);
    for imbalanced classes: Yang et al. (NeurIPS 2022). Spherical codes in its place where d < K − 1: Jiang et al.,
    *Generalized Neural Collapse for a Large Number of Classes* (ICML 2024).

    Examples
    --------
    >>> round(largest_cosine(simplex_directions(10, 32)), 6), round(largest_cosine(simplex_directions(5, 2)), 6)
    (-0.111111, 0.309017)
    """
    check_whole("num_classes", num_classes, least=2)
    check_whole("dim", dim, least=1 if num_classes == 2 else 2)
    generator = np.random.default_rng(seed)
    if dim >= num_classes - 1:
        frame = np.sqrt(num_classes / (num_classes - 1)) * helmert(num_classes).T
        result: Array = frame @ orthonormal_rows(num_classes - 1, dim, generator)
        return result
    found = [_spread(generator.normal(size=(num_classes, dim))) for _ in range(_STARTS)]
    return min(found, key=largest_cosine)


def largest_cosine(directions: Array) -> float:
    """The largest cosine between two rows.

    Examples
    --------
    >>> largest_cosine(np.array([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    0.0
    """
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = unit @ unit.T
    return float(cosines[np.triu_indices(len(unit), 1)].max())


def orthonormal_rows(number: int, dim: int, generator: np.random.Generator) -> Array:
    """(number, d) orthonormal rows, of uniform orientation."""
    columns, triangle = np.linalg.qr(generator.normal(size=(dim, number)))
    result: Array = (columns * np.sign(np.diagonal(triangle))).T
    return result


def _spread(start: Array) -> Array:
    """A local minimum of the largest cosine near a start."""
    shape, number = start.shape, len(start)

    def objective(packed: Array, sharpness: float) -> tuple[float, Array]:
        rows = packed.reshape(shape)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        unit = rows / lengths
        cosines = sharpness * (unit @ unit.T)
        np.fill_diagonal(cosines, -np.inf)
        total = logsumexp(cosines)
        slope = 2 * np.exp(cosines - total) @ unit
        slope -= np.sum(slope * unit, axis=1, keepdims=True) * unit
        return float(total) / sharpness, (slope / lengths).ravel()

    packed = start.ravel()
    for sharpness in _SHARPNESS:
        result = minimize(
            objective, packed, args=(sharpness,), jac=True, method="L-BFGS-B", options={"maxiter": 50 * number}
        )
        packed = result.x
    rows = packed.reshape(shape)
    unit: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
