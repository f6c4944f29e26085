r"""Two distinct counts: where the two clusters stop being told apart, and the optimum on each side.

With clusters of m_A classes of n_A samples and m_B of n_B the optimum is a multiple of the centring matrix on each
cluster plus one direction that tells the clusters apart. That direction vanishes exactly where

.. math:: \frac K{m_B}n_Aq_A^2+\frac K{m_A}n_Bq_B^2\le(N\lambda)^2,

with q the probability that a sample gives to the other cluster when the direction is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem
from lopsided.theory.assembly import geometry_of_logits, merged_clusters, require_cross_entropy
from lopsided.theory.boundaries import two_cluster_boundaries

Array = NDArray[np.float64]


def two_cluster_threshold(problem: Problem) -> float:
    r"""The decay λ* at and above which no logit depends on which cluster a sample is from.

    Between λ* and the largest threshold within a cluster, Hong & Ling's case (c), samples of a collapsed cluster are
    predicted by the bias alone; below λ*, their case (b), the clusters are told apart too.

    Parameters
    ----------
    problem : Problem
        With exactly two distinct counts and plain cross-entropy. Its ``lambda_z`` is not read.

    Returns
    -------
    float
        λ*, as a value of λ_z.

    Notes
    -----
    λ* is the root of :math:`S(\lambda)=(N\lambda)^{-2}(\frac K{m_B}n_Aq_A^2+\frac K{m_A}n_Bq_B^2)=1`; S exceeds 1 below
    :math:`\sqrt{n_B}/N` and not from :math:`\sqrt{n_A}/N` on, so that there is one. Is it the only one? The proofs are
    in docs/theory-closed-forms.md, statements 18 to 20.

    *No bias: yes.* For m > 1 and a logit gap x inside the cluster, :math:`q/(N\lambda/\sqrt n)=
    (1+\frac m{m'}e^{-x/m})^{-1}` with m' the size of the other cluster, and x falls as λ grows; where x = 0, q is
    constant. So q/λ falls strictly, and S with it.

    *Free bias: yes.* S(λ) = 1 together with :math:`m_An_Aq_A=m_Bn_Bq_B` gives q ∝ λ as in
    :func:`two_cluster_optimum`, and there the direction is present in the amount f(λ), a sum over the clusters of
    :math:`\log(p_\text{same}/q)+\frac1m\log(p_\text{own}/p_\text{same})` and constants. While a cluster is separated,
    p_same/q is constant and p_own/p_same falls with λ; afterwards p_same/q = (1 − q)/q up to a constant. Every term
    falls strictly, so f has one root.

    *Penalised bias: yes* while the rarer cluster has at most 98 times as many classes as the commoner one. Beyond that
    it is tested, not proved: in 1400 random problems with sizes, counts and λ_b orders of magnitude apart S crossed 1
    once, though S itself need not fall all the way.

    The rarer cluster has merged below λ* already, in every bias mode: see
    :mod:`lopsided.theory.boundaries`, which finds the root.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import two_cluster_threshold
    >>> round(two_cluster_threshold(lp.UFM("500x5,100x5", 1.0, bias=False)), 9)
    0.004605316
    >>> round(two_cluster_threshold(lp.UFM("500x5,100x5", 1.0, lambda_b=0.02)), 9)
    0.003983263
    """
    _require_two_clusters(problem)
    (m_a, m_b), (n_a, n_b) = problem.clusters.sizes, problem.clusters.counts
    return float(two_cluster_boundaries(m_a, n_a, m_b, n_b, lambda_b=problem.lambda_b, bias=problem.bias).between)


def two_cluster_optimum(problem: Problem) -> Geometry:
    r"""The optimum for two distinct counts: with a free bias for every λ, otherwise for λ ≥ λ*.

    For a free bias and λ < λ*, with p_own the probability of a sample's own class, p_same of another class of its
    cluster and q that of the whole other cluster,

    .. math:: q_A=\lambda m_B\sqrt{\frac{Nn_B}{Kn_A}},\quad q_B=\lambda m_A\sqrt{\frac{Nn_A}{Kn_B}},\quad
              p_\text{own}-p_\text{same}=\max\Bigl(0,1-\frac{N\lambda}{\sqrt n}\Bigr),

    which determines all probabilities P; then Y is the centred log P, b = Σ n_k y_k / N and Z = Y − b. For λ ≥ λ* each
    cluster has one scalar equation and the bias another.

    Parameters
    ----------
    problem : Problem
        With exactly two distinct counts and plain cross-entropy.

    Returns
    -------
    Geometry

    Raises
    ------
    ValueError
        If there are not two distinct counts, the loss is not plain cross-entropy, or the bias is penalised or absent
        and ``lambda_z`` is below :func:`two_cluster_threshold`, where no closed form is known.

    Notes
    -----
    Derived here from optimality: the gradient's part between the clusters has norm λ below λ*, and a free bias makes
    it vanish on the counts; two equations for q_A and q_B.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import two_cluster_optimum
    >>> model = lp.UFM("500x5,100x5", lambda_z=0.002)
    >>> error = two_cluster_optimum(model).mean_logits - model.solve().geometry.mean_logits
    >>> bool(abs(error).max() < 1e-9)
    True
    """
    _require_two_clusters(problem)
    threshold = two_cluster_threshold(problem)
    if problem.lambda_z < threshold:
        if not problem.bias or problem.lambda_b:
            raise ArgumentError(
                "lambda_z",
                f"must be at least the threshold {threshold:.10g} between the clusters where the bias is not free",
                got=f"{problem.lambda_z:g}",
                remedy="use solve()",
            )
        return _told_apart(problem)
    return _not_told_apart(problem, _states(problem, problem.lambda_z))


@dataclass(frozen=True)
class _States:
    """Both clusters when nothing tells them apart: logit gap inside, log probability of the other one, bias."""

    gaps: Array
    log_leaks: Array
    bias: Array


def _require_two_clusters(problem: Problem) -> None:
    require_cross_entropy(problem)
    if problem.clusters.num_clusters != 2:
        raise ArgumentError(
            "problem",
            "must have exactly two distinct counts",
            got=str(problem.clusters.num_clusters),
            remedy="use solve()",
        )


def _states(problem: Problem, decay: float) -> _States:
    """The two clusters at a decay λ, and the bias that balances them."""
    clusters = problem.clusters
    log_missing = np.log(clusters.num_samples * decay / np.sqrt(clusters.counts))
    log_masses = np.log(clusters.sizes * clusters.counts / clusters.num_samples)

    def at(difference: float) -> tuple[Array, Array]:
        states = [
            _cluster_state(clusters.sizes[i], clusters.sizes[1 - i], log_missing[i], sign * difference)
            for i, sign in ((0, -1.0), (1, 1.0))
        ]
        return np.array([gap for gap, _ in states]), np.array([leak for _, leak in states])

    def imbalance(difference: float) -> float:
        """Falls strictly with the bias of the first cluster minus that of the second."""
        log_flows = log_masses + at(difference)[1]
        if problem.lambda_b == 0:
            return float(log_flows[0] - log_flows[1])
        curvature = problem.lambda_b * clusters.sizes.prod() / problem.num_classes
        return float(np.exp(log_flows[0]) - np.exp(log_flows[1]) - curvature * difference)

    difference = 0.0
    if problem.bias:
        reach = 1.0
        while imbalance(-reach) < 0 or imbalance(reach) > 0:
            reach *= 2
        difference = _root(imbalance, -reach, reach)
    gaps, log_leaks = at(difference)
    bias = difference * np.array([clusters.sizes[1], -clusters.sizes[0]]) / problem.num_classes
    return _States(gaps, log_leaks, bias)


def _cluster_state(size: float, others: float, log_missing: float, shift: float) -> tuple[float, float]:
    """Logit gap inside a cluster and log probability of the other cluster, whose bias is higher by ``shift``."""

    def log_leak_and_shortfall(gap: float) -> tuple[float, float]:
        outside = np.log(others) + shift + gap / size
        total = np.logaddexp(np.logaddexp(gap, outside), np.log(size - 1) if size > 1 else -np.inf)
        return float(outside - total), float(np.logaddexp(np.log(size), outside) - total)

    leak, shortfall = log_leak_and_shortfall(0.0)
    if size == 1 or log_missing >= min(shortfall, 0.0):
        return 0.0, leak
    high = 1.0
    while log_leak_and_shortfall(high)[1] > log_missing:
        high *= 2
    gap = _root(lambda gap: log_leak_and_shortfall(gap)[1] - log_missing, 0.0, high)
    return gap, log_leak_and_shortfall(gap)[0]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-14, rtol=1e-14, maxiter=1000))


def _told_apart(problem: Problem) -> Geometry:
    """Free bias, λ < λ*."""
    clusters, classes = problem.clusters, problem.num_classes
    sizes, counts, labels = clusters.sizes, clusters.counts, clusters.labels
    missing = clusters.num_samples * problem.lambda_z / np.sqrt(counts)
    leak = problem.lambda_z * sizes[::-1] * np.sqrt(clusters.num_samples * counts[::-1] / (classes * counts))
    separated = (sizes > 1) & (missing < 1)
    # m p_same + p_own − p_same + q = 1; the difference first, as 1 − missing would lose small decays
    same = (np.where(separated, missing, 1.0) - leak) / sizes
    own = np.where(separated, same + 1 - missing, same)
    probabilities = np.empty((2, 2))
    np.fill_diagonal(probabilities, same)
    probabilities[0, 1], probabilities[1, 0] = leak / sizes[::-1]
    logarithm = np.log(probabilities)[np.ix_(labels, labels)]
    np.fill_diagonal(logarithm, np.log(own)[labels])
    outputs = logarithm - logarithm.mean(axis=1, keepdims=True)
    bias = problem.counts @ outputs / clusters.num_samples
    return geometry_of_logits(
        problem,
        outputs - bias,
        bias,
        rank=1 + int(np.sum((sizes - 1)[separated])),
        merged=merged_clusters(problem, ~separated),
    )


def _not_told_apart(problem: Problem, states: _States) -> Geometry:
    """Any bias mode, λ ≥ λ*: a multiple of the centring matrix on each cluster."""
    clusters = problem.clusters
    gaps = states.gaps[clusters.labels]
    same_cluster = clusters.labels[:, None] == clusters.labels[None, :]
    logits = np.diag(gaps) - same_cluster * (gaps / clusters.sizes[clusters.labels])[:, None]
    separated = states.gaps > 0
    everything = [list(range(problem.num_classes))]
    return geometry_of_logits(
        problem,
        logits,
        states.bias[clusters.labels] if problem.bias else None,
        rank=int(np.sum((clusters.sizes - 1)[separated])),
        merged=merged_clusters(problem, ~separated) if separated.any() else everything,
    )
