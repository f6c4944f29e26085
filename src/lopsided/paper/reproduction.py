"""Experiments carried out and judged: the nine figures of Hong & Ling (JMLR 2024), and what they leave open."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lopsided.paper.checks import Check, share
from lopsided.paper.generalisation import judge_generalisation
from lopsided.paper.groups import judge_groups
from lopsided.paper.judge_figures import judge_axis, judge_collapse, judge_mean_logits
from lopsided.paper.plans import Experiment, Point, plan
from lopsided.paper.remedy_table import judge_remedies
from lopsided.paper.results import FinishedRun, Reproduction
from lopsided.runs.record import Run
from lopsided.runs.sweep import run_sweep

#: The judge of each kind of experiment.
JUDGES: dict[str, Callable[[Experiment, Sequence[FinishedRun]], Reproduction]] = {
    "axis": judge_axis,
    "nc1": judge_collapse,
    "mean_logits": judge_mean_logits,
    "groups": judge_groups,
    "generalisation": judge_generalisation,
    "remedies": judge_remedies,
}


def reproduce(
    names: Sequence[str],
    output: str | Path,
    *,
    scale: str = "small",
    data_folder: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Reproduction]:
    """Carry out some of :data:`lopsided.paper.plans.EXPERIMENTS` and judge them; a run that two share is done once.

    ``scale`` and ``changes`` are those of :func:`lopsided.paper.plans.plan`; ``options``, such as ``jobs``, those of
    :func:`lopsided.runs.sweep.run_sweep`.
    """
    experiments = [plan(name, scale, data_folder=data_folder, changes=changes) for name in names]
    configurations = list(dict.fromkeys(point.fitted for entry in experiments for point in entry.points))
    sweep = run_sweep(configurations, output, data_folder=data_folder, **options)
    found = {row["digest"]: (row, run) for row, run in zip(sweep.rows, sweep.runs(), strict=True)}
    return [
        judge_experiment(entry, [_finished(entry, point, *found[point.fitted.digest]) for point in entry.points])
        for entry in experiments
    ]


def _finished(experiment: Experiment, point: Point, row: dict[str, Any], run: Run) -> FinishedRun:
    about = {
        "figure": experiment.name,
        "scale": experiment.scale,
        "x": experiment.position(point) if experiment.x else None,
        "asked_counts": point.asked.counts,
        "asked_lambda_z": point.asked.model.lambda_z,
    }
    return FinishedRun(point, {**about, **row}, run)


def judge_experiment(experiment: Experiment, runs: Sequence[FinishedRun]) -> Reproduction:
    """Judge the runs of an experiment against what was predicted for each.

    The first two claims are of every experiment: predictions certified, and no run diverged or stuck.
    """
    found = JUDGES[experiment.kind](experiment, runs)
    return replace(found, checks=(_certified(experiment.name, runs), _sound(experiment.name, runs), *found.checks))


def _certified(name: str, runs: Sequence[FinishedRun]) -> Check:
    """Every prediction has its gap."""
    certificates = [entry.run.certificate for entry in runs]
    certified = [certificate["status"] == "optimal" for certificate in certificates]
    gaps = [certificate["gap"] for certificate in certificates if certificate["gap"] is not None]
    found = f"{share(certified)}, gap ≤ {max(gaps, default=math.nan):.1g}"
    return Check(name, "every prediction is certified", "all optimal", found, all(certified))


def _sound(name: str, runs: Sequence[FinishedRun]) -> Check:
    """No run diverged, and none stuck at a rank below the optimum's."""
    states = Counter(filter(None, map(_trouble, runs)))
    none = f"0 of {len(runs)}"
    found = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return Check(name, "no run diverges or sticks", none, found or none, not states)


def _trouble(entry: FinishedRun) -> str:
    if not entry.ended:
        return "diverged"
    return "stuck at too low a rank" if "rank-deficient" in entry.row["findings"] else ""
