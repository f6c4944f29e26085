"""Rows and runs of networks that ended exactly where they were predicted to, without training any."""

import numpy as np

import lopsided as lp
from lopsided.runs import Run
from lopsided.runs.apply_remedy import apply_remedy
from lopsided.runs.execution import is_near_threshold, mean_cosine


def row(run, **columns):
    return {**run.settings, "lambda_z": run.model.lambda_z, **columns}


def as_trained(point, experiment, geometry=None):
    """A row and a run of a network that ended exactly at the optimum, or at another geometry."""
    applied = apply_remedy(point.fitted)
    solution = applied.model.solve()
    measured = geometry or solution.geometry
    run = Run(
        point.fitted.digest,
        applied.settings,
        solution.geometry,
        measured,
        certificate={"status": solution.status, "gap": solution.gap, "objective": solution.objective},
        measures={"nc1_rank_aware": 1e-4},
        history=[{"epoch": 0, "nc1_rank_aware": 5.0}, {"epoch": 9, "nc1_rank_aware": 1e-4}],
    )
    rare = [int(k) for k in np.flatnonzero(measured.counts == measured.counts.min())]
    error = run.comparison["mean_logits"].relative_error
    logits = measured.mean_logits + measured.bias
    right = (np.argmax(logits, axis=1) == np.arange(len(logits))).astype(float)
    others = np.setdiff1d(np.arange(len(right)), rare)
    columns = {
        "remedy": point.fitted.remedy,
        "x": experiment.position(point),
        "outcome": "trained",
        "findings": [],
        "near_threshold": is_near_threshold(lp.UFM.solve, applied.model),
        "rank": measured.rank,
        "predicted_rank": solution.geometry.rank,
        "rare_cosine": _known(mean_cosine(measured, rare)),
        "predicted_rare_cosine": _known(mean_cosine(solution.geometry, rare)),
        "minority_spread": 0.5,
        "predicted_minority_spread": 0.5,
        "mean_logits_error": _known(error),
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
    return row(applied, **columns), run


def _known(value):
    return None if np.isnan(value) else float(value)
