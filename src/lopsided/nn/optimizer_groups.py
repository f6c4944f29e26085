"""The model's decays as an optimiser's parameter groups."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import Parameter, UninitializedParameter

from lopsided.core.arguments import ArgumentError, check_number
from lopsided.nn.classifier import classifier_candidates, unwrapped_modules


def decay_groups(
    model: nn.Module,
    lambda_w: float,
    lambda_b: float = 0.0,
    *,
    body_decay: float = 0.0,
    classifier: str | nn.Module | None = None,
    num_classes: int | None = None,
) -> list[dict[str, Any]]:
    r"""Split a model's parameters into groups, each with its own ``weight_decay``.

    PyTorch's SGD, Adam and their like add ``weight_decay`` times the parameter to the gradient, so a group's
    ``weight_decay`` is its λ. AdamW's decay is decoupled and no penalty at all: there, give ``lambda_w=0`` here and add
    :func:`classifier_penalty` to the loss. :func:`lopsided.nn.optimizer_decays` reads back what an optimiser does.

    The feature decay λ_h is not here, since no parameter holds the features: add :func:`feature_penalty` to the loss.

    Parameters
    ----------
    model : torch.nn.Module
        Bare, or wrapped as :class:`lopsided.metrics.FeatureCapture` takes it. It is not run and not changed.
    lambda_w : float
        Decay of the classifier's weight. Must be 0 where that is frozen or a buffer.
    lambda_b : float, default 0
        Decay of its bias; 0 leaves it free.
    body_decay : float, default 0
        Decay of everything else but parameters of one dimension: biases and the scales of norm layers, which by
        convention have none.
    classifier : str or torch.nn.Module, optional
        The last layer or its name. By default the model's only linear layer, or its only one with ``num_classes``
        outputs.
    num_classes : int, optional
        Number of classes K.

    Returns
    -------
    list of dict
        Named ``"classifier weight"``, ``"classifier bias"``, ``"body"`` and ``"body without decay"``, those without a
        parameter left out. Every trainable parameter is in one of them, once; frozen ones are in none.

    Raises
    ------
    ValueError
        If the classifier is not found or not the only candidate, its weight or bias is shared with another layer or
        computed from other parameters, or a decay is asked for what cannot have one.

    Examples
    --------
    >>> import torch
    >>> from lopsided.nn import decay_groups, optimizer_decays
    >>> model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    >>> groups = decay_groups(model, lambda_w=5e-4, body_decay=1e-4, num_classes=3)
    >>> {group["name"]: (len(group["params"]), group["weight_decay"]) for group in groups}
    {'classifier weight': (1, 0.0005), 'classifier bias': (1, 0.0), 'body': (1, 0.0001), 'body without decay': (3, 0.0)}
    >>> decays = optimizer_decays(torch.optim.SGD(groups, lr=0.1), model[3])
    >>> decays.lambda_w, decays.lambda_b
    (0.0005, 0.0)
    """
    for name, value in (("lambda_w", lambda_w), ("lambda_b", lambda_b), ("body_decay", body_decay)):
        check_number(name, value, least=0)
    owners = _owners(model)
    layer, head = _only_classifier(model, num_classes, classifier)
    own: list[Parameter] = []
    groups: list[dict[str, Any]] = []
    for part, decay, argument in (("weight", lambda_w, "lambda_w"), ("bias", lambda_b, "lambda_b")):
        parameter = _trainable(layer, head, part, owners)
        if parameter is not None:
            own.append(parameter)
            groups.append({"name": f"classifier {part}", "params": [parameter], "weight_decay": float(decay)})
        elif decay > 0:
            rule = f"must be 0 where the classifier has no trainable {part} to decay, as {layer!r} has none"
            raise ArgumentError(argument, rule, decay)
    of_head = {id(parameter) for parameter in own}
    body = [parameter for parameter in owners if parameter.requires_grad and id(parameter) not in of_head]
    groups += [
        {"name": "body", "params": [p for p in body if p.ndim > 1], "weight_decay": float(body_decay)},
        {"name": "body without decay", "params": [p for p in body if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ArgumentError(
            "model", "must have a trainable parameter", got="none", remedy="set requires_grad before making groups"
        )
    return groups


def _only_classifier(
    model: nn.Module, num_classes: int | None, classifier: str | nn.Module | None
) -> tuple[str, nn.Module]:
    found = classifier_candidates(model, num_classes, classifier)
    if len(found) > 1:
        layers = ", ".join(f"{name!r} ({module.out_features})" for name, module in list(found.items())[-4:])
        remedy = "classifier= or num_classes=" if num_classes is None else "classifier="
        outputs = "" if num_classes is None else f" with {num_classes} outputs"
        raise ArgumentError(
            "classifier",
            f"must be named where the model has several linear layers{outputs}, of which any may be the last to run",
            got=layers,
            remedy=f"give {remedy}",
        )
    return next(iter(found.items()))


def _owners(model: nn.Module) -> dict[Parameter, list[str]]:
    """Every parameter, with the names under which different modules hold it; a module used twice counts once."""
    owners: dict[Parameter, list[str]] = {}
    for prefix, module in unwrapped_modules(model):
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            owners.setdefault(parameter, []).append(f"{prefix}.{name}" if prefix else name)
            if isinstance(parameter, UninitializedParameter):
                lazy = f"{owners[parameter][0]!r} has none"
                raise ArgumentError("model", "must have run once, so that lazy layers have shapes", remedy=lazy)
    return owners


def _trainable(layer: str, head: nn.Module, part: str, owners: dict[Parameter, list[str]]) -> Parameter | None:
    """The classifier's weight or bias; None where it has none, or one that is frozen or a buffer."""
    value = getattr(head, part, None)
    if not isinstance(value, Tensor) or any(value is buffer for buffer in head.buffers(recurse=False)):
        return None
    if not isinstance(value, Parameter):
        raise ArgumentError(
            "classifier",
            f"must hold its {part} as a parameter of its own",
            remedy=(
                f"that of {layer!r} is computed from others, by weight_norm or a parametrization, so that their"
                " decay is not the classifier's"
            ),
        )
    if not value.requires_grad:
        return None
    own = f"{layer}.{part}" if layer else part
    others = [name for name in owners[value] if name != own]
    if others:
        raise ArgumentError(
            "classifier",
            f"must have a {part} that no other layer has, to have a decay of its own",
            remedy=f"that of {layer!r} is tied to {', '.join(map(repr, others))}",
        )
    return value
