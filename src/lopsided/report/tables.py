"""Tables: predicted | measured | relative error, for the terminal, for a page and for JSON, from the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from lopsided.core.comparison import Discrepancy
from lopsided.core.plain_values import plain
from lopsided.paper.checks import Check, name_groups
from lopsided.report import wording
from lopsided.runs.record import Run

#: Above the verdicts.
CHECKS_TITLE = "Expected and observed"
HEADER = ("quantity", "predicted", "measured", "relative error")
CHECK_HEADER = ("run", "claim", "target", "found", "holds")

#: Merged classes are named in a cell of the table up to so many letters, and counted beyond.
_LONGEST_CELL = 24


@dataclass(frozen=True)
class Row:
    """One line of a comparison.

    Attributes
    ----------
    quantity, unit : str
        What is compared, and its unit.
    predicted, measured : float, int, list or None
        The two values: of a matrix its root-mean-square entry, ``None`` where undefined.
    relative_error : float or None
        Of a matrix in the Frobenius norm; ``None`` where the prediction is exactly zero, and for ranks and groups.
    absolute_error : float or None
        Root-mean-square error, in ``unit``.
    agrees : bool or None
        For what agrees or not: rank and merged classes.
    """

    quantity: str
    unit: str
    predicted: Any
    measured: Any
    relative_error: float | None = None
    absolute_error: float | None = None
    agrees: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes under their names, for JSON."""
        return {name: plain(value, name) for name, value in asdict(self).items()}

    def cells(self, names: list[str]) -> tuple[str, str, str, str]:
        """Return the row as text, under :data:`HEADER`.

        Parameters
        ----------
        names : list of str
            Class names, for groups of merged classes.
        """
        label = f"{self.quantity} ({self.unit})" if self.unit else self.quantity
        if self.agrees is None:
            verdict = wording.error(self.relative_error, self.absolute_error, self.unit)
            return label, wording.number(self.predicted), wording.number(self.measured), verdict
        verdict = "agrees" if self.agrees else "differs"
        if isinstance(self.predicted, list):
            return label, _short(self.predicted, names), _short(self.measured, names), verdict
        return label, str(self.predicted), str(self.measured), verdict


def _short(merged: list[list[int]], names: list[str]) -> str:
    text = name_groups(merged, names)
    return text if len(text) <= _LONGEST_CELL else f"{sum(map(len, merged))} classes"


def comparison_rows(run: Run) -> list[Row]:
    """List the lines of a run's comparison.

    Parameters
    ----------
    run : Run

    Returns
    -------
    list of Row
        The own logits of each group of equally common classes, then every quantity of
        :func:`lopsided.compare`, then NC1, rank and merged classes. NC1 by the paper's convention, which divides by the
        spread along every direction, only where the network tells its classes apart in every direction.

    Examples
    --------
    >>> import lopsided as lp
    >>> g = lp.Geometry([3, 2], [[1.0], [-1.0]], [[1.0], [-1.0]])
    >>> for row in comparison_rows(Run("r", {}, g, g))[:3]:
    ...     print(*row.cells(["0", "1"]), sep=" | ")
    own logit, n = 3 (nats) | 1 | 1 | 0 %
    own logit, n = 2 (nats) | 1 | 1 | 0 %
    mean logits (nats) | 1 | 1 | 0 %
    """
    comparison = run.comparison
    rows = _own_logit_rows(run)
    for name, entry in comparison.discrepancies.items():
        label, unit = wording.QUANTITIES[name]
        predicted, measured = (_root_mean_square(entry, which) for which in ("predicted", "measured"))
        rows.append(Row(label, unit, predicted, measured, _finite(entry.relative_error), _finite(entry.absolute_error)))
    rows += _nc1_rows(run)
    for label, attribute, agrees in (
        ("rank", "rank", comparison.same_rank),
        ("merged classes", "merged", comparison.same_merged),
    ):
        rows.append(Row(label, "", getattr(run.predicted, attribute), getattr(run.measured, attribute), agrees=agrees))
    return rows


