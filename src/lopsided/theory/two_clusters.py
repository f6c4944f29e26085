r"""Two distinct counts: where the two clusters stop being told apart, and the optimum on each side.

With clusters of m_A classes of n_A samples and m_B of n_B the optimum is a multiple of the centring matrix on each
cluster plus one direction that tells the clusters apart. That direction vanishes exactly where

.. math:: \frac K{m_B}n_Aq_A^2+\frac K{m_A}n_Bq_B^2\le(N\lambda)^2,

with q the probability that a sample gives to the other cluster when the direction is missing.
"""

from __future__ import annotations

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem
from lopsided.theory.assembly import geometry_of_logits, merged_clusters, require_cross_entropy
from lopsided.theory.boundaries import ClusterPair, two_cluster_boundaries


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
    return _not_told_apart(problem)


def _require_two_clusters(problem: Problem) -> None:
    require_cross_entropy(problem)
    if problem.clusters.num_clusters != 2:
        raise ArgumentError(
            "problem",
            "must have exactly two distinct counts",
            problem.clusters.num_clusters,
            remedy="use solve()",
        )


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


def _not_told_apart(problem: Problem) -> Geometry:
    """Any bias mode, λ ≥ λ*: a multiple of the centring matrix on each cluster, and that of the rarer one is zero."""
    clusters = problem.clusters
    common, rare = np.argsort(-clusters.counts)
    sizes, counts = clusters.sizes[:, None], clusters.counts[:, None]
    bias_decay = problem.lambda_b if problem.bias else None
    pair = ClusterPair(sizes[common], counts[common], sizes[rare], counts[rare], bias_decay, adjustment=0.0)
    gap = pair.gap_at(problem.lambda_z)
    gaps = np.where(clusters.labels == common, gap, 0.0)
    same_cluster = clusters.labels[:, None] == clusters.labels[None, :]
    logits = np.diag(gaps) - same_cluster * (gaps / clusters.sizes[clusters.labels])[:, None]
    shares = np.where(clusters.labels == common, clusters.sizes[rare], -clusters.sizes[common]) / problem.num_classes
    rank = int(clusters.sizes[common] - 1) if gap > 0 else 0
    return geometry_of_logits(
        problem,
        logits,
        pair.advantage(gap) * shares if problem.bias else None,
        rank=rank,
        merged=merged_clusters(problem, np.arange(2) == rare) if rank else [list(range(problem.num_classes))],
    )
