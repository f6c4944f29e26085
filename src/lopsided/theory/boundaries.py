r"""The decays at which two clusters of classes change regime, for whole arrays of problems at once.

As λ grows, first the classes of the rarer cluster merge, then the clusters stop being told apart, then everything is
gone: :math:`\sqrt{n_B}/N\le\lambda^*\le\lambda_\text{complete}`, with B the rarer cluster. So where the clusters stop
being told apart the rarer one has merged already, which leaves one scalar equation for λ*.

**The order holds in every bias mode.** Write s for how much the logit of B's classes exceeds that of A's through bias
and adjustment, and let :math:`v=m_Be^s/(m_A+m_Be^s)`. With nothing else to tell the clusters apart, at
:math:`N\lambda=\sqrt{n_B}` a sample of the merged cluster B gives the mass :math:`q_B=1-v` to A. One of A, whose own
logit is :math:`x\ge0` above its fellows', gives B

.. math:: \frac{q_A}{N\lambda/\sqrt{n_A}}=\frac{m_Be^{s+x/m_A}}{m_A+m_Be^{s+x/m_A}}\ge v

(for a single class A, :math:`q_A=v` and :math:`n_A\ge n_B`). Hence the function S of :func:`two_cluster_threshold` is

.. math:: S\ge K\Bigl[\frac{v^2}{m_B}+\frac{(1-v)^2}{m_A}\Bigr]\ge\frac K{m_A+m_B}=1

by the inequality of Cauchy and Schwarz, so that the clusters are still told apart below :math:`\sqrt{n_B}/N`. The
commoner cluster merges at :math:`\sqrt{n_A}/N`, beyond which nothing is left without an adjustment. With one, a
negative one above all, the clusters may still be told apart there: a regime of its own, up to :math:`\lambda^*`. Label
smoothing breaks the argument and, rarely and by a percent or two, the order; so it has no place here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise

Array = NDArray[np.float64]

#: The boundaries between regimes, from the smallest decay to the largest.
BOUNDARIES = ("minority", "majority", "between", "complete")
#: Relative error of a boundary: nearer ones are one.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class TwoClusterBoundaries:
    """Where two clusters change regime, as values of λ_z; arrays of one shape.

    Attributes
    ----------
    minority : array
        At and above it the classes of the rarer cluster coincide. NaN where that is a single class.
    majority : array
        At and above it the classes of the commoner cluster coincide, and the clusters are still told apart. NaN where
        there is no such regime: always without a logit adjustment.
    between : array
        At and above it no logit depends on which cluster a sample is from: λ*.
    complete : array
        At and above it all class means coincide: Z = 0.
    """

    minority: Array
    majority: Array
    between: Array
    complete: Array


class Regime(IntEnum):
    """What the optimum does to two clusters of classes; there is no other regime (see the order of the boundaries).

    ``BOTH_MERGED`` needs a logit adjustment.
    """

    ALL_APART = 0
    MINORITY_MERGED = 1
    MINORITY_ZERO = 2
    ALL_MERGED = 3
    BOTH_MERGED = 4

    @property
    def meaning(self) -> str:
        """The regime in a few words."""
        return (
            "every class is told apart",
            "the rarer classes have merged, and are told apart from the others",
            "the rarer classes' means are zero: the bias alone predicts them",
            "all classes have merged",
            "each cluster's classes have merged, and the clusters are told apart",
        )[self]


def two_cluster_boundaries(
    m_a: ArrayLike,
    n_a: ArrayLike,
    m_b: ArrayLike,
    n_b: ArrayLike,
    *,
    lambda_b: float = 0.0,
    bias: bool = True,
    logit_adjustment: float = 0.0,
) -> TwoClusterBoundaries:
    r"""The decays at which ``m_a`` classes of ``n_a`` samples beside ``m_b`` of ``n_b`` change regime.

    Parameters
    ----------
    m_a, m_b : array_like
        Classes in each cluster, at least 1. The formulas know no whole numbers, and so neither does this function.
    n_a, n_b : array_like
        Samples in each class of a cluster, above 0. Broadcast with the numbers of classes. Where they are equal there
        is one cluster, and all boundaries are :math:`\sqrt n/N`.
    lambda_b, bias
        As in :class:`lopsided.UFM`.
    logit_adjustment : float, default 0
        τ of :class:`lopsided.CrossEntropy`.

    Returns
    -------
    TwoClusterBoundaries

    Notes
    -----
    Within a cluster of two or more classes the threshold is :math:`\sqrt n/N`. At λ* the rarer cluster has merged (see
    this module), and the commoner one has a logit gap x inside, which determines the bias (its equation does not
    contain λ), then λ through :math:`p_\text{own}-p_\text{same}=1-N\lambda/\sqrt{n_A}`; so S = 1 is one equation for
    x. Where S exceeds 1 at x = 0, or A is a single class, the clusters are told apart to the last, and λ* is explicit.

    Examples
    --------
    >>> found = two_cluster_boundaries(5, [300, 500], 5, 100, lambda_b=0.02)
    >>> found.minority                                      # √100/N
    array([0.005     , 0.00333333])
    >>> found.between
    array([0.00578886, 0.00398326])
    >>> found.complete                                      # √n_A/N
    array([0.00866025, 0.00745356])
    """
    arrays = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (m_a, n_a, m_b, n_b)))
    shape = arrays[0].shape
    sizes_a, counts_a, sizes_b, counts_b = (np.atleast_1d(array).ravel() for array in arrays)
    swapped = counts_a < counts_b
    pair = ClusterPair(
        np.where(swapped, sizes_b, sizes_a),
        np.where(swapped, counts_b, counts_a),
        np.where(swapped, sizes_a, sizes_b),
        np.where(swapped, counts_a, counts_b),
        bias_decay=float(lambda_b) if bias else None,
        adjustment=float(logit_adjustment),
    )
    lowest, highest = np.sqrt(pair.few) / pair.total, np.sqrt(pair.many) / pair.total
    # not below the lowest but for rounding, which must not tell equal counts apart either
    between = np.where(pair.few == pair.many, lowest, np.maximum(_between(pair), lowest))
    complete = np.where(pair.size > 1, np.maximum(between, highest), between)
    minority = np.where(pair.rare_size > 1, lowest, np.nan)
    majority = np.where((pair.size > 1) & (between > highest * (1 + _ROUNDING)), highest, np.nan)
    return TwoClusterBoundaries(*(value.reshape(shape) for value in (minority, majority, between, complete)))


@dataclass(frozen=True)
class ClusterPair:
    """Pairs of clusters of which the rarer has merged: classes of the commoner and samples in each, then the rarer."""

    size: Array
    many: Array
    rare_size: Array
    few: Array
    bias_decay: float | None
    adjustment: float

    def __getitem__(self, rows: NDArray[np.intp]) -> ClusterPair:
        """Some of the problems."""
        return replace(
            self, size=self.size[rows], many=self.many[rows], rare_size=self.rare_size[rows], few=self.few[rows]
        )

    @property
    def classes(self) -> Array:
        """Classes in all."""
        return self.size + self.rare_size

    @property
    def total(self) -> Array:
        """Samples in all."""
        return self.size * self.many + self.rare_size * self.few

    def shift(self, advantage: Array) -> Array:
        """What bias and adjustment put on the rarer classes' logits, less what they put on the commoner ones'."""
        return self.adjustment * np.log(self.few / self.many) - advantage

    def common_sample(self, gap: Array, shift: Array) -> tuple[Array, Array]:
        """Log mass on the rarer cluster, and log of 1 − p_own + p_same, of a sample of the commoner one."""
        with np.errstate(divide="ignore"):  # a single class has no fellows
            fellows = np.log(self.size - 1)
        outside = np.log(self.rare_size) + shift + gap / self.size
        all_logits = np.logaddexp(np.logaddexp(gap, outside), fellows)
        return outside - all_logits, np.logaddexp(np.log(self.size), outside) - all_logits

    def rare_sample(self, shift: Array) -> Array:
        """Log mass on the commoner cluster of a sample of the rarer one, whose classes have merged."""
        inside = np.log(self.rare_size) + shift
        result: Array = np.log(self.size) - np.logaddexp(np.log(self.size), inside)
        return result

    def advantage(self, gap: Array) -> Array:
        """By how much the bias of the commoner classes exceeds that of the rarer ones."""
        decay = self.bias_decay
        if decay is None:
            return np.zeros_like(gap)
        # where the bias is free, what flows one way is what flows back: a quadratic equation in t = e^shift
        linear = 0.5 * (self.size / self.rare_size - self.few / self.many)
        log_constant = np.log(self.few / (self.many * self.rare_size)) - gap / self.size
        with np.errstate(divide="ignore"):  # a single class has no fellows
            log_constant += np.logaddexp(gap, np.log(self.size - 1))
        log_root = 0.5 * log_constant - np.arcsinh(linear * np.exp(-0.5 * log_constant))
        free: Array = self.shift(np.zeros_like(gap)) - log_root
        if decay == 0:
            return free

        def imbalance(advantage: Array, gap: Array, rows: NDArray[np.intp]) -> Array:
            """What the common samples give away and the rare ones do, less the penalty's pull; falls strictly."""
            pair = self[rows]
            shift = pair.shift(advantage)
            flow = pair.size * pair.many / pair.total * np.exp(pair.common_sample(gap, shift)[0])
            back = pair.rare_size * pair.few / pair.total * np.exp(pair.rare_sample(shift))
            result: Array = flow - back - decay * pair.size * pair.rare_size / pair.classes * advantage
            return result

        # the penalty pulls it from there towards zero
        rows = np.arange(len(gap))
        found = elementwise.find_root(imbalance, (np.minimum(free, 0), np.maximum(free, 0)), args=(gap, rows))
        return np.where(found.success, found.x, free)  # a penalty lost to rounding changes nothing

    def gap_at(self, decay: float) -> Array:
        """The logit gap inside the commoner cluster at a decay λ ≥ λ*."""
        log_missing = np.log(self.total * decay / np.sqrt(self.many))

        def excess(gap: Array, rows: NDArray[np.intp]) -> Array:
            """Of 1 − p_own + p_same, in logarithms."""
            pair = self[rows]
            return pair.common_sample(gap, pair.shift(pair.advantage(gap)))[1] - log_missing[rows]

        gap = np.zeros_like(self.size)
        apart = np.flatnonzero((self.size > 1) & (log_missing < 0))
        gap[apart] = _positive_roots(excess, apart)
        return gap

    def log_excess(self, gap: Array) -> tuple[Array, Array]:
        """Log S, and the log of (Nλ)²S, where the commoner cluster has this gap inside."""
        shift = self.shift(self.advantage(gap))
        log_leak, log_missing = self.common_sample(gap, shift)
        strength = np.logaddexp(
            np.log(self.classes / self.rare_size * self.many) + 2 * log_leak,
            np.log(self.classes / self.size * self.few) + 2 * self.rare_sample(shift),
        )
        return strength - 2 * log_missing - np.log(self.many), strength