def _own_logit_rows(run: Run) -> list[Row]:
    counts = run.predicted.counts
    distinct = np.unique(counts[counts > 0])[::-1]
    if len(distinct) > 4:  # a long tail is not a handful of groups
        return []
    rows = []
    for count in distinct:
        own = [np.diagonal(geometry.mean_logits)[counts == count] for geometry in (run.predicted, run.measured)]
        predicted, measured = (float(np.mean(values)) for values in own)
        off = abs(measured - predicted)
        relative = off / abs(predicted) if predicted else None
        rows.append(Row(f"own logit, n = {count:.0f}", "nats", predicted, measured, relative, off))
    return rows


def _nc1_rows(run: Run) -> list[Row]:
    predicted = 0.0 if run.predicted.rank > 0 else None  # the optimum has each class in one point
    complete = run.measured.rank == np.count_nonzero(run.measured.counts) - 1
    rows = []
    for name in ("nc1_rank_aware", "nc1") if complete else ("nc1_rank_aware",):
        if name in run.measures:
            found = run.measures[name]
            off = found if predicted is not None else None
            rows.append(Row(wording.NC1[name], "", predicted, found, absolute_error=off))
    return rows


def _root_mean_square(entry: Discrepancy, which: str) -> float | None:
    values = getattr(entry, which)[entry.compared]
    return float(np.sqrt(np.mean(values**2))) if values.size else None


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def comparison_table(run: Run) -> Table:
    """Make the table of a run's comparison for the terminal.

    Parameters
    ----------
    run : Run

    Returns
    -------
    rich.table.Table
        Titled with the decay and what became of the classes.
    """
    table = _empty_table(f"{run.name} ({wording.decay(run)}): {wording.outcome(run)}")
    table.caption = Text("of a matrix: root-mean-square entry, and error in the Frobenius norm")
    table.caption_justify = "left"
    for index, name in enumerate(HEADER):
        table.add_column(name, justify="left" if index == 0 else "right")
    names = wording.class_names(run)
    for row in comparison_rows(run):
        style = "red" if row.agrees is False else ""
        table.add_row(*(Text(cell, style=style) for cell in row.cells(names)))
    return table


def _empty_table(title: str) -> Table:
    text = Text(title, style="bold not italic")
    return Table(title=text, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")


def checks_table(checks: Iterable[Check]) -> Table:
    """Verdicts for the terminal.

    Parameters
    ----------
    checks : iterable of Check

    Returns
    -------
    rich.table.Table
    """
    table = _empty_table(CHECKS_TITLE)
    for name in CHECK_HEADER:
        table.add_column(name, overflow="fold")
    for check in checks:
        *cells, verdict = check_cells(check)
        table.add_row(*map(Text, cells), Text(verdict, style="green" if check.holds else "red"))
    return table


def check_cells(check: Check) -> tuple[str, ...]:
    """Return a verdict as text, under :data:`CHECK_HEADER`."""
    return check.run, check.claim, check.target, check.found, "yes" if check.holds else "no"


def report_dict(runs: Iterable[Run], checks: Iterable[Check]) -> dict[str, Any]:
    """Everything the tables say, and the runs' plain parts, as one JSON object.

    Parameters
    ----------
    runs : iterable of Run
    checks : iterable of Check

    Returns
    -------
    dict
        ``holds``: whether every check does; ``checks`` and ``runs``: lists of objects.
    """
    verdicts = [check.to_dict() for check in checks]
    return {
        "holds": all(verdict["holds"] for verdict in verdicts),
        "checks": verdicts,
        "runs": [
            {
                "name": run.name,
                "outcome": wording.outcome(run),
                "settings": run.settings,
                "certificate": run.certificate,
                "comparison": [row.to_dict() for row in comparison_rows(run)],
                "measures": run.measures,
                "findings": run.findings,
                "versions": run.versions,
            }
            for run in runs
        ],
    }
