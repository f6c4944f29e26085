"""Singular values of the optimum as functions of the decay, each known by the part of the mean logits it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lopsided.core.problem import Problem
from lopsided.core.solution import Solution
from lopsided.solver import solve_path

Array = NDArray[np.float64]

#: Decays solved between two calls of ``progress``: enough for each to profit from its neighbour.
BATCH = 16


@dataclass(frozen=True, eq=False)
class SingularPaths:
    """Singular values of D^½ Z at many decays, in √samples · nats.

    Attributes
    ----------
    solutions : list of Solution
        The optima, in ascending order of ``lambda_z``.
    within : (L, J) array
        Inside each cluster: one value that counts for as many directions as the cluster has classes, less one. NaN for
        a cluster of one class.
    between : (L, J − 1) array
        Between clusters, the largest first; zero where the direction is lost. (L, J) for squared error, but with a
        free bias: see :attr:`lopsided.UFM.num_directions`.
    """

    solutions: list[Solution]
    within: Array
    between: Array

    @property
    def decays(self) -> Array:
        """(L,) the values of λ_z, ascending."""
        return np.array([solution.problem.lambda_z for solution in self.solutions])


def singular_paths(
    problem: Problem, decays: Iterable[float], progress: Callable[[int, int], None] | None = None
) -> SingularPaths:
    r"""Solve a problem at many decays and split the singular values of its mean logits by what they tell apart.

    Permutations inside a cluster leave the optimum unchanged, so :math:`D^{1/2}Z` is a multiple of the centring matrix
    on every cluster plus a part that is constant on blocks; its singular values are those of the two parts.

    Parameters
    ----------
    problem : Problem
        What to solve, a convex one; its ``lambda_z`` plays no part.
    decays : iterable of float
        Values of ``lambda_z``, in any order; those given twice are solved once.
    progress : callable, optional
        Called now and then with how many decays are done, and how many there are.

    Returns
    -------
    SingularPaths

    Examples
    --------
    >>> import lopsided as lp
    >>> paths = singular_paths(lp.UFM("500x2,100x2", 1.0, bias=False), [0.01, 0.02])
    >>> paths.within.round(3)                       # at 0.01 the rare classes have merged, at 0.02 all have
    array([[38.531,  0.   ],
           [ 0.   ,  0.   ]])
    """
    problem.require_convex("singular_paths()")
    ascending = sorted({float(decay) for decay in decays})
    solutions: list[Solution] = []
    for start in range(0, len(ascending), BATCH):
        solutions += solve_path(problem, ascending[start : start + BATCH])
        if progress is not None:
            progress(len(solutions), len(ascending))
    parts = [_parts(solution) for solution in solutions]
    clusters = problem.clusters.num_clusters
    directions = problem.num_directions - (problem.num_classes - clusters)
    return SingularPaths(
        solutions,
        np.array([within for within, _ in parts]).reshape(len(parts), clusters),
        np.array([between for _, between in parts]).reshape(len(parts), directions),
    )


def _parts(solution: Solution) -> tuple[Array, Array]:
    clusters, geometry = solution.problem.clusters, solution.geometry
    first = [classes[0] for classes in clusters.classes]
    other = [classes[-1] for classes in clusters.classes]  # the same class where there is but one
    blocks = geometry.class_means[first] @ geometry.classifier[first].T
    same = np.sum(geometry.class_means[first] * geometry.classifier[other], axis=1)
    own, root = np.diagonal(blocks).copy(), np.sqrt(clusters.counts)
    within = np.where(clusters.sizes > 1, root * (own - same), np.nan)
    blocks = blocks * np.sqrt(np.outer(clusters.sizes, clusters.sizes))
    np.fill_diagonal(blocks, own + (clusters.sizes - 1) * same)
    directions = solution.problem.num_directions - (geometry.num_classes - clusters.num_clusters)
    # under a softmax the smallest is zero: the columns of Z add up to nothing
    between = np.linalg.svd(root[:, None] * blocks, compute_uv=False)[:directions].astype(np.float64)
    rounding = 1e-9 * root.max()  # of the products above
    return np.where(within <= rounding, 0.0, within), np.where(between <= rounding, 0.0, between)
