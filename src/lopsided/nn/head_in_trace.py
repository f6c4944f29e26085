"""The classifier in a pass: the linear layer whose outputs the model returns, found or named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from lopsided.core.arguments import ArgumentError
from lopsided.nn.classifier import classifier_candidates, unwrapped_modules
from lopsided.nn.operations import REARRANGING, LinearMap, linear_map, parameter_of, through
from lopsided.nn.tracing import Node, Trace

#: What may stand between the classifier and the model's output: the loss is the same.
_BEHIND = REARRANGING | {"_log_softmax", "log_softmax"}


@dataclass(frozen=True, eq=False)
class Head:
    """The classifier as it ran.

    Attributes
    ----------
    name : str
    module : torch.nn.Module
    layer : LinearMap
        What entered, and the weight and bias that were used.
    output : Node
        The logits.
    """

    name: str
    module: nn.Module
    layer: LinearMap
    output: Node


def find_head(
    model: nn.Module, trace: Trace, classifier: str | nn.Module | None = None, num_classes: int | None = None
) -> Head:
    """The classifier of a pass.

    Raises
    ------
    ArgumentError
        If there is none or more than one, its weight is computed or shared, it sees other rows than one a sample, or
        what enters it goes elsewhere as well.
    """
    candidates = classifier_candidates(model, num_classes, classifier)
    returned = [node for output in trace.outputs if linear_map(node := through(output, _BEHIND)) is not None]
    if classifier is None:
        found = [(name, module, node) for name, module in candidates.items() for node in _runs(module, returned)]
    else:
        found = [
            (name, module, node) for name, module in candidates.items() for node in _runs(module, trace.operations)
        ]
    names = list(dict.fromkeys(name for name, _, _ in found))
    if len(names) > 1 and len({id(node) for _, _, node in found}) > 1:
        raise ArgumentError(
            "classifier",
            "must be named where the model returns the outputs of several",
            got=", ".join(map(repr, names)),
        )
    if not found:
        _none_found(candidates, trace, returned, classifier)
    if len({id(node) for _, _, node in found}) > 1:
        raise ArgumentError("classifier", "must run once in a pass", got=f"{names[0]!r}, which runs {len(found)} times")
    name, module, node = found[-1]
    layer = linear_map(node)
    assert layer is not None
    _check_own(model, name, module, layer)
    if layer.entering.shape[0] != trace.batch_size:
        rows = "×".join(map(str, layer.entering.shape))
        raise ArgumentError(
            "example_input",
            "must give the classifier one row a sample",
            got=f"{rows} for {trace.batch_size} samples",
            remedy="a classifier of positions, or of pieces of samples, is not described",
        )
    if not any(through(output, _BEHIND) is node for output in trace.outputs):
        raise ArgumentError(
            "classifier",
            "must give the logits that the model returns",
            got=f"{name!r}, whose outputs are changed before they are returned",
        )
    _check_used_once(name, layer, node, trace)
    return Head(name, module, layer, node)


def _runs(module: nn.Module, nodes: Iterable[Node]) -> list[Node]:
    weight = getattr(module, "weight", None)
    found = []
    for node in dict.fromkeys(nodes):
        layer = linear_map(node)
        parameter = None if layer is None else parameter_of(layer.weight)
        if parameter is not None and parameter.tensor is weight:
            found.append(node)
    return found


def _none_found(
    candidates: dict[str, nn.Module], trace: Trace, returned: list[Node], classifier: str | nn.Module | None
) -> None:
    name = next(iter(candidates))
    computed = [node for node in returned if (layer := linear_map(node)) and parameter_of(layer.weight) is None]
    if computed:
        raise ArgumentError(
            "classifier",
            "must hold its weight as a parameter of its own",
            got="one computed from others, by weight_norm or a parametrization, whose decay is not the classifier's",
        )
    if classifier is not None:
        raise ArgumentError("classifier", "must run in the forward pass", got=f"{name!r}, which did not")
    last = trace.outputs[-1].kind if trace.outputs else "nothing"
    raise ArgumentError(
        "model",
        "must return the outputs of one linear layer, its classifier",
        got=f"what the operation {last!r} makes",
        remedy="return logits, or name `classifier`",
    )


def _check_own(model: nn.Module, name: str, module: nn.Module, layer: LinearMap) -> None:
    owners = [
        (owner, part)
        for owner, other in unwrapped_modules(model)
        for part, parameter in other.named_parameters(recurse=False, remove_duplicate=False)
        if parameter is module.weight and other is not module
    ]
    weight = parameter_of(layer.weight)
    ways = [] if weight is None else [user for user in weight.users if user.users or user.kind not in REARRANGING]
    if owners or len(ways) > 1:
        where = f"tied to {'.'.join(owners[0])!r}" if owners else "used by another operation as well"
        raise ArgumentError(
            "classifier", "must have a weight that no other layer has", got=f"{name!r}, whose weight is {where}"
        )
    if not module.weight.requires_grad:
        raise ArgumentError(
            "classifier",
            "must be trained",
            got=f"{name!r}, whose weight has requires_grad=False",
            remedy="its decay is nothing; lopsided.solver has the model of a fixed classifier",
        )


def _check_used_once(name: str, layer: LinearMap, head: Node, trace: Trace) -> None:
    """What enters the head must not reach the model's outputs another way."""
    features = [layer.entering]
    while features[-1].kind in REARRANGING and features[-1].inputs:
        features.append(features[-1].inputs[0])
    reached: set[int] = set()
    pending = [user for node in features for user in node.users]
    inside = {id(node) for node in features} | {id(head)}
    while pending:
        node = pending.pop()
        if id(node) not in reached and id(node) not in inside:
            reached.add(id(node))
            pending += node.users
    for output in trace.outputs:
        if id(output) in reached - {id(step) for step in _steps_to(output, head)} or id(output) in inside - {id(head)}:
            raise ArgumentError(
                "model",
                "must use what enters its classifier for nothing else",
                got=f"a model that returns more than {name!r} makes of it",
                remedy="read the network without that output",
            )


def _steps_to(output: Node, head: Node) -> list[Node]:
    """The way back from an output to the head; empty where it does not lead there."""
    steps = [output]
    while steps[-1] is not head:
        if steps[-1].kind not in _BEHIND or not steps[-1].inputs:
            return []
        steps.append(steps[-1].inputs[0])
    return steps
