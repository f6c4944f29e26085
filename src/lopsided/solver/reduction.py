"""The convex problem over mean logits, reduced to its clusters.

Let A = D^{1/2} Z with one *row* a class (PyTorch's layout; the paper has columns). Permuting classes of equal count
leaves the optimum unchanged, so that A = ⊕_j within_j (I − 11ᵀ/m_j) + U · between · Uᵀ, with U the normalised cluster
indicators. K classes in J clusters are one J × J matrix ``between``, J numbers ``within`` and J biases, and

    ‖A‖_* = ‖between‖_* + Σ_j (m_j − 1) |within_j|.

Everything is in units of λ: the objective is divided by λ_z, and the dual constraint reads ‖∇f‖_op ≤ 1. A loss depends
only on differences of logits, so all is expressed in Y = (logit of a class) − (logit of the sample's own class): the
small numbers that matter late in training, 1 − p_own, are then sums and never differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lopsided.losses import ClassTerms
from lopsided.problem import UFM

Array = NDArray[np.float64]

#: Ratio of the largest to the smallest count, or logit gap in nats, from which a second guess is worth its time.
FAR_APART, LARGE_GAP = 100, 15


def diagonal(matrix: Array) -> Array:
    """A writable view of the diagonal."""
    view = matrix.diagonal()
    view.flags.writeable = matrix.flags.writeable
    return view


@dataclass(frozen=True, eq=False)
class Point:
    """Variables of the reduced problem: ``between`` (J, J), ``within`` (J,) and ``bias`` (J,)."""

    between: Array
    within: Array
    bias: Array


class ReducedProblem:
    """The problem over clusters: J counts with J multiplicities.

    Parameters
    ----------
    counts, sizes : (J,) array
        Samples in each class of a cluster, and classes in each cluster.
    terms : ClassTerms
        What the loss does to the classes of each cluster.
    decay : float
        λ_z.
    bias_decay : float or None
        λ_b; 0 for a free bias, None for no bias.
    """

    def __init__(self, counts: Array, sizes: Array, terms: ClassTerms, decay: float, bias_decay: float | None) -> None:
        self.counts = counts
        self.sizes = sizes
        self.terms = terms
        self.decay = decay
        self.bias_decay = bias_decay
        self.num_clusters = len(counts)
        self.num_samples = float(sizes @ counts)
        self.root_counts = np.sqrt(counts)
        self.root_sizes = np.sqrt(sizes)
        #: Weight of a cluster in the loss, over λ.
        self.weights = terms.weights * sizes * counts / (terms.normaliser * decay)
        rows, columns = terms.row_scales, terms.column_scales
        #: From an entry of ``between`` to a scaled logit inside the loss.
        self.scale = (rows / (self.root_counts * self.root_sizes))[:, None] * (columns / self.root_sizes)[None, :]
        self.own_scale = diagonal(self.scale).copy()
        #: From ``within`` to the scaled own logit, and to what that has above the others of the cluster.
        self.separation_scale = rows * columns / self.root_counts
        self.within_scale = (1 - 1 / sizes) * self.separation_scale
        #: Margins at zero logits: differences of offsets, and the margin taken off the own logit.
        self.offsets = terms.offsets[None, :] - (terms.offsets - terms.margins)[:, None]
        #: How many classes an entry of Y stands for; on the diagonal, the *other* classes of the cluster.
        self.multiplicity = np.repeat(sizes[None, :], self.num_clusters, axis=0)
        diagonal(self.multiplicity)[:] = sizes - 1
        #: Probability that the targets give to what an entry of Y stands for.
        self.targets = self.multiplicity * (terms.smoothing / sizes.sum())
        #: Classes of a cluster stay apart only where p_own − p_same = 1 − ε − Nλ/(wδ√n) > 0, and without a margin
        #: exactly there; this is what is missing from 1.
        step = terms.normaliser * decay / (terms.weights * self.root_counts * rows * columns)
        self.shortfall = np.minimum(1.0, terms.smoothing + step)
        self.separable = (sizes > 1) & ((self.shortfall < 1) | (terms.margins > 0))
        #: Those of which that is known beforehand.
        self.separate = self.separable & (terms.margins == 0)
        #: The shift of a sample's logits that no loss sees: zero in the optimum.
        self.shift = self.root_sizes / columns
        self.shift /= np.linalg.norm(self.shift)

    @classmethod
    def of(cls, problem: UFM) -> ReducedProblem:
        """The reduction of a problem to its clusters."""
        problem.require_convex("the certified solver")
        clusters = problem.clusters
        bias_decay = problem.lambda_b if problem.bias else None
        return cls(clusters.counts, clusters.sizes, clusters.terms, problem.lambda_z, bias_decay)

    @property
    def has_bias(self) -> bool:
        """Whether there is a bias at all."""
        return self.bias_decay is not None

    @cached_property
    def bias_weights(self) -> Array:
        """(J,) curvature of the bias penalty: λ_b m_j / λ_z; zeros for a free or absent bias."""
        return self.sizes * ((self.bias_decay or 0.0) / self.decay)

    def margins(self, point: Point) -> Array:
        """(J, J) what a point adds to the logits of the other classes minus the own one, one row a cluster."""
        columns = self.terms.column_scales
        bias = point.bias * columns
        own = diagonal(point.between) * self.own_scale + point.within * self.within_scale + self.terms.row_scales * bias
        margins: Array = point.between * self.scale
        margins += self.terms.row_scales[:, None] * bias
        margins -= own[:, None]
        diagonal(margins)[:] = -point.within * self.separation_scale
        return margins

    def pull_back(self, dual: Array) -> Point:
        """The adjoint of :meth:`margins`."""
        same = diagonal(dual).copy()
        other = dual.sum(axis=1) - same
        between = dual * self.scale
        diagonal(between)[:] = -other * self.own_scale
        within = -(same * self.separation_scale + self.within_scale * other)
        rows = self.terms.row_scales
        bias = self.terms.column_scales * ((rows @ dual - rows * same) - rows * other)
        return Point(between, within, bias)

    def nuclear_within(self, within: Array) -> float:
        """The part of ‖A‖_* that lies inside the clusters."""
        return float((self.sizes - 1) @ np.abs(within))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The smooth part of the objective at a point, and its gradient, over λ.

    ``probabilities`` (J, J) holds the total mass that a sample gives to the classes an entry of Y stands for, ``own``
    (J,) the mass on its own class; ``curvature`` (J, J) those masses times the clusters' weights, ``dual`` (J, J) the
    gradient in Y. The gradient's bias part leaves the penalty out.
    """

    problem: ReducedProblem
    point: Point
    probabilities: Array
    own: Array
    curvature: Array
    dual: Array
    loss: float
    bias_penalty: float
    gradient: Point


