"""``lopsided reproduce``: the paper's experiments, judged against the certified optimum."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from lopsided.cli.options import Json, check_folder
from lopsided.cli.output import console, print_json, progress_bars
from lopsided.cli.settings import (
    Accelerator,
    DataFolder,
    Download,
    Jobs,
    Scheduler,
    takes_settings,
)


@takes_settings
def reproduce(
    figure: Annotated[
        str,
        typer.Argument(
            metavar="FIGURE",
            help="fig1 … fig9, or all; an experiment that the paper leaves open by its name, or next for all of"
            " those; several separated by commas.",
        ),
    ],
    scale: Annotated[
        str, typer.Option(metavar="NAME", help="small: minutes a run on one core; full: as in the paper.")
    ] = "small",
    output: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where figures, rows, verdicts and runs go.")
    ] = "lopsided-reproduce",
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
    data_folder: DataFolder = None,
    download: Download = False,
    accelerator: Accelerator = "auto",
    changes: Any = None,
    as_json: Json = False,
) -> None:
    """Repeat the experiments of Hong & Ling (2024), carry out those that they leave open, and judge both.

    Networks are trained on Fashion-MNIST, or on the bundled digits where that is not available. After an interruption
    the same command goes on where it stopped. Exits with 1 where a claim does not hold.

    Example:

    lopsided reproduce fig5 --scale small --output lopsided-reproduce
    """
    from lopsided.paper.checks import all_hold
    from lopsided.paper.plans import FIGURES, NEXT
    from lopsided.paper.reproduction import reproduce as carry_out
    from lopsided.report import checks_table, write_reproduction
    from lopsided.runs.sweep import download_data

    together = {"all": FIGURES, "next": NEXT}
    names = list(dict.fromkeys(name for part in figure.split(",") for name in together.get(part, (part,))))
    if download:
        download_data([changes.get("data", "fashion-mnist")], data_folder)
    with progress_bars() as show:
        results = carry_out(
            names,
            check_folder(output),
            scale=scale,
            jobs=jobs,
            scheduler=scheduler,
            data_folder=data_folder,
            accelerator=accelerator,
            changes=changes,
            progress=partial(show, "runs"),
        )
    table = write_reproduction(output, results)
    checks = [check for result in results for check in result.checks]
    if as_json:
        print_json(
            {
                "holds": all_hold(checks),
                "verdicts": str(table),
                "checks": [check.to_dict() for check in checks],
                "figures": {
                    result.experiment.name: {
                        "lead": result.experiment.lead,
                        "notes": list(result.notes),
                        "tables": [{"header": table.header, "lines": table.lines} for table in result.tables],
                        "rows": list(result.rows),
                    }
                    for result in results
                },
            }
        )
    else:
        terminal = console()
        for result in results:
            terminal.print(f"{result.experiment.name}: {result.experiment.title}", style="bold", markup=False)
            terminal.print(" ".join([result.experiment.lead, *result.notes]), markup=False)
        terminal.print()
        terminal.print(checks_table(checks))
        terminal.print(f"{sum(check.holds for check in checks)} of {len(checks)} claims hold.", style="bold")
        terminal.print(f"Verdicts: {table}", markup=False, soft_wrap=True)
    if not all_hold(checks):
        raise typer.Exit(1)
