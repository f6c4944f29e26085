"""``lopsided demo``: the main job on real data, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lopsided.cli.options import Json, check_folder, whole_number
from lopsided.cli.output import console, print_json, progress_bars

#: Seeds are below this, which every generator takes.
_SEEDS = 2**32


def demo(
    data: Annotated[
        str, typer.Option(metavar="NAME", help="Real data to train on: digits (bundled) or fashion-mnist.")
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
        str, typer.Option(metavar="SEED", help="Decides the samples, the initial weights and the order of training.")
    ] = "0",
    as_json: Json = False,
) -> None:
    """Predict how training ends, train real networks, and compare the two.

    At three decays: below, between and above the collapse thresholds. Exits with 1 where a target does not hold.

    Example:

    lopsided demo --output lopsided-demo
    """
    from lopsided.paper.checks import all_hold
    from lopsided.paper.demo import run_demo
    from lopsided.report import checks_table, comparison_table, report_dict, write_report

    number = whole_number("seed", seed, 0, _SEEDS - 1)
    folder = Path(check_folder(output))
    with progress_bars() as show:
        result = run_demo(
            data, counts, seed=number, output=folder, progress=lambda run, *done: show(f"training: {run}", *done)
        )
        page = write_report(
            folder,
            result.title,
            result.lead,
            result.runs,
            result.checks,
            on_figure=lambda _, *done: show("drawing", *done),
        )
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
