"""Reading a network and its optimiser: what the weight decay of ordinary training amounts to in the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lopsided.core.arguments import ArgumentError, check_whole
from lopsided.nn.cost import Cost, NotDescribedError
from lopsided.nn.decays import Decays
from lopsided.nn.ends import read_end
from lopsided.nn.head_in_trace import Head, find_head
from lopsided.nn.optimizer_kinds import ParameterDecay, as_optimizers, parameter_decay
from lopsided.nn.reading_words import Reading, statement_of
from lopsided.nn.scale_free import shrinking
from lopsided.nn.tracing import Trace, trace, unwrapped


def read_decays(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    *,
    num_samples: int,
    example_input: Any,
    classifier: str | nn.Module | None = None,
    num_classes: int | None = None,
) -> Decays:
    r"""What the optimiser's weight decay amounts to as the decay of features, of the classifier and of its bias.

    The example is run through the model once, as in training, and what it computes is followed back from the
    classifier. Nothing of the model is changed. What is not understood is said to be ``"unknown"``.

    Parameters
    ----------
    model : torch.nn.Module
        Bare, or inside DistributedDataParallel or ``torch.compile``.
    optimizer : Optimizer or sequence of them
        What trains it, with its groups and their ``weight_decay``; the loss is the mean over a batch.
    num_samples : int
        N, the training samples; under a sampler, those that an epoch shows.
    example_input : tensor, tuple or dict
        A small batch, of two samples at least; a tuple holds positional, a dict keyword arguments.
    classifier : str or torch.nn.Module, optional
        The last layer or its name; by default the one linear layer whose outputs the model returns.
    num_classes : int, optional
        Number of classes K, where several linear layers are returned.

    Returns
    -------
    Decays

    Raises
    ------
    ArgumentError
        If an argument breaks its rule; there is no classifier, or more than one; its weight is frozen, shared or not
        the optimiser's; or what enters it is used otherwise as well.

    Examples
    --------
    >>> import torch
    >>> from lopsided.nn import read_decays
    >>> net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    >>> sgd = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=5e-4)
    >>> d = read_decays(net, sgd, num_samples=1000, example_input=torch.randn(4, 8))
    >>> d.end, d.exact, d.lambda_w, d.lambda_b, d.lambda_h, d.features
    ('batch-norm+relu', True, 0.0005, 0.0005, 5e-07, 'relu')
    >>> d.scale_free
    ('0.weight', '0.bias')
    """
    check_whole("num_samples", num_samples)
    check_whole("num_classes", num_classes, least=2, optional=True)
    optimizers = as_optimizers(optimizer)
    passed = trace(model, example_input)
    head = find_head(model, passed, classifier, num_classes)
    named = dict(unwrapped(model).named_parameters())
    decays = {name: parameter_decay(optimizers, parameter) for name, parameter in named.items()}
    by_tensor = {id(parameter): name for name, parameter in named.items()}
    weight_name = by_tensor[id(head.module.weight)]
    weight = decays[weight_name]
    if not weight.trained:
        raise ArgumentError("optimizer", "must hold the weight of the classifier", got=f"one without {weight_name!r}")
    bias_name = _bias_name(head, by_tensor)
    bias = None if bias_name is None else decays[bias_name]

    cost, failure = _cost(head, passed, lambda name: _amount(decays[name], "value"))
    used = [decays[name] for name in sorted(cost.parameters)] if cost is not None else []
    unknown = [decay for decay in used if decay.value is None]
    free_bias = bias is not None and bias.value == 0
    lambda_h, bounds, features = _feature_decay(cost, num_samples, free_bias=free_bias)
    if unknown and lambda_h != 0:
        lambda_h, bounds = None, (0.0, None)
    elif cost is not None and any(decay.decoupled for decay in used):
        low = _cost(head, passed, lambda name: _amount(decays[name], "low"))[0]
        high = _cost(head, passed, lambda name: _amount(decays[name], "high"))[0]
        least, most = (_feature_decay(each, num_samples, free_bias=free_bias)[1] for each in (low, high))
        bounds = (least[0], most[1])
    decoupled = any(decay.decoupled for decay in (weight, *used, *([] if bias is None else [bias])))
    exact = cost is not None and cost.exact and lambda_h is not None and not decoupled and bounds[0] == bounds[1]
    trained = {name for name, decay in decays.items() if decay.trained}
    decayed = {name for name in trained if decays[name].value != 0}
    kept = [head.layer.entering, *(output for output in passed.outputs if not _is_behind(output, head))]
    free, _ = shrinking(kept, trained, decayed - {weight_name, bias_name})
    scales = _in_order(cost.parameters if cost is not None else (), named)
    reading = Reading(
        head=head.name,
        shape=tuple(head.module.weight.shape),  # type: ignore[arg-type]
        weight=weight,
        bias=bias,
        has_bias=bias_name is not None,
        cost=cost,
        failure=failure,
        lambda_h=lambda_h,
        bounds=bounds,
        exact=exact,
        features=features,
        by_scales_alone=cost is not None and lambda_h is not None and features == "any" and _gains(cost, free_bias),
        decays={name: decays[name] for name in scales},
        weights=[name for name in named if named[name].ndim > 1 and name in decayed and name != weight_name],
        free=free,
        num_samples=num_samples,
    )
    return Decays(
        lambda_w=weight.value,
        lambda_b=None if bias is None else bias.value,
        has_bias=bias_name is not None,
        lambda_h=lambda_h,
        lambda_h_range=bounds,
        features=features,
        end=cost.end if cost is not None else failure.end if failure is not None else "unknown",
        exact=exact,
        statement=statement_of(reading),
        num_samples=num_samples,
        classifier=head.name,
        scale_parameters=scales,
        scale_free=_in_order(free, named),
        norm_decays=_norm_decays(cost, decays),
        layers=0 if failure is None else failure.layers,
        decoupled=decoupled,
        tensors=(head.module.weight, *(named[name] for name in scales)),  # type: ignore[arg-type]
    )


def _cost(head: Head, passed: Trace, decay: Callable[[str], float]) -> tuple[Cost | None, NotDescribedError | None]:
    try:
        return read_end(head.layer.entering, passed, decay), None
    except NotDescribedError as error:
        return None, error


def _amount(decay: ParameterDecay, what: str) -> float:
    """A number for a decay, where it is not known one above 0: whether it is 0 is known."""
    value = getattr(decay, what)
    if what == "high" and value is None:
        return math.inf
    return 1.0 if value is None else float(value)


def _gains(cost: Cost, free_bias: bool) -> bool:
    """Whether a free bias of the head, which takes over the mean of the features, makes the bound better."""
    return free_bias and cost.centred is not None and cost.centred < cost.best


def _feature_decay(
    cost: Cost | None, num_samples: int, *, free_bias: bool
) -> tuple[float | None, tuple[float | None, float | None], str]:
    """λ_h, its range, and what features are."""
    if cost is None:
        return None, (None, None), "any"
    features = "relu" if cost.nonnegative else "any"
    best = cost.best
    if _gains(cost, free_bias):
        assert cost.centred is not None
        best, features = cost.centred, "any"
    low = 1 / (best * num_samples) if best < math.inf else 0.0
    high = None if cost.worst is None else 0.0 if math.isinf(cost.worst) else 1 / (cost.worst * num_samples)
    return low, (low, high), features


def _bias_name(head: Head, by_tensor: dict[int, str]) -> str | None:
    """The bias's name; None where there is none, or one that stays zero."""
    bias = head.layer.bias
    if bias is None:
        return None
    parameter = getattr(head.module, "bias", None)
    name = by_tensor.get(id(parameter))
    if parameter is None or name is None:
        raise ArgumentError(
            "classifier", "must hold its bias as a parameter of its own", got=f"{head.name!r}, which computes it"
        )
    if not parameter.requires_grad:
        if bool((parameter != 0).any()):
            raise ArgumentError(
                "classifier", "must have a bias that is trained, or zero", got=f"{name!r} with requires_grad=False"
            )
        return None
    return name


def _is_behind(output: Any, head: Head) -> bool:
    node = output
    while node is not head.output and node.inputs and len(node.inputs) == 1:
        node = node.inputs[0]
    return node is head.output


def _in_order(names: Any, named: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in named if name in names)


def _norm_decays(cost: Cost | None, decays: dict[str, ParameterDecay]) -> tuple[float, float] | None:
    if cost is None:
        return None
    scales = {decays[norm.scale].value for norm in cost.norms if norm.scale is not None}
    shifts = {decays[norm.shift].value for norm in cost.norms if norm.shift is not None}
    if len(scales) != 1 or len(shifts) > 1 or None in scales | shifts:
        return None
    (scale,) = scales
    return float(scale or 0.0), float((shifts or scales).pop() or 0.0)
