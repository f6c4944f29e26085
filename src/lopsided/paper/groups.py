"""Runs in groups: whether each group ends where it is predicted to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from lopsided.core.geometry import Geometry
from lopsided.paper.checks import LARGEST_ERROR, Check, errors_check, share
from lopsided.runs.configuration import Configuration
from lopsided.runs.record import Run

Row = dict[str, Any]

#: A class whose own logit leads or trails by less than this, in nats, may be told either way by a network.
LEAST_LEAD = 0.1

_DEFAULTS = {entry.name: entry.default for entry in fields(Configuration)}


def group_label(row: Mapping[str, Any], by: Sequence[str]) -> str:
    """What sets the runs of a group apart, in words: the settings of ``by`` that are not at their defaults.

    Examples
    --------
    >>> group_label({"initialisation": "he"}, ["initialisation"])
    'he'
    >>> group_label({"loss": "cross-entropy", "weights": [1, 1, 2.236068], "gamma": None}, ["loss", "weights", "gamma"])
    'weights 1x2,2.236'
    >>> group_label({"loss": "focal", "weights": None, "gamma": 2.0}, ["loss", "weights", "gamma"])
    'focal, gamma 2'
    >>> group_label({"extra_layers": 2}, ["extra_layers"]), group_label({"extra_layers": 0}, ["extra_layers"])
    ('extra_layers 2', 'plain')
    """
    if len(by) == 1 and isinstance(row[by[0]], str):
        return str(row[by[0]])
    kept = [name for name in by if row[name] is not None and row[name] != _DEFAULTS[name]]
    return ", ".join(_text(row[name]) if name == "loss" else f"{name} {_text(row[name])}" for name in kept) or "plain"


def grouped(labels: Iterable[str]) -> dict[str, list[int]]:
    """Where each label stands, in order of appearance.

    Examples
    --------
    >>> grouped(["he", "xavier", "he"])
    {'he': [0, 2], 'xavier': [1]}
    """
    found: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        found.setdefault(label, []).append(index)
    return found


def judge_groups(
    name: str, groups: Mapping[str, Sequence[int]], rows: Sequence[Row], runs: Sequence[Run]
) -> list[Check]:
    """Judge every group of runs against what is predicted for each run.

    Runs near a threshold are not judged.

    Parameters
    ----------
    name : str
        Of the experiment.
    groups : mapping of str to sequence of int
        Indices of the runs of each group.
    rows, runs : sequences of dict and Run
        One a point.

    Returns
    -------
    list of Check
        Up to four a group: merged classes, rank, classes told apart, mean logits where any are left. None of a group
        whose runs are all near a threshold.
    """
    checks = []
    for label, members in groups.items():
        judged = [(rows[index], runs[index]) for index in members if not rows[index]["near_threshold"]]
        claims = {
            "merged classes as predicted": [has_ended(row) and run.comparison.same_merged for row, run in judged],
            "rank as predicted": [has_ended(row) and run.comparison.same_rank for row, run in judged],
            "classes told apart as predicted": [
                has_ended(row) and told_as_predicted(row, run) for row, run in judged if _has_clear_lead(run)
            ],
        }
        for claim, flags in claims.items():
            if flags:
                target, found = share([True] * len(flags)), share(flags)
                checks.append(Check(name, f"{label}: {claim}", target, found, all(flags)))
        left = [row for row, run in judged if run.predicted.rank > 0]
        errors = [row["mean_logits_error"] if has_ended(row) else None for row in left]
        if errors:
            checks.append(errors_check(name, f"{label}: mean logits", errors, LARGEST_ERROR))
    return checks


def own_lead(geometry: Geometry) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(K,) by how much the own logit of a class's mean leads the next one, bias included, in nats."""
    logits = geometry.mean_logits + geometry.bias
    own = np.diagonal(logits).copy()
    np.fill_diagonal(others := logits.copy(), -np.inf)
    lead: np.ndarray[Any, np.dtype[np.float64]] = own - others.max(axis=1)
    return lead


def told_as_predicted(row: Row, run: Run) -> bool:
    """Whether the training samples of each class are classified right where its own logit is to lead, and wrong else.

    A class whose lead is within :data:`LEAST_LEAD` of zero is passed over: all that have merged with their rivals are.
    """
    lead = own_lead(run.predicted)
    accuracy = np.array(row["class_accuracy"], dtype=np.float64)
    clear = np.abs(lead) > LEAST_LEAD
    return bool(((accuracy > 0.5) == (lead > 0))[clear].all())


def has_ended(row: Row) -> bool:
    """Whether a run came to its end: what one that diverged looked like before is no agreement."""
    return bool(row["outcome"] == "trained")


def _has_clear_lead(run: Run) -> bool:
    return bool((np.abs(own_lead(run.predicted)) > LEAST_LEAD).any())


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        runs = [(entry, len(list(same))) for entry, same in itertools.groupby(value)]
        return ",".join(f"{entry:.4g}" + (f"x{number}" if number > 1 else "") for entry, number in runs)
    return f"{value:g}" if isinstance(value, float) else str(value)
