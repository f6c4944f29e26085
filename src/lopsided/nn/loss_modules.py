"""The losses of the theory as PyTorch modules: one mechanism for every loss that has a prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import parse_counts
from lopsided.core.losses import PER_CLASS, CrossEntropy, FocalLoss, Loss, SquaredError


class DataTerm(nn.Module):
    r"""The data term of the model, for a batch of B of the N samples.

    .. math:: \frac NB\,\frac1{\mathcal N}\sum_{i\in\text{batch}}w_{y_i}\,\ell(x_i,y_i),

    with :math:`\mathcal N` the normaliser of the whole training set: :math:`\sum_kw_kn_k` for ``reduction="mean"``, N
    for ``"samples"``. Batches drawn with equal chances for every sample give the model's data term on average, and a
    batch of all samples gives it exactly; with ``"mean"`` that is PyTorch's weighted mean. In smaller batches PyTorch
    divides by the weights of the batch instead, which does not: its average depends on the size of the batch.

    Under a sampler that draws class k with probability :math:`q_k` instead of :math:`n_k/N`, the average is the data
    term for weights :math:`w_kq_kN/n_k`. Weights and a balancing sampler together therefore balance twice. Where that
    is not meant, say what is ``shown``, and the weights are divided by it.

    Logits in float16 or bfloat16 are raised to float32 first, and the value is float32; float64 stays. The numbers of
    the loss are buffers that follow ``.to(device)``; they keep their precision under ``.half()`` and are no part of a
    ``state_dict``, since they follow from the arguments.

    Parameters
    ----------
    loss : CrossEntropy, SquaredError or FocalLoss
        Its weights, margins or scales, where it has any, must be one a class.
    counts : str or (K,) array_like
        Training samples in each class, as :func:`lopsided.parse_counts` reads them.
    shown : str or (K,) array_like, optional
        Samples in each class of the epochs from which batches are drawn, where these are not ``counts``: a sample of
        class k then counts ``counts[k] / shown[k]`` times, and the average is the data term of ``counts`` again.

    Attributes
    ----------
    loss : CrossEntropy, SquaredError or FocalLoss
        The same loss in the theory: ``lp.UFM(counts, ..., loss=module.loss)`` predicts what training by it ends in.
    num_classes : int
        K.

    Examples
    --------
    >>> from lopsided import CrossEntropy
    >>> logits, labels = torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])
    >>> term = DataTerm(CrossEntropy(label_smoothing=0.1), [3, 1])
    >>> term(logits, labels).item()                     # log 2
    0.6931...
    """

    weights: Tensor
    margins: Tensor
    offsets: Tensor
    row_scales: Tensor
    column_scales: Tensor

    def __init__(self, loss: Loss, counts: str | ArrayLike, shown: str | ArrayLike | None = None) -> None:
        super().__init__()
        numbers = parse_counts(counts)
        drawn = numbers if shown is None else parse_counts(shown)
        if drawn.shape != numbers.shape:
            raise ArgumentError("shown", f"must have one count a class, {len(numbers)} like counts", len(drawn))
        known = [samples for kind, samples in _SAMPLES.items() if isinstance(loss, kind)]
        if not known:
            raise ArgumentError("loss", "must be a CrossEntropy, SquaredError or FocalLoss", loss)
        self.loss = loss
        self._samples = known[0]
        self.num_classes = len(numbers)
        terms = loss.terms(numbers)
        self._terms = replace(terms, weights=terms.weights * (numbers / drawn))
        self._looked = False
        self.scale = float(drawn.sum()) / terms.normaliser
        self.smoothing = self._terms.smoothing
        self.gamma = float(getattr(loss, "gamma", 0.0))
        self._place(torch.empty(0).device)

    def _place(self, device: torch.device) -> None:
        """Register the per-class numbers as buffers on a device."""
        dtype = torch.float32 if device.type == "mps" else torch.float64  # all that a Mac's GPU has
        for name in PER_CLASS:
            values = torch.tensor(getattr(self._terms, name), device=device, dtype=dtype)
            self.register_buffer(name, values, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DataTerm:
        """Move, but never round: ``.half()`` of a model that holds its loss must not change the loss."""
        device = fn(torch.empty(0, device=self.weights.device)).device
        for name in PER_CLASS:
            delattr(self, name)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._place(device)
        return self

    def extra_repr(self) -> str:
        """What ``repr`` shows: a loss of thousands of classes must not print thousands of weights."""
        return f"num_classes={self.num_classes}"

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the data term's estimate, a scalar, from logits (B, K) of any floating dtype and labels (B,).

        Raises
        ------
        ValueError
            If logits or labels have another shape, or a label is no class of ``counts``. On a GPU only the first batch
            is searched for such labels, since reading them back waits for the device; PyTorch's own assertion stops at
            later ones.
        """
        self._check(logits, labels)
        logits, labels = logits if logits.dtype == torch.float64 else logits.float(), labels.long()
        weights = self.weights.to(logits)[labels]
        return self.scale * (weights * self.samples(logits, labels)).mean()

    def samples(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the (B,) unweighted losses of the samples."""
        return self._samples(self, logits, labels)

    def _check(self, logits: Tensor, labels: Tensor) -> None:
        if logits.ndim != 2 or logits.shape[1] != self.num_classes or not logits.is_floating_point():
            raise ArgumentError(
                "logits",
                f"must be floating, of shape (B, {self.num_classes}), one column for each class of counts",
                got=f"{logits.dtype}, {tuple(logits.shape)}",
            )
        if labels.shape != logits.shape[:1] or len(labels) == 0:
            raise ArgumentError(
                "labels",
                f"must have shape (B,), one class for each of the {len(logits)} rows of logits, and B at least 1",
                value=tuple(labels.shape),
            )
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise ArgumentError("labels", "must be class indices of an integer dtype", got=str(labels.dtype))
        if torch.compiler.is_compiling() or labels.is_meta or (self._looked and labels.device.type != "cpu"):
            return
        self._looked = True
        low, high = (int(bound) for bound in torch.aminmax(labels))
        if low < 0 or high >= self.num_classes:
            raise ArgumentError(
                "labels",
                f"must be 0 to {self.num_classes - 1}, the classes of counts",
                low if low < 0 else high,
                remedy="leave out samples without a class",
            )


def _cross_entropy(term: DataTerm, logits: Tensor, labels: Tensor) -> Tensor:
    inside = term.column_scales.to(logits) * logits * term.row_scales.to(logits)[labels, None]
    inside = inside + term.offsets.to(logits)
    margins = term.margins.to(logits)[labels, None]
    inside = inside.scatter_add(1, labels[:, None], -margins)
    return functional.cross_entropy(inside, labels, reduction="none", label_smoothing=term.smoothing)


def _squared_error(term: DataTerm, logits: Tensor, labels: Tensor) -> Tensor:
    target = functional.one_hot(labels, term.num_classes).to(logits)
    return 0.5 * (logits - target).square().sum(dim=1)


def _focal(term: DataTerm, logits: Tensor, labels: Tensor) -> Tensor:
    own = functional.cross_entropy(logits, labels, reduction="none")
    # log(1 − s) from the other logits: 1 − s itself is 0 in floats long before its power and slope are.
    others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(dim=1) - logits.logsumexp(dim=1)
    return torch.exp(term.gamma * others) * own


#: The (B,) unweighted losses of the samples under each kind of loss.
_SAMPLES: dict[type[Loss], Callable[[DataTerm, Tensor, Tensor], Tensor]] = {
    CrossEntropy: _cross_entropy,
    SquaredError: _squared_error,
    FocalLoss: _focal,
}


def loss_module(loss: Loss, counts: str | ArrayLike, shown: str | ArrayLike | None = None) -> DataTerm:
    """Return any loss of the theory as a module that training descends; see :class:`DataTerm`.

    Examples
    --------
    What :func:`lopsided.advise` has found, to train by:

    >>> import lopsided as lp
    >>> counts = "500x2,100x2"
    >>> advice = lp.advise(lp.UFM(counts, lambda_z=0.009), levers=["class-weights"], margin=1.2)
    >>> criterion = loss_module(advice.remedy("class-weights", "samples").problem.loss, counts)
    >>> criterion(torch.zeros(1, 4), torch.tensor([3])).item() / torch.log(torch.tensor(4.0)).item()  # its weight
    1.296...
    """
    return DataTerm(loss, counts, shown)
