"""What a solution says to the samples of each class: how far their own logit leads, and over which class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lopsided.core.losses import SquaredError
from lopsided.core.problem import Problem

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """A last layer read as a classifier: bias included, and what only the loss adds left out; arrays (K,).

    ``lead`` is the own logit of a class's samples less the largest of another class, in nats (for squared error, in
    units of its targets): at or below 0 another class is predicted for them, and ``runner_up`` is the first with that
    largest logit. ``probability`` is the softmax probability of the own class; NaN for squared error.
    """

    lead: Array
    runner_up: NDArray[np.int64]
    probability: Array


def predictions_of(problem: Problem, logits: Array) -> Predictions:
    """What (K, K) logits predict, row k those of a sample of class k, the bias included.

    Examples
    --------
    >>> import lopsided as lp
    >>> predictions_of(lp.UFM("9,5", 0.1), np.array([[1.0, 0.5], [0.3, 0.1]])).lead.round(12)
    array([ 0.5, -0.2])
    """
    own = np.diagonal(logits)
    if isinstance(problem.loss, SquaredError):
        return Predictions(*leads_of(logits), np.full_like(own, np.nan))
    others = np.where(np.eye(len(own)), -np.inf, logits)
    with np.errstate(over="ignore"):  # a logit far behind another
        return Predictions(*leads_of(logits), 1 / (1 + np.exp(others - own[:, None]).sum(axis=1)))


def leads_of(logits: Array) -> tuple[Array, NDArray[np.int64]]:
    """(K,) by how much the own logit of each row leads, and the first class with the largest of the others."""
    others = np.where(np.eye(len(logits)), -np.inf, logits)
    return np.diagonal(logits) - others.max(axis=1), others.argmax(axis=1)


def predictions_of_clusters(problem: Problem, own: Array, mate: Array, others: Array) -> Predictions:
    """The same from J clusters; nothing K × K is formed.

    ``own`` and ``mate`` (J,) are the logits of one sample a cluster for its own class and for another of its cluster
    (−∞ where there is none), ``others`` (J, J) those for the classes of each cluster; the diagonal is not read.
    """
    clusters = problem.clusters
    others = others.copy()
    np.fill_diagonal(others, mate)
    first = np.array([group[0] for group in clusters.classes])
    second = np.array([group[min(1, len(group) - 1)] for group in clusters.classes])
    best = others.argmax(axis=1)
    runner_up = first[best][clusters.labels]
    inside = best[clusters.labels] == clusters.labels
    same = first[clusters.labels] == np.arange(problem.num_classes)
    runner_up = np.where(inside & same, second[clusters.labels], runner_up)
    lead = own - others.max(axis=1)
    if isinstance(problem.loss, SquaredError):
        probability = np.full_like(own, np.nan)
    else:
        number = clusters.sizes - np.eye(len(own))
        with np.errstate(invalid="ignore", over="ignore"):  # no classes, of a logit of −∞; a logit far behind another
            rest = np.where(number > 0, number * np.exp(others - own[:, None]), 0.0).sum(axis=1)
        probability = 1 / (1 + rest)
    return Predictions(lead[clusters.labels], runner_up, probability[clusters.labels])
