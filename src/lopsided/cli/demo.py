"""``lopsided demo``: the main job on real data, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lopsided.cli.options import Json
from lopsided.cli.output import console, print_json

if TYPE_CHECKING:
    from lopsided.experiments.demo import Demo


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
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the report and the stored runs go.")] = Path(
        "lopsided-demo"
    ),
    seed: Annotated[int, typer.Option(metavar="SEED", help="Decides samples, initial weights and order.")] = 0,
    as_json: Json = False,
) -> None:
    """Predict what training ends in, train real networks, and see that they agree.

    At three decays, below, between and above the collapse thresholds. Exits with 1 where a target does not hold.

    Example:

    lopsided demo --output lopsided-demo
    """
    from lopsided.experiments.checks import all_hold
    from lopsided.report import checks_table, comparison_table, report_dict

    result, page = _run_and_write(data, counts, seed, output)
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
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from lopsided.experiments.demo import run_demo
    from lopsided.report import write_report

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        bars: dict[str, int] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = int(progress.add_task(f"training: {name}", total=total))
            progress.update(bars[name], completed=done)  # type: ignore[arg-type]

        result = run_demo(data, counts, seed=seed, output=output, progress=show)
        figures = progress.add_task("drawing", total=3 + 2 * len(result.runs))
        page = write_report(
            output, result.title, result.lead, result.runs, result.checks, lambda _: progress.advance(figures)
        )
    return result, page
