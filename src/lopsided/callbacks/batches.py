"""Where a batch keeps its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from torch import Tensor

from lopsided.core.arguments import ArgumentError

#: Labels (B,) of a batch, as integers.
LabelsOf: TypeAlias = Callable[[Any], Tensor]

#: Keys under which a batch that is a mapping may keep its labels, in the order in which they are sought.
LABEL_KEYS = ("labels", "label", "targets", "target", "y")
#: Label of what no loss counts, such as padding: ``ignore_index`` of ``torch.nn.functional.cross_entropy``.
IGNORED = -100


def labels_of(batch: Any) -> Tensor:
    """Return the labels of a batch, not checked: the second of a pair, or what a mapping has under a usual key.

    Behind ``(inputs, labels)`` there may be more; the usual keys are those in ``LABEL_KEYS``. Where there are no labels
    a ``ValueError`` asks for a function that finds them.

    Examples
    --------
    >>> import torch
    >>> labels_of((torch.zeros(2, 5), torch.tensor([1, 0]))), labels_of({"x": 0, "label": torch.tensor([2])})
    (tensor([1, 0]), tensor([2]))
    """
    if isinstance(batch, Mapping):
        for key in LABEL_KEYS:
            if isinstance(batch.get(key), Tensor):
                labels: Tensor = batch[key]
                return labels
        found = f"a mapping with the keys {', '.join(map(repr, batch)) or 'none'}"
    elif isinstance(batch, (tuple, list)) and len(batch) >= 2 and isinstance(batch[1], Tensor):
        return batch[1]
    else:
        found = f"a {type(batch).__name__}"
        if isinstance(batch, (tuple, list)):
            found += f" of {len(batch)}"
    raise ArgumentError(
        "labels",
        f"must be the second of a pair, or stand under one of {', '.join(LABEL_KEYS)}, in a batch",
        got=found,
        remedy="give labels=, a function from a batch to its labels",
    )


def without_ignored(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Drop the rows whose label says that they count for nothing.

    Examples
    --------
    >>> import torch
    >>> without_ignored(torch.tensor([[1.0], [2.0]]), torch.tensor([-100, 3]))
    (tensor([[2.]]), tensor([3]))
    """
    ignored = labels == IGNORED
    if ignored.shape != features.shape[:1] or not bool(ignored.any()):
        return features, labels
    return features[~ignored], labels[~ignored]
