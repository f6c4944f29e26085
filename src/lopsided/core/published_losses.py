r"""The losses that papers have proposed for imbalanced data, as losses of the theory.

Each function takes the class counts, in any form that :func:`lopsided.parse_counts` reads, and the paper's own numbers.
All but :func:`focal` give a cross-entropy of

.. math:: y_j = \delta_j x_j + \tau\log\frac{n_j}N - m_k[j=k]

for a sample of class k with logits x; :func:`ldt` has :math:`\delta_k` for :math:`\delta_j`. ``weights`` (one a class,
above 0) and ``reduction`` are in all of them what they are in :class:`lopsided.CrossEntropy`. Each raises a
``ValueError`` where an argument breaks its rule. :mod:`lopsided.nn` has the same losses as modules to train by.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from lopsided.core.arguments import ArgumentError, check_number
from lopsided.core.counts import parse_counts
from lopsided.core.losses import CrossEntropy, FocalLoss, Reduction

Counts = str | ArrayLike
Weights = ArrayLike | None
_Loss = TypeVar("_Loss", CrossEntropy, FocalLoss)


def weighted(
    counts: Counts, weights: ArrayLike, *, reduction: Reduction = "mean", label_smoothing: float = 0.0
) -> CrossEntropy:
    r"""Cross-entropy with class weights: the threshold of a class of n samples is :math:`w\sqrt n` over the normaliser.

    Parameters
    ----------
    label_smoothing : float, default 0
        ε in [0, 1). All of a smoothed target weighs as much as its sample's class; PyTorch gives the part of it that
        lies on class j the weight of class j instead.

    Examples
    --------
    >>> weighted("300,100", [1, 3], reduction="samples").weights
    (1.0, 3.0)
    """
    return _fitting(CrossEntropy, counts, weights=weights, reduction=reduction, label_smoothing=label_smoothing)


def logit_adjusted(
    counts: Counts, tau: float = 1.0, *, weights: Weights = None, reduction: Reduction = "mean"
) -> CrossEntropy:
    r"""Logit adjustment (Menon et al., ICLR 2021): :math:`\tau\log(n_j/N)` is added to logit j inside the loss.

    It shifts decisions towards rare classes and moves no threshold. Predict with the bare logits.

    Parameters
    ----------
    tau : float, default 1
        τ.
    """
    check_number("tau", tau)
    return _fitting(CrossEntropy, counts, weights=weights, reduction=reduction, logit_adjustment=tau)


def ldam(
    counts: Counts,
    max_margin: float = 0.5,
    scale: float = 1.0,
    *,
    weights: Weights = None,
    reduction: Reduction = "mean",
) -> CrossEntropy:
    r"""Margins that grow as classes get rare (Cao et al., NeurIPS 2019): :math:`y_j=s\,(x_j-C\,n_k^{-1/4}[j=k])`.

    C is such that the rarest class has ``max_margin``. The code published with the paper has margins of at most 0.5 and
    s = 30, for logits that are cosines: features and rows of the classifier are normalised first, without a bias. Here
    nothing is normalised, and the scale is 1 unless another is given; give cosines and ``scale=30`` to have the
    published loss. The paper's deferred re-weighting (LDAM-DRW) is a second loss with ``weights`` for the last epochs.

    In the theory the margins are s C n^(−1/4) and the scales all s. Margins raise the thresholds of classes of equal
    counts by a factor of two at most, s by a factor of s.

    Parameters
    ----------
    max_margin : float, default 0.5
        The largest margin, that of the rarest class; at least 0.
    scale : float, default 1
        s, above 0.

    Examples
    --------
    >>> ldam("160,10", max_margin=0.5, scale=30)
    CrossEntropy(..., margins=(7.5, 15.0), scales=(30.0, 30.0), scale_by='logit')
    """
    check_number("max_margin", max_margin, least=0)
    check_number("scale", scale, above=0)
    numbers = parse_counts(counts)
    margins = scale * max_margin * (numbers.min() / numbers) ** 0.25
    scales = None if scale == 1 else [scale] * len(numbers)
    return _fitting(CrossEntropy, numbers, weights=weights, reduction=reduction, margins=margins, scales=scales)


def cdt(counts: Counts, gamma: float, *, weights: Weights = None, reduction: Reduction = "mean") -> CrossEntropy:
    r"""Class-dependent temperatures (Ye et al., 2020): logit j is multiplied by :math:`\delta_j=(n_j/n_{\max})^\gamma`.

    The paper writes it as a division by :math:`a_j=(n_{\max}/n_j)^\gamma`. As published, γ > 0 scales rare classes
    down: the network must make their logits larger for the same loss, and their threshold falls to
    :math:`\delta\sqrt n/N`. A negative γ raises it instead: −½ makes all thresholds equal.

    Parameters
    ----------
    gamma : float
        γ.

    Examples
    --------
    >>> [cdt("400x2,100x2", gamma).scales for gamma in (0.5, -0.5)]
    [(1.0, 1.0, 0.5, 0.5), (1.0, 1.0, 2.0, 2.0)]
    """
    return vs(counts, gamma, 0.0, weights=weights, reduction=reduction)


def ldt(counts: Counts, gamma: float, *, weights: Weights = None, reduction: Reduction = "mean") -> CrossEntropy:
    r"""Label-dependent temperatures (Behnia et al., AISTATS 2023): all logits of a sample of class k times δ_k.

    Parameters
    ----------
    gamma : float
        γ in :math:`\delta_k=(n_k/n_{\max})^\gamma`, as in :func:`cdt`, with the same thresholds.
    """
    scales = _powers(counts, gamma)
    return _fitting(CrossEntropy, counts, weights=weights, reduction=reduction, scales=scales, scale_by="label")


def vs(
    counts: Counts, gamma: float, tau: float = 1.0, *, weights: Weights = None, reduction: Reduction = "mean"
) -> CrossEntropy:
    r"""Vector scaling (Kini et al., NeurIPS 2021): the scales of :func:`cdt` with a logit adjustment.

    .. math:: y_j = \Big(\frac{n_j}{n_{\max}}\Big)^\gamma x_j + \tau\log\frac{n_j}N

    Parameters
    ----------
    gamma : float
        γ of the scales, 0 for logit adjustment alone.
    tau : float, default 1
        τ of the adjustment, 0 for CDT alone.

    Examples
    --------
    >>> vs("400,100", gamma=0.5)
    CrossEntropy(..., logit_adjustment=1.0, margins=None, scales=(1.0, 0.5), scale_by='logit')
    """
    check_number("tau", tau)
    scales = _powers(counts, gamma)
    return _fitting(CrossEntropy, counts, weights=weights, reduction=reduction, logit_adjustment=tau, scales=scales)


def focal(counts: Counts, gamma: float = 2.0, *, weights: Weights = None, reduction: Reduction = "mean") -> FocalLoss:
    """Focal loss (Lin et al., ICCV 2017): :class:`lopsided.FocalLoss`; the weights are the paper's α.

    Parameters
    ----------
    gamma : float, default 2
        γ ≥ 0.
    """
    return _fitting(FocalLoss, counts, gamma=gamma, weights=weights, reduction=reduction)


def _fitting(kind: type[_Loss], counts: Counts, **settings: Any) -> _Loss:
    """A loss, if what it has for each class is one number for each of the counts."""
    loss = kind(**settings)
    loss.terms(parse_counts(counts))
    return loss


def _powers(counts: Counts, gamma: float) -> list[float]:
    """The (K,) scales (n/n_max)^γ."""
    check_number("gamma", gamma)
    numbers = parse_counts(counts)
    with np.errstate(over="ignore", under="ignore"):
        scales = (numbers / numbers.max()) ** gamma
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ArgumentError("gamma", "must leave every scale (n/n_max)^gamma finite and above 0", gamma)
    return list(scales.tolist())
