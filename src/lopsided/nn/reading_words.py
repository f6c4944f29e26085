"""What was read from a network and its optimiser, in sentences that a practitioner reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lopsided.nn.cost import Cost, NotDescribedError
from lopsided.nn.optimizer_kinds import ParameterDecay

_ONLY = "only measuring the trained network, or a forecast from its features, says what its decay does"
_NAMES = {
    "batch-norm": "a batch normalisation",
    "layer-norm": "a layer normalisation",
    "group-norm": "a group normalisation",
    "rms-norm": "a normalisation by the root mean square",
    "mixed": "normalisations of several kinds",
}


@dataclass(frozen=True, eq=False)
class Reading:
    """What there is to say; see :class:`lopsided.nn.Decays`."""

    head: str
    shape: tuple[int, ...]
    weight: ParameterDecay
    bias: ParameterDecay | None
    has_bias: bool
    cost: Cost | None
    failure: NotDescribedError | None
    lambda_h: float | None
    bounds: tuple[float | None, float | None]
    exact: bool
    features: str
    by_scales_alone: bool
    decays: dict[str, ParameterDecay]
    weights: list[str]
    free: frozenset[str]
    num_samples: int


def statement_of(reading: Reading) -> str:
    """All of it, one sentence after the other."""
    parts = [_about_head(reading), _about_weights(reading), _about_end(reading), *_about_decays(reading)]
    return " ".join(part for part in parts if part)


def _about_head(r: Reading) -> str:
    rows, width = r.shape
    bias = ""
    if not r.has_bias:
        bias = "; it has no bias"
    elif r.bias is not None:
        bias = "; its bias is " + ("left free" if r.bias.value == 0 else _decayed(r.bias))
    return f"The classifier is {r.head!r} ({rows} classes, {width} features): its weight is {_decayed(r.weight)}{bias}."


def _decayed(decay: ParameterDecay) -> str:
    if decay.value == 0:
        return "not decayed"
    return "decayed by an unknown amount" if decay.value is None else f"decayed by {decay.value:.4g}"


def _about_weights(r: Reading) -> str:
    if not r.weights:
        return ""
    free = [name for name in r.weights if name in r.free]
    rest = [name for name in r.weights if name not in r.free]
    if not free:
        return f"No normalisation makes up for the size of any of its {len(r.weights)} decayed weight tensors."
    stand = "stands" if len(free) == 1 else "stand"
    what = "its" if len(free) == 1 else "their"
    said = (
        f"{len(free)} of {len(r.weights)} decayed weight tensors before the classifier {stand} before a normalisation:"
        f" {what} decay does not matter at the optimum"
    )
    if rest:
        more = "" if len(rest) <= 3 else f" and {len(rest) - 3} more"
        said += f" (that of {', '.join(map(repr, rest[:3]))}{more} does)"
    return said + "."


def _about_end(r: Reading) -> str:
    if r.failure is not None:
        return _about_failure(r.failure)
    assert r.cost is not None
    cost = r.cost
    kinds = {norm.kind for norm in cost.norms}
    what = _NAMES[kinds.pop() if len(kinds) == 1 else "mixed"]
    way = []
    if cost.branches > 1:
        way.append(f"{cost.branches} normalised branches that are added")
    if cost.relu:
        way.append("a ReLU")
    way += [remark for remark in cost.remarks if "activation" in remark]
    if cost.pooled > 1:
        way.append(f"pooling over {cost.pooled} positions")
    way += [remark for remark in cost.remarks if "activation" not in remark]
    behind = f", then {', '.join(way)}" if way else ""
    if r.lambda_h is None:
        return f"What enters it comes from {what}{behind}."
    said = f"What enters it comes from {what}{behind}, so that features cost"
    if r.lambda_h == 0:
        said += f" nothing (λ_h = 0): {_why_nothing(r)}."
        return said + " No decay of the other parameters loses a class at the optimum, as long as features are free."
    amount = f"λ_h = {r.lambda_h:.4g}"
    if r.exact:
        return f"{said} exactly {amount} wherever the layers before can make any normalised features."
    high = r.bounds[1]
    told = f"{said} at least {amount}"
    if cost.end in ("layer-norm", "group-norm", "rms-norm", "mixed"):
        told += f", far below what a batch normalisation charges, since a few channels can carry everything; {_ONLY}"
    elif high is not None and r.bounds[0] is not None and high > r.bounds[0] * (1 + 1e-12):
        told += f", and up to {high:.4g} where one branch and one position have to carry everything"
    if r.by_scales_alone:
        told += "; a free bias in the classifier makes the features' mean needless, so that the scales alone count"
    return told + "."


def _why_nothing(r: Reading) -> str:
    assert r.cost is not None
    if any(norm.scale is None for norm in r.cost.norms):
        return "the last normalisation has no scale, so that features have a fixed size, free of charge"
    untrained = [name for name, decay in r.decays.items() if not decay.trained]
    undecayed = [name for name, decay in r.decays.items() if decay.value == 0 and decay.trained]
    which = (undecayed or untrained)[:2]
    verb = ("has", "have") if undecayed else ("is", "are")
    how = "no decay" if undecayed else "frozen, or not the optimiser's"
    return f"{' and '.join(map(repr, which))} {verb[len(which) > 1]} {how}"


def _about_failure(failure: NotDescribedError) -> str:
    reason = failure.reason[0].upper() + failure.reason[1:]
    if failure.end == "deep":
        layers = f"{failure.layers} linear layer{'s' if failure.layers > 1 else ''}"
        return (
            f"{reason}: the model with {layers} before the classifier applies, whose penalty is no square of the"
            f" features; λ_h is not described, and {_ONLY}."
        )
    unknown = "This end is not understood: " if failure.end == "unknown" else ""
    reason = failure.reason if unknown else reason
    return f"{unknown}{reason}; λ_h is not described, and {_ONLY}."


def _about_decays(r: Reading) -> list[str]:
    said = []
    reasons = {
        decay.reason: None
        for decay in (r.weight, *r.decays.values(), *([r.bias] if r.bias is not None else []))
        if decay.reason
    }
    said += [f"{reason[0].upper()}{reason[1:]}; no objective has it, and nothing is bounded." for reason in reasons]
    if r.weight.value == 0:
        said.append("Nothing decays the classifier: it grows without end, and the model has no optimum.")
    if r.cost is not None and r.lambda_h and math.isfinite(r.cost.best) and "dropout" in r.cost.remarks:
        said.append("Dropout only makes the objective larger: with a loss convex in the logits the bound holds.")
    return said
