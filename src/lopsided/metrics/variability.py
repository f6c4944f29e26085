r"""Within-class variability: NC1 in each convention in use, each under its own name, and the CDNV.

All NC1 conventions share :math:`\Sigma_W`, averaged over all N samples. They differ in the between-class scatter
:math:`\Sigma_B`, by a large factor where classes are imbalanced: on 5 × 5000 and 5 × 50 samples around an exact simplex
:func:`nc1` is 0.0192, :func:`nc1_unweighted` 0.0203 and :func:`nc1_weighted` 0.519. Absent classes take no part: K is
the number of classes present.

:math:`\Sigma_B^+` is discontinuous where class means merge: two means at relative distance 1e-6 make these numbers
larger by ten orders of magnitude than two means that coincide. :func:`nc1_rank_aware` leaves out the directions that
have merged, and :func:`nc1_trace_ratio` needs no inverse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from lopsided.metrics.moments import Moments

Array = NDArray[np.float64]


def nc1(moments: Moments) -> float:
    r"""NC1 as in Hong & Ling (2024): :math:`\frac1K\operatorname{tr}(\Sigma_W\Sigma_B^+)`.

    .. math:: \Sigma_B=\frac1K\sum_k(\bar h_k-h_G)(\bar h_k-h_G)^\top,\qquad h_G\text{ the mean of all samples}

    Parameters
    ----------
    moments : Moments

    Returns
    -------
    float
        0 for fully collapsed classes; NaN when all class means coincide or fewer than two classes are present.

    Examples
    --------
    >>> import torch
    >>> from lopsided.metrics import Moments, nc1
    >>> moments = Moments(num_classes=2, dim=1)
    >>> moments.update(torch.tensor([[0.9], [1.1], [-0.9], [-1.1]]).double(), torch.tensor([0, 0, 1, 1]))
    >>> nc1(moments)
    0.005
    """
    present = _Present(moments)
    return present.inverse_quotient(present.uniform, present.global_mean)


def nc1_unweighted(moments: Moments) -> float:
    r"""NC1 with every class counted once: :math:`\Sigma_B` averaged over classes, about the mean of the class means.

    Parameters
    ----------
    moments : Moments

    Returns
    -------
    float
        :math:`\operatorname{tr}(\Sigma_W\Sigma_B^+)/K`; NaN as in :func:`nc1`.
    """
    present = _Present(moments)
    return present.inverse_quotient(present.uniform, present.uniform @ present.means)


def nc1_weighted(moments: Moments) -> float:
    r"""NC1 with every class counted by its samples: :math:`\Sigma_B` weighted by n_k/N, about the mean of all samples.

    Parameters
    ----------
    moments : Moments

    Returns
    -------
    float
        :math:`\operatorname{tr}(\Sigma_W\Sigma_B^+)/K`; NaN as in :func:`nc1`.
    """
    present = _Present(moments)
    return present.inverse_quotient(present.frequencies, present.global_mean)


def nc1_rank_aware(moments: Moments, rank: int | None = None) -> float:
    r"""Compute the paper's NC1 with :math:`\Sigma_B^+` restricted to its leading ``rank`` directions.

    It measures variability only along directions in which classes are told apart, so it stays small where rare classes
    have merged and everything else has collapsed. Equal to :func:`nc1` at rank K − 1, where all are told apart.

    Parameters
    ----------
    moments : Moments
    rank : int, optional
        How many directions tell the classes apart, such as the rank of a predicted :class:`~lopsided.Geometry`. If not
        given, the rank of ``moments.geometry()``, detected from the class means.

    Returns
    -------
    float
        NaN where the rank is zero, and as in :func:`nc1`.

    Raises
    ------
    ValueError
        If ``rank`` is negative.
    """
    if rank is not None and rank < 0:
        raise ValueError(f"rank must be at least 0, a number of directions; got {rank!r}")
    present = _Present(moments)
    rank = moments.geometry().rank if rank is None else rank
    return present.inverse_quotient(present.uniform, present.global_mean, rank)


def nc1_trace_ratio(moments: Moments) -> float:
    r"""Quotient of traces :math:`\operatorname{tr}\Sigma_W/\operatorname{tr}\Sigma_B`, the paper's :math:`\Sigma_B`.

    Parameters
    ----------
    moments : Moments

    Returns
    -------
    float
        Continuous through a merge; NaN when all class means coincide or fewer than two classes are present.
    """
    present = _Present(moments)
    between = float(np.sum(present.uniform[:, None] * (present.means - present.global_mean) ** 2))
    if between == 0 or len(present.means) < 2:
        return float("nan")
    return float(np.trace(present.within)) / between


def cdnv(moments: Moments, merged: Sequence[Sequence[int]] = ()) -> float:
    r"""Class-distance normalised variance (Galanti, György & Hutter, 2022), averaged over pairs of classes.

    .. math:: V_{kl}=\frac{\operatorname{tr}\Sigma_k+\operatorname{tr}\Sigma_l}{2\,\|\bar h_k-\bar h_l\|^2}

    Parameters
    ----------
    moments : Moments
    merged : sequence of sequences of int, optional
        Groups of classes taken as merged, such as ``Geometry.merged``: pairs inside a group are left out.

    Returns
    -------
    float
        Infinite where two classes outside ``merged`` have the same mean. Only classes of two samples or more take part,
        the others having no variance to speak of; NaN where no pair is left.
    """
    variances = moments.within_class_variances.cpu().numpy()
    classes = np.flatnonzero(np.isfinite(variances))
    group = np.arange(moments.num_classes)
    for members in merged:
        group[list(members)] = group[members[0]]
    distinct = group[classes, None] != group[classes]
    if not distinct.any():
        return float("nan")
    means = moments.means.cpu().numpy()[classes]
    squared = cdist(means, means, "sqeuclidean")
    sums = variances[classes, None] + variances[classes]
    pairs = np.divide(sums, 2 * squared, out=np.full_like(sums, np.inf), where=squared > 0)
    return float(np.mean(pairs[distinct]))


class _Present:
    """The moments of the classes that have samples, as NumPy arrays."""

    def __init__(self, moments: Moments) -> None:
        counts = moments.counts.cpu().numpy()
        present = counts > 0
        self.counts = counts[present]
        self.means: Array = moments.means.cpu().numpy()[present]
        self.within: Array = moments.within_class_covariance.cpu().numpy()
        self.global_mean: Array = moments.global_mean.cpu().numpy()
        self.uniform: Array = np.full(len(self.counts), 1 / max(len(self.counts), 1))
        self.frequencies: Array = self.counts / max(self.counts.sum(), 1)

    def inverse_quotient(self, weights: Array, centre: Array, rank: int | None = None) -> float:
        """``tr(Σ_W Σ_B⁺)/K`` with ``Σ_B = Σ weights_k (h̄_k − centre)(h̄_k − centre)ᵀ``.

        The inverse is taken through the singular values of the weighted means. Those whose squares, the eigenvalues of
        Σ_B, are below max(K, d)·eps of the largest count as zero, as they would in a pseudo-inverse of Σ_B itself.
        """
        num_classes, dim = self.means.shape
        if num_classes < 2:
            return float("nan")
        _, values, directions = np.linalg.svd(np.sqrt(weights)[:, None] * (self.means - centre), full_matrices=False)
        eigenvalues = values**2
        kept = int(np.sum(eigenvalues > max(num_classes, dim) * np.finfo(np.float64).eps * eigenvalues[0]))
        kept = kept if rank is None else min(rank, kept)
        if kept == 0:
            return float("nan")
        basis = directions[:kept]
        spread = np.einsum("rd,rd->r", basis @ self.within, basis)
        return float(np.sum(spread / eigenvalues[:kept]) / num_classes)
