"""What the commands print: JSON objects, tables and a few words about classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

#: Longer tables show their first and last rows only; ``--json`` has them all.
LONGEST_TABLE = 24
#: Ranges of classes named before the rest is counted.
MOST_RANGES = 3


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line; NumPy numbers and arrays are understood, NaN becomes null."""
    from lopsided.experiments.record import plain

    typer.echo(json.dumps(plain(value), allow_nan=False))


def console() -> Console:
    """The terminal, as Rich writes to it."""
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise  # main() ends the program; Rich would exit with the code of a finding

    return Terminal(highlight=False, soft_wrap=False)


def class_ranges(classes: Sequence[int]) -> str:
    """Ascending class indices as people write them; a long list is cut short.

    Examples
    --------
    >>> class_ranges([0, 1, 2, 5, 7, 8])
    '0–2, 5, 7–8'
    >>> class_ranges(range(0, 200, 2))
    '0, 2, 4, … (100)'
    """
    runs: list[list[int]] = []
    for index in classes:
        if runs and index == runs[-1][-1] + 1:
            runs[-1][1:] = [index]
        else:
            runs.append([index])
    shown = ["–".join(map(str, run)) for run in runs[:MOST_RANGES]]
    return ", ".join(shown if len(runs) <= MOST_RANGES else [*shown, f"… ({len(classes)})"])


def bar(ratio: float, width: int = 8) -> str:
    """A bar that is full only at a ratio of 1 or more.

    Examples
    --------
    >>> bar(0.34), bar(0.999), bar(2.0)
    ('██······', '███████·', '████████')
    """
    filled = min(width, int(ratio * width))
    return "█" * filled + "·" * (width - filled)


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
