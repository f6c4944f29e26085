"""Remedies trained and tested: for each, whether it does what is predicted, and what it does to test accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lopsided.core.counts import merged_places, parse_counts
from lopsided.paper.checks import Check, Table
from lopsided.paper.generalisation import KEPT, LOST
from lopsided.paper.groups import LEAST_LEAD, group_label, grouped, has_ended, judge_groups, own_lead
from lopsided.paper.plans import Experiment
from lopsided.runs.execution import rarest_classes
from lopsided.runs.record import Run

Row = dict[str, Any]
#: What a run without any remedy is called.
UNTREATED = "as it is"
HEADER = (
    "remedy",
    "rare classes, predicted",
    "lead, predicted",
    "lead, measured",
    "merged as predicted",
    "test accuracy, rare",
    "test accuracy, common",
    "all",
)


def treatment(row: Row, by: Sequence[str]) -> str:
    """What was done in a run, in words: its remedy by name, else the settings of ``by`` that are not at their defaults.

    Examples
    --------
    >>> treatment({"remedy": "decay", "head": "linear"}, ["remedy", "head"])
    'decay'
    >>> treatment({"remedy": None, "head": "etf"}, ["remedy", "head"])
    'head etf'
    >>> treatment({"remedy": None, "head": "linear"}, ["remedy", "head"])
    'as it is'
    """
    if row["remedy"] is not None:
        return str(row["remedy"])
    label = group_label(row, by)
    return UNTREATED if label == "plain" else label


def judge_remedies(experiment: Experiment, rows: Sequence[Row], runs: Sequence[Run]) -> tuple[list[Check], list[Table]]:
    """Judge every remedy against its prediction, in training and on test samples.

    Returns
    -------
    checks : list of Check
        For each remedy those of :func:`lopsided.paper.groups.judge_groups`; and whether the rare classes are
        recognised among test samples where the optimum tells them, and not where it does not.
    tables : list of Table
        One line a remedy: predicted, measured, test accuracy as mean ± standard deviation over seeds.
    """
    groups = grouped(treatment(row, experiment.by) for row in rows)
    checks = judge_groups(experiment.name, groups, rows, runs)
    lines = []
    for label, members in groups.items():
        chosen = [(rows[index], runs[index]) for index in members]
        rare = _rare(experiment, members[0], rows)
        lead = float(own_lead(chosen[0][1].predicted)[rare].min())
        found = np.array([float(own_lead(run.measured)[rare].min()) for row, run in chosen if has_ended(row)])
        accuracies = {
            name: np.array([row[name] for row, _ in chosen], dtype=np.float64)
            for name in ("test_accuracy_rare", "test_accuracy_common", "test_accuracy")
        }
        state = "told" if lead > LEAST_LEAD else "lost" if lead < -LEAST_LEAD else "tied"
        mine = accuracies["test_accuracy_rare"]
        if state != "tied":  # a tie among the rare classes can end either way
            told = state == "told"
            checks.append(
                Check(
                    experiment.name,
                    f"{label}: test accuracy of rare classes, predicted {state}",
                    f"≥ {100 * KEPT:g} %" if told else f"≤ {100 * LOST:g} %",
                    f"{100 * mine.min():.1f} to {100 * mine.max():.1f} %",
                    bool((mine >= KEPT).all() if told else (mine <= LOST).all()),
                )
            )
        same = sum(has_ended(row) and run.comparison.same_merged for row, run in chosen)
        lines.append(
            (
                label,
                state,
                f"{lead:.2f}",
                _spread(found, 1.0, 2),
                f"{same} of {len(chosen)}",
                *(_spread(values, 100.0, 1) + " %" for values in accuracies.values()),
            )
        )
    return checks, [Table(HEADER, tuple(lines))]


def _rare(experiment: Experiment, index: int, rows: Sequence[Row]) -> list[int]:
    """Where the classes are that were the rarest before any remedy."""
    counts = parse_counts(experiment.points[index].fitted.counts)
    places = merged_places(rows[index]["merged_classes"], len(counts))
    return sorted({int(place) for place in places[rarest_classes(counts)]})


def _spread(values: np.ndarray[Any, Any], factor: float, digits: int) -> str:
    """Mean ± standard deviation."""
    scaled = factor * values[~np.isnan(values)]
    if len(scaled) == 0:
        return "–"
    deviation = f" ± {scaled.std(ddof=1):.{digits}f}" if len(scaled) > 1 else ""
    return f"{scaled.mean():.{digits}f}{deviation}"
