r"""Losses for imbalanced data under the names of the papers that proposed them.

Each is a :class:`DataTerm`, built from the class counts and the paper's own numbers, and called as
``criterion(logits, labels)``. Its ``loss`` is the same loss in the theory. All but :class:`FocalLossModule` are a
cross-entropy of

.. math:: y_j = \delta_j x_j + \tau\log\frac{n_j}N - m_k[j=k]

for a sample of class k with logits x; :class:`LDTLoss` has :math:`\delta_k` for :math:`\delta_j`. What each does to the
decay from which on classes coincide stands with it; see ``docs/preventing.md``.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.core.arguments import ArgumentError, check_number
from lopsided.core.losses import CrossEntropy, FocalLoss
from lopsided.nn.loss_modules import CrossEntropyTerm, FocalTerm, class_counts

Reduction = Literal["mean", "samples"]


class WeightedCrossEntropy(CrossEntropyTerm):
    r"""Cross-entropy with class weights, and an explicit normaliser.

    It moves the threshold of a class of n samples to :math:`w\sqrt n/\mathcal N`, with :math:`\mathcal N` what the sum
    is divided by.

    Parameters
    ----------
    counts : str or (K,) array_like
        Training samples in each class.
    weights : (K,) array_like
        Weight of each class's samples, above 0.
    reduction : {"mean", "samples"}, default "mean"
        ``"mean"`` divides by the sum of the weights of the whole training set, ``"samples"`` by N. Neither divides by
        the weights of the batch, as ``torch.nn.CrossEntropyLoss(weight=)`` does: see :class:`DataTerm`.
    label_smoothing : float, default 0
        ε in [0, 1). All of a smoothed target weighs as much as its sample's class; PyTorch gives the part of it that
        lies on class j the weight of class j instead.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    Examples
    --------
    >>> import torch, lopsided as lp
    >>> from lopsided.nn import WeightedCrossEntropy
    >>> criterion = WeightedCrossEntropy([3, 1], weights=[1, 3])
    >>> logits, labels = torch.tensor([[2.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
    >>> torch.isclose(criterion(logits, labels), torch.nn.CrossEntropyLoss(torch.tensor([1.0, 3.0]))(logits, labels))
    tensor(True)
    >>> lp.UFM([3, 1], lambda_z=0.1, loss=criterion.loss).solve().status
    'optimal'
    """

    def __init__(
        self,
        counts: ArrayLike,
        weights: ArrayLike,
        *,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        loss = CrossEntropy(weights=_listed(weights), reduction=reduction, label_smoothing=label_smoothing)
        super().__init__(loss, counts)


class LogitAdjustedLoss(CrossEntropyTerm):
    r"""Logit adjustment (Menon et al., ICLR 2021): :math:`\tau\log(n_j/N)` is added to logit j inside the loss.

    It shifts decisions towards rare classes and moves no threshold. Predict with the bare logits.

    Parameters
    ----------
    counts : str or (K,) array_like
        Training samples in each class.
    tau : float, default 1
        τ.
    weights, reduction : optional
        As for :class:`WeightedCrossEntropy`.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    Examples
    --------
    >>> import torch
    >>> from lopsided.nn import LogitAdjustedLoss
    >>> criterion = LogitAdjustedLoss("300,100")
    >>> torch.exp(-criterion(torch.zeros(1, 2), torch.tensor([1]))).item()     # the share of its class
    0.25
    """

    def __init__(
        self,
        counts: ArrayLike,
        tau: float = 1.0,
        *,
        weights: ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        check_number("tau", tau)
        super().__init__(CrossEntropy(_listed(weights), reduction, logit_adjustment=tau), counts)


class LDAMLoss(CrossEntropyTerm):
    r"""Margins that grow as classes get rare (Cao et al., NeurIPS 2019): :math:`y_j=s\,(x_j-C\,n_k^{-1/4}[j=k])`.

    C is such that the rarest class has ``max_margin``. The code published with the paper has margins of at most 0.5 and
    s = 30, for logits that are cosines: features and rows of the classifier are normalised first, without a bias. This
    module does not normalise. Its logits are taken as they are, and its scale is 1 unless another is given; give it
    cosines and ``scale=30`` to have the published loss. The paper's deferred re-weighting (LDAM-DRW) is a second module
    with ``weights`` for the last epochs.

    In the theory the margins are s C n^(−1/4) and the scales all s. Margins raise the thresholds of classes of equal
    counts by a factor of two at most, s by a factor of s.

    Parameters
    ----------
    counts : str or (K,) array_like
        Training samples in each class.
    max_margin : float, default 0.5
        The largest margin, that of the rarest class; at least 0.
    scale : float, default 1
        s, above 0.
    weights, reduction : optional
        As for :class:`WeightedCrossEntropy`.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    Examples
    --------
    >>> from lopsided.nn import LDAMLoss
    >>> LDAMLoss("160,10", max_margin=0.5, scale=30).loss
    CrossEntropy(..., margins=(7.5, 15.0), scales=(30.0, 30.0), scale_by='logit')
    """

    def __init__(
        self,
        counts: ArrayLike,
        max_margin: float = 0.5,
        scale: float = 1.0,
        *,
        weights: ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        check_number("max_margin", max_margin, least=0)
        check_number("scale", scale, above=0)
        numbers = class_counts(counts)
        margins = scale * max_margin * (numbers.min() / numbers) ** 0.25
        scales = None if scale == 1 else [scale] * len(numbers)
        super().__init__(CrossEntropy(_listed(weights), reduction, margins=margins, scales=scales), numbers)


class CDTLoss(CrossEntropyTerm):
    r"""Class-dependent temperatures (Ye et al., 2020): logit j is multiplied by :math:`\delta_j=(n_j/n_{\max})^\gamma`.

    The paper writes it as a division by :math:`a_j=(n_{\max}/n_j)^\gamma`. As published, γ > 0 scales rare classes
    down: the network must make their logits larger for the same loss, and their threshold falls to
    :math:`\delta\sqrt n/N`. A negative γ raises it instead: −½ makes all thresholds equal.

    Parameters
    ----------
    counts : str or (K,) array_like
        Training samples in each class.
    gamma : float
        γ.
    weights, reduction : optional
        As for :class:`WeightedCrossEntropy`.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.nn import CDTLoss
    >>> for gamma in (0.3, -0.5):
    ...     lp.UFM("400x2,100x2", lambda_z=0.001, loss=CDTLoss("400x2,100x2", gamma).loss).thresholds().within
    array([0.02 , 0.006597...])
    array([0.02, 0.02])
    """

    def __init__(
        self,
        counts: ArrayLike,
        gamma: float,
        *,
        weights: ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        numbers = class_counts(counts)
        super().__init__(CrossEntropy(_listed(weights), reduction, scales=_powers(numbers, gamma)), numbers)


class LDTLoss(CrossEntropyTerm):
    r"""Label-dependent temperatures (Behnia et al., AISTATS 2023): all logits of a sample of class k times δ_k.

    :math:`\delta_k=(n_k/n_{\max})^\gamma`, as in :class:`CDTLoss`, with the same thresholds; ``"label"`` instead of
    ``"logit"`` in :class:`lopsided.CrossEntropy`.

    Parameters
    ----------
    counts : str or (K,) array_like
        Training samples in each class.
    gamma : float
        γ.
    weights, reduction : optional
        As for :class:`WeightedCrossEntropy`.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    Examples
    --------
    >>> import torch
    >>> from lopsided.nn import LDTLoss
    >>> criterion = LDTLoss("400,100", gamma=0.5)
    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> [criterion.samples(logits, torch.tensor([label])).item() for label in (0, 1)]   # log(1 + e⁻²), log(1 + e)
    [0.1269..., 1.3132...]
    """

    def __init__(
        self,
        counts: ArrayLike,
        gamma: float,
        *,
        weights: ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        numbers = class_counts(counts)
        scales = _powers(numbers, gamma)
        super().__init__(CrossEntropy(_listed(weights), reduction, scales=scales, scale_by="label"), numbers)


class VSLoss(CrossEntropyTerm):
    r"""Vector scaling (Kini et al., NeurIPS 2021): the scales of :class:`CDTLoss` with a logit adjustment.

    .. math:: y_j = \Big(\frac{n_j}{n_{\max}}\Big)^\gamma x_j + \tau\log\frac{n_j}N

    Parameters
    ----------
    counts : str or (K,) array_like
        Training samples in each class.
    gamma : float
        γ of the scales, 0 for logit adjustment alone.
    tau : float, default 1
        τ of the adjustment, 0 for CDT alone.
    weights, reduction : optional
        As for :class:`WeightedCrossEntropy`.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    Examples
    --------
    >>> from lopsided.nn import VSLoss
    >>> VSLoss("400,100", gamma=0.5).loss
    CrossEntropy(..., logit_adjustment=1.0, margins=None, scales=(1.0, 0.5), scale_by='logit')
    """

    def __init__(
        self,
        counts: ArrayLike,
        gamma: float,
        tau: float = 1.0,
        *,
        weights: ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        check_number("tau", tau)
        numbers = class_counts(counts)
        scales = _powers(numbers, gamma)
        super().__init__(CrossEntropy(_listed(weights), reduction, logit_adjustment=tau, scales=scales), numbers)


class FocalLossModule(FocalTerm):
    r"""Focal loss (Lin et al., ICCV 2017): :math:`-(1-s)^\gamma\log s`, s the softmax probability of the label.

    The module of :class:`lopsided.FocalLoss`, which is its ``loss``, and says how far it is convex.

    Parameters
    ----------
    counts : str or (K,) array_like
        Training samples in each class.
    gamma : float, default 2
        γ ≥ 0.
    weights, reduction : optional
        As for :class:`WeightedCrossEntropy`; the weights are the paper's α.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    Examples
    --------
    >>> import torch
    >>> from lopsided.nn import FocalLossModule
    >>> FocalLossModule("30,10")(torch.zeros(1, 2), torch.tensor([0])).item()      # log 2 / 4
    0.1732...
    """

    def __init__(
        self,
        counts: ArrayLike,
        gamma: float = 2.0,
        *,
        weights: ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(FocalLoss(gamma, _listed(weights), reduction), counts)


def _powers(counts: NDArray[np.int64], gamma: float) -> list[float]:
    """The (K,) scales (n/n_max)^γ."""
    check_number("gamma", gamma)
    with np.errstate(over="ignore", under="ignore"):
        scales = (counts / counts.max()) ** gamma
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ArgumentError("gamma", "must leave every scale (n/n_max)^gamma finite and above 0", gamma)
    return list(scales.tolist())


def _listed(weights: Any) -> Any:
    """Weights as NumPy reads them: a tensor may be on a GPU."""
    return weights.detach().cpu().numpy() if hasattr(weights, "detach") else weights
