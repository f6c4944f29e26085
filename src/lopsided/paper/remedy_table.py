"""Remedies trained and tested: for each, whether it does what is predicted, and what it does to test accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lopsided.core.counts import merged_places, parse_counts
from lopsided.core.outlook import Outlook
from lopsided.paper.checks import Check, Table, share
from lopsided.paper.generalisation import KEPT, LOST
from lopsided.paper.groups import group_checks, group_label, grouped
from lopsided.paper.plans import Experiment
from lopsided.paper.results import LEAST_LEAD, FinishedRun, Reproduction
from lopsided.runs.execution import rarest_classes

#: Columns of test accuracy: of the rare classes, the common ones, all.
_ACCURACIES = ("test_accuracy_rare", "test_accuracy_common", "test_accuracy")
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


def treatment(row: Mapping[str, Any], by: Sequence[str]) -> str:
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


def judge_remedies(experiment: Experiment, runs: Sequence[FinishedRun]) -> Reproduction:
    """Judge every remedy against its prediction, in training and on test samples.

    For each remedy the checks of :func:`lopsided.paper.groups.group_checks`; and whether the rare classes are
    recognised among test samples where they are predicted to be kept, and not where they are predicted to be lost.
    """
    groups = grouped(runs, experiment.by, treatment)
    checks, lines = group_checks(experiment.name, groups), []
    for label, members in groups.items():
        rare = _rare(members[0])
        lead = float(members[0].predicted_lead[rare].min())
        state = "kept" if lead > LEAST_LEAD else "lost" if lead < -LEAST_LEAD else "tied"
        accuracies = [np.array([entry.row[name] for entry in members], dtype=np.float64) for name in _ACCURACIES]
        if state != "tied":  # a tie among the rare classes can end either way
            kept, found = state == "kept", accuracies[0]
            checks.append(
                Check(
                    experiment.name,
                    f"{label}: test accuracy of rare classes, predicted {state}",
                    f"≥ {100 * KEPT:g} %" if kept else f"≤ {100 * LOST:g} %",
                    f"{100 * found.min():.1f} to {100 * found.max():.1f} %",
                    bool((found >= KEPT).all() if kept else (found <= LOST).all()),
                )
            )
        measured = np.array(
            [float(Outlook.measured(entry.run.measured).logit_gap[rare].min()) for entry in members if entry.ended]
        )
        lines.append(
            (
                label,
                state,
                f"{lead:.2f}",
                _spread(measured, 1.0, 2),
                share(entry.same_merged for entry in members),
                *(_spread(values, 100.0, 1) + " %" for values in accuracies),
            )
        )
    note = "Of merged classes, accuracy counts any class of the group as correct, which is an easier task."
    return Reproduction(experiment, tuple(runs), tuple(checks), (note,), (Table(HEADER, tuple(lines)),))


def _rare(entry: FinishedRun) -> list[int]:
    """Where the classes are that were the rarest before any remedy."""
    counts = parse_counts(entry.point.fitted.counts)
    places = merged_places(entry.row["merged_classes"], len(counts))
    return sorted({int(place) for place in places[rarest_classes(counts)]})


def _spread(values: np.ndarray[Any, Any], factor: float, digits: int) -> str:
    """Mean ± standard deviation."""
    scaled = factor * values[~np.isnan(values)]
    if len(scaled) == 0:
        return "–"
    deviation = f" ± {scaled.std(ddof=1):.{digits}f}" if len(scaled) > 1 else ""
    return f"{scaled.mean():.{digits}f}{deviation}"
