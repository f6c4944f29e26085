"""``lopsided sweep``: many runs, stated in a file."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Annotated, Any

import typer

from lopsided.cli.options import Json, check_folder
from lopsided.cli.output import console, fill, plain_table, print_json, progress_bars
from lopsided.cli.settings import (
    Accelerator,
    DataFolder,
    Download,
    Jobs,
    Scheduler,
    takes_settings,
)
from lopsided.runs.configuration import KEYS


@takes_settings
def sweep(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="TOML file: settings, and a table named grid, which holds lists.")
    ],
    output: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where the runs and their table go.")
    ] = "lopsided-sweep",
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
    data_folder: DataFolder = None,
    download: Download = False,
    accelerator: Accelerator = "auto",
    changes: Any = None,
    as_json: Json = False,
) -> None:
    """Train a network for each point of a grid, and keep every result.

    After an interruption the same command goes on where it stopped. Settings given as options replace the file's.
    Exits with 1 where a run diverged.

    Example:

    lopsided sweep sweep.toml --output lopsided-sweep
    """
    from lopsided.runs.grids import read_configurations
    from lopsided.runs.sweep import download_data, run_sweep

    configurations = read_configurations(config, changes)
    if download:
        download_data((entry.data for entry in configurations), data_folder)
    with progress_bars() as show:
        result = run_sweep(
            configurations,
            check_folder(output),
            jobs=jobs,
            scheduler=scheduler,
            data_folder=data_folder,
            accelerator=accelerator,
            progress=partial(show, "runs"),
        )
    outcomes = Counter(row["outcome"] for row in result.rows)
    if as_json:
        print_json(
            {"table": str(result.table), "found": result.found, "outcomes": dict(outcomes), "runs": list(result.rows)}
        )
    else:
        _print(result.rows, str(result.table), result.found, outcomes)
    if outcomes["diverged"]:
        raise typer.Exit(1)


def _print(rows: tuple[dict[str, Any], ...], table: str, found: int, outcomes: Counter[str]) -> None:
    varied = [name for name in KEYS if len({repr(row[name]) for row in rows}) > 1]
    if "lambda_z" in varied:  # which fixes the other two
        varied = [name for name in varied if name not in ("lambda_w", "lambda_h")]

    def cells(row: dict[str, Any]) -> list[str]:
        error = row["mean_logits_error"]
        return [
            *(str(row[name]) for name in varied),
            row["outcome"],
            f"{row['rank']} of {row['predicted_rank']}",
            "–" if error is None else f"{100 * error:.3g} % off",
            str(len(row["findings"]) or "none"),
        ]

    headings = (*varied, "outcome", "rank", "mean logits", "findings")
    terminal = console()
    terminal.print(fill(plain_table(*headings, left=range(len(headings)), wrap=True), rows, cells))
    told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items(), reverse=True))
    terminal.print(f"{len(rows)} runs: {told}; {found} of them were stored before.", markup=False)
    terminal.print(f"Table: {table}", markup=False, soft_wrap=True)
