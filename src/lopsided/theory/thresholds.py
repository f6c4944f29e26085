"""The decays at which classes merge: within a cluster, and altogether."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from lopsided.core.plain_values import plain
from lopsided.core.problem import Problem
from lopsided.solver import complete_threshold, solve
from lopsided.theory.local_thresholds import local_thresholds

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Where classes merge as λ_z grows.

    Attributes
    ----------
    within : (J,) array
        For each cluster, in the order of ``problem.clusters``: its class means coincide exactly where λ_z is at or
        above this value. NaN for a cluster of a single class, which merges with classes of other counts only, at the
        origin: see :func:`lopsided.theory.critical_path`.
    complete : float
        At or above this λ_z the optimum is Z = 0: the network predicts the same for every input.
    counts : (J,) array
        Samples in each class of the clusters.
    note : str
        How they were found where that is neither a closed form nor a certified optimum; empty otherwise.
    """

    within: Array
    complete: float
    counts: Array
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain numbers for JSON; NaN becomes ``None``."""
        note = {"note": self.note} if self.note else {}
        return {"within": plain(self.within), "complete": self.complete, **note}


def thresholds(problem: Problem) -> Thresholds:
    r"""Thresholds of a problem; they do not depend on its ``lambda_z``.

    Within a cluster of two or more classes of count n the optimum of cross-entropy has
    :math:`p_\text{own}-p_\text{same}=\max(0,1-N\lambda/\sqrt n)`, for any number of clusters and in every bias mode,
    so its classes merge exactly at :math:`\lambda=\sqrt n/N`. Class weights w, label smoothing ε and scales δ make that
    :math:`(1-\varepsilon)w\delta\sqrt n/N` (N the loss's normaliser); logit adjustment leaves it alone; with a margin
    it depends on the optimum and is found by bracketing a root. All of Z vanishes exactly where the loss's gradient at
    Z = 0 fits the dual ball: for cross-entropy :math:`\|(I-p\mathbf 1^\top)D^{1/2}\|_{op}\le N\lambda`, with p the
    best constant prediction: uniform without a bias, the class frequencies with a free one, the root of
    :math:`p-\pi+\lambda_b b=0` between.

    With ReLU features, under cross-entropy and without a bias, a class is lost from
    :math:`\sqrt{n(1-1/K)}/N` on, alone in its cluster or not; with a bias ``complete`` is the upper end of
    :func:`relu_complete_threshold`. No other threshold of ReLU features or of a focal loss is known in closed form, but
    for where Z = 0 becomes a local minimum. They are bracketed on stationary points, and ``note`` says so.

    Parameters
    ----------
    problem : Problem
        Counts, bias mode and bias decay are read.

    Returns
    -------
    Thresholds

    Examples
    --------
    >>> import lopsided as lp
    >>> found = lp.UFM(counts="500x5,100x5", lambda_z=3e-3, lambda_b=0.02).thresholds()
    >>> found.within                            # √500/3000 and √100/3000
    array([0.00745356, 0.00333333])
    >>> round(found.complete, 8)
    0.00745356
    """
    if not problem.is_convex:
        within, complete, note = local_thresholds(problem)
        return Thresholds(within, complete, problem.clusters.counts, note)
    clusters, terms = problem.clusters, problem.clusters.terms
    strengths = class_strengths(problem)
    within = np.where(clusters.sizes > 1, strengths, np.nan)
    for cluster in np.flatnonzero((terms.margins > 0) & (clusters.sizes > 1)):
        within[cluster] = _with_margin(problem, int(cluster), float(strengths[cluster] / (1 - terms.smoothing)))
    return Thresholds(within=within, complete=complete_threshold(problem), counts=clusters.counts)


def class_strengths(problem: Problem) -> Array:
    r"""The decay at which two classes like those of each cluster merge, margins left out: (1 − ε) w δ √n / N.

    What :func:`thresholds` gives for clusters of two or more classes; it is a number of every class, alone in its
    count or not.

    Parameters
    ----------
    problem : Problem
        A convex one. Its ``lambda_z`` plays no part.

    Returns
    -------
    (J,) array
        In the order of ``problem.clusters``.

    Notes
    -----
    For cross-entropy with weights w and smoothing ε it bounds what any class may suffer. The dual constraint says that
    no row of :math:`w\sqrt n\,(t-p)/(N\lambda)` is longer than 1, so that
    :math:`\|t_k-p_k\|\le(1-\varepsilon)\lambda/s_k` with :math:`s_k` the strength. Without smoothing and scales another
    class can have the larger share of :math:`p_k` only where that norm is at least :math:`\sqrt{1/2}`, attained at
    (½, ½, 0, …): at decays below :math:`s_k/\sqrt2` the samples of class k are given to class k, whatever the other
    counts.

    Examples
    --------
    >>> import lopsided as lp
    >>> class_strengths(lp.UFM("500,100x2", 1.0))
    array([0.03194383, 0.01428571])
    """
    problem.require_convex("class_strengths()")
    clusters, terms = problem.clusters, problem.clusters.terms
    strengths: Array = terms.weights * terms.row_scales * terms.column_scales * np.sqrt(clusters.counts)
    return (1 - terms.smoothing) * strengths / terms.normaliser


def class_thresholds(problem: Problem, found: Thresholds) -> tuple[Array, NDArray[np.bool_]]:
    """The one threshold of each class, by the same rule for all, and whether it is exact.

    Parameters
    ----------
    problem : Problem
    found : Thresholds
        Its thresholds.

    Returns
    -------
    values : (K,) array
        The decay from which on the class coincides with another; for a class alone in its cluster a yardstick, the
        decay at which two classes like it would (of a problem that is not convex: at which all do). Never above
        complete collapse.
    exact : (K,) array of bool
        False for a yardstick, and for what was bracketed on stationary points.

    Examples
    --------
    >>> import lopsided as lp
    >>> model = lp.UFM("500x2,100", 1.0)
    >>> values, exact = class_thresholds(model, model.thresholds())
    >>> values.round(6).tolist(), exact.tolist()
    ([0.020328, 0.020328, 0.009091], [True, True, False])
    """
    clusters = problem.clusters
    exact = ~np.isnan(found.within) & (not found.note)
    yardstick = class_strengths(problem) if problem.is_convex else found.complete
    values = np.minimum(np.where(np.isnan(found.within), yardstick, found.within), found.complete)
    return values[clusters.labels], exact[clusters.labels]


def _with_margin(problem: Problem, cluster: int, strength: float) -> float:
    """The λ_z at which 1 − ε + p_same (1 − e^−m) = Nλ/(wδ√n), p_same of the optimum at that very λ_z."""
    terms = problem.clusters.terms
    lost = -float(np.expm1(-terms.margins[cluster]))
    first, second = problem.clusters.classes[cluster][:2]

    def excess(decay: float) -> float:
        solution = solve(problem.replaced(lambda_z=decay), tol=1e-14)  # p_same is only as good as the root of the gap
        same = float(solution.probabilities([first])[0, second])
        return strength * (1 - terms.smoothing + same * lost) - decay

    # p_own ≥ e^−m p_same bounds p_same; the bound is attained where there is no other cluster, up to rounding
    largest = (1 + 1e-9) / float(problem.clusters.sizes[cluster] - lost)
    low, high = (1 - terms.smoothing) * strength, (1 - terms.smoothing + largest * lost) * strength
    root: float = brentq(excess, low, high, rtol=1e-10)
    return root
