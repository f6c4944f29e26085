"""The classes that have samples, as NumPy arrays, with what several measures of spread need computed once."""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from lopsided.metrics.moments import Moments
from lopsided.metrics.small_samples import pooled_covariance, pseudo_inverse_bias, unbiased_variances

Array = NDArray[np.float64]

#: Beyond this relative bias of Σ_B⁺, or below its negative for an inverse square distance, a second-order correction is
#: not to be trusted.
LARGEST_BIAS = 0.5


class Directions(NamedTuple):
    """The directions in which a between-class scatter tells classes apart, strongest first."""

    #: (K, r) left singular vectors of the weighted, centred class means.
    left: Array
    #: (r,) of Σ_B, positive.
    eigenvalues: Array
    #: (r, d) its eigenvectors, as rows.
    basis: Array
    #: (r,) variance within classes along each.
    spread: Array


class PresentClasses:
    """The moments of the classes that have samples.

    Every measure of spread takes it in place of the moments that it was made of. To take several measures of the same
    moments, make it once: what they have in common (decompositions, distances) is then computed once. Moments that are
    updated need a new one.
    """

    def __init__(self, moments: Moments) -> None:
        counts = moments.counts.cpu().numpy()
        self.moments = moments
        self.classes = np.flatnonzero(counts)
        self.counts = counts[self.classes]
        self.means: Array = moments.means.cpu().numpy()[self.classes]
        self.variances: Array = np.nan_to_num(moments.within_class_variances.cpu().numpy()[self.classes])
        self.uniform: Array = np.full(len(self.counts), 1 / max(len(self.counts), 1))
        self.frequencies: Array = self.counts / max(self.counts.sum(), 1)
        self._directions: dict[tuple[bool, bool], Directions] = {}

    @classmethod
    def of(cls, moments: Moments | PresentClasses) -> PresentClasses:
        """The present classes of moments, or those given."""
        return moments if isinstance(moments, PresentClasses) else cls(moments)

    @cached_property
    def within(self) -> Array:
        """(d, d) Σ_W over all N samples."""
        covariance: Array = self.moments.within_class_covariance.cpu().numpy()
        return covariance

    @cached_property
    def unbiased(self) -> Array:
        """(K,) Variance of each class, estimated without bias."""
        return unbiased_variances(self.counts, self.variances * self.counts)

    @cached_property
    def several(self) -> NDArray[np.bool_]:
        """(K,) Whether a class has two samples or more, so that its variance says something."""
        return self.counts > 1

    @cached_property
    def squared_distances(self) -> Array:
        """Squared distances between the means of the classes with several samples."""
        distances: Array = cdist(self.means[self.several], self.means[self.several], "sqeuclidean")
        return distances

    def between(self, corrected: bool) -> float:
        """Trace of the paper's Σ_B, without what the noise of the means adds if ``corrected``; NaN for one class."""
        if len(self.means) < 2:
            return float("nan")
        trace = float(self.uniform @ np.sum((self.means - self.frequencies @ self.means) ** 2, axis=1))
        if corrected:
            contrast = _contrast(self.uniform, self.frequencies)
            trace -= float(np.sum(contrast**2, axis=0) @ (self.unbiased / self.counts))
        return trace

    def inverse_quotient(
        self, *, weighted_scatter: bool, weighted_centre: bool, rank: int | None = None, corrected: bool = False
    ) -> float:
        """``tr(Σ_W Σ_B⁺)/K`` with ``Σ_B = Σ_k s_k (h̄_k − c)(h̄_k − c)ᵀ``, ``c = Σ_k c_k h̄_k``.

        s and c are the classes' shares of the samples where they are weighted, 1/K where not.
        """
        num_classes = len(self.means)
        if num_classes < 2:
            return float("nan")
        weights = self.frequencies if weighted_scatter else self.uniform
        centre = self.frequencies if weighted_centre else self.uniform
        if (weighted_scatter, weighted_centre) not in self._directions:
            self._directions[weighted_scatter, weighted_centre] = self._told_apart(weights, centre)
        left, eigenvalues, basis, spread = self._directions[weighted_scatter, weighted_centre]
        left, eigenvalues, basis, spread = left[:, :rank], eigenvalues[:rank], basis[:rank], spread[:rank]
        if len(eigenvalues) == 0:
            return float("nan")
        quotient = float(np.sum(spread / eigenvalues) / num_classes)
        trace, degrees = float(np.trace(self.within)), int(np.sum(self.counts - 1))
        if not corrected or trace == 0:
            # Samples that are all at their class mean tell nothing of noise, unless there is only one of each.
            return quotient if not corrected or degrees > 0 else float("nan")
        pooled = pooled_covariance(self.within * self.counts.sum(), degrees)
        contrast = _contrast(weights, centre)
        noise = self.unbiased / (self.counts * np.trace(pooled.covariance))
        outer = left.T @ contrast
        within_rank = (outer * noise) @ outer.T
        excess = float(np.sum(contrast**2 @ noise) - np.trace(within_rank))
        bias = pseudo_inverse_bias(eigenvalues, basis, within_rank, excess, *pooled)
        if abs(bias) > LARGEST_BIAS:
            return float("nan")
        return quotient * float(self.frequencies @ self.unbiased) / trace * math.exp(-bias)

    def _told_apart(self, weights: Array, centre: Array) -> Directions:
        """The directions of a Σ_B, through the singular values of the weighted means.

        Those whose squares, the eigenvalues of Σ_B, are below max(K, d)·eps of the largest count as zero, as they would
        in a pseudo-inverse of Σ_B itself.
        """
        scaled = np.sqrt(weights)[:, None] * (self.means - centre @ self.means)
        left, values, basis = np.linalg.svd(scaled, full_matrices=False)
        eigenvalues = values**2
        kept = int(np.sum(eigenvalues > max(self.means.shape) * np.finfo(np.float64).eps * eigenvalues[0]))
        basis = basis[:kept]
        spread = np.einsum("rd,rd->r", basis @ self.within, basis)
        return Directions(left[:, :kept], eigenvalues[:kept], basis, spread)


def _contrast(weights: Array, centre: Array) -> Array:
    """(K, K) what takes class means to weighted, centred ones: ``diag(√weights)(I − 1 centreᵀ)``."""
    contrast: Array = np.sqrt(weights)[:, None] * (np.eye(len(weights)) - centre)
    return contrast
