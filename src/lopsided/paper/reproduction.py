"""Experiments carried out and judged: the nine figures of Hong & Ling (JMLR 2024), and what they leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lopsided.paper.judging import judge_experiment
from lopsided.paper.plans import Experiment, Point, plan
from lopsided.paper.results import FinishedRun, Reproduction
from lopsided.runs.execution import RunProgress
from lopsided.runs.record import Run
from lopsided.runs.sweep import SweepProgress, run_sweep


def reproduce(
    names: Sequence[str],
    output: str | Path,
    *,
    scale: str = "small",
    jobs: int = 0,
    scheduler: str | None = None,
    data_folder: str | Path | None = None,
    accelerator: str = "auto",
    changes: Mapping[str, Any] | None = None,
    progress: SweepProgress | None = None,
    epoch_progress: RunProgress | None = None,
) -> list[Reproduction]:
    """Carry out experiments and judge them; a run that two of them share is done once.

    Parameters
    ----------
    names : sequence of str
        Of :data:`lopsided.paper.plans.EXPERIMENTS`.
    output, jobs, scheduler, data_folder, accelerator, progress, epoch_progress
        Of :func:`lopsided.runs.sweep.run_sweep`.
    scale, changes
        Of :func:`lopsided.paper.plans.plan`.

    Returns
    -------
    list of Reproduction
        One an experiment.

    Raises
    ------
    ValueError, OSError
        As :func:`lopsided.paper.plans.plan` and :func:`lopsided.runs.sweep.run_sweep` do.
    """
    experiments = [plan(name, scale, data_folder=data_folder, changes=changes) for name in names]
    configurations = list(dict.fromkeys(point.fitted for entry in experiments for point in entry.points))
    sweep = run_sweep(
        configurations,
        output,
        jobs=jobs,
        scheduler=scheduler,
        data_folder=data_folder,
        accelerator=accelerator,
        progress=progress,
        epoch_progress=epoch_progress,
    )
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
