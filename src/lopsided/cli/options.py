"""Options that several commands share, and the model they state."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

import typer

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import parse_terms
from lopsided.core.losses import LOSSES, SETTINGS, Loss, LossSetting, all_settings, make_loss, settings_of
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
        parser=number, metavar="FACTOR", help="A class is safe where its threshold is at least this many times λ_z."
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


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(name, "must be a number", text) from None


def _numbers(name: str, text: str) -> list[float]:
    return list(parse_terms(text, name, "write NUMBERxCLASSES terms separated by commas, such as 1x5,5x5"))


#: How each kind of setting is written, and how it is read.
KINDS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "number": ("NUMBER", _number),
    "numbers": ("NUMBERS", _numbers),
    "word": ("NAME", lambda _, text: text),
}


def stated_loss(name: str, settings: dict[str, str]) -> Loss:
    """The loss that a user states by name and settings, these as typed; errors are those of ``make_loss``.

    Examples
    --------
    >>> stated_loss("cross-entropy", {"weights": "1x2,2.5"}).weights
    (1.0, 1.0, 2.5)
    """
    return make_loss(name, settings, lambda setting, text: KINDS[_setting(setting).kind][1](setting, text))


def takes_options(
    command: Callable[..., None],
    parameter: str,
    options: Mapping[str, tuple[Any, str | None]],
    read: Callable[[dict[str, str]], Any],
) -> Callable[..., None]:
    """Give a command several options in place of one parameter.

    Parameters
    ----------
    command : callable
    parameter : str
        The parameter that the command gets.
    options : dict
        Annotation and default of each option that the user gets.
    read : callable
        Makes the parameter of the options that were stated, as typed.
    """

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        typed = {name: arguments.pop(name) for name in options}
        command(**arguments, **{parameter: read({name: text for name, text in typed.items() if text is not None})})

    hints = get_type_hints(command, include_extras=True)
    parameters = []
    for own in inspect.signature(command).parameters.values():
        taken = options.items() if own.name == parameter else ((own.name, (hints[own.name], own.default)),)
        for name, (annotation, default) in taken:
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(name, keyword, annotation=annotation, default=default))
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {own.name: own.annotation for own in parameters}
    return with_options


def takes_loss(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that state a loss, in place of its parameter ``loss``.

    The command gets a finished loss; the user gets ``--loss`` and one option for every setting of any loss of
    :data:`lopsided.core.losses.LOSSES`, so a new loss or a new setting reaches all commands by itself.
    """
    settings = {name: (_option(name), None) for name in all_settings()}
    options = {"loss": (_LOSS_NAME, "cross-entropy"), **settings}
    return takes_options(command, "loss", options, lambda typed: stated_loss(typed.pop("loss"), typed))


_LOSS_NAME = Annotated[
    str, typer.Option(metavar="NAME", help=f"The loss, one of: {', '.join(LOSSES)}.", rich_help_panel=LOSS_PANEL)
]


def _setting(name: str) -> LossSetting:
    return SETTINGS.get(name) or LossSetting("number", "")


def _option(name: str) -> Any:
    setting = _setting(name)
    having = [loss for loss, kind in LOSSES.items() if name in settings_of(kind)]
    # Only where the losses differ is it worth a word which of them have the setting.
    which = f" Of {', '.join(having)} only." if len(having) < len(LOSSES) else ""
    return Annotated[
        str | None,
        typer.Option(metavar=KINDS[setting.kind][0], help=(setting.help + which).strip(), rich_help_panel=LOSS_PANEL),
    ]


def bias_decay(model: Problem) -> float | None:
    """λ_b as the JSON output has it: ``None`` where there is no bias, 0 where it is free."""
    return model.lambda_b if model.bias else None


def whole_number(argument: str, text: str, least: int, most: int | None = None) -> int:
    """Read a whole number typed by a user.

    Raises
    ------
    ArgumentError
        If it is none, or out of range.

    Examples
    --------
    >>> whole_number("points", "80", 2, 10_000)
    80
    """
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ArgumentError(argument, f"must be a whole number {allowed}", text)
    return value


def check_folder(output: str) -> str:
    """Refuse an empty name: an empty shell variable must not fill the current folder."""
    if not output.strip():
        raise ArgumentError("output", "must name a folder", output, remedy="write . for the current one")
    return output
