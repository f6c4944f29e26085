"""One pass over batches of features, or over a model that makes them, with its accuracy class by class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lopsided.core.arguments import ArgumentError
from lopsided.metrics.capture import FeatureCapture
from lopsided.metrics.moments import Moments, TensorLike, as_tensor

#: Samples that a model is given at once where it comes with a data set and not with batches.
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Gathered:
    """What one pass over data found.

    Attributes
    ----------
    moments : Moments
        Of the features.
    weight, bias : (K, d) and (K,) tensor or None
        Of the classifier.
    class_accuracy : (K,) list of float, or None
        Share of each class's samples whose own logit is the largest, NaN for an absent class; None without a weight.
    """

    moments: Moments
    weight: Tensor | None = field(repr=False)
    bias: Tensor | None = field(repr=False)
    class_accuracy: list[float] | None = field(repr=False)


@torch.no_grad()
def gather(
    batches: Iterable[tuple[TensorLike, TensorLike]],
    num_classes: int,
    dim: int,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    *,
    progress: Callable[[int], None] | None = None,
    source: str = "batches",
) -> Gathered:
    """Gather the moments of batches, one at a time, and how many samples the classifier gets right.

    Parameters
    ----------
    batches : iterable of (features, labels)
        (B, d) and (B,), tensors or arrays. Any number of them: none is kept.
    num_classes, dim : int
        K and d.
    weight, bias : (K, d) and (K,) tensor or array, optional
        Of the last layer.
    progress : callable, optional
        Called after each batch with the samples done.
    source : str, optional
        What an error names as the origin of the batches.

    Raises
    ------
    ValueError
        If a batch cannot be measured, see :meth:`Moments.update`; the message says from which sample on.

    Examples
    --------
    >>> import torch
    >>> from lopsided.metrics import gather
    >>> features = torch.tensor([[1.0], [3.0], [-1.0], [0.5]])
    >>> found = gather([(features, torch.tensor([0, 0, 1, 1]))], 2, 1, weight=torch.tensor([[1.0], [-1.0]]))
    >>> found.moments.means.flatten().tolist(), found.class_accuracy
    ([2.0, -0.25], [1.0, 0.5])
    """
    moments = Moments(num_classes, dim, device="cpu")
    head = None if weight is None else as_tensor(weight, "weight").double().cpu()
    offset = None if bias is None else as_tensor(bias, "bias").double().cpu()
    right = torch.zeros(num_classes, dtype=torch.float64)
    done = 0
    for features, labels in batches:
        try:
            samples, classes = as_tensor(features, "features").cpu(), as_tensor(labels, "labels").cpu()
            moments.update(samples, classes)
        except ValueError as error:
            rule = f"must hold samples that can be measured; see the batch from sample {done} on: {error}"
            raise ArgumentError(source, rule) from None
        if head is not None and len(samples):
            logits = samples.double() @ head.T
            if offset is not None:
                logits += offset
            classes = classes.long()
            right.index_add_(0, classes, (logits.argmax(dim=1) == classes).double())
        done += len(samples)
        if progress is not None:
            progress(done)
    accuracy = None if head is None else (right / moments.counts).tolist()
    return Gathered(moments, head, offset, accuracy)


def gather_from_model(
    model: nn.Module,
    data: Dataset[Any] | Iterable[Any],
    num_classes: int | None = None,
    *,
    classifier: str | nn.Module | None = None,
    progress: Callable[[int], None] | None = None,
) -> Gathered:
    """Run a model in evaluation mode over data and gather what enters its classifier.

    Parameters
    ----------
    model : torch.nn.Module
        Its training flags are put back. Data go to the device of its first parameter.
    data : Dataset, or iterable of batches
        Samples, or batches, of (inputs, labels), or mappings with ``"labels"``, the rest of which are the model's
        keyword arguments.
    num_classes : int, optional
        K; the number of the model's outputs by default.
    classifier : str or torch.nn.Module, optional
        As in :class:`FeatureCapture`.
    progress : callable, optional
        As in :func:`gather`.

    Raises
    ------
    ValueError
        If the classifier cannot be found, there are no data, or a batch cannot be measured.

    Examples
    --------
    >>> import torch
    >>> from lopsided.metrics import gather_from_model
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    >>> data = torch.utils.data.TensorDataset(torch.randn(30, 4), torch.arange(30) % 3)
    >>> found = gather_from_model(model, data)
    >>> found.moments.dim, found.moments.counts.tolist(), found.weight.shape
    (5, [10, 10, 10], torch.Size([3, 5]))
    """
    batches = DataLoader(data, batch_size=_BATCH) if isinstance(data, Dataset) else data
    first_parameter = next(model.parameters(), None)
    device = torch.device("cpu") if first_parameter is None else first_parameter.device
    with _evaluating(model):
        if num_classes is None:
            num_classes = _outputs(model, batches, device)
        with FeatureCapture(model, num_classes, classifier=classifier) as capture:
            found = _features(model, batches, capture, device)
            first = next(found, None)
            if first is None:
                raise ArgumentError("data", "must hold at least one batch", got="none")
            head = capture.classifier
            weight, bias = (getattr(head, name, None) for name in ("weight", "bias"))
            dim = first[0].shape[1]
            return gather(chain([first], found), num_classes, dim, weight, bias, progress=progress, source="data")


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    flags = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in flags.items():
            module.training = training


def _features(
    model: nn.Module, batches: Iterable[Any], capture: FeatureCapture, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in batches:
        # Of several layers that may be the classifier the graph of the first pass tells which it is.
        with torch.set_grad_enabled(capture.name is None):
            labels, _ = _run(model, batch, device)
        yield capture.take(), labels


def _outputs(model: nn.Module, batches: Iterable[Any], device: torch.device) -> int:
    """The number of logits that the model gives."""
    with torch.no_grad():
        for batch in batches:
            _, outputs = _run(model, batch, device)
            outputs = getattr(outputs, "logits", outputs)
            if isinstance(outputs, Tensor) and outputs.ndim == 2:
                return outputs.shape[1]
            raise ArgumentError("num_classes", "must be given where the model does not return (B, K) logits")
    raise ArgumentError("data", "must hold at least one batch", got="none")


def _run(model: nn.Module, batch: Any, device: torch.device) -> tuple[Tensor, Any]:
    if isinstance(batch, Mapping):
        inputs = {name: value.to(device) for name, value in batch.items() if name != "labels"}
        if "labels" in batch:
            return batch["labels"], model(**inputs)
    elif isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[1], model(batch[0].to(device))
    found = f"keys {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
    raise ArgumentError("data", "must hold (inputs, labels), or mappings with 'labels'", got=found)
