r"""What an optimiser's ``weight_decay`` is for one parameter: a penalty, or a shrinking beside the gradient.

Optimisers that add the decay to the gradient (SGD, Adam, RMSprop, Adagrad, NAdam …) minimise the objective with the
penalty :math:`\frac w2\|\theta\|^2`. Decoupled ones (AdamW and what has ``decoupled_weight_decay``) do not: at rest an
entry feels :math:`w(\sqrt{\hat v}+\epsilon)`, which is read off the state once there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lopsided.core.arguments import ArgumentError

#: Optimisers of PyTorch whose decay is part of the gradient, unless a group says otherwise.
_COUPLED = ("SGD", "Adam", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "Adadelta", "ASGD")
#: And those whose decay shrinks the parameter beside the gradient.
_DECOUPLED = ("AdamW", "Adafactor", "Muon")


@dataclass(frozen=True)
class ParameterDecay:
    """The decay of one parameter.

    Attributes
    ----------
    value : float or None
        In the ½ convention; of a decoupled decay what it amounts to at present, a mean over the entries; None where
        that is not known.
    low, high : float or None
        The least and the largest of what single entries feel; 0 and None where it is not known.
    decoupled : bool
        Whether it is no penalty.
    trained : bool
        Whether an optimiser moves the parameter at all. If not, its decay is nothing.
    reason : str
        Why ``value`` is None, or what it rests on; empty for a penalty.
    """

    value: float | None
    low: float
    high: float | None
    decoupled: bool = False
    trained: bool = True
    reason: str = ""


def as_optimizers(optimizer: Optimizer | Sequence[Optimizer]) -> list[Optimizer]:
    """One optimiser or several, as a list.

    Raises
    ------
    ArgumentError
        If something else was given.
    """
    found = list(optimizer) if isinstance(optimizer, (list, tuple)) else [optimizer]
    for each in found:
        if not hasattr(each, "param_groups"):
            raise ArgumentError("optimizer", "must be a torch.optim.Optimizer, or a list of them", each)
    return found  # type: ignore[return-value]


def groups_holding(optimizers: Iterable[Optimizer], parameter: Tensor) -> list[tuple[Optimizer, dict[str, Any]]]:
    """Every group with the parameter in it, beside its optimiser."""
    return [
        (optimizer, group)
        for optimizer in optimizers
        for group in optimizer.param_groups
        if any(held is parameter for held in group["params"])
    ]


def is_decoupled(optimizer: Optimizer, group: dict[str, Any]) -> bool | None:
    """Whether a group's decay stands beside the gradient; None of an optimiser that is not PyTorch's."""
    if group.get("decoupled_weight_decay", False):
        return True
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner  # wrapped by Accelerate or Lightning
    for kinds, answer in ((_DECOUPLED, True), (_COUPLED, False)):
        if any(isinstance(optimizer, getattr(torch.optim, name)) for name in kinds if hasattr(torch.optim, name)):
            return answer
    return None


def parameter_decay(optimizers: Iterable[Optimizer], parameter: Tensor) -> ParameterDecay:
    """The decay that a parameter feels, summed over the groups that hold it.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> parameter_decay([torch.optim.SGD([weight], lr=0.1, weight_decay=5e-4)], weight).value
    0.0005
    >>> parameter_decay([torch.optim.AdamW([weight], weight_decay=0.01)], weight).reason
    "AdamW's decay is no penalty, and what it amounts to shows only after some steps"
    """
    held = groups_holding(optimizers, parameter)
    if not held or not parameter.requires_grad:
        return ParameterDecay(0.0, 0.0, 0.0, trained=False)
    return felt_decay(held, parameter)


@torch.no_grad()
def felt_decay(held: Sequence[tuple[Optimizer, dict[str, Any]]], parameter: Tensor) -> ParameterDecay:
    """The same of the groups that hold the parameter, each as often as it does.

    What a decoupled decay amounts to is the penalty of one size for all entries that has the same sum of λ_i θ_i², the
    pull inwards.
    """
    coupled, reason = 0.0, ""
    shrunk: Tensor | None = None
    unknown = False
    for optimizer, group in held:
        decay = float(group.get("weight_decay", 0.0))
        decoupled = is_decoupled(optimizer, group)
        if decay == 0 or decoupled is False:
            coupled += decay
            continue
        name = type(optimizer).__name__
        if decoupled is None:
            unknown, reason = True, f"whether {name}'s decay is a penalty is not known here"
            continue
        felt = _state_decay(optimizer, group, parameter)
        if felt is None:
            unknown, reason = True, f"{name}'s decay is no penalty, and what it amounts to shows only after some steps"
            continue
        shrunk = felt if shrunk is None else shrunk + felt
        reason = f"{name}'s decay is no penalty: read off its state as it is now"
    if unknown:
        return ParameterDecay(None, coupled, None, decoupled=True, reason=reason)
    if shrunk is None:
        return ParameterDecay(coupled, coupled, coupled)
    squares = parameter.double().square()
    squares = squares if float(squares.sum()) > 0 else torch.ones_like(squares)
    mean = float((shrunk * squares).sum() / squares.sum())
    return ParameterDecay(
        coupled + mean, coupled + float(shrunk.min()), coupled + float(shrunk.max()), decoupled=True, reason=reason
    )


def _state_decay(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor) -> Tensor | None:
    root = root_mean_square(optimizer, group, parameter)
    return None if root is None else float(group["weight_decay"]) * root


def root_mean_square(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor) -> Tensor | None:
    """What Adam and its like divide a gradient by, √v̂ + ε; None before the first step, and of other optimisers."""
    state = optimizer.state.get(parameter, {})
    mean_square = state.get("max_exp_avg_sq") if group.get("amsgrad") else state.get("exp_avg_sq")
    if mean_square is None or "betas" not in group:
        return None
    unbiased = mean_square.double() / (1 - float(group["betas"][1]) ** float(state["step"]))
    return unbiased.sqrt() + float(group["eps"])  # type: ignore[no-any-return]
