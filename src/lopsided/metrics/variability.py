r"""Within-class variability: NC1 in each convention in use, each under its own name, and the CDNV.

All NC1 conventions share :math:`\Sigma_W`, averaged over all N samples. They differ in the between-class scatter
:math:`\Sigma_B`, by a large factor where classes are imbalanced: on 5 × 5000 and 5 × 50 samples around an exact simplex
:func:`nc1` is 0.0192, :func:`nc1_unweighted` 0.0203 and :func:`nc1_weighted` 0.519. Absent classes take no part: K is
the number of classes present.

:math:`\Sigma_B^+` is discontinuous where class means merge: two means at relative distance 1e-6 make these numbers
larger by ten orders of magnitude than two means that coincide. :func:`nc1_rank_aware` leaves out the directions that
have merged, and :func:`nc1_trace_ratio` needs no inverse.

With few samples a class every number here is biased: they look more collapsed than they are. ``corrected=True``
estimates what infinitely many samples in the same proportions would give (see :mod:`lopsided.metrics.small_samples`):
traces and variances exactly, what is divided by them to second order in the noise of the class means.
:func:`~lopsided.metrics.bootstrap_interval` puts an interval around it.

Every function takes moments, or the :class:`~lopsided.metrics.present.PresentClasses` made of them, which keep what
several measures have in common. NC1 in every convention is 0 for fully collapsed classes, and NaN when all class means
coincide, when fewer than two classes are present, or when the correction changes the value by more than half of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.metrics.moments import Moments
from lopsided.metrics.present import LARGEST_BIAS, PresentClasses

Array = NDArray[np.float64]

#: What may be measured: moments, or their classes prepared for several measures.
Measured: TypeAlias = Moments | PresentClasses


def nc1(moments: Measured, *, corrected: bool = False) -> float:
    r"""NC1 as in Hong & Ling (2024): :math:`\frac1K\operatorname{tr}(\Sigma_W\Sigma_B^+)`.

    .. math:: \Sigma_B=\frac1K\sum_k(\bar h_k-h_G)(\bar h_k-h_G)^\top,\qquad h_G\text{ the mean of all samples}

    Examples
    --------
    >>> import torch
    >>> from lopsided.metrics import Moments, nc1
    >>> moments = Moments(num_classes=2, dim=1)
    >>> moments.update(torch.tensor([[0.9], [1.1], [-0.9], [-1.1]]).double(), torch.tensor([0, 0, 1, 1]))
    >>> nc1(moments)
    0.005
    """
    return PresentClasses.of(moments).inverse_quotient(
        weighted_scatter=False, weighted_centre=True, corrected=corrected
    )


def nc1_unweighted(moments: Measured, *, corrected: bool = False) -> float:
    r"""NC1 with each class counted once: :math:`\Sigma_B` the mean over classes, about the mean of the class means."""
    return PresentClasses.of(moments).inverse_quotient(
        weighted_scatter=False, weighted_centre=False, corrected=corrected
    )


def nc1_weighted(moments: Measured, *, corrected: bool = False) -> float:
    r"""NC1 with each sample counted once: :math:`\Sigma_B` weights classes by n_k/N, about the mean of all samples."""
    return PresentClasses.of(moments).inverse_quotient(weighted_scatter=True, weighted_centre=True, corrected=corrected)


def nc1_rank_aware(moments: Measured, rank: int | None = None, *, corrected: bool = False) -> float:
    r"""Compute the paper's NC1 with :math:`\Sigma_B^+` restricted to its leading ``rank`` directions.

    It measures variability only along directions in which classes are told apart, so it stays small where rare classes
    have merged and everything else has collapsed. Equal to :func:`nc1` at rank K − 1, where all are told apart.

    Parameters
    ----------
    rank : int, optional
        How many directions tell the classes apart, such as the rank of a predicted :class:`~lopsided.Geometry`; the
        value is NaN where it is 0. If not given, the rank of ``moments.geometry()``, detected from the class means.
    """
    if rank is not None and rank < 0:
        raise ArgumentError("rank", "must be at least 0, a number of directions", rank)
    present = PresentClasses.of(moments)
    rank = present.moments.geometry().rank if rank is None else rank
    return present.inverse_quotient(weighted_scatter=False, weighted_centre=True, rank=rank, corrected=corrected)


def nc1_trace_ratio(moments: Measured, *, corrected: bool = False) -> float:
    r"""Quotient of traces :math:`\operatorname{tr}\Sigma_W/\operatorname{tr}\Sigma_B`, the paper's :math:`\Sigma_B`.

    Continuous through a merge; NaN when all class means coincide or fewer than two classes are present. Corrected,
    infinite where the class means are no further apart than noise would put them.
    """
    present = PresentClasses.of(moments)
    variances = present.unbiased if corrected else present.variances
    return _over(float(present.frequencies @ variances), present.between(corrected), corrected)


def nc1_trace_ratio_per_class(moments: Measured, *, corrected: bool = False) -> Array:
    r"""Quotient :math:`\operatorname{tr}\Sigma_k/\operatorname{tr}\Sigma_B` in each class, Σ_B the paper's.

    The mean over samples of what classes of two samples or more have is :func:`nc1_trace_ratio`. Returned is a (K,)
    array: NaN for an absent class and a class of one sample, which has no variance, and as in :func:`nc1_trace_ratio`.

    Examples
    --------
    >>> import torch
    >>> from lopsided.metrics import Moments, nc1_trace_ratio_per_class
    >>> moments = Moments(num_classes=3, dim=1)
    >>> moments.update(torch.tensor([[2.0], [4.0], [-3.0]]), torch.tensor([0, 0, 1]))
    >>> nc1_trace_ratio_per_class(moments)
    array([0.1, nan, nan])
    """
    present = PresentClasses.of(moments)
    between = present.between(corrected)
    ratios = np.full(present.moments.num_classes, np.nan)
    for k in np.flatnonzero(present.several):
        variance = present.unbiased[k] if corrected else present.variances[k]
        ratios[present.classes[k]] = _over(float(variance), between, corrected)
    return ratios


def cdnv(moments: Measured, merged: Sequence[Sequence[int]] = (), *, corrected: bool = False) -> float:
    r"""Class-distance normalised variance (Galanti, György & Hutter, 2022), averaged over pairs of classes.

    .. math:: V_{kl}=\frac{\operatorname{tr}\Sigma_k+\operatorname{tr}\Sigma_l}{2\,\|\bar h_k-\bar h_l\|^2}

    Parameters
    ----------
    merged : sequence of sequences of int, optional
        Groups of classes taken as merged, such as ``Geometry.merged``: pairs inside a group are left out.
    corrected : bool, optional
        As in the other measures; needs the scatter.

    Returns
    -------
    float
        Infinite where two classes outside ``merged`` have the same mean or, corrected, means so close that their noise
        decides on the distance. Only classes of two samples or more take part, since one sample has no variance; NaN
        where no pair is left.
    """
    pairs = cdnv_pairs(moments, merged, corrected=corrected)
    defined = ~np.isnan(pairs)
    return float(np.mean(pairs[defined])) if defined.any() else float("nan")


def cdnv_per_class(moments: Measured, merged: Sequence[Sequence[int]] = (), *, corrected: bool = False) -> Array:
    """(K,) CDNV of each class, averaged over the classes it is paired with, NaN without any; see :func:`cdnv`."""
    pairs = cdnv_pairs(moments, merged, corrected=corrected)
    defined = ~np.isnan(pairs)
    number = defined.sum(axis=1)
    sums = np.sum(pairs, axis=1, where=defined)
    means: Array = np.divide(sums, number, out=np.full(len(pairs), np.nan), where=number > 0)
    return means


def cdnv_pairs(moments: Measured, merged: Sequence[Sequence[int]] = (), *, corrected: bool = False) -> Array:
    """(K, K) the :math:`V_{kl}` of :func:`cdnv`, symmetric; parameters as there.

    NaN on the diagonal, for pairs inside a merged group, and for classes of fewer than two samples.
    """
    present = PresentClasses.of(moments)
    several, num_classes = present.several, present.moments.num_classes
    classes, variances, squared = present.classes[several], present.variances[several], present.squared_distances
    group = np.arange(num_classes)
    for members in merged:
        group[list(members)] = group[members[0]]
    if corrected:
        noise = variances / (present.counts[several] - 1)
        variances = variances + noise
    sums = variances[:, None] + variances
    values = np.divide(sums, 2 * squared, out=np.full_like(sums, np.inf), where=squared > 0)
    if corrected:
        bias = _distance_bias(present.means[several], squared, noise, present.within)
        with np.errstate(over="ignore"):  # of means far closer than their noise the inverse is infinite
            values *= np.exp(bias)
        # A lower value than that says more than the second order knows: the noise decides, or digits are lost.
        values[bias < -LARGEST_BIAS] = np.inf
    values[group[classes, None] == group[classes]] = np.nan
    pairs = np.full((num_classes, num_classes), np.nan)
    pairs[np.ix_(classes, classes)] = values
    return pairs


def _distance_bias(means: Array, squared: Array, noise: Array, covariance: Array) -> Array:
    r"""(K, K) by how much noise in the means lowers 1/‖gap‖², relative, to second order.

    Noise of covariance R adds its trace to ‖gap‖², but along the gap it lengthens and shortens alike, and the inverse
    square gains by that: :math:`(\operatorname{tr}R-4\,g^\top Rg/\|g\|^2)/\|g\|^2`. R is a multiple of Σ_W.
    """
    trace = np.trace(covariance)
    if not trace > 0:
        return np.zeros_like(squared)
    centred = means - means.mean(axis=0)
    product = centred @ covariance @ centred.T
    along = np.diag(product)[:, None] + np.diag(product) - 2 * product
    inverse = np.divide(1, squared, out=np.zeros_like(squared), where=squared > 0)
    bias: Array = (noise[:, None] + noise) * inverse * (1 - 4 * along * inverse / trace)
    return bias


def _over(within: float, between: float, corrected: bool) -> float:
    """``within / between``, where a trace corrected to zero or less means that nothing is known to be apart."""
    if corrected and between <= 0 and not math.isnan(within):
        return float("inf")
    return within / between if between > 0 else float("nan")
