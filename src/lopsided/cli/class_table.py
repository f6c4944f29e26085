"""What ``predict``, ``check`` and ``advise`` share: an outlook as a table, a row for each group of like classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lopsided.cli.output import console, plain_table, shown_rows
from lopsided.core.outlook import Outlook

if TYPE_CHECKING:
    from rich.table import Table

#: Nats below which a lead is rounding.
_TIE = 1e-9
_STYLES = {"kept": "[green]kept[/]", "fading": "[yellow]fading[/]", "lost": "[bold red]lost[/]", "unknown": "?"}


def print_outlook(outlook: Outlook, logits: bool = False) -> None:
    """The problem and the table; ``logits`` adds what each class's own logit and bias are."""
    from rich.markup import escape

    if np.isnan(outlook.thresholds).all():
        return  # a network of which nothing is known; its sentences say why
    terminal = console()
    if outlook.problem is not None:
        terminal.print(str(outlook.problem), style="bold", no_wrap=True, overflow="ellipsis", markup=False)
        before, after = (("own logit", "bias"), ()) if logits else ((), ("p(own)",))
        table = plain_table("classes", "samples", *before, "lost at λ_z ≥", "margin", *after, "lead")
        table.add_column("", min_width=6, no_wrap=True)
    else:
        table = plain_table("classes", "samples", "lost at λ_z ≥", "or λ_h ≥", "or ‖W‖/‖H‖ ≥")
    for first, group in _rows(outlook, table):
        cells = [escape(outlook.called(group)), str(outlook.counts[first])]
        limit = ("" if outlook.exact[first] else "≈ ") + f"{outlook.thresholds[first]:.6g}"
        if outlook.problem is not None and outlook.states[first] == "lost" and outlook.margins[first] > 1:
            limit = f"≤ {outlook.problem.lambda_z:.6g}"  # met others at the origin; lopsided path knows from where on
        if outlook.problem is None:
            sizes = (outlook.critical_feature_decays[first], outlook.critical_norm_ratios[first])
            table.add_row(*cells, limit, *(f"{size:.4g}" for size in sizes))
            continue
        if logits:
            assert outlook.solution is not None
            cluster = outlook.solution.clusters[outlook.problem.clusters.labels[first]]
            cells += [f"{cluster.own_logit:.4f}", f"{cluster.bias:.4f}" if outlook.problem.bias else "none"]
        cells += [limit, f"{outlook.margins[first]:.3g}"]
        if not logits:
            cells.append("–" if np.isnan(outlook.probability[first]) else f"{outlook.probability[first]:.3f}")
        table.add_row(*cells, lead(outlook.logit_gap[first], 3), _STYLES[outlook.states[first]])
    terminal.print(table)


def lead(gap: float, digits: int) -> str:
    """A lead with its sign; that of a tie is rounding, and is not shown.

    Examples
    --------
    >>> lead(-0.0004, 3), lead(-1e-17, 3)
    ('-0.000', '+0.000')
    """
    return f"{gap if abs(gap) > _TIE else 0.0:+.{digits}f}"


def _rows(outlook: Outlook, table: Table) -> Iterator[tuple[int, list[int]]]:
    """The first class and all classes of each group to show; where rows are left out the table gets one of dots."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for index, count in enumerate(outlook.counts.tolist()):
        groups.setdefault((count, float(outlook.thresholds[index])), []).append(index)
    listed = list(groups.values())
    for row in shown_rows(len(listed)):
        if row is None:
            table.add_row(*["…"] * len(table.columns))
        else:
            yield listed[row][0], listed[row]
