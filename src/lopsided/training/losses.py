"""The losses of the theory as what a network is trained by."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lopsided.losses import CrossEntropy, FocalLoss, Loss, SquaredError


class DataTerm(nn.Module):
    r"""The data term of the model, for a batch of B of the N samples.

    .. math:: \frac NB\,\frac1{\mathcal N}\sum_{i\in\text{batch}}\ell(x_i,y_i),

    with :math:`\mathcal N` the normaliser of the whole training set: N, or the sum of all its weights. Batches drawn
    with equal chances give the model's data term on average. PyTorch's weighted mean divides by the weights of the
    batch instead, which does not: its average depends on the batch size.

    Parameters
    ----------
    loss : CrossEntropy, SquaredError or FocalLoss
        The loss.
    counts : (K,) array of int
        Training samples in each class.

    Examples
    --------
    >>> import numpy as np
    >>> from lopsided import CrossEntropy
    >>> logits, labels = torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])
    >>> term = loss_module(CrossEntropy(label_smoothing=0.1), np.array([3, 1]))
    >>> term(logits, labels).item()                     # log 2
    0.6931...
    """

    weights: Tensor
    margins: Tensor
    offsets: Tensor
    row_scales: Tensor
    column_scales: Tensor

    def __init__(self, loss: Loss, counts: NDArray[Any]) -> None:
        super().__init__()
        terms = loss.terms(counts)
        self.scale = float(counts.sum()) / terms.normaliser
        self.smoothing = terms.smoothing
        #: (K,) what the loss does to each class, in the notation of :class:`lopsided.losses.ClassTerms`.
        for name in ("weights", "margins", "offsets", "row_scales", "column_scales"):
            self.register_buffer(name, torch.from_numpy(getattr(terms, name).copy()), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the data term's estimate, a scalar, from (B, K) logits and (B,) labels."""
        weights = self.weights.to(logits)[labels]
        return self.scale * (weights * self.samples(logits, labels)).mean()

    def samples(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the (B,) unweighted losses of the samples."""
        raise NotImplementedError


class CrossEntropyTerm(DataTerm):
    """Cross-entropy with weights, smoothed labels, offsets, margins and scales."""

    def samples(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the (B,) unweighted losses of the samples."""
        inside = self.column_scales.to(logits) * logits * self.row_scales.to(logits)[labels, None]
        inside = inside + self.offsets.to(logits)
        margins = self.margins.to(logits)[labels, None]
        inside = inside.scatter_add(1, labels[:, None], -margins)
        return functional.cross_entropy(inside, labels, reduction="none", label_smoothing=self.smoothing)


class SquaredErrorTerm(DataTerm):
    """Half the squared distance of the logits from the one-hot label."""

    def samples(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the (B,) unweighted losses of the samples."""
        target = functional.one_hot(labels, logits.shape[1]).to(logits)
        return 0.5 * (logits - target).square().sum(dim=1)


class FocalTerm(DataTerm):
    """Focal loss."""

    def __init__(self, loss: FocalLoss, counts: NDArray[Any]) -> None:
        super().__init__(loss, counts)
        self.gamma = float(loss.gamma)

    def samples(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the (B,) unweighted losses of the samples."""
        own = functional.cross_entropy(logits, labels, reduction="none")
        # log(1 − s) from the other logits: 1 − s itself is 0 in floats long before its power and slope are.
        others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(dim=1) - logits.logsumexp(dim=1)
        return torch.exp(self.gamma * others) * own


def loss_module(loss: Loss, counts: NDArray[Any]) -> DataTerm:
    """Return a loss of the theory as a module that training descends.

    Parameters
    ----------
    loss : CrossEntropy, SquaredError or FocalLoss
        As :class:`lopsided.UFM` takes it.
    counts : (K,) array of int
        Training samples in each class.

    Returns
    -------
    DataTerm
        Called with (B, K) logits and (B,) labels. In a batch of all samples it is the data term of the model.

    Raises
    ------
    ValueError
        If the loss has weights, margins or scales that are not one a class.

    Examples
    --------
    >>> import numpy as np
    >>> from lopsided import FocalLoss
    >>> loss_module(FocalLoss(gamma=2.0), np.array([3, 1]))(torch.zeros(1, 2), torch.tensor([0])).item()   # log 2 / 4
    0.1732...
    """
    if isinstance(loss, FocalLoss):
        return FocalTerm(loss, counts)
    if isinstance(loss, SquaredError):
        return SquaredErrorTerm(loss, counts)
    if isinstance(loss, CrossEntropy):
        return CrossEntropyTerm(loss, counts)
    raise ValueError(f"loss must be a CrossEntropy, SquaredError or FocalLoss; got {loss!r}")
