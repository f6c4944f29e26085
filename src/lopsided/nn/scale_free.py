r"""Which parameters can shrink at no cost: the scalings of a network's parameters that leave its features as they are.

Give every parameter and every tensor of the pass a log-scale. A product adds them, a sum wants them equal, a positively
homogeneous function passes them on, any other function wants zero, and a normalisation forgets what enters. The
solutions with log-scale 0 at the head's input are the scalings that leave the features alone. A parameter's decay
costs nothing at the optimum iff one of them shrinks it and lets no decayed parameter grow: a linear program.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from lopsided.nn.activations import activation
from lopsided.nn.operations import (
    AVERAGING,
    BATCH_NORM,
    MAXIMUM,
    MAXIMUM_OF_ALL,
    PRODUCTS,
    REARRANGING,
    SELECTING,
)
from lopsided.nn.tracing import Node

#: Numbers up to this size that are added, or that clip from below, are there to keep from dividing by zero.
_EPSILON = 1.1e-3
_POWERS = {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0, "square": 2.0}
_PASSING = REARRANGING | SELECTING | AVERAGING | MAXIMUM | MAXIMUM_OF_ALL | {"native_dropout", "linalg_vector_norm"}
_NORMS = {"native_layer_norm": (2, 3), "native_group_norm": (1, 2), "_fused_rms_norm": (2,)}

#: A sum of multiples of log-scales that is zero.
_Equation = list[tuple[Node, float]]


def shrinking(
    kept: Collection[Node], parameters: Collection[str], decayed: Collection[str]
) -> tuple[frozenset[str], dict[str, float]]:
    """The decayed parameters that can shrink to nothing while all tensors in ``kept`` stay as they are.

    Parameters
    ----------
    kept : collection of Node
        What must not change: the head's input, and whatever else the model returns.
    parameters : collection of str
        Names of those that may be scaled; all others stay as they are.
    decayed : collection of str
        Those of them that may not grow.

    Returns
    -------
    frozenset of str
        Their names.
    dict
        For every parameter that was used the rate at which its logarithm changes in one way of shrinking all of them.
    """
    nodes, equations = _system(kept)
    index = {id(node): place for place, node in enumerate(nodes)}
    named = {node.name: index[id(node)] for node in nodes if node.kind == "parameter"}
    equations += [[(node, 1.0)] for node in kept if id(node) in index]
    equations += [[(node, 1.0)] for node in nodes if node.kind == "parameter" and node.name not in parameters]
    equations += [[(node, 1.0)] for node in nodes if node.kind == "input"]
    candidates = [name for name in decayed if name in named]
    if not candidates:
        return frozenset(), {}
    size, count = len(nodes), len(candidates)
    entries = [(row, index[id(n)], value) for row, terms in enumerate(equations) for n, value in terms]
    rows, columns, values = zip(*entries, strict=True)
    equal: Any = csr_array((values, (rows, columns)), shape=(len(equations), size + count))
    places = [named[name] for name in candidates]
    both = (np.ones(2 * count), (np.tile(np.arange(count), 2), [*places, *range(size, size + count)]))
    falling: Any = csr_array(both, shape=(count, size + count))
    result = linprog(
        np.concatenate([np.zeros(size), -np.ones(count)]),
        A_ub=falling,
        b_ub=np.zeros(count),
        A_eq=equal,
        b_eq=np.zeros(len(equations)),
        bounds=[(-1e4, 1e4)] * size + [(0, 1)] * count,
        method="highs",
    )
    if result.x is None:
        return frozenset(), {}
    free = frozenset(name for name, shrinks in zip(candidates, result.x[size:], strict=True) if shrinks > 0.5)
    return free, {name: float(result.x[place]) for name, place in named.items()}


def _system(kept: Collection[Node]) -> tuple[list[Node], list[_Equation]]:
    """All tensors that lead to those, and what their scales must satisfy."""
    homogeneous: dict[Any, bool] = {}
    pending = [node for node in kept if node.varies]
    found: dict[int, Node] = {}
    equations: list[_Equation] = []
    while pending:
        node = pending.pop()
        if id(node) in found:
            continue
        found[id(node)] = node
        sources = [entry for entry in node.inputs if entry.varies]
        pending += sources
        known = {id(entry) for entry in sources}
        equations += (
            [(n, value) for n, value in equation if n is node or id(n) in known]
            for equation in _equations(node, sources, homogeneous)
        )
    return list(found.values()), equations


def _equations(node: Node, sources: list[Node], homogeneous: dict[Any, bool]) -> Iterator[_Equation]:
    """What the scale of a tensor has to do with the scales of what it is made of."""
    kind = node.kind.rstrip("_") if node.kind not in REARRANGING else node.kind
    args = node.args
    if kind in ("parameter", "input"):
        return
    if kind in BATCH_NORM and node.output == 0 and next(entry for entry in args[3:] if isinstance(entry, bool)):
        yield from _affine(node, args[1:3])
    elif kind in _NORMS and node.output == 0:
        yield from _affine(node, tuple(args[place] for place in _NORMS[kind]))
    elif kind in PRODUCTS:
        yield from _product(node, kind, args)
    elif kind == "mul":
        yield [(node, -1.0), *((entry, 1.0) for entry in args[:2] if isinstance(entry, Node))]
    elif kind == "div":
        signs = zip(args[:2], (1.0, -1.0), strict=True)
        yield [(node, -1.0), *((entry, sign) for entry, sign in signs if isinstance(entry, Node))]
    elif kind in _POWERS:
        yield [(node, -1.0), (args[0], _POWERS[kind])]
    elif kind == "pow" and isinstance(args[1], (int, float)):
        yield [(node, -1.0), (args[0], float(args[1]))]
    elif kind in ("add", "sub", "clamp_min") and _is_epsilon(args[1]):
        yield [(node, -1.0), (args[0], 1.0)]
    elif kind in ("add", "sub") and all(isinstance(entry, Node) for entry in args[:2]):
        yield from ([(node, -1.0), (entry, 1.0)] for entry in args[:2])
    elif kind in ("cat", "stack"):
        yield from ([(node, -1.0), (entry, 1.0)] for entry in sources)
    elif kind in _PASSING and sources == node.inputs[:1]:
        yield [(node, -1.0), (sources[0], 1.0)]
    elif kind == "embedding":
        yield [(node, -1.0), (args[0], 1.0)]
    elif kind.startswith("_scaled_dot_product") and node.output == 0:
        yield [(args[0], 1.0), (args[1], 1.0)]
        yield [(node, -1.0), (args[2], 1.0)]
        yield from ([(entry, 1.0)] for entry in sources if not any(entry is given for given in args[:3]))
    elif kind == "_weight_norm_interface" and node.output == 0:
        yield [(node, -1.0), (args[1], 1.0)]
    elif len(sources) == 1 and _is_homogeneous(node, sources[0], homogeneous):
        yield [(node, -1.0), (sources[0], 1.0)]
    else:
        yield [(node, 1.0)]
        yield from ([(entry, 1.0)] for entry in sources)


def _affine(node: Node, parameters: tuple[Any, ...]) -> Iterator[_Equation]:
    given = [entry for entry in parameters if isinstance(entry, Node)]
    if not given:
        yield [(node, 1.0)]
    for entry in given:
        yield [(node, -1.0), (entry, 1.0)]


def _product(node: Node, kind: str, args: tuple[Any, ...]) -> Iterator[_Equation]:
    if kind in ("addmm", "baddbmm", "addbmm"):
        bias, factors = args[0], args[1:3]
    elif kind in ("convolution", "_convolution", "linear"):
        bias, factors = args[2] if len(args) > 2 else None, args[:2]
    else:
        factors, bias = args[:2], None
    yield [(node, -1.0), *((entry, 1.0) for entry in factors)]
    if isinstance(bias, Node):
        yield [(node, -1.0), (bias, 1.0)]


def _is_epsilon(entry: Any) -> bool:
    if isinstance(entry, Node):
        if entry.kind != "constant" or entry.numel != 1:
            return False
        entry = float(entry.tensor)
    return isinstance(entry, (int, float)) and abs(entry) <= _EPSILON


def _is_homogeneous(node: Node, source: Node, memory: dict[Any, bool]) -> bool:
    others = [entry for entry in node.inputs if entry is not source]
    key = (node.operation, repr([entry for entry in node.args if not isinstance(entry, Node)]), repr(node.kwargs))
    if others or node.shape != source.shape:
        return False
    if key not in memory:
        facts = activation(node, source)
        memory[key] = facts is not None and facts.homogeneous
    return memory[key]
