"""ATen's operations by what they do, as far as reading a network needs it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lopsided.nn.tracing import Node


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: The same entries in another order or form.
REARRANGING = _words(
    "view _unsafe_view reshape _reshape_alias permute transpose t unsqueeze squeeze clone _to_copy to detach "
    "alias contiguous flatten unflatten lift_fresh swapaxes movedim"
)
#: Entries chosen from all.
SELECTING = _words("select slice narrow index index_select gather split split_with_sizes chunk unbind diagonal")
#: Sums of entries with weights of at least 0 that do not depend on them.
AVERAGING = _words(
    "mean sum avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d "
    "expand repeat upsample_nearest1d upsample_nearest2d upsample_bilinear2d constant_pad_nd"
)
#: The largest of several entries.
MAXIMUM = _words("max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d adaptive_max_pool3d")
MAXIMUM_OF_ALL = _words("amax max")
PRODUCTS = _words("mm addmm bmm baddbmm mv dot matmul linear convolution _convolution einsum addbmm")
BATCH_NORM = _words(
    "native_batch_norm _native_batch_norm_legit cudnn_batch_norm miopen_batch_norm _batch_norm_with_update"
)


def through(node: Node, kinds: frozenset[str] = REARRANGING) -> Node:
    """Back through operations of some kinds to what they were given."""
    while node.inputs and (node.kind in kinds or _is_restrided(node)):
        node = node.inputs[0]
    return node


def _is_restrided(node: Node) -> bool:
    """What pooling to one position does in another memory format."""
    return node.kind == "as_strided_" and node.shape == node.inputs[0].shape and node.numel == math.prod(node.shape[:2])


def parameter_of(entry: Any) -> Node | None:
    """The parameter behind an argument, whatever its form or precision; None where it is something else."""
    if not isinstance(entry, Node):
        return None
    found = through(entry)
    return found if found.kind == "parameter" else None


@dataclass(frozen=True)
class LinearMap:
    """A linear layer: what enters, its weight, its bias."""

    entering: Node
    weight: Node
    bias: Node | None


def linear_map(node: Node) -> LinearMap | None:
    """The linear layer that a matrix product is; None for other products."""
    if node.kind == "addmm" and isinstance(node.args[0], Node):
        bias, entering, weight = node.args[:3]
    elif node.kind in ("mm", "matmul"):
        (entering, weight), bias = node.args[:2], None
    elif node.kind == "linear":
        entering, weight, bias = (*node.args, None)[:3]
    else:
        return None
    return LinearMap(entering, weight, bias)


@torch.enable_grad()
def gain_of_average(node: Node) -> float:
    r"""A bound for a linear operation A of nonnegative entries.

    Returns
    -------
    float
        :math:`\max_i\sum_jA_{ij}\cdot\max_j\sum_iA_{ij}`, which is at least ‖A‖² (Schur's test).
    """
    source = node.inputs[0]
    ones = torch.ones(source.shape, dtype=torch.float64, requires_grad=True)

    def value(entry: Any) -> Any:
        return (ones if entry is source else entry.tensor.cpu()) if isinstance(entry, Node) else entry

    args, kwargs = tree_map(value, (node.args, node.kwargs))
    result = node.operation(*args, **kwargs)
    rows: Tensor = result[node.output] if isinstance(result, (tuple, list)) else result
    (columns,) = torch.autograd.grad(rows.sum(), ones)
    return float((rows.max() * columns.max()).detach())


def windows_of_maximum(node: Node) -> int:
    """Of how many maxima an entry can be the largest, at most."""
    if node.kind in MAXIMUM_OF_ALL:
        return 1
    dims = 3 if "3d" in node.kind else 2
    if node.kind.startswith("adaptive"):
        entering, leaving = node.inputs[0].shape[-dims:], node.shape[-dims:]
        return math.prod(1 if a % b == 0 else 2 for a, b in zip(entering, leaving, strict=True))
    settings = [*node.args[1:], *([None] * 4)]
    kernel = _wide(settings[0], dims)
    stride = _wide(settings[1] or kernel, dims)
    dilation = _wide(settings[3] or 1, dims)
    return math.prod(k if d > 1 else -(-k // s) for k, s, d in zip(kernel, stride, dilation, strict=True))


def _wide(value: Any, dims: int) -> list[int]:
    entries = [value] if isinstance(value, int) else list(value)
    return entries * dims if len(entries) == 1 else entries
