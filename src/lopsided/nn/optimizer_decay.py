r"""What an optimiser's weight decay is in the model's :math:`\lambda_w` and :math:`\lambda_b`.

PyTorch's ``weight_decay=w`` adds :math:`w\theta` to the gradient: the penalty :math:`\frac w2\|\theta\|^2`, so
:math:`\lambda=w` in the ½ convention of :class:`lopsided.UFM`. A penalty :math:`c\|\theta\|^2` without the ½, as in
the code published with Hong & Ling (2024), is :math:`\lambda=2c`.

Decoupled decay (AdamW) is no penalty. A step shrinks each weight by ``lr · w · θ`` and moves it by Adam's rescaled
gradient, so a resting weight has :math:`g=-w(\sqrt{\hat v}+\epsilon)\,\theta`: a penalty of another size for every
entry, known only from the optimiser's running mean square :math:`\hat v` of the gradient. With gradients free of noise
:math:`\sqrt{\hat v}=|g|` and the decay bounds :math:`\max|\theta|\le 1/w` instead (Xie & Li, 2024).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from lopsided.core.arguments import ArgumentError, check_choice, check_number
from lopsided.nn.optimizer_kinds import felt_decay, is_decoupled


class DecayWarning(UserWarning):
    """The decay of the classifier is not what it seems."""


@dataclass(frozen=True)
class OptimizerDecays:
    """The decays that act on a classifier, read from its optimiser.

    Attributes
    ----------
    lambda_w : float or None
        Decay of the weight, in the ½ convention and for the mean loss; None where decoupled decay leaves it unknown.
    lambda_b : float or None
        Decay of the bias, 0 where it is free; None where there is no bias, or as above.
    kind : {"l2", "decoupled"}
        Whether the optimiser adds the decay to the gradient or shrinks the weights beside it.
    weight_groups, bias_groups, backbone_groups : tuple of int
        Indices of the parameter groups that hold the weight, the bias, and parameters of other layers, counted over
        all optimisers in turn.
    backbone_decays : tuple of float
        ``weight_decay`` of the groups in ``backbone_groups``.
    spread : tuple of float or None
        With decoupled decay, the least and largest of what single entries of the weight feel.
    warnings : tuple of str
        What may not be meant, each also given as a :class:`DecayWarning`.
    assumptions : tuple of str
        What the numbers rest on.
    """

    lambda_w: float | None
    lambda_b: float | None
    kind: Literal["l2", "decoupled"]
    weight_groups: tuple[int, ...]
    bias_groups: tuple[int, ...]
    backbone_groups: tuple[int, ...]
    backbone_decays: tuple[float, ...]
    spread: tuple[float, float] | None
    warnings: tuple[str, ...]
    assumptions: tuple[str, ...]


def optimizer_decays(
    optimizer: Optimizer | Sequence[Optimizer],
    head: torch.nn.Linear,
    *,
    explicit_penalty: float = 0.0,
    explicit_bias_penalty: float = 0.0,
    halved: bool = True,
    loss_reduction: Literal["mean", "sum"] = "mean",
    batch_size: int | None = None,
) -> OptimizerDecays:
    r"""Translate an optimiser's weight decay into the model's λ_w and λ_b.

    Parameters
    ----------
    optimizer : Optimizer or sequence of them
        What trains the network.
    head : torch.nn.Linear
        The classifier.
    explicit_penalty, explicit_bias_penalty : float, optional
        Coefficient of a penalty on the weight, and on the bias, that the loss itself has.
    halved : bool, optional
        Whether that penalty is written with a ½: :math:`\frac c2\|W\|_F^2`, as the theory has it, or
        :math:`c\|W\|_F^2`, as in much code, which is twice the decay.
    loss_reduction : {"mean", "sum"}, optional
        Whether the loss of a batch is the mean over its samples or their sum, which makes every decay smaller by the
        size of the batch.
    batch_size : int, optional
        Samples in a batch; needed for a sum only.

    Returns
    -------
    OptimizerDecays
        ``effective_decay(..., weight_decay=decays.lambda_w, bias_decay=decays.lambda_b)`` takes it on.

    Warns
    -----
    DecayWarning
        If the classifier is regularised twice (by optimiser and loss, or in two groups) or not at all, the bias is
        decayed, the loss is a sum, or the decay is decoupled.

    Raises
    ------
    ValueError
        If no group holds the weight of the head.

    Examples
    --------
    >>> import torch, warnings
    >>> from lopsided.nn import optimizer_decays
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    >>> groups = [{"params": [*net[0].parameters(), net[1].weight]}, {"params": [net[1].bias], "weight_decay": 0.0}]
    >>> decays = optimizer_decays(torch.optim.SGD(groups, lr=0.1, weight_decay=5e-4), net[1])
    >>> decays.lambda_w, decays.lambda_b, decays.weight_groups, decays.bias_groups, decays.warnings
    (0.0005, 0.0, (0,), (1,), ())
    """
    for name, value in (("explicit_penalty", explicit_penalty), ("explicit_bias_penalty", explicit_bias_penalty)):
        check_number(name, value, least=0)
    check_choice("loss_reduction", loss_reduction, ("mean", "sum"))
    if loss_reduction == "sum" and (batch_size is None or batch_size < 1):
        raise ArgumentError("batch_size", "must be given where the loss is a sum, whose decay it divides", batch_size)
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
    groups = [(each, group) for each in optimizers for group in each.param_groups]
    weight_groups = _holding(groups, head.weight)
    bias_groups = _holding(groups, head.bias)
    if not weight_groups:
        raise ArgumentError("head", "must have its weight in a parameter group of the optimizer", got="one without")
    of_head = {id(parameter) for parameter in head.parameters()}
    backbone_groups = tuple(
        index for index, (_, group) in enumerate(groups) if any(id(held) not in of_head for held in group["params"])
    )
    factor = 1.0 if halved else 2.0
    divisor = 1 if loss_reduction == "mean" else batch_size or 1
    lambda_w, spread = _felt([groups[index] for index in weight_groups], head.weight, factor * explicit_penalty)
    lambda_b = None
    if head.bias is not None:
        lambda_b, _ = _felt([groups[index] for index in bias_groups], head.bias, factor * explicit_bias_penalty)

    notes = list(_about_weight(groups, weight_groups, explicit_penalty))
    if _decay_of(groups, bias_groups) > 0:
        twice = ", and penalised by the loss as well: twice" if explicit_bias_penalty > 0 else ""
        notes.append(
            f"the optimiser decays the bias of the classifier{twice}; that moves the optimum of imbalanced classes;"
            " put it into a group with weight_decay=0 to leave it free, or take its lambda_b into account"
        )
    if loss_reduction == "sum":
        notes.append(f"the loss is a sum over the batch: every decay counts for 1/{batch_size} of its value")
    decoupled = any(is_decoupled(*groups[index]) for index in weight_groups)
    if decoupled and _decay_of(groups, weight_groups) > 0:
        notes.append(
            "the decay is decoupled from the gradient, so it is no penalty λ/2 ‖W‖²: "
            + (
                "nothing is known of its size before the first step"
                if lambda_w is None
                else "lambda_w is what it amounts to at present, a mean over entries that differ"
            )
        )
    for note in notes:
        warnings.warn(note, DecayWarning, stacklevel=2)
    return OptimizerDecays(
        lambda_w=None if lambda_w is None else lambda_w / divisor,
        lambda_b=None if lambda_b is None else lambda_b / divisor,
        kind="decoupled" if decoupled else "l2",
        weight_groups=weight_groups,
        bias_groups=bias_groups,
        backbone_groups=backbone_groups,
        backbone_decays=tuple(_decay_of(groups, [index]) for index in backbone_groups),
        spread=None if spread is None else (spread[0] / divisor, spread[1] / divisor),
        warnings=tuple(notes),
        assumptions=(
            "weight_decay=w is the penalty w/2 times the square, as PyTorch's optimisers have it",
            f"a penalty in the loss is written {'with' if halved else 'without'} a ½",
            f"the loss is the {loss_reduction} over the samples of a batch, and batches are drawn evenly from all",
            *(["the decoupled decay is read at the optimiser's present state"] if decoupled else []),
        ),
    )


_Groups = list[tuple[Optimizer, dict[str, Any]]]


def _holding(groups: _Groups, parameter: Tensor | None) -> tuple[int, ...]:
    """The index of every group that holds a parameter, as often as it does."""
    return tuple(index for index, (_, group) in enumerate(groups) for held in group["params"] if held is parameter)


def _decay_of(groups: _Groups, indices: Iterable[int]) -> float:
    return sum((float(groups[index][1].get("weight_decay", 0.0)) for index in indices), 0.0)


def _about_weight(groups: _Groups, indices: tuple[int, ...], penalty: float) -> Iterable[str]:
    decay = _decay_of(groups, indices)
    if len(indices) > 1:
        which = ", ".join(map(str, indices))
        yield f"the classifier is regularised twice: its weight is in more than one parameter group ({which}); keep one"
    if decay > 0 and penalty > 0:
        yield (
            f"the classifier is regularised twice: by weight_decay={decay:g} and by the loss's own penalty; both count"
            " in lambda_w; set weight_decay=0 in its group to keep the penalty alone"
        )
    if decay == 0 and penalty == 0:
        yield "nothing decays the classifier: the model has no optimum then; give its group a weight_decay"


def _felt(groups: _Groups, parameter: Tensor, penalty: float) -> tuple[float | None, tuple[float, float] | None]:
    """The decay that a parameter feels from its groups and the loss's penalty, and its spread, where known."""
    found = felt_decay(groups, parameter)
    if found.value is None or found.high is None:
        return None, None
    return penalty + found.value, (penalty + found.low, penalty + found.high) if found.decoupled else None
