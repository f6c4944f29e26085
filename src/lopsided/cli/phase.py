"""``lopsided phase``: which classes of two clusters merge, over one or two quantities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from typer.models import OptionInfo

from lopsided.cli.options import Bias, Json, LambdaB, number, takes_loss
from lopsided.cli.output import console, patient_progress, plain_table, print_json
from lopsided.core.arguments import ArgumentError
from lopsided.core.losses import Loss
from lopsided.theory import Axis, PhaseDiagram, Regime, phase_diagram
from lopsided.theory.boundaries import BOUNDARIES

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: How a regime is drawn in a terminal; letters, so that it can be read without colours.
MARKS = ((".", "green"), ("m", "yellow"), ("0", "red"), ("#", "bright_black"), ("=", "cyan"))
#: Most rows of the map, most columns, and most lines of the table of boundaries.
MOST_ROWS, MOST_COLUMNS, MOST_LINES = 24, 64, 5

#: Headings of ``--help``.
_PLANE, _FIXED = "Plane", "Fixed quantities"


def _fixed(help_text: str, metavar: str = "NUMBER") -> OptionInfo:
    option: OptionInfo = typer.Option(parser=number, metavar=metavar, help=help_text, rich_help_panel=_FIXED)
    return option


@takes_loss
def phase(
    x: Annotated[
        str,
        typer.Option(
            metavar="AXIS",
            show_default=False,
            help="NAME:START:STOP[:POINTS], NAME one of lambda-z, ratio (n_A / n_B), n-a, n-b, m-a, m-b.",
            rich_help_panel=_PLANE,
        ),
    ],
    *,
    y: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS", help="The same for the other axis; without it, a section.", rich_help_panel=_PLANE
        ),
    ] = None,
    log_x: Annotated[bool, typer.Option("--log-x", help="Space x evenly in its logarithm.", rich_help_panel=_PLANE)] = (
        False
    ),
    log_y: Annotated[bool, typer.Option("--log-y", help="Space y evenly in its logarithm.", rich_help_panel=_PLANE)] = (
        False
    ),
    lambda_z: Annotated[float | None, _fixed("Decay of the mean logits.", "DECAY")] = None,
    m_a: Annotated[float | None, _fixed("Classes in cluster A.")] = None,
    n_a: Annotated[float | None, _fixed("Samples in each class of A.")] = None,
    m_b: Annotated[float | None, _fixed("Classes in cluster B.")] = None,
    n_b: Annotated[float | None, _fixed("Samples in each class of B.")] = None,
    ratio: Annotated[float | None, _fixed("n_A / n_B, in place of one of the two.")] = None,
    lambda_b: LambdaB = 0.0,
    bias: Bias = True,
    loss: Loss,
    figure: Annotated[str | None, typer.Option(metavar="FILE", help="Draw the diagram: .png, .svg or .pdf.")] = None,
    as_json: Json = False,
) -> None:
    """Phase diagram of two clusters of classes: which merge, over any two of decay, sizes and numbers of classes.

    The boundaries are exact. Of the loss's settings only --logit-adjustment is admitted.

    Example:

    lopsided phase --x lambda-z:0.002:0.012:60 --y ratio:1:20:40 --m-a 5 --m-b 5 --n-b 100 --lambda-b 0.02
    """
    from lopsided.report import figure_path, figure_phase, save_figure
    from lopsided.report.phase import describe

    across, up = Axis.parse(x, log=log_x, argument="x"), None
    if y is not None:
        up = Axis.parse(y, log=log_y, argument="y")
    elif log_y:
        raise ArgumentError(
            "log_y", "must be left out of a section, which has no y", got="it without --y", remedy="give --y"
        )
    target = None if figure is None else figure_path(figure)
    fixed = {"lambda_z": lambda_z, "m_a": m_a, "n_a": n_a, "m_b": m_b, "n_b": n_b, "ratio": ratio}
    with patient_progress("phase diagram") as progress:
        diagram = phase_diagram(across, up, **fixed, lambda_b=lambda_b, bias=bias, loss=loss, progress=progress)
    if target is not None:
        save_figure(figure_phase(diagram), target)
    if as_json:
        with patient_progress("boundaries") as progress:
            value = diagram.to_dict(progress)
        print_json(value)
        return
    terminal = console()
    terminal.print(describe(diagram), style="bold", markup=False)
    for line in _map(diagram):
        terminal.print(line, no_wrap=True, overflow="crop")
    for regime in Regime:
        if (diagram.regimes == regime).any():
            mark, colour = MARKS[regime]
            terminal.print(f"[{colour}]{mark}[/] {regime.meaning}")
    terminal.print(_table(diagram))
    if target is not None:
        terminal.print(f"Figure: {target}", markup=False, soft_wrap=True)


def _map(diagram: PhaseDiagram) -> list[Text]:
    """The diagram as letters, the largest y at the top, with the values of y at the left and of x below."""
    from rich.text import Text

    from lopsided.report.phase import AXIS_NAMES

    rows, columns = (_chosen(size, most) for size, most in zip(diagram.shape, (MOST_ROWS, MOST_COLUMNS), strict=True))
    labels = [""] if diagram.y is None else [_short(diagram.y.values[row]) for row in rows]
    width = max(map(len, labels))
    lines = []
    for position in range(len(rows) - 1, -1, -1):
        line = Text(f"{labels[position]:>{width}} |")
        for column in columns:
            line.append(*MARKS[diagram.regimes[rows[position], column]])
        lines.append(line)
    first, last = _short(diagram.x.values[columns[0]]), _short(diagram.x.values[columns[-1]])
    gap = max(1, len(columns) - len(first) - len(last))
    lines.append(Text(f"{'':>{width}}  {first}{'':{gap}}{last}"))
    title = f"x: {AXIS_NAMES[diagram.x.name]}"
    if diagram.y is not None:
        title += f"; y: {AXIS_NAMES[diagram.y.name]}"
    lines.append(Text(f"{'':>{width}}  {title}", style="dim"))
    return lines


def _table(diagram: PhaseDiagram) -> Table:
    """Where the regimes change, for a few values of the other axis."""
    from lopsided.report.phase import BOUNDARY_NAMES

    along, other = (diagram.x, diagram.y) if diagram.solved_for == "x" else (diagram.y, diagram.x)
    assert along is not None
    places = np.zeros(1) if other is None else other.values[_chosen(len(other.values), MOST_LINES)]
    found = diagram.crossings_at(places)
    # only an adjustment merges the commoner classes before everything merges
    shown = [name for name in BOUNDARIES if name != "majority" or any(map(len, found[name]))]
    headings = [] if other is None else [other.name]
    table = plain_table(*headings, *(BOUNDARY_NAMES[name] for name in shown), left=(), wrap=True)
    for line, place in enumerate(places):
        cells = [", ".join(f"{value:.6g}" for value in found[name][line]) or "-" for name in shown]
        table.add_row(*([] if other is None else [_short(place)]), *cells)
    table.title, table.title_justify = f"crossed at {along.name} =", "left"
    return table


def _chosen(size: int, most: int) -> list[int]:
    """Indices of all of a few things, or of some of many, the first and the last included.

    Examples
    --------
    >>> _chosen(3, 5), _chosen(100, 4)
    ([0, 1, 2], [0, 33, 66, 99])
    """
    return [round(place) for place in np.linspace(0, size - 1, min(size, most))]


def _short(value: float) -> str:
    return f"{value:.4g}"