def evaluate(problem: ReducedProblem, point: Point) -> Evaluation:
    """Value and gradient of the loss at a point: one pass over the J × J margins."""
    margins = problem.margins(point)
    margins += problem.offsets
    top = np.maximum(margins.max(axis=1), 0.0)
    masses = np.exp(margins - top[:, None])
    masses *= problem.multiplicity
    own = np.exp(-top)
    other = masses.sum(axis=1)
    # log1p keeps the loss of a nearly perfect classifier; where it is not perfect the general form is exact enough
    losses = np.where(top == 0, np.log1p(other), top + np.log(own + other))
    total = own + other
    masses /= total[:, None]
    curvature = problem.weights[:, None] * masses
    dual = curvature
    if problem.terms.smoothing:
        losses = losses - np.sum(problem.targets * margins, axis=1)
        dual = problem.weights[:, None] * (masses - problem.targets)
    return Evaluation(
        problem=problem,
        point=point,
        probabilities=masses,
        own=own / total,
        curvature=curvature,
        dual=dual,
        loss=float(problem.weights @ losses),
        bias_penalty=float(0.5 * problem.bias_weights @ point.bias**2),
        gradient=problem.pull_back(dual),
    )


def coarsen(problem: ReducedProblem, num_groups: int) -> tuple[ReducedProblem, NDArray[np.int64]]:
    """Merge clusters of nearby counts: a smaller problem whose optimum, prolonged, is nearly this one's.

    Returns
    -------
    coarse : ReducedProblem
        With at most ``num_groups`` clusters, equally wide in the log of what keeps a class apart, and as many samples.
    groups : (J,) array of int
        The coarse cluster of each cluster.
    """
    logarithm = np.log(problem.terms.weights * problem.counts * problem.separation_scale)
    low, high = logarithm.min(), logarithm.max()
    bins = np.minimum((high - logarithm) / (high - low) * num_groups, num_groups - 1).astype(np.int64)
    groups = np.unique(bins, return_inverse=True)[1].astype(np.int64)
    sizes = np.bincount(groups, problem.sizes).astype(np.float64)
    counts = np.bincount(groups, problem.sizes * problem.counts) / sizes
    terms = problem.terms.average(groups, problem.sizes)
    return ReducedProblem(counts, sizes, terms, problem.decay, problem.bias_decay), groups


