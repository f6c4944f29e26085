"""Finished runs of networks that ended exactly where they were predicted to, without training any."""

import dataclasses
from functools import cache

import numpy as np

import lopsided as lp
from lopsided.paper.results import FinishedRun
from lopsided.runs import Run
from lopsided.runs.apply_remedy import apply_remedy
from lopsided.runs.execution import is_near_threshold, mean_cosine


def row(run, **columns):
    return {**run.settings, "lambda_z": run.model.lambda_z, **columns}


def changed(entry, **changes):
    """The finished run with other columns in its row, or with another ``run``."""
    run = changes.pop("run", entry.run)
    return dataclasses.replace(entry, row={**entry.row, **changes}, run=run)


@cache
def solved(configuration):
    """A configuration as it is carried out, its optimum, and whether it is near a threshold."""
    applied = apply_remedy(configuration)
    solution = applied.model.solve()
    return applied, solution, is_near_threshold(lp.UFM.solve, applied.model, solution.geometry.merged)


def as_trained(point, experiment):
    """A run of a network that ended exactly at the optimum."""
    applied, solution, near_threshold = solved(point.fitted)
    measured = solution.geometry
    run = Run(
        point.fitted.digest,
        applied.settings,
        measured,
        measured,
        certificate=solution.certificate(),
        measures={"nc1_rank_aware": 1e-4},
        history=[{"epoch": 0, "nc1_rank_aware": 5.0}, {"epoch": 9, "nc1_rank_aware": 1e-4}],
    )
    rare = [int(k) for k in np.flatnonzero(measured.counts == measured.counts.min())]
    cosine = _known(mean_cosine(measured, rare))
    logits = measured.mean_logits + measured.bias
    right = (np.argmax(logits, axis=1) == np.arange(len(logits))).astype(float)
    others = np.setdiff1d(np.arange(len(right)), rare)
    columns = {
        "remedy": point.fitted.remedy,
        "x": experiment.position(point),
        "outcome": "trained",
        "findings": [],
        "near_threshold": near_threshold,
        "rank": measured.rank,
        "predicted_rank": measured.rank,
        "rare_cosine": cosine,
        "predicted_rare_cosine": cosine,
        "minority_spread": 0.5,
        "predicted_minority_spread": 0.5,
        "mean_logits_error": _known(run.comparison["mean_logits"].relative_error),
        "bias_error": 0.0,
        "train_accuracy": 1.0,
        "class_accuracy": right.tolist(),
        "test_accuracy": float(right.mean()),
        "test_class_accuracy": right.tolist(),
        "test_accuracy_rare": float(right[rare].mean()),
        "test_accuracy_common": _known(float(right[others].mean()) if len(others) else np.nan),
        "commit": None,
        "version_lopsided": "0",
        "version_torch": "0",
    }
    return FinishedRun(point, row(applied, **columns), run)


def _known(value):
    return None if np.isnan(value) else float(value)