def regimes_of(log_excess: Array) -> NDArray[np.int64]:
    """Regimes from the (4, ...) log of λ_z over each of ``BOUNDARIES``, as :meth:`PhaseDiagram.log_excess` gives it.

    Examples
    --------
    >>> usual = np.array([[-0.3, 0.1, np.nan], [np.nan] * 3, [-0.5, -0.1, 0.2], [-1.0, -0.8, -0.4]])
    >>> regimes_of(usual), regimes_of(np.array([0.9, 0.1, -0.1, -0.1]))
    (array([0, 1, 2]), array(4))
    """
    minority, majority, between, complete = log_excess >= 0  # not a number is on neither side
    kinds = [Regime.ALL_MERGED, Regime.MINORITY_ZERO, Regime.BOTH_MERGED, Regime.MINORITY_MERGED]
    result: NDArray[np.int64] = np.select([complete, between, majority, minority], kinds, Regime.ALL_APART)
    return result


def _between(pair: ClusterPair) -> Array:
    """λ*, the decay from which on the clusters are not told apart."""
    zero = np.zeros_like(pair.size)
    excess, strength = pair.log_excess(zero)
    explicit = (pair.size <= 1) | (excess >= 0)
    found: Array = np.exp(strength / 2) / pair.total
    if explicit.all():
        return found

    def log_excess(gap: Array, rows: NDArray[np.intp]) -> Array:
        return pair[rows].log_excess(gap)[0]

    rest = np.flatnonzero(~explicit)
    found[rest] = np.exp(pair[rest].log_excess(_positive_roots(log_excess, rest))[1] / 2) / pair.total[rest]
    return found


def _positive_roots(function: Callable[[Array, NDArray[np.intp]], Array], rows: NDArray[np.intp]) -> Array:
    """Where functions of a gap, one a row, change the sign that they have at zero."""
    bracket = elementwise.bracket_root(function, np.zeros(len(rows)), 1.0, xmin=0.0, args=(rows,)).bracket
    gap: Array = elementwise.find_root(function, bracket, args=(rows,)).x
    return gap
