r"""The spectral norm over non-negative directions, :math:`\max_{v\ge0,\|v\|=1}\|Gv\|`: what replaces it for H ≥ 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bracket:
    """A number known from both sides.

    Attributes
    ----------
    lower, upper : float
        The number lies between them; equal up to rounding where it is known exactly.
    """

    lower: float
    upper: float


def orthant_norm(matrix: Array) -> Bracket:
    r"""Bounds on :math:`\max\|Gv\|` over unit vectors v ≥ 0.

    Parameters
    ----------
    matrix : (p, K) array
        G.

    Returns
    -------
    Bracket
        ``upper``: the root of the largest eigenvalue of GᵀG with its negative off-diagonal entries set to zero.
        ``lower``: the best of monotone power iterations from every axis and from the eigenvector of ``upper``. They
        coincide where no negative entry meets two coordinates of that eigenvector. In general the maximum is a
        copositive program, which is NP-hard.

    Examples
    --------
    >>> import numpy as np
    >>> orthant_norm(np.array([[1.0, -1.0], [1.0, -1.0]]))        # its spectral norm is 2
    Bracket(lower=1.414213562373095, upper=1.414213562373095)
    """
    gram = matrix.T @ matrix
    values, vectors = np.linalg.eigh(np.maximum(gram, 0.0))
    upper = float(values[-1])
    lower = 0.0
    for start in (*np.eye(len(gram)), np.abs(vectors[:, -1])):
        direction = start
        for _ in range(500):
            pulled = np.maximum(gram @ direction, 0.0)
            length = float(np.linalg.norm(pulled))
            if length == 0:
                break
            moved, direction = float(np.linalg.norm(pulled / length - direction)), pulled / length
            if moved < 1e-13:
                break
        lower = max(lower, float(direction @ gram @ direction))
    return Bracket(float(np.sqrt(min(lower, upper))), float(np.sqrt(upper)))


def orthant_norm_bound(matrix: Array) -> float:
    """The ``upper`` of :func:`orthant_norm` alone, without the search from below.

    Examples
    --------
    >>> round(orthant_norm_bound(np.array([[1.0, -1.0], [1.0, -1.0]])), 6)
    1.414214
    """
    return float(np.sqrt(np.linalg.eigvalsh(np.maximum(matrix.T @ matrix, 0.0))[-1]))
