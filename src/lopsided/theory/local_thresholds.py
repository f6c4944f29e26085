r"""Thresholds of the problems that are not the convex one: closed where a closed form is known, bracketed elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lopsided.core.geometry import Geometry
from lopsided.core.losses import CrossEntropy
from lopsided.core.problem import Problem
from lopsided.solver.stationary import complete_norm, stationary_point
from lopsided.theory.relu import relu_complete_threshold

Array = NDArray[np.float64]

#: Relative width of the bracket at which bisection ends, nearer than which merged classes can hardly be told from
#: nearly merged ones; and the local minimisations at each decay.
ACCURACY, STARTS = 1e-3, 3
#: Below this share of complete collapse no threshold is looked for.
SMALLEST_SHARE = 1e-4


def local_thresholds(problem: Problem) -> tuple[Array, float, str]:
    """Thresholds within the clusters and of complete collapse, and how they were found; "" where in closed form."""
    clusters = problem.clusters
    plain = problem.loss == CrossEntropy()
    if plain and not problem.bias:
        share = np.sqrt(clusters.counts * (1 - 1 / problem.num_classes))
        within = share / problem.num_samples
        return within, float(within.max()), ""

    @cache
    def geometry_at(decay: float) -> Geometry:
        return stationary_point(problem.replaced(lambda_z=decay), starts=STARTS).geometry

    def nothing(decay: float) -> bool:
        return geometry_at(decay).rank == 0

    if problem.features == "relu" and plain:
        complete = relu_complete_threshold(problem).upper
    else:  # where Z = 0 becomes a local minimum, or later, where it becomes the best stationary point
        complete = complete_norm(problem)
        if not nothing((1 + ACCURACY) * complete):
            complete = _first_true(nothing, complete)
    within = np.full(clusters.num_clusters, np.nan)
    for cluster in np.flatnonzero(clusters.sizes > 1).tolist():
        members = set(clusters.classes[cluster])

        def together(decay: float, members: set[int] = members) -> bool:
            return nothing(decay) or any(members <= set(group) for group in geometry_at(decay).merged)

        within[cluster] = _first_true(together, complete)
    note = f"bracketed on stationary points, each the best of up to {STARTS + 1}, to {ACCURACY:g} relative"
    return within, complete, note


def _first_true(holds: Callable[[float], bool], near: float) -> float:
    """The decay from which on a statement holds, ``near`` itself if it is there; 0 where it always holds."""
    if holds(near * (1 + ACCURACY)):
        low, high = near * (1 - ACCURACY), near
        if not holds(low):
            return near
        while holds(low):
            low, high = low / 1.5, low
            if low < SMALLEST_SHARE * near:
                return 0.0
    else:
        low, high = near, 1.25 * near
        while not holds(high):
            low, high = high, 1.25 * high
    while high > low * (1 + ACCURACY):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
