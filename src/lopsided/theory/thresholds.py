"""The decays at which classes merge: within a cluster, and altogether."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lopsided.problem import UFM

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Where classes merge as λ_z grows.

    Attributes
    ----------
    within : (J,) array
        For each cluster, in the order of ``problem.clusters``: its class means coincide exactly where λ_z is at or
        above this value. NaN for a cluster of a single class, which has nothing to merge with.
    complete : float
        At or above this λ_z the optimum is Z = 0: the network predicts the same for every input.
    counts : (J,) array
        Samples in each class of the clusters.
    """

    within: Array
    complete: float
    counts: Array

    def to_dict(self) -> dict[str, object]:
        """Plain numbers for JSON; NaN becomes ``None``."""
        return {
            "within": [None if np.isnan(value) else float(value) for value in self.within],
            "complete": self.complete,
        }


def thresholds(problem: UFM) -> Thresholds:
    r"""Thresholds of a problem; they do not depend on its ``lambda_z``.

    Within a cluster of two or more classes of count n the optimum has
    :math:`p_\text{own}-p_\text{same}=\max(0,1-N\lambda/\sqrt n)`, for any number of clusters and in every bias mode, so
    its classes merge exactly at :math:`\lambda=\sqrt n/N`. All of Z vanishes exactly where the loss's gradient at Z = 0
    fits the dual ball, :math:`\|(I-p\mathbf 1^\top)D^{1/2}\|_{op}\le N\lambda`, with p the best constant prediction:
    uniform without a bias, the class frequencies with a free one, and the root of :math:`p-\pi+\lambda_b b=0` between.

    Parameters
    ----------
    problem : UFM
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
    clusters = problem.clusters
    num_samples = clusters.num_samples
    within = np.where(clusters.sizes > 1, np.sqrt(clusters.counts) / num_samples, np.nan)
    # By permutations inside the clusters the matrix splits: √n on what distinguishes classes of one cluster, and a
    # J × J block on the cluster means.
    constant = constant_prediction(problem)
    block = np.diag(np.sqrt(clusters.counts)) - np.outer(
        np.sqrt(clusters.sizes * clusters.counts), np.sqrt(clusters.sizes) * constant
    )
    between = float(np.linalg.norm(block, ord=2)) / num_samples
    return Thresholds(
        within=within,
        complete=float(np.nanmax(np.append(within, between))),
        counts=clusters.counts,
    )


def constant_prediction(problem: UFM) -> Array:
    """(J,) probability that the best constant prediction gives to each class of a cluster."""
    clusters = problem.clusters
    frequencies = clusters.counts / clusters.num_samples
    if not problem.bias:
        return np.full(clusters.num_clusters, 1 / problem.num_classes)
    if problem.lambda_b == 0:
        return frequencies
    return _softmax(_penalised_bias(frequencies, clusters.sizes, problem.lambda_b), clusters.sizes)


def _penalised_bias(frequencies: Array, sizes: Array, decay: float) -> Array:
    """The root of softmax(b) − π + λ_b b = 0, by damped Newton steps (a strictly convex problem)."""
    bias = np.zeros_like(frequencies)
    for _ in range(200):
        probability = _softmax(bias, sizes)
        residual = probability - frequencies + decay * bias
        # Hessian over classes: diag(p + λ_b) − ppᵀ, inverted by Sherman–Morrison. Its Schur complement
        # 1 − Σ p²/(p + λ_b) is written as the sum Σ p λ_b/(p + λ_b), which does not cancel when λ_b is small.
        spread = probability + decay
        correction = sizes @ (probability * residual / spread) / (sizes @ (probability * decay / spread))
        step = -(residual + probability * correction) / spread
        length = float(np.ptp(step))
        bias = bias + step * (np.log1p(length) / length if length > 0.1 else 1.0)
        if length < 1e-14 * max(1.0, float(np.ptp(bias))):
            break
    return bias


def _softmax(bias: Array, sizes: Array) -> Array:
    """Softmax over classes of biases given by cluster."""
    weights = np.exp(bias - bias.max())
    result: Array = weights / (sizes @ weights)
    return result
