"""Options that several commands share, and the model they state."""

from __future__ import annotations

from typing import Annotated

import typer

from lopsided.losses import LOSSES, Loss
from lopsided.problem import UFM


def number(text: str) -> float:
    """A number typed by a user.

    Raises
    ------
    typer.BadParameter
        If it is none; what it may be beyond that (positive, finite) is the library's to say.
    """
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"must be a number; got {text!r}") from None


Counts = Annotated[
    str,
    typer.Option(
        metavar="COUNTS",
        show_default=False,
        help="Samples in each class: 500x5,100x5 is 500 in each of 5 classes, then 100 in each of 5; or 500,300,100.",
    ),
]
LambdaZ = Annotated[
    float | None,
    typer.Option(
        parser=number, metavar="DECAY", help="Decay of the mean logits, √(λ_w λ_h); or give --lambda-w and --lambda-h."
    ),
]
LambdaW = Annotated[
    float | None,
    typer.Option(parser=number, metavar="DECAY", help="Decay of the classifier, as PyTorch's weight_decay."),
]
LambdaH = Annotated[
    float | None,
    typer.Option(parser=number, metavar="DECAY", help="Decay of the features, (λ_h/2)·Σ‖h‖² over all samples."),
]
LambdaB = Annotated[
    float, typer.Option(parser=number, metavar="DECAY", help="Decay of the bias; 0 leaves the bias free.")
]
Bias = Annotated[bool, typer.Option("--bias/--no-bias", help="Whether the last layer has a bias.")]
Tolerance = Annotated[
    float,
    typer.Option(parser=number, metavar="TOL", help="Largest certified gap, as a share of max(1, objective)."),
]
LossName = Annotated[str, typer.Option(metavar="NAME", help=f"The loss, one of: {', '.join(LOSSES)}.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


def named_loss(name: str) -> Loss:
    """The loss with a name of :data:`lopsided.losses.LOSSES`.

    Raises
    ------
    ValueError
        If there is none; the message lists the known ones.

    Examples
    --------
    >>> named_loss("cross-entropy").name
    'cross-entropy'
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of: {', '.join(LOSSES)}; got {name!r}")
    return LOSSES[name]()


def bias_decay(model: UFM) -> float | None:
    """λ_b as the JSON output has it: ``None`` where there is no bias, 0 where it is free."""
    return model.lambda_b if model.bias else None
