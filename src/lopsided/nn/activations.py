"""What a function of single entries does to sizes, found by evaluating it and not by its name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lopsided.nn.tracing import Node

#: Steps back over which a function of single entries may be spread.
_DEEPEST = 12
#: Gains this near to 1 are 1.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Activation:
    r"""How a function σ of one number stretches it.

    Attributes
    ----------
    gain : float
        The least c with :math:`|\sigma(u)|\le c|u|` for all u; infinite where there is none.
    lipschitz : float
        The least c with :math:`|\sigma(u)-\sigma(v)|\le c|u-v|`.
    least_gain : float
        The largest c with :math:`|\sigma(u)|\ge c|u|`, where σ reaches every number; 0 where it does not.
    nonnegative : bool
        Whether :math:`\sigma\ge0`.
    is_relu : bool
        Whether :math:`\sigma(u)=\max(u,0)`.
    homogeneous : bool
        Whether :math:`\sigma(cu)=c\sigma(u)` for c > 0.
    bounded : bool
        Whether :math:`|\sigma|\le1`.
    """

    gain: float
    lipschitz: float
    least_gain: float
    nonnegative: bool
    is_relu: bool
    homogeneous: bool
    bounded: bool


def _points() -> Tensor:
    far = torch.logspace(-4, 5, 361, dtype=torch.float64)
    near = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    every = torch.cat([-far, near, far, torch.zeros(1, dtype=torch.float64)])
    points: Tensor = torch.unique(every.round(decimals=6))
    return points


POINTS = _points()


def activation(node: Node, source: Node) -> Activation | None:
    """What the function from ``source`` to ``node`` does; None where it is no function of single entries."""
    values = _evaluate(node, source, POINTS)
    if values is None or values.shape != POINTS.shape or not torch.isfinite(values).all():
        return None
    half = len(POINTS) // 2
    parts = [_evaluate(node, source, part) for part in (POINTS[:half], POINTS[half:].flip(0))]
    if any(part is None for part in parts):
        return None
    apart = torch.cat([parts[0], parts[1].flip(0)])  # type: ignore[list-item, union-attr]
    if apart.shape != values.shape or not torch.allclose(apart, values, rtol=1e-9, atol=1e-12):
        return None  # entries see each other
    zero, away = POINTS == 0, POINTS != 0
    ratio = values[away].abs() / POINTS[away].abs()
    slopes = values.diff().abs() / POINTS.diff()
    gain = math.inf if float(values[zero].abs().max()) > 0 else _supremum(ratio, POINTS[away])
    onto = bool((values.diff() > 0).all()) and float(values[-1]) > 100 and float(values[0]) < -100
    doubled = _evaluate(node, source, 2 * POINTS)
    return Activation(
        gain=gain,
        lipschitz=_supremum(slopes, POINTS[:-1]),
        least_gain=float(ratio.min()) if onto and not math.isinf(gain) else 0.0,
        nonnegative=bool((values >= 0).all()),
        is_relu=torch.equal(values, POINTS.clamp(min=0)),
        homogeneous=doubled is not None and torch.allclose(doubled, 2 * values, rtol=1e-12, atol=0),
        bounded=float(values.abs().max()) <= 1,
    )


def _supremum(values: Tensor, where: Tensor) -> float:
    """The largest value, rounded; infinite where it is still growing at the end."""
    largest, inside = float(values.max()), float(values[where.abs() <= 1e3].max())
    if largest > inside * (1 + 1e-2):
        return math.inf
    return 1.0 if abs(largest - 1) <= _TOLERANCE else largest


def single_source(node: Node, depth: int = _DEEPEST) -> Node | None:
    """The tensor of which ``node`` may be a function of single entries: where all the ways back meet."""
    tensors = [entry for entry in node.inputs if entry.kind != "constant"]
    if not tensors or node.operation is None:
        return None
    first = tensors[0]
    if all(entry is first for entry in tensors):
        return first
    ways = [_way_back(entry, depth) for entry in tensors]
    for candidate in ways[0]:
        if all(any(candidate is step for step in way) for way in ways[1:]):
            return candidate
    return None


def _way_back(node: Node, depth: int) -> list[Node]:
    """The node and what it comes from, as long as each has one tensor for its source."""
    way = [node]
    while depth and way[-1].operation is not None:
        source = single_source(way[-1], depth - 1)
        if source is None or source.shape != node.shape:
            break
        way.append(source)
        depth -= 1
    return way


def _evaluate(node: Node, source: Node, points: Tensor) -> Tensor | None:
    """The function at points; None where something on the way depends on more than the entry."""
    memory: dict[int, Tensor] = {id(source): points}

    def value(entry: Any) -> Any:
        if not isinstance(entry, Node):
            return entry
        if id(entry) not in memory:
            if entry.kind == "constant" and entry.numel == 1:
                memory[id(entry)] = entry.tensor.double()
            else:
                memory[id(entry)] = run(entry)
        return memory[id(entry)]

    def run(entry: Node) -> Tensor:
        if entry.operation is None or torch.Tag.nondeterministic_seeded in entry.operation.tags or len(memory) > 64:
            raise ValueError
        args, kwargs = tree_map(value, (entry.args, entry.kwargs))
        if entry.operation._schema.is_mutable:
            args = (args[0].clone(), *args[1:])
        result = entry.operation(*args, **{name: v for name, v in kwargs.items() if name != "out"})
        if not isinstance(result, Tensor):
            raise ValueError
        return result

    try:
        return value(node).double()  # type: ignore[no-any-return]
    except (ValueError, RuntimeError, TypeError, IndexError, NotImplementedError):
        return None
