"""The decay from which on a class is lost, bracketed: the last decay that keeps it and the first that does not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: A class is lost where its recall is below this.
HALF = 0.5


def losing_decays(recall: Callable[[float], Array], grid: Array, ratio: float) -> tuple[Array, Array]:
    """For each class the last decay seen to keep it, and the next one, which loses it.

    Both sides are computed, not supposed. Between the decays of the grid a recall that dips and comes back may be
    overlooked; of several crossings on the grid the last counts.

    Parameters
    ----------
    recall : callable
        (K,) recalls at a decay.
    grid : (G,) array
        Ascending decays.
    ratio : float
        How far apart, as a quotient, the two may be.

    Returns
    -------
    kept, lost : (K,) arrays
        ``kept`` is 0 where the smallest decay of the grid loses the class already, and ``lost`` then 0 as well;
        ``lost`` is infinite where the largest keeps it.
    """
    table = np.array([recall(decay) for decay in grid]) >= HALF
    last = np.array([np.flatnonzero(column)[-1] if column.any() else -1 for column in table.T])
    kept = np.where(last >= 0, grid[last], 0.0)
    lost = np.where(last < 0, 0.0, np.append(grid, math.inf)[last + 1])
    while True:
        wide = np.flatnonzero((kept > 0) & np.isfinite(lost) & (lost > ratio * kept))
        if len(wide) == 0:
            return kept, lost
        middle = math.sqrt(kept[wide[0]] * lost[wide[0]])
        keeps = recall(middle) >= HALF
        inside = (kept < middle) & (middle < lost) & np.isfinite(lost) & (kept > 0)
        kept = np.where(inside & keeps, middle, kept)
        lost = np.where(inside & ~keeps, middle, lost)
