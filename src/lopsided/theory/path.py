"""The decays at which the optimum loses rank."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.problem import Problem
from lopsided.solver import optimum_of, reduce_problem
from lopsided.theory.thresholds import Array, thresholds

#: Two critical decays nearer than this, relatively, are one.
SAME = 1e-7
#: How sharply a critical decay is found, relatively.
SHARP = 1e-10
#: How near to a critical decay optima are solved, relatively: below it, where the solver is slow, and above it.
BELOW, ABOVE = 1e-5, 1e-7
#: The largest gap of an optimum on the way, as a share of max(1, objective); next to a critical decay some are looser.
CERTIFIED = 1e-7
#: The largest decay looked at, as a share of complete collapse; above the root finder's end point by rounding alone.
_JUST_BELOW = 1 - 1e-9
#: The search goes down to this share of complete collapse at least, lest the two ends meet.
_MOST_SHARE = 0.999


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


def critical_path(
    problem: Problem, smallest_share: float = 1e-4, progress: Callable[[int, int], None] | None = None
) -> list[CriticalDecay]:
    r"""All decays at which the rank of the mean logits drops, the largest first.

    The mean logits split into parts inside the clusters, which vanish at their thresholds, and a part between them. The
    r-th direction of that part vanishes where a signed function of λ_z has its root: the r-th singular value where it
    is positive, and minus its dual slack :math:`1-\sigma` where it is zero; so the root is found sharply, as bisection
    on an integer rank would not. Every optimum solved on the way serves the search for all directions. That each
    direction vanishes once only is not proved; no counterexample is known, and none turned up in thousands of problems.

    Parameters
    ----------
    problem : Problem
        Its ``lambda_z`` plays no part.
    smallest_share : float, default 1e-4
        Where the search ends, as a share of the decay of complete collapse; what drops further down is left out.
    progress : callable, optional
        Called with how many directions between clusters are done, and how many there are.

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
        raise ArgumentError("smallest_share", "must lie between 0 and 1", smallest_share)
    clusters = problem.clusters
    known = thresholds(problem)
    complete, within = known.complete, known.within
    low, high = min(smallest_share, _MOST_SHARE) * complete, _JUST_BELOW * complete
    # what merges further down would be given ranks that miss the directions between clusters lost there
    found = np.flatnonzero((clusters.sizes > 1) & (within >= low)).tolist()
    drops = [(float(within[j]), int(clusters.sizes[j]) - 1, [j]) for j in found]
    between = _Between(problem)
    ceiling = high
    directions = problem.num_directions - int(np.sum(clusters.sizes - 1))
    for order in range(1, directions + 1):
        if progress is not None:
            progress(order - 1, directions)
        if between.sign(order, low) <= 0:
            break  # this direction is lost below the search already
        if order == 1 and between.sign(1, high) > 0:
            # the first direction between clusters is the last to go: with the within part it makes up ``complete``
            root = complete
        else:
            root, ceiling = between.root(order, low, ceiling)
        drops.append((root, 1, []))
    if progress is not None:
        progress(directions, directions)
    return _collect(drops)


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

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.known: dict[float, Array] = {}
        self.decays: list[float] = []  # of ``known``, ascending

    def sign(self, order: int, decay: float) -> float:
        """The ``order``-th singular value, over √n_max, where it is positive; else minus its dual slack."""
        if decay not in self.known:
            self.known[decay] = self._solve(decay)
            insort(self.decays, decay)
        return float(self.known[decay][order - 1])

    def root(self, order: int, low: float, high: float) -> tuple[float, float]:
        """The largest decay up to ``high`` at which the ``order``-th direction vanishes, and where to go on from.

        The function is smooth on either side of its root and has a kink in it, so each guess comes from one side. Just
        below the root, where the singular value is tiny, the optimum is ill-conditioned; just above it is not. So the
        search comes down from above, and one optimum well below proves that the root lies between.
        """
        if self.sign(order, high) >= 0:
            return high, high
        width, least, slow = float("inf"), float("inf"), 0
        while True:
            below, above = self._sides(order, low, high)
            left, right = below[0], above[0]
            guess, doubt = self._guess(order, below, above)
            below_far, above_far = guess - left > 4 * BELOW * right, right - guess > 4 * ABOVE * right
            if right - left <= SHARP * right or not (below_far or above_far or doubt > SHARP * right):
                # the next direction vanishes below this root, unless two vanish together
                together = order < len(self.known[left]) and self.sign(order + 1, left) > 0
                return guess, right if together else left
            slow = slow + 1 if right - left > 0.5 * width and doubt > 0.5 * least else 0
            if slow == 0:
                width, least = right - left, doubt
            if slow > 3:
                guess = (left * right) ** 0.5
            elif above_far or doubt > ABOVE * right:
                guess += min(max(0.3 * doubt, ABOVE * right), 0.2 * (right - guess))
            elif below_far:
                guess -= BELOW * right
            else:
                guess = 0.5 * (guess + right)
            self.sign(order, guess)

    def _sides(self, order: int, low: float, high: float) -> tuple[list[float], list[float]]:
        """Known decays on both sides of the root, the nearest three first."""
        first, end = bisect_left(self.decays, low), bisect_right(self.decays, high)
        last = max(place for place in range(first, end) if self.sign(order, self.decays[place]) > 0)
        below = [decay for decay in self.decays[first : last + 1] if self.sign(order, decay) > 0]
        return below[:-4:-1], self.decays[last + 1 : last + 4]

    def _guess(self, order: int, below: list[float], above: list[float]) -> tuple[float, float]:
        """Where the root may be, and how far off that is at a guess."""
        low, high = below[0], above[0]
        first, second = self.sign(order, low), self.sign(order, high)
        guesses = [(high - low, low - first * (high - low) / (second - first))]  # blind to the kink
        for side in (above, below):
            values = [self.sign(order, decay) for decay in side]
            if len(side) < 2 or len(set(values)) < len(values):
                continue
            line, curve = (_extrapolate(side[:count], values[:count]) for count in (2, len(side)))
            if low < curve < high:
                doubt = abs(curve - line) if len(side) > 2 else abs(curve - side[0]) * abs(curve / side[1] - 1)
                guesses.append((doubt, curve))
        doubt, guess = min(guesses)
        return guess, doubt

    def _solve(self, decay: float) -> Array:
        reduced = reduce_problem(self.problem.replaced(lambda_z=decay))
        outcome = optimum_of(reduced, tol=1e-11)
        if outcome.certificate.gap > CERTIFIED * max(1.0, outcome.certificate.objective):
            raise ArithmeticError(f"the optimum at lambda_z = {decay!r} could not be certified; narrow the search")
        spectrum, gradient = outcome.iterate.spectrum, outcome.iterate.evaluation.gradient.between
        rank = spectrum.rank
        normal = spectrum.left[:, rank:].T @ gradient @ spectrum.right[:, rank:]
        slack = 1 - np.linalg.svd(normal, compute_uv=False)
        positive = spectrum.values / reduced.root_counts.max()
        result: Array = np.concatenate([positive, -slack])
        return result


def _extrapolate(decays: list[float], values: list[float]) -> float:
    """Where the polynomial in the value through these points has the value zero (Neville)."""
    found = list(decays)
    for step in range(1, len(found)):
        for place in range(len(found) - step):
            first, second = values[place], values[place + step]
            found[place] = (first * found[place + 1] - second * found[place]) / (first - second)
    return found[0]
