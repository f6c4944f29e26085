"""What ``check`` and ``advise`` share: an outlook as a table, a row for each group of like classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lopsided.advice import Outlook
from lopsided.cli.output import shown_rows
from lopsided.core.counts import class_ranges

if TYPE_CHECKING:
    from rich.table import Table

#: Letters of class names in one cell.
LONGEST_NAME = 24
#: Nats below which a lead is rounding.
_TIE = 1e-9
_STYLES = {"kept": "[green]kept[/]", "fading": "[yellow]fading[/]", "lost": "[bold red]lost[/]", "unknown": "?"}


def plain_table(*headings: str) -> Table:
    """A table without lines: the first column to the left, the others to the right."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    return table


def names_of(outlook: Outlook, classes: list[int]) -> str:
    """Classes as people call them: by name where they have names, else by number; a long list cut short."""
    if outlook.names is None:
        return class_ranges(classes)
    text = ", ".join(outlook.names[k] for k in classes)
    if len(text) > LONGEST_NAME:
        more = f", … ({len(classes)})" if len(classes) > 1 else "…"
        text = outlook.names[classes[0]][: LONGEST_NAME - len(more)] + more
    return text


def class_table(outlook: Outlook) -> Table:
    """Where every group of like classes is lost, how far it is from there, and what the optimum says to it."""
    if outlook.problem is None:
        return _limits_table(outlook)
    from rich.markup import escape

    table = plain_table("classes", "samples", "lost at λ_z ≥", "margin", "p(own)", "lead")
    table.add_column("", min_width=6, no_wrap=True)
    for first, group in _rows(outlook, table):
        table.add_row(
            escape(names_of(outlook, group)),
            str(outlook.counts[first]),
            _threshold(outlook, first),
            f"{outlook.margins[first]:.3g}",
            "–" if np.isnan(outlook.probability[first]) else f"{outlook.probability[first]:.3f}",
            lead(outlook.logit_gap[first], 3),
            _STYLES[outlook.states[first]],
        )
    return table


def _limits_table(outlook: Outlook) -> Table:
    from rich.markup import escape

    decays, ratios = outlook.critical_feature_decays, outlook.critical_norm_ratios
    table = plain_table("classes", "samples", "lost at λ_z ≥", "or λ_h ≥", "or ‖W‖/‖H‖ ≥")
    for first, group in _rows(outlook, table):
        table.add_row(
            escape(names_of(outlook, group)),
            str(outlook.counts[first]),
            _threshold(outlook, first),
            f"{decays[first]:.4g}",
            f"{ratios[first]:.4g}",
        )
    return table


def lead(gap: float, digits: int) -> str:
    """A lead with its sign; that of a tie is rounding, and is not shown.

    Examples
    --------
    >>> lead(-0.0004, 3), lead(-1e-17, 3)
    ('-0.000', '+0.000')
    """
    return f"{gap if abs(gap) > _TIE else 0.0:+.{digits}f}"


def _threshold(outlook: Outlook, index: int) -> str:
    return ("" if outlook.exact[index] else "≈ ") + f"{outlook.thresholds[index]:.6g}"


def _rows(outlook: Outlook, table: Table) -> Iterator[tuple[int, list[int]]]:
    """The first class and all classes of each group to show; where rows are left out the table gets one of dots."""
    groups = groups_of(outlook)
    for row in shown_rows(len(groups)):
        if row is None:
            table.add_row(*["…"] * len(table.columns))
        else:
            yield groups[row][0], groups[row]


def groups_of(outlook: Outlook) -> list[list[int]]:
    """Like classes, together: equal in count, threshold and state."""
    rows: dict[tuple[float, ...], list[int]] = {}
    for index, count in enumerate(outlook.counts.tolist()):
        rows.setdefault((count, float(outlook.thresholds[index])), []).append(index)
    return list(rows.values())
