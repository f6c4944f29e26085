"""``lopsided demo``: the main job on real data, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lopsided.cli.options import Json, check_folder
from lopsided.cli.output import console, print_json

if TYPE_CHECKING:
    from lopsided.paper.demo import Demo


#: Seeds are below this, which every generator takes.
_SEEDS = 2**32


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < _SEEDS:
        raise typer.BadParameter(f"must be a whole number from 0 to {_SEEDS - 1}; got {text!r}")
    return value


def demo(
    data: Annotated[
        str, typer.Option(metavar="NAME", help="Real data to train on: digits (embedded) or fashion-mnist.")
    ] = "digits",
    counts: Annotated[
        str | None,
        typer.Option(
            metavar="COUNTS", help="Samples in each class, such as 150x5,30x5; the data set's own by default."
        ),
    ] = None,
    output: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where the report and the stored runs go.")
    ] = "lopsided-demo",
    seed: Annotated[
        int, typer.Option(parser=_seed, metavar="SEED", help="Decides samples, initial weights and order.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Predict what training ends in, train real networks, and see that they agree.

    At three decays, below, between and above the collapse thresholds. Exits with 1 where a target does not hold.

    Example:

    lopsided demo --output lopsided-demo
    """
    from lopsided.paper.checks import all_hold
    from lopsided.report import checks_table, comparison_table, report_dict

    result, page = _run_and_write(data, counts, seed, Path(check_folder(output)))
    if as_json:
        print_json({"report": str(page), **report_dict(result.runs, result.checks)})
    else:
        terminal = console()
        terminal.print(result.title, style="bold", markup=False)
        terminal.print(result.lead, markup=False)
        for run in result.runs:
            terminal.print()
            terminal.print(comparison_table(run))
            for finding in run.findings:
                terminal.print(f"  {finding}", style="yellow", markup=False)
        terminal.print()
        terminal.print(checks_table(result.checks))
        verdict = "The target holds." if all_hold(result.checks) else "The target does not hold."
        terminal.print(verdict, style="bold")
        terminal.print(f"Report: {page}", markup=False, soft_wrap=True)
    if not all_hold(result.checks):
        raise typer.Exit(1)


def _run_and_write(data: str, counts: str | None, seed: int, output: Path) -> tuple[Demo, Path]:
    """Run the demo and write its report, with a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    from lopsided.paper.demo import run_demo
    from lopsided.report import write_report

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    progress = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
    bars: dict[str, TaskID] = {}

    def show(name: str, done: int, total: int) -> None:
        progress.start()  # not earlier: bad input is answered in one line and nothing else
        if name not in bars:
            bars[name] = progress.add_task(name, total=total)
        progress.update(bars[name], completed=done)

    try:
        result = run_demo(
            data, counts, seed=seed, output=output, progress=lambda name, *done: show(f"training: {name}", *done)
        )
        page = write_report(
            output,
            result.title,
            result.lead,
            result.runs,
            result.checks,
            on_figure=lambda _, *done: show("drawing", *done),
        )
    finally:
        if bars:
            progress.stop()
    return result, page
