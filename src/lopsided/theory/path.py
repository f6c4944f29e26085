"""The decays at which the optimum loses rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from lopsided.problem import UFM
from lopsided.solver import ReducedProblem, optimum_of
from lopsided.theory.thresholds import Array, thresholds

#: Two critical decays nearer than this, relatively, are one.
SAME = 1e-7
#: The largest decay looked at, as a share of complete collapse; above the root finder's end point by rounding alone.
_JUST_BELOW = 1 - 1e-9


@dataclass(frozen=True)
class CriticalDecay:
    """A decay at which the optimum loses rank as λ_z grows.

    Attributes
    ----------
    lambda_z : float
        The critical decay: at it and just above it the rank is ``rank_above``.
    rank_below, rank_above : int
        Rank of the mean logits just below and just above it.
    merging : list of int
        Clusters whose classes merge here, as indices into ``problem.clusters``; empty where two directions between
        clusters of different counts fall into one.
    """

    lambda_z: float
    rank_below: int
    rank_above: int
    merging: list[int]


def critical_path(problem: UFM, smallest_share: float = 1e-4) -> list[CriticalDecay]:
    r"""All decays at which the rank of the mean logits drops, the largest first.

    The mean logits split into parts inside the clusters, which vanish at their thresholds, and a part between them. The
    r-th direction of that part vanishes where a signed function of λ_z has its root: the r-th singular value where it
    is positive, and minus its dual slack :math:`1-\sigma` where it is zero; so the root is found sharply, as bisection
    on an integer rank would not.

    Parameters
    ----------
    problem : UFM
        Its ``lambda_z`` plays no part.
    smallest_share : float, default 1e-4
        Where the search ends, as a share of the decay of complete collapse.

    Returns
    -------
    list of CriticalDecay
        In decreasing order of ``lambda_z``.

    Raises
    ------
    ValueError
        If ``smallest_share`` is not in (0, 1), features end in a ReLU, or the loss is not convex.
    ArithmeticError
        If an optimum on the way could not be certified.

    Examples
    --------
    >>> import lopsided as lp
    >>> for drop in lp.UFM("500x2,100x2", lambda_z=1.0, bias=False).critical_path():
    ...     print(f"{drop.lambda_z:.9f}  {drop.rank_below} -> {drop.rank_above}")
    0.018633900  1 -> 0
    0.013541328  2 -> 1
    0.008333333  3 -> 2
    """
    problem.require_convex("critical_path()")
    if not 0 < smallest_share < 1:
        raise ValueError(f"smallest_share must lie between 0 and 1; got {smallest_share!r}")
    clusters = problem.clusters
    known = thresholds(problem)
    complete, within = known.complete, known.within
    drops = [(float(within[j]), int(clusters.sizes[j]) - 1, [j]) for j in np.flatnonzero(clusters.sizes > 1).tolist()]
    between = _Between(problem)
    low, high = smallest_share * complete, _JUST_BELOW * complete
    ceiling = high
    for order in range(1, clusters.num_clusters):
        if between.sign(order, low) <= 0:
            break  # this direction is lost below the search already
        if order == 1:
            # the first direction between clusters is the last to go: with the within part it makes up ``complete``
            root = complete if between.sign(1, high) > 0 else _root(between, 1, low, high)
        else:
            root = _root(between, order, low, ceiling)
        ceiling = min(high, root)
        drops.append((root, 1, []))
    return _collect(drops)


def _root(between: _Between, order: int, low: float, high: float) -> float:
    if between.sign(order, high) >= 0:
        return high
    root: float = brentq(lambda decay: between.sign(order, decay), low, high, rtol=1e-12, xtol=1e-300)
    return root


def _collect(drops: list[tuple[float, int, list[int]]]) -> list[CriticalDecay]:
    """Drops at one decay as one, with the rank counted up from zero."""
    path: list[CriticalDecay] = []
    rank = 0
    for decay, lost, merging in sorted(drops, key=lambda drop: -drop[0]):
        if path and path[-1].lambda_z - decay <= SAME * decay:
            last = path[-1]
            path[-1] = replace(last, rank_below=last.rank_below + lost, merging=sorted(last.merging + merging))
        else:
            path.append(CriticalDecay(decay, rank + lost, rank, merging))
        rank += lost
    return path


class _Between:
    """Singular values and dual slacks of the part between clusters, for any decay, each solved once."""

    def __init__(self, problem: UFM) -> None:
        self.problem = problem
        self.known: dict[float, Array] = {}

    def sign(self, order: int, decay: float) -> float:
        """The ``order``-th singular value, over √n_max, where it is positive; else minus its dual slack."""
        if decay not in self.known:
            self.known[decay] = self._solve(decay)
        return float(self.known[decay][order - 1])

    def _solve(self, decay: float) -> Array:
        reduced = ReducedProblem.of(self.problem.with_lambda_z(decay))
        outcome = optimum_of(reduced, tol=1e-11)
        if outcome.certificate.gap > 1e-9 * max(1.0, outcome.certificate.objective):
            raise ArithmeticError(f"the optimum at lambda_z = {decay!r} could not be certified; narrow the search")
        spectrum, gradient = outcome.iterate.spectrum, outcome.iterate.evaluation.gradient.between
        rank = spectrum.rank
        normal = spectrum.left[:, rank:].T @ gradient @ spectrum.right[:, rank:]
        slack = 1 - np.linalg.svd(normal, compute_uv=False)
        positive = spectrum.values / reduced.root_counts.max()
        result: Array = np.concatenate([positive, -slack])
        return result