def prolong(problem: ReducedProblem, coarse: ReducedProblem, groups: NDArray[np.int64], point: Point) -> Point:
    """The coarse optimum as a starting point of the finer problem.

    Logits between groups carry over; each cluster's own logit is set by its own count through the exact relation
    p_own − p_same = 1 − Nλ/√n.
    """
    # plain logits, without the loss's own scales
    logits = point.between / np.outer(coarse.root_counts * coarse.root_sizes, coarse.root_sizes)
    same = diagonal(logits) - point.within / (coarse.sizes * coarse.root_counts)
    diagonal(logits)[:] = same
    fine = logits[np.ix_(groups, groups)]
    same, bias = same[groups], point.bias[groups]
    terms = problem.terms
    inside = terms.row_scales[:, None] * terms.column_scales * (fine + bias) + terms.offsets
    inside -= diagonal(inside).copy()[:, None]
    others = np.sum(problem.multiplicity * np.exp(inside), axis=1)
    ratio = np.log((1 + (1 - problem.shortfall) * others) / problem.shortfall)
    gap = np.maximum(ratio + terms.margins, 0.0) / (terms.row_scales * terms.column_scales)
    between = fine * np.outer(problem.root_counts * problem.root_sizes, problem.root_sizes)
    diagonal(between)[:] = (same + gap / problem.sizes) * problem.root_counts * problem.sizes
    return Point(
        centred(problem, between),
        np.where(problem.separable, problem.root_counts * gap, 0.0),
        bias,
    )


def centred(problem: ReducedProblem, between: Array) -> Array:
    """``between`` without the shift of each row that the loss does not see: it would cost and gain nothing."""
    result: Array = between - np.outer(between @ problem.shift, problem.shift)
    return result


def first_guesses(problem: ReducedProblem) -> list[Point]:
    """Points to start from: p_own − p_other = 1 − Nλ/√n for every class, made into a matrix in a few ways.

    With S = diag(√n · gap) and C the centring of the classes, C S C is the optimum for equal counts, and near it
    wherever the bias matters little; S C keeps the logits in bounds when counts lie orders of magnitude apart, and is
    the limit of small decay. Where the bias matters, (I − ssᵀ/N) S C with s = √n has what a free bias forces on the
    optimum: Σ n_k z_k = 0.
    """
    num_classes = problem.sizes.sum()
    gap = np.log1p(num_classes * (1 - problem.shortfall) / problem.shortfall)
    stretch = (gap + problem.terms.margins) / problem.separation_scale
    one_sided = centred(problem, np.diag(stretch))
    guesses = []
    far = problem.counts.max() > FAR_APART * problem.counts.min() or gap.max() > LARGE_GAP
    if problem.bias_decay != 0:
        guesses.append(centred(problem, one_sided.T))
        if far:
            guesses.append(one_sided)
    if problem.bias_decay == 0 or (problem.has_bias and far):
        mass = problem.root_sizes * problem.root_counts / np.sqrt(problem.num_samples)
        guesses.append(one_sided - np.outer(mass, mass @ one_sided))
    within = np.where(problem.separable, stretch, 0.0)
    return [Point(between, within, np.zeros(problem.num_clusters)) for between in guesses]


def own_logits(problem: ReducedProblem, point: Point) -> Array:
    """(J,) mean logit of a cluster's classes for themselves, bias left out."""
    between = diagonal(point.between) / problem.sizes
    result: Array = (between + point.within * (1 - 1 / problem.sizes)) / problem.root_counts
    return result


__all__ = [
    "Array",
    "Evaluation",
    "Point",
    "ReducedProblem",
    "centred",
    "coarsen",
    "diagonal",
    "evaluate",
    "first_guesses",
    "own_logits",
    "prolong",
]
