"""Finding the last layer of a model: by name, or among its linear layers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from lopsided.core.arguments import ArgumentError


def classifier_candidates(
    model: nn.Module, num_classes: int | None = None, classifier: str | nn.Module | None = None
) -> dict[str, nn.Module]:
    """Modules that may be a model's classifier, by name; the error where there is none names what there is.

    One module where ``classifier`` (or its name) is given; else every ``nn.Linear`` with ``num_classes`` outputs, any
    number where that is None, in order of registration. The model may be inside DistributedDataParallel, DataParallel
    on one device, or ``torch.compile``.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> classifier_candidates(model, num_classes=3), list(classifier_candidates(model))
    ({'2': Linear(in_features=4, out_features=3, bias=True)}, ['0', '2'])
    """
    for module in model.modules():
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ArgumentError(
                "model",
                "must not be spread by DataParallel, whose copies run at the same time",
                got=f"{len(module.device_ids)} devices",
                remedy="use DistributedDataParallel",
            )
    modules = dict(unwrapped_modules(model))
    linear = {name: module for name, module in modules.items() if isinstance(module, nn.Linear)}
    if classifier is None:
        found: dict[str, nn.Module] = {
            name: module for name, module in linear.items() if num_classes in (None, module.out_features)
        }
        if not found:
            outputs = "" if num_classes is None else f" with {num_classes} outputs"
            remedy = "name one" if num_classes is None else "name one, or correct num_classes"
            layers = [f"{name!r} ({module.out_features})" for name, module in linear.items()]
            last = f"the model has none; its last linear layers are {', '.join(layers[-4:]) or 'none at all'}"
            raise ArgumentError("classifier", f"must be a linear layer{outputs}", remedy=f"{last}; {remedy}")
        return found
    for name, module in modules.items():
        if module is classifier or name == classifier:
            weight = getattr(module, "weight", None)
            fits = isinstance(weight, Tensor) and weight.ndim == 2 and num_classes in (None, len(weight))
            if not fits:
                shape = tuple(weight.shape) if isinstance(weight, Tensor) else "none"
                rows = "K" if num_classes is None else num_classes
                raise ArgumentError(
                    "classifier", f"must have a weight of shape ({rows}, d)", remedy=f"{name!r} has {shape}"
                )
            return {name: module}
    given = repr(classifier) if isinstance(classifier, str) else type(classifier).__name__
    remedy = f"its last linear layers are {', '.join(map(repr, [*linear][-4:])) or 'none at all'}"
    raise ArgumentError("classifier", "must be a module of the model or its name", got=given, remedy=remedy)


def unwrapped_modules(
    model: nn.Module, prefix: str = "", seen: set[nn.Module] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module once, with its name without the parts that wrappers add."""
    seen = set() if seen is None else seen
    wrapped = getattr(model, "_orig_mod", None)  # of torch.compile
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        wrapped = model.module
    if isinstance(wrapped, nn.Module):
        yield from unwrapped_modules(wrapped, prefix, seen)
    elif model not in seen:
        seen.add(model)
        yield prefix, model
        for name, child in model.named_children():
            yield from unwrapped_modules(child, f"{prefix}.{name}" if prefix else name, seen)
