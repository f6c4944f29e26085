"""Options of the commands that train: every setting of a run, and where and how runs are carried out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

import typer

from lopsided.runs.configuration import Configuration, read_setting

#: Under this heading ``--help`` shows the settings of a run.
SETTINGS_PANEL = "Settings of a run"

Jobs = Annotated[
    int, typer.Option(metavar="NUMBER", help="Runs at a time on this machine, each on one thread; 0: one a core.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Dask scheduler whose workers take the runs; they must see the output folder."
    ),
]
DataFolder = Annotated[str | None, typer.Option(metavar="FOLDER", help="Where the files of the data set are.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch the data set where its files are not there.")]
Accelerator = Annotated[str, typer.Option(metavar="NAME", help="cpu, gpu, or auto: what is there.")]


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for every setting of a run, in place of its parameter ``changes``.

    The command gets a dict of those that the user stated. A setting that :class:`Configuration` gains is an option of
    every such command by itself.
    """
    names = [entry.name for entry in fields(Configuration)]

    @functools.wraps(command)
    def with_settings(**arguments: Any) -> None:
        typed = {name: arguments.pop(name) for name in names}
        stated = {name: read_setting(name, text) for name, text in typed.items() if text is not None}
        command(**arguments, changes=stated)

    hints = get_type_hints(command, include_extras=True)
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name == "changes":
            parameters += [
                parameter.replace(name=entry.name, annotation=_option(entry.metadata["help"]), default=None)
                for entry in fields(Configuration)
            ]
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    with_settings.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    with_settings.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return with_settings


def _option(help: str) -> Any:
    return Annotated[str | None, typer.Option(metavar="VALUE", help=help, rich_help_panel=SETTINGS_PANEL)]


@contextmanager
def runs_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, from the first call on.

    Yields
    ------
    callable
        To be called with what is done and what there is in all.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True))

    def show(done: int, total: int) -> None:
        if not bar.task_ids:
            bar.add_task(name, total=total)
            bar.start()  # not earlier: bad input is answered in one line and nothing else
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield show
    finally:
        if bar.task_ids:  # one that never started would print an empty line
            bar.stop()
