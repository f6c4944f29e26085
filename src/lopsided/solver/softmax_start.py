"""Where to start under the cross-entropy family: closed-form guesses, and the optimum of a coarser problem."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lopsided.solver.arrays import diagonal
from lopsided.solver.reduction import Point
from lopsided.solver.softmax import SoftmaxProblem

#: Below this many clusters a problem is solved from the closed-form guess; above, from the optimum of a coarser one.
SMALL = 24
#: Clusters of a problem to clusters of the next coarser one.
COARSENING = 6
#: Ratio of the largest to the smallest count, or logit gap in nats, from which a second guess is worth its time.
FAR_APART, LARGE_GAP = 100, 15


def coarsen(problem: SoftmaxProblem) -> tuple[SoftmaxProblem, NDArray[np.int64]] | None:
    """Merge clusters of nearby counts: a smaller problem whose optimum, prolonged, is nearly this one's.

    It has a sixth of the clusters, equally wide in the log of what keeps a class apart, and as many samples; the second
    result (J,) is the coarse cluster of each cluster.
    """
    if problem.num_clusters <= SMALL:
        return None
    num_groups = max(SMALL // 2, problem.num_clusters // COARSENING)
    terms, counts, sizes = problem.terms, problem.host_counts, problem.host_sizes
    logarithm = np.log(terms.weights * np.sqrt(counts) * terms.row_scales * terms.column_scales)
    low, high = logarithm.min(), logarithm.max()
    bins = np.minimum((high - logarithm) / ((high - low) or 1.0) * num_groups, num_groups - 1).astype(np.int64)
    groups = np.unique(bins, return_inverse=True)[1].astype(np.int64)
    merged = np.bincount(groups, sizes).astype(np.float64)
    coarse = type(problem)(
        np.bincount(groups, sizes * counts) / merged,
        merged,
        terms.average(groups, sizes),
        problem.decay,
        problem.bias_decay,
        problem.backend,
    )
    return coarse, groups


def prolong(problem: SoftmaxProblem, coarse: SoftmaxProblem, groups: NDArray[np.int64], point: Point) -> Point:
    """The coarse optimum as a starting point of the finer problem.

    Logits between groups carry over; each cluster's own logit is set by its own count through the exact relation
    p_own − p_same = 1 − Nλ/√n.
    """
    xp, chosen = problem.xp, problem.backend.array(groups)
    # plain logits, without the loss's own scales
    logits = point.between / ((coarse.root_counts * coarse.root_sizes)[:, None] * coarse.root_sizes[None, :])
    same = diagonal(logits) - point.within / (coarse.sizes * coarse.root_counts)
    diagonal(logits)[:] = same
    fine = logits[chosen][:, chosen]
    same, bias = same[chosen], point.bias[chosen]
    inside = problem.rows[:, None] * problem.columns[None, :] * (fine + bias[None, :])
    inside += problem.backend.array(problem.terms.offsets)[None, :]
    inside -= xp.asarray(diagonal(inside), copy=True)[:, None]
    others = xp.sum(problem.multiplicity * xp.exp(inside), axis=1)
    ratio = xp.log((1 + (1 - problem.shortfall) * others) / problem.shortfall)
    gap = xp.maximum(ratio + problem.own_margins, 0.0) / (problem.rows * problem.columns)
    between = fine * ((problem.root_counts * problem.root_sizes)[:, None] * problem.root_sizes[None, :])
    diagonal(between)[:] = (same + gap / problem.sizes) * problem.root_counts * problem.sizes
    within = xp.where(problem.separable, problem.root_counts * gap, 0.0)
    return Point(problem.centred(between), within, bias)


def first_guesses(problem: SoftmaxProblem) -> list[Point]:
    """Points to start from: p_own − p_other = 1 − Nλ/√n for every class, made into a matrix in a few ways.

    With S = diag(√n · gap) and C the centring of the classes, C S C is the optimum for equal counts, and near it
    wherever the bias matters little; S C keeps the logits in bounds when counts lie orders of magnitude apart, and is
    the limit of small decay. Where the bias matters, (I − ssᵀ/N) S C with s = √n has what a free bias forces on the
    optimum: Σ n_k z_k = 0.
    """
    xp = problem.xp
    num_classes = float(problem.host_sizes.sum())
    gap = xp.log1p(num_classes * (1 - problem.shortfall) / problem.shortfall)
    stretch = (gap + problem.own_margins) / problem.separation_scale
    straight = xp.zeros_like(problem.scale)
    diagonal(straight)[:] = stretch
    one_sided = problem.centred(straight)
    guesses = []
    spread = float(problem.host_counts.max() / problem.host_counts.min())
    far = spread > FAR_APART or float(xp.max(gap)) > LARGE_GAP
    if problem.bias_decay != 0:
        guesses.append(problem.centred(one_sided.T))
        if far:
            guesses.append(one_sided)
    if problem.bias_decay == 0 or (problem.has_bias and far):
        mass = problem.root_sizes * problem.root_counts / problem.num_samples**0.5
        guesses.append(one_sided - mass[:, None] * (mass @ one_sided)[None, :])
    within = xp.where(problem.separable, stretch, 0.0)
    return [Point(between, within, xp.zeros_like(within)) for between in guesses]
