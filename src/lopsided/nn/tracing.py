"""One pass of a model as a graph of ATen operations: what each tensor was made of, down to the parameters.

Operations are recorded below PyTorch's Python layer, where a layer, a functional call and a method of a tensor look the
same. So nothing here knows the classes of layers, and code with control flow is followed along the way that it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lopsided.core.arguments import ArgumentError
from lopsided.nn.classifier import unwrapped_modules
from lopsided.nn.unchanged import unchanged

#: Operations that take only the form of their tensor.
FORM_ONLY = frozenset(
    "empty_like zeros_like ones_like full_like rand_like randn_like new_empty new_zeros new_ones new_full".split()  # noqa: SIM905
)


@dataclass(eq=False)
class Node:
    """One tensor of the pass.

    Attributes
    ----------
    kind : str
        The operation's name without overload, such as ``"addmm"``; or ``"parameter"``, ``"input"``, ``"constant"``; or
        ``"written"`` for a tensor of which a part was changed in place.
    shape : tuple of int
    name : str
        The parameter's, where it is one.
    operation, args, kwargs
        The call, nodes in place of tensors; None and empty where there was none.
    output : int
        Which of the operation's results this is.
    users : list of Node
        What was made of it.
    tensor : Tensor
        The value, after the pass.
    varies : bool
        Whether it depends on inputs or parameters, and not on random numbers or constants alone.
    random : bool
        Whether it depends on random numbers.
    """

    kind: str
    shape: tuple[int, ...]
    tensor: Tensor = field(repr=False)
    name: str = ""
    operation: Any = None
    args: tuple[Any, ...] = field(default=(), repr=False)
    kwargs: dict[str, Any] = field(default_factory=dict, repr=False)
    output: int = 0
    users: list[Node] = field(default_factory=list, repr=False)
    varies: bool = field(init=False)
    random: bool = field(init=False)

    def __post_init__(self) -> None:
        drawn = self.operation is not None and torch.Tag.nondeterministic_seeded in self.operation.tags
        sources = [] if self.kind in FORM_ONLY or self.kind.startswith("bernoulli_") else self.inputs
        self.varies = self.kind in ("parameter", "input") or any(source.varies for source in sources)
        self.random = drawn or any(source.random for source in sources)

    @property
    def inputs(self) -> list[Node]:
        """The tensors that it was made of."""
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Node)]

    @property
    def numel(self) -> int:
        """Number of entries."""
        return int(self.tensor.numel())


@dataclass(frozen=True, eq=False)
class Trace:
    """A pass of a model.

    Attributes
    ----------
    outputs : list of Node
        The floating-point tensors that the model returned, in order.
    operations : list of Node
        Every tensor that was computed, in order.
    batch_size : int
        Samples in the example.
    """

    outputs: list[Node]
    operations: list[Node]
    batch_size: int


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, known: dict[int, Node]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes = known
        self.operations: list[Node] = []
        self.kept: list[Tensor] = []  # so that no id is given twice
        self.sharing: dict[int, list[Tensor]] = {}

    def node_of(self, tensor: Tensor) -> Node:
        found = self.nodes.get(id(tensor))
        if found is None:
            found = self.nodes[id(tensor)] = Node("constant", tuple(tensor.shape), tensor)
            self.kept.append(tensor)
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made_of = tree_map(lambda leaf: self.node_of(leaf) if isinstance(leaf, Tensor) else leaf, (args, kwargs))
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        results = result if isinstance(result, (tuple, list)) else (result,)
        written = func._schema.is_mutable and {id(leaf) for leaf in tree_leaves((args, kwargs))}
        for index, tensor in enumerate(results):
            if isinstance(tensor, Tensor):
                node = Node(name, tuple(tensor.shape), tensor, "", func, made_of[0], made_of[1], index)
                for source in node.inputs:
                    source.users.append(node)
                self.operations.append(node)
                if written and id(tensor) in written:
                    self._changed_in_place(tensor, node)
                self._keep(tensor, node)
        return result

    def _keep(self, tensor: Tensor, node: Node) -> None:
        self.nodes[id(tensor)] = node
        self.kept.append(tensor)
        self.sharing.setdefault(_storage(tensor), []).append(tensor)

    def _changed_in_place(self, tensor: Tensor, node: Node) -> None:
        """Whoever shares the storage is no longer what it was made of."""
        for other in self.sharing.get(_storage(tensor), []):
            before = self.nodes[id(other)]
            if other is not tensor and before.kind != "parameter":
                after = Node("written", before.shape, other, args=(before, node))
                before.users.append(after)
                node.users.append(after)
                self.nodes[id(other)] = after


def _storage(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):
        return 0


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, DataParallel and ``torch.compile``."""
    return next(iter(unwrapped_modules(model)))[1]


def trace(model: nn.Module, example_input: Any) -> Trace:
    """Run the example through the model as in training and record what is computed; the model stays as it was.

    Parameters
    ----------
    model : torch.nn.Module
        Bare or wrapped.
    example_input : tensor, tuple or dict
        One small batch of at least two samples; a tuple holds positional, a dict keyword arguments.

    Raises
    ------
    ArgumentError
        If the model does not take the example.
    """
    inner = unwrapped(model)
    args, kwargs = _call(example_input)
    tensors = list(_tensors_in((args, kwargs)))
    if not tensors or tensors[0].ndim == 0:
        raise ArgumentError("example_input", "must hold a batch of samples, as the model takes it", example_input)
    known = {id(value): Node("parameter", tuple(value.shape), value, name) for name, value in inner.named_parameters()}
    known |= {id(value): Node("input", tuple(value.shape), value) for value in tensors}
    recorder = _Recorder(known)
    try:
        with unchanged(inner), recorder:
            output = inner(*args, **kwargs)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, KeyError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        remedy = "give two samples or more, as batch statistics need" if "more than 1 value" in told else ""
        shape = "×".join(map(str, tensors[0].shape))
        raise ArgumentError(
            "example_input",
            "must be a batch that the model takes in training mode",
            got=f"one of shape {shape}, to which it says: {told[:160]}",
            remedy=remedy,
        ) from error
    outputs = [recorder.node_of(tensor) for tensor in _tensors_in(output) if tensor.is_floating_point()]
    return Trace(outputs, recorder.operations, len(tensors[0]))


def _call(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    return (tuple(example) if isinstance(example, (tuple, list)) else (example,)), {}


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors in whatever a model takes or returns: containers, named tuples, data classes."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from (tensor for entry in value.values() for tensor in _tensors_in(entry))
    elif isinstance(value, (tuple, list)):
        yield from (tensor for entry in value for tensor in _tensors_in(entry))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (tensor for entry in fields(value) for tensor in _tensors_in(getattr(value, entry.name)))
