r"""How far weight decay has acted: relaxation times.

Decay alone shrinks a parameter by the factor :math:`e^{-T}`, with :math:`T=\sum_t\eta_t\lambda/(1-\mu)` under momentum
μ and :math:`T=\sum_t\eta_t\lambda` under decoupled decay, whatever the gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from lopsided.core.arguments import ArgumentError, check_whole, is_number
from lopsided.nn.optimizer_kinds import groups_holding, is_decoupled, root_mean_square


def relaxation_times(
    optimizers: Sequence[Optimizer], parameters: Iterable[Tensor], schedule: int | Sequence[float]
) -> float | None:
    """The least number of relaxation times of some parameters over a schedule.

    Parameters
    ----------
    optimizers : sequence of Optimizer
        What trains them.
    parameters : iterable of Tensor
        Those without a decay are left out.
    schedule : int or sequence of float
        A number of steps at the learning rates that the groups have now, or the learning rate of each step, of the
        group that holds the first of the parameters; other groups keep their ratio to it.

    Returns
    -------
    float or None
        0 where none is decayed; None where an adaptive optimiser adds the decay to the gradient and has no state yet.
    """
    steps = _steps(schedule)
    reference: float | None = None
    times: list[float | None] = []
    for parameter in parameters:
        held = groups_holding(optimizers, parameter)
        if reference is None and held:
            reference = float(held[0][1]["lr"])
        decayed = [(optimizer, group) for optimizer, group in held if float(group.get("weight_decay", 0.0)) > 0]
        if not decayed or not parameter.requires_grad:
            continue
        rates = [_rate(optimizer, group, parameter) for optimizer, group in decayed]
        if None in rates:
            return None
        if isinstance(steps, int):
            learnt = [float(group["lr"]) * steps for _, group in decayed]
        else:
            total = float(np.sum(steps))
            learnt = [total if not reference else total * float(group["lr"]) / reference for _, group in decayed]
        times.append(sum(rate * eta for rate, eta in zip(rates, learnt, strict=True) if rate is not None))
    return min((time for time in times if time is not None), default=0.0)


def _steps(schedule: int | Sequence[float]) -> int | NDArray[np.float64]:
    if isinstance(schedule, int):
        check_whole("schedule", schedule, least=0)
        return schedule
    try:
        rates = np.asarray(list(schedule), dtype=np.float64)
    except (TypeError, ValueError):
        rates = np.array([np.nan])
    if rates.ndim != 1 or not all(is_number(rate) and rate >= 0 for rate in rates):
        raise ArgumentError(
            "schedule", "must be a number of steps, or the learning rate of each step, of at least 0", schedule
        )
    return rates


def _rate(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor) -> float | None:
    """By how much a step of learning rate 1 shrinks the parameter, momentum and all."""
    decay = float(group["weight_decay"])
    decoupled = is_decoupled(optimizer, group)
    if decoupled:
        return decay
    if decoupled is None:
        return None
    if "momentum" in group and "dampening" in group:  # SGD
        momentum = float(group["momentum"])
        return decay * (1 - float(group["dampening"]) if momentum else 1.0) / (1 - momentum)
    root = root_mean_square(optimizer, group, parameter)
    return None if root is None else decay * float((1 / root).min())
