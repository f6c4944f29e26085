"""From the runs of an experiment to claims with verdicts: those of all experiments, and those of each kind."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lopsided.paper.checks import Check, Table, share
from lopsided.paper.generalisation import judge_generalisation
from lopsided.paper.groups import group_label, grouped, judge_groups
from lopsided.paper.plans import Experiment
from lopsided.paper.remedy_table import judge_remedies
from lopsided.paper.verdicts import judge_axis, judge_collapse, judge_mean_logits
from lopsided.runs.record import Run

Row = dict[str, Any]


@dataclass(frozen=True)
class Judgement:
    """What became of an experiment.

    Attributes
    ----------
    checks : list of Check
        Claims with their verdicts.
    notes : list of str
        What else was found, in sentences.
    tables : list of Table
        The same in numbers.
    """

    checks: list[Check]
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def _judge_remedies(experiment: Experiment, rows: Sequence[Row], runs: Sequence[Run]) -> Judgement:
    checks, tables = judge_remedies(experiment, rows, runs)
    note = "Of classes that are trained as one (merging), accuracy is that of telling the group: an easier task."
    return Judgement(checks, [note], tables)


#: The judge of each kind of experiment.
KINDS: dict[str, Callable[[Experiment, Sequence[Row], Sequence[Run]], Judgement]] = {
    "axis": lambda experiment, rows, runs: Judgement(judge_axis(experiment.name, rows, runs)),
    "nc1": lambda experiment, rows, runs: Judgement(judge_collapse(experiment.name, rows, runs)),
    "mean_logits": lambda experiment, rows, runs: Judgement(judge_mean_logits(experiment.name, rows, runs)),
    "groups": lambda experiment, rows, runs: Judgement(
        judge_groups(experiment.name, grouped(group_label(row, experiment.by) for row in rows), rows, runs)
    ),
    "generalisation": lambda experiment, rows, runs: Judgement(
        *judge_generalisation(experiment.name, [point.fitted for point in experiment.points], rows)
    ),
    "remedies": _judge_remedies,
}


def judge_experiment(experiment: Experiment, rows: Sequence[Row], runs: Sequence[Run]) -> Judgement:
    """Judge the runs of an experiment against what was predicted for each.

    Parameters
    ----------
    experiment : Experiment
    rows, runs : sequences of dict and Run
        One a point.

    Returns
    -------
    Judgement
        The first two claims are of every experiment: predictions certified, and no run diverged or stuck.
    """
    found = KINDS[experiment.kind](experiment, rows, runs)
    shared = [_certified(experiment.name, runs), _sound(experiment.name, rows)]
    return replace(found, checks=[*shared, *found.checks])


def _certified(name: str, runs: Sequence[Run]) -> Check:
    """Every prediction has its gap."""
    certified = [run.certificate["status"] == "optimal" for run in runs]
    gaps = [run.certificate["gap"] for run in runs if run.certificate["gap"] is not None]
    found = f"{share(certified)}, gap ≤ {max(gaps, default=math.nan):.1g}"
    return Check(name, "every prediction is certified", "all optimal", found, all(certified))


def _sound(name: str, rows: Sequence[Row]) -> Check:
    """No run diverged, and none stuck at a rank below the optimum's."""
    states = [_state(row) for row in rows]
    told = ", ".join(f"{number} {state}" for state, number in sorted(Counter(filter(None, states)).items()))
    return Check(name, "no run diverges or sticks", f"0 of {len(rows)}", told or f"0 of {len(rows)}", not told)


def _state(row: Row) -> str:
    if row["outcome"] == "diverged":
        return "diverged"
    return "stuck at too low a rank" if "rank-deficient" in row["findings"] else ""
