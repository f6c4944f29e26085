"""Options that several commands share, and the model they state."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import typer

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import parse_terms
from lopsided.core.losses import LOSSES, Loss
from lopsided.core.problem import Problem


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


COUNTS = typer.Option(
    metavar="COUNTS",
    show_default=False,
    help="Samples in each class: 500x5,100x5 is 500 in each of 5 classes, then 100 in each of 5; or 500,300,100; or"
    " a file of labels (train.csv:species, .npy, .parquet), a folder of class folders, or cifar100-lt:100.",
)
Counts = Annotated[str, COUNTS]
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
WeightDecay = Annotated[
    float | None,
    typer.Option(parser=number, metavar="DECAY", help="Decay λ_w of the classifier, as PyTorch's weight_decay."),
]
FeatureDecay = Annotated[
    float | None,
    typer.Option(parser=number, metavar="DECAY", help="Decay λ_h of the features, (λ_h/2)·Σ‖h‖² over all samples."),
]
Margin = Annotated[
    float,
    typer.Option(
        parser=number, metavar="FACTOR", help="How many times λ_z a class's threshold is to be, for it to be safe."
    ),
]
LambdaB = Annotated[
    float, typer.Option(parser=number, metavar="DECAY", help="Decay of the bias; 0 leaves the bias free.")
]
Bias = Annotated[bool, typer.Option("--bias/--no-bias", help="Whether the last layer has a bias.")]
Tolerance = Annotated[
    float,
    typer.Option(parser=number, metavar="TOL", help="Largest certified gap, as a share of max(1, objective)."),
]
Features = Annotated[
    str, typer.Option(metavar="NAME", help="any: features of any sign; relu: features that end in a ReLU, H ≥ 0.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]

#: Under this heading ``--help`` shows the loss and its settings.
LOSS_PANEL = "Loss"


@dataclass(frozen=True)
class Setting:
    """How a user writes one setting of a loss."""

    metavar: str
    help: str
    read: Callable[[str, str], Any]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(name, "must be a number", text) from None


def _numbers(name: str, text: str) -> list[float]:
    return list(parse_terms(text, name, "write NUMBERxCLASSES terms separated by commas, such as 1x5,5x5"))


def _word(_: str, text: str) -> str:
    return text


#: What is known of the settings, by the name of the field that holds them; any other one is a number.
SETTINGS: dict[str, Setting] = {
    "weights": Setting("NUMBERS", "Weight of each class: 1x5,5x5 or 1,1,5,5.", _numbers),
    "reduction": Setting("NAME", "mean divides by the sum of the weights, as PyTorch does; samples by N.", _word),
    "label_smoothing": Setting("SHARE", "Share of each label that is spread over all classes, in [0, 1).", _number),
    "logit_adjustment": Setting("NUMBER", "τ: adds τ log(n_j/N) to logit j inside the loss.", _number),
    "margins": Setting("NUMBERS", "Margin of each class, taken off its samples' own logit (LDAM).", _numbers),
    "scales": Setting("NUMBERS", "Factor of each class on the logits inside the loss (CDT, VS, LDT).", _numbers),
    "scale_by": Setting("NAME", "Whose factor a logit gets: the logit's class or the sample's label.", _word),
    "gamma": Setting("NUMBER", "γ: how much less samples count that are predicted well.", _number),
}


def settings_of(loss: type[Loss]) -> list[str]:
    """The settings that a loss has.

    Examples
    --------
    >>> settings_of(LOSSES["cross-entropy"])[:2]
    ['weights', 'reduction']
    """
    return [field.name for field in dataclasses.fields(loss) if field.init]


def stated_loss(name: str, settings: dict[str, str]) -> Loss:
    """The loss that a user states by name and settings, these as typed.

    Raises
    ------
    ValueError
        If there is no loss of that name (the message lists the known ones), it has no such setting (the message names
        the losses that have it), or a setting breaks its rule.

    Examples
    --------
    >>> stated_loss("cross-entropy", {"weights": "1x2,2.5"}).weights
    (1.0, 1.0, 2.5)
    """
    if name not in LOSSES:
        raise ArgumentError("loss", f"must be one of: {', '.join(LOSSES)}", name)
    known = settings_of(LOSSES[name])
    for setting in settings:
        if setting not in known:
            others = " or ".join(other for other, kind in LOSSES.items() if setting in settings_of(kind))
            raise ArgumentError(
                setting,
                f"must be left out with --loss {name}, which has no such setting",
                settings[setting],
                remedy=f"leave it out, or choose --loss {others}",
            )
    return LOSSES[name](**{setting: _setting(setting).read(setting, text) for setting, text in settings.items()})


def takes_loss(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that state a loss, in place of its parameter ``loss``.

    The command gets a finished loss; the user gets ``--loss`` and one option for every setting of any loss of
    :data:`lopsided.core.losses.LOSSES`, so a new loss or a new setting reaches all commands by itself.
    """
    names = list(dict.fromkeys(setting for kind in LOSSES.values() for setting in settings_of(kind)))

    @functools.wraps(command)
    def with_loss(**arguments: Any) -> None:
        typed = {name: arguments.pop(name) for name in names}
        stated = {name: text for name, text in typed.items() if text is not None}
        command(**arguments | {"loss": stated_loss(arguments["loss"], stated)})

    hints = get_type_hints(command, include_extras=True)
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name == "loss":
            parameters += [
                parameter.replace(annotation=_LOSS_NAME, default="cross-entropy"),
                *(parameter.replace(name=name, annotation=_option(name), default=None) for name in names),
            ]
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    with_loss.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    with_loss.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return with_loss


_LOSS_NAME = Annotated[
    str, typer.Option(metavar="NAME", help=f"The loss, one of: {', '.join(LOSSES)}.", rich_help_panel=LOSS_PANEL)
]


def _setting(name: str) -> Setting:
    return SETTINGS.get(name) or Setting("NUMBER", "", _number)


def _option(name: str) -> Any:
    setting = _setting(name)
    having = [loss for loss, kind in LOSSES.items() if name in settings_of(kind)]
    # Only where the losses differ is it worth a word which of them have the setting.
    which = f" Of {', '.join(having)} only." if len(having) < len(LOSSES) else ""
    return Annotated[
        str | None,
        typer.Option(metavar=setting.metavar, help=(setting.help + which).strip(), rich_help_panel=LOSS_PANEL),
    ]


def bias_decay(model: Problem) -> float | None:
    """λ_b as the JSON output has it: ``None`` where there is no bias, 0 where it is free."""
    return model.lambda_b if model.bias else None
