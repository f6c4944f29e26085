"""What the optimum says to the samples of each class: how far its own logit leads, and over which class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lopsided.core.losses import SquaredError
from lopsided.core.solution import Solution
from lopsided.model import UFM
from lopsided.solver import optimum_of, reduce_problem, solve
from lopsided.solver.algorithm import solution_of

Array = NDArray[np.float64]

#: Of more clusters than this an optimum takes seconds, and it is solved less far: the lead of a class needs few digits.
MANY_CLUSTERS = 200
TOLERANCE, TOLERANCE_OF_MANY = 1e-9, 1e-5
_MOST_ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class Predictions:
    """A solution, read as a classifier: bias included, and what only the loss adds left out.

    Attributes
    ----------
    solution : Solution
    logit_gap : (K,) array
        The own logit of a class's samples less the largest of another class, in nats (for squared error, in units of
        its targets): at or below 0 another class is predicted for them.
    runner_up : (K,) array of int
        The first class with that largest logit.
    probability : (K,) array
        Softmax probability of the own class; NaN for squared error.
    """

    solution: Solution
    logit_gap: Array
    runner_up: NDArray[np.int64]
    probability: Array


def predict_classes(problem: UFM, tol: float | None = None) -> Predictions:
    """Solve a problem and read what it predicts for each class.

    Parameters
    ----------
    problem : UFM
    tol : float, optional
        As for :func:`lopsided.solver.solve`; 1e-9 by default, and 1e-5 for more than 200 clusters, where that is
        several times quicker.

    Returns
    -------
    Predictions

    Examples
    --------
    >>> import lopsided as lp
    >>> found = predict_classes(lp.UFM("500x2,100x2", 1e-2))
    >>> found.logit_gap[[0, 2]].round(2), found.runner_up[[0, 2]]    # rare samples are given to a common class
    (array([ 1.23, -1.23]), array([1, 0]))
    """
    clusters = problem.clusters
    if tol is None:
        tol = TOLERANCE_OF_MANY if clusters.num_clusters > MANY_CLUSTERS else TOLERANCE
    if problem.is_convex:
        solution, own, mate, others = _over_clusters(problem, tol)
    else:
        solution = solve(problem, tol=tol)
        own, mate, others = _over_classes(problem, solution)
    np.fill_diagonal(others, mate)  # −∞ where a cluster has a single class
    first = np.array([group[0] for group in clusters.classes])
    second = np.array([group[min(1, len(group) - 1)] for group in clusters.classes])
    best = others.argmax(axis=1)
    runner_up = first[best][clusters.labels]
    inside = best[clusters.labels] == clusters.labels
    same = first[clusters.labels] == np.arange(problem.num_classes)
    runner_up = np.where(inside & same, second[clusters.labels], runner_up)
    gap = own - others.max(axis=1)
    if isinstance(problem.loss, SquaredError):
        probability = np.full_like(own, np.nan)
    else:
        number = clusters.sizes - np.eye(len(own))
        with np.errstate(invalid="ignore"):  # no classes, of a logit of −∞
            rest = np.where(number > 0, number * np.exp(others - own[:, None]), 0.0).sum(axis=1)
        probability = 1 / (1 + rest)
    return Predictions(solution, gap[clusters.labels], runner_up, probability[clusters.labels])


def _over_clusters(problem: UFM, tol: float) -> tuple[Solution, Array, Array, Array]:
    """Logits of one sample a cluster: for its class, for another class of the cluster, for those of all clusters.

    From the J × J matrices of the solver: nothing K × K is formed.
    """
    reduced = reduce_problem(problem)
    outcome = optimum_of(reduced, tol, _MOST_ITERATIONS)
    solution = solution_of(problem, reduced, outcome, tol, _MOST_ITERATIONS)
    point, host = outcome.iterate.evaluation.point, reduced.backend.host
    between, within, bias = host(point.between), host(point.within), host(point.bias)
    sizes = problem.clusters.sizes
    root = np.sqrt(problem.clusters.counts)
    others = between / np.sqrt(np.outer(sizes, sizes)) / root[:, None] + bias
    shared = np.diagonal(others)
    own = shared + within * (1 - 1 / sizes) / root
    mate = np.where(sizes > 1, shared - within / sizes / root, -np.inf)
    return solution, own, mate, others.copy()


def _over_classes(problem: UFM, solution: Solution) -> tuple[Array, Array, Array]:
    """The same from the K × K mean logits, of what has no reduction to clusters."""
    groups = problem.clusters.classes
    logits = solution.geometry.mean_logits + solution.geometry.bias
    first = [group[0] for group in groups]
    own = logits[first, first]
    rows = logits[first]
    mate = np.array([row[group[1:]].max(initial=-np.inf) for row, group in zip(rows, groups, strict=True)])
    others = np.array([[row[group].max() for group in groups] for row in rows])
    return own, mate, others
