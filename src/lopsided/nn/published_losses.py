"""Losses for imbalanced data under the names of the papers that proposed them, as modules to train by.

Each is a :class:`DataTerm`, built from the class counts and the paper's own numbers, and called as
``criterion(logits, labels)``. The formulas, what they do to the decay from which on classes coincide, and the
parameters stand with the functions of :mod:`lopsided.core.published_losses`, which make the ``loss`` of each module.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from lopsided.core import published_losses as published
from lopsided.core.losses import Reduction
from lopsided.core.published_losses import Counts, Weights
from lopsided.nn.loss_modules import DataTerm


class WeightedCrossEntropy(DataTerm):
    """Cross-entropy with class weights, :func:`~lopsided.core.published_losses.weighted`.

    ``reduction="mean"`` divides by the sum of the weights of the whole training set, ``"samples"`` by N. Neither
    divides by the weights of the batch, as ``torch.nn.CrossEntropyLoss(weight=)`` does: see :class:`DataTerm`.

    Examples
    --------
    >>> import torch
    >>> criterion = WeightedCrossEntropy([3, 1], weights=[1, 3])
    >>> logits, labels = torch.tensor([[2.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
    >>> torch.isclose(criterion(logits, labels), torch.nn.CrossEntropyLoss(torch.tensor([1.0, 3.0]))(logits, labels))
    tensor(True)
    """

    def __init__(
        self, counts: Counts, weights: ArrayLike, *, reduction: Reduction = "mean", label_smoothing: float = 0.0
    ) -> None:
        loss = published.weighted(counts, weights, reduction=reduction, label_smoothing=label_smoothing)
        super().__init__(loss, counts)


class LogitAdjustedLoss(DataTerm):
    """Logit adjustment (Menon et al., ICLR 2021), :func:`~lopsided.core.published_losses.logit_adjusted`.

    Examples
    --------
    >>> import torch
    >>> criterion = LogitAdjustedLoss("300,100")
    >>> torch.exp(-criterion(torch.zeros(1, 2), torch.tensor([1]))).item()     # the share of its class
    0.25
    """

    def __init__(
        self, counts: Counts, tau: float = 1.0, *, weights: Weights = None, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(published.logit_adjusted(counts, tau, weights=weights, reduction=reduction), counts)


class LDAMLoss(DataTerm):
    """Margins that grow as classes get rare (Cao et al., NeurIPS 2019), :func:`~lopsided.core.published_losses.ldam`.

    The published code has cosines for logits and ``scale=30``; this module takes logits as they are.
    """

    def __init__(
        self,
        counts: Counts,
        max_margin: float = 0.5,
        scale: float = 1.0,
        *,
        weights: Weights = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(published.ldam(counts, max_margin, scale, weights=weights, reduction=reduction), counts)


class CDTLoss(DataTerm):
    """Class-dependent temperatures (Ye et al., 2020), :func:`~lopsided.core.published_losses.cdt`."""

    def __init__(self, counts: Counts, gamma: float, *, weights: Weights = None, reduction: Reduction = "mean") -> None:
        super().__init__(published.cdt(counts, gamma, weights=weights, reduction=reduction), counts)


class LDTLoss(DataTerm):
    """Label-dependent temperatures (Behnia et al., AISTATS 2023), :func:`~lopsided.core.published_losses.ldt`.

    Examples
    --------
    >>> import torch
    >>> criterion = LDTLoss("400,100", gamma=0.5)
    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> [criterion.samples(logits, torch.tensor([label])).item() for label in (0, 1)]   # log(1 + e⁻²), log(1 + e)
    [0.1269..., 1.3132...]
    """

    def __init__(self, counts: Counts, gamma: float, *, weights: Weights = None, reduction: Reduction = "mean") -> None:
        super().__init__(published.ldt(counts, gamma, weights=weights, reduction=reduction), counts)


class VSLoss(DataTerm):
    """Vector scaling (Kini et al., NeurIPS 2021), :func:`~lopsided.core.published_losses.vs`."""

    def __init__(
        self, counts: Counts, gamma: float, tau: float = 1.0, *, weights: Weights = None, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(published.vs(counts, gamma, tau, weights=weights, reduction=reduction), counts)


class FocalLossModule(DataTerm):
    """Focal loss (Lin et al., ICCV 2017): the module of :class:`lopsided.FocalLoss`, which says how far it is convex.

    Examples
    --------
    >>> import torch
    >>> FocalLossModule("30,10")(torch.zeros(1, 2), torch.tensor([0])).item()      # log 2 / 4
    0.1732...
    """

    def __init__(
        self, counts: Counts, gamma: float = 2.0, *, weights: Weights = None, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(published.focal(counts, gamma, weights=weights, reduction=reduction), counts)
