"""Runs in groups: whether each group ends where it is predicted to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from lopsided.paper.checks import LARGEST_ERROR, Check, errors_check, flags_check
from lopsided.paper.plans import Experiment
from lopsided.paper.results import LEAST_LEAD, FinishedRun, Reproduction
from lopsided.runs.configuration import Configuration

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


def grouped(
    runs: Sequence[FinishedRun], by: Sequence[str], label: Callable[[Mapping[str, Any], Sequence[str]], str]
) -> dict[str, list[FinishedRun]]:
    """The runs under each label of their rows, in order of appearance."""
    found: dict[str, list[FinishedRun]] = {}
    for entry in runs:
        found.setdefault(label(entry.row, by), []).append(entry)
    return found


def judge_groups(experiment: Experiment, runs: Sequence[FinishedRun]) -> Reproduction:
    """Judge every group of runs against what is predicted for each run."""
    groups = grouped(runs, experiment.by, group_label)
    return Reproduction(experiment, tuple(runs), tuple(group_checks(experiment.name, groups)))


def group_checks(name: str, groups: Mapping[str, Sequence[FinishedRun]]) -> list[Check]:
    """Merged classes, rank, classes recognised, mean logits where any are left; no run near a threshold is judged."""
    checks = []
    for label, members in groups.items():
        judged = [entry for entry in members if not entry.near_threshold]
        claims = {
            "merged classes as predicted": [entry.same_merged for entry in judged],
            "rank as predicted": [entry.same_rank for entry in judged],
            "classes recognised as predicted": [
                entry.ended and recognised_as_predicted(entry)
                for entry in judged
                if (np.abs(entry.predicted_lead) > LEAST_LEAD).any()
            ],
        }
        checks += [flags_check(name, f"{label}: {claim}", flags) for claim, flags in claims.items() if flags]
        errors = [entry.logits_error for entry in judged if entry.keeps_some]
        if errors:
            checks.append(errors_check(name, f"{label}: mean logits", errors, LARGEST_ERROR))
    return checks


def recognised_as_predicted(entry: FinishedRun) -> bool:
    """Whether most training samples of a class are classified correctly where its own logit is to lead, and few else.

    A class whose lead is within :data:`LEAST_LEAD` of zero is passed over: all that have merged are.
    """
    lead = entry.predicted_lead
    accuracy = np.array(entry.row["class_accuracy"], dtype=np.float64)
    clear = np.abs(lead) > LEAST_LEAD
    return bool(((accuracy > 0.5) == (lead > 0))[clear].all())


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        runs = [(entry, len(list(same))) for entry, same in itertools.groupby(value)]
        return ",".join(f"{entry:.4g}" + (f"x{number}" if number > 1 else "") for entry, number in runs)
    return f"{value:g}" if isinstance(value, float) else str(value)
