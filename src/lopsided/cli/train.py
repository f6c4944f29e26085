"""``lopsided train``: one run on one data set."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from lopsided.cli.options import Json, check_folder
from lopsided.cli.output import console, print_json, progress_bars
from lopsided.cli.settings import Accelerator, DataFolder, Download, takes_settings
from lopsided.core.arguments import ArgumentError


@takes_settings
def train(
    config: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="TOML file of settings; options replace its own.")
    ] = None,
    output: Annotated[str, typer.Option(metavar="FOLDER", help="Where the run goes.")] = "lopsided-train",
    data_folder: DataFolder = None,
    download: Download = False,
    accelerator: Accelerator = "auto",
    changes: Any = None,
    as_json: Json = False,
) -> None:
    """Train one network, and compare it with the certified optimum.

    The run is stored, and the same command does not train it again. Exits with 1 where something looks wrong.

    Example:

    lopsided train --data digits --counts 150x5,30x5 --lambda-z 0.003 --lambda-b 0.02 --output lopsided-train
    """
    from lopsided.report import comparison_table, report_dict
    from lopsided.runs.apply_remedy import advised
    from lopsided.runs.configuration import configure
    from lopsided.runs.grids import read_configurations
    from lopsided.runs.sweep import download_data, run_folder, run_sweep

    configurations = [configure(changes)] if config is None else read_configurations(config, changes)
    if len(configurations) > 1:
        raise ArgumentError(
            "config",
            "must state one run",
            got=f"{len(configurations)} in {config!r}",
            remedy=f"lopsided sweep {config} does all",
        )
    if download:
        download_data([configurations[0].data], data_folder)
    with progress_bars() as show:
        result = run_sweep(
            configurations,
            check_folder(output),
            jobs=1,
            data_folder=data_folder,
            accelerator=accelerator,
            epoch_progress=partial(show, "epochs"),
        )
    (run,) = result.runs()
    remedy = advised(configurations[0])
    folder = run_folder(result.table.parent, run.name)
    if as_json:
        found = None if remedy is None else {"change": remedy.change, "works": remedy.works, "reason": remedy.reason}
        about = {"folder": str(folder), "row": result.rows[0], "remedy": found}
        print_json({**about, **report_dict([run], [])["runs"][0]})
    else:
        terminal = console()
        if remedy is not None:
            what = remedy.change if remedy.works else f"{remedy.reason}. Nearest, and applied: {remedy.change}"
            terminal.print(f"Remedy {configurations[0].remedy}: {what}.", markup=False)
        terminal.print(comparison_table(run))
        for finding in run.findings:
            terminal.print(f"  {finding}", style="yellow", markup=False)
        terminal.print(f"Run: {folder}", markup=False, soft_wrap=True)
    if run.findings:
        raise typer.Exit(1)
