"""What the commands print: JSON objects, tables and a few words about classes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from lopsided.core.plain_values import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table

T = TypeVar("T")

#: Seconds that a user waits without seeing how far the work is.
PATIENCE = 2.0
#: Longer tables show their first and last rows only; ``--json`` has them all.
LONGEST_TABLE = 24


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line; NumPy numbers and arrays are understood, NaN becomes null."""
    typer.echo(json.dumps(plain(value), allow_nan=False))


def console() -> Console:
    """The terminal, as Rich writes to it."""
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise  # main() ends the program; Rich would exit with the code of a finding

    return Terminal(highlight=False, soft_wrap=False)


@contextmanager
def progress_bars(patience: float = 0.0) -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars on standard error, one a name, from the first call on: bad input gets its one line alone.

    Parameters
    ----------
    patience : float
        Seconds to wait before the first appears; what is done by then shows none.

    Yields
    ------
    callable
        To be called with a name, what is done and what there is in all.
    """
    started = time.monotonic()
    progress: Progress | None = None
    bars: dict[str, TaskID] = {}

    def show(name: str, done: int, total: int) -> None:
        nonlocal progress
        if progress is None:
            if patience and (done >= total or time.monotonic() - started <= patience):
                return
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            progress = Progress(*columns, console=Console(stderr=True))
            progress.start()
        if name not in bars:
            bars[name] = progress.add_task(name)
        progress.update(bars[name], completed=done, total=total)

    try:
        yield show
    finally:
        if progress is not None:
            progress.stop()


@contextmanager
def patient_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar of one name, which appears only where the work takes over two seconds."""
    with progress_bars(PATIENCE) as show:
        yield partial(show, name)


def plain_table(*headings: str, left: Collection[int] = (0,), wrap: bool = False) -> Table:
    """A table without lines.

    Parameters
    ----------
    *headings : str
        Of its columns.
    left : collection of int
        Indices of the columns that stand to the left; the others stand to the right.
    wrap : bool
        Whether long cells are broken rather than cut.
    """
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place in left else "right", no_wrap=not wrap)
    return table


def fill(table: Table, rows: Sequence[T], cells: Callable[[T], Iterable[str]]) -> Table:
    """Add a row for each of ``rows``, by the function that gives its cells; where rows are left out, one of dots.

    Returns
    -------
    Table
        The same one.
    """
    for index in shown_rows(len(rows)):
        table.add_row(*(["…"] * len(table.columns) if index is None else cells(rows[index])))
    return table


def shown_rows(length: int) -> list[int | None]:
    """Indices of the rows of a table to print, ``None`` where rows are left out.

    Examples
    --------
    >>> shown_rows(3)
    [0, 1, 2]
    >>> rows = shown_rows(1000)
    >>> len(rows), rows[11:14]
    (25, [11, None, 988])
    """
    if length <= LONGEST_TABLE:
        return list(range(length))
    half = LONGEST_TABLE // 2
    return [*range(half), None, *range(length - half, length)]
