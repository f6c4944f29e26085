"""Options of the commands that train: every setting of a run, and where and how runs are carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer

from lopsided.cli.options import takes_options
from lopsided.runs.configuration import Configuration, read_setting

#: Under this heading ``--help`` shows the settings of a run.
SETTINGS_PANEL = "Settings of a run"

Jobs = Annotated[
    int, typer.Option(metavar="NUMBER", help="Runs at a time on this machine, each on one thread; 0: one per core.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Dask scheduler whose workers take the runs; they must see the output folder."
    ),
]
DataFolder = Annotated[str | None, typer.Option(metavar="FOLDER", help="Where the files of the data set are.")]
Download = Annotated[bool, typer.Option("--download", help="Download the data set if its files are missing.")]
Accelerator = Annotated[str, typer.Option(metavar="NAME", help="cpu, gpu, or auto: whichever is there.")]


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for every setting of a run, in place of its parameter ``changes``.

    The command gets a dict of those that the user stated. A setting that :class:`Configuration` gains is an option of
    every such command by itself.
    """
    options = {entry.name: (_option(entry.metadata["help"]), None) for entry in fields(Configuration)}
    return takes_options(
        command, "changes", options, lambda typed: {name: read_setting(name, text) for name, text in typed.items()}
    )


def _option(help: str) -> Any:
    return Annotated[str | None, typer.Option(metavar="VALUE", help=help, rich_help_panel=SETTINGS_PANEL)]
