"""Whether predictions for training samples say anything of test samples: rank correlations, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.advice.outlook import outlook_of
from lopsided.paper.checks import Check, share
from lopsided.paper.plans import Experiment
from lopsided.paper.results import LEAST_LEAD, FinishedRun, Reproduction
from lopsided.runs.apply_remedy import apply_remedy

Array = NDArray[np.float64]

#: Predicted quantities of a class, each with what it is called.
PREDICTORS = {
    "margin": "margin, threshold over λ_z",
    "lead": "lead of the own logit",
    "norm": "norm of the mean logits",
}
#: What needs no theory, and what the theory is to be held against: more samples are learnt better anyway.
BASELINE = {"count": "number of samples"}
#: From this rank correlation on a quantity is said to rank the test accuracies.
RANKS = 0.5
#: Test accuracy up to which a class counts as lost, and from which on as kept.
LOST, KEPT = 0.05, 0.2


@dataclass(frozen=True, eq=False)
class ClassTable:
    """(M,) arrays with one entry for each class of each run."""

    #: Test accuracy.
    accuracy: Array
    #: The class.
    label: NDArray[np.int64]
    #: Every quantity of :data:`PREDICTORS` and :data:`BASELINE`.
    predicted: dict[str, Array]
    #: Whether another class is predicted for its samples, or it itself, by more than ``LEAST_LEAD``.
    lost: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    #: Whether its run is near a threshold, so that which classes are lost is not judged.
    near: NDArray[np.bool_]


def class_table(runs: Sequence[FinishedRun]) -> ClassTable:
    """Predictions and test accuracies of all classes of all runs."""
    parts: dict[str, list[Any]] = {name: [] for name in ("accuracy", "label", "near", "count", *PREDICTORS)}
    for entry in runs:
        outlook = outlook_of(apply_remedy(entry.point.fitted).model)
        number = len(outlook.counts)
        parts["accuracy"].append(entry.row["test_class_accuracy"] or [np.nan] * number)
        parts["label"].append(np.arange(number))
        parts["near"].append(np.full(number, entry.near_threshold))
        parts["count"].append(outlook.counts)
        parts["margin"].append(outlook.margins)
        parts["lead"].append(outlook.logit_gap)
        assert outlook.solution is not None
        parts["norm"].append(np.linalg.norm(outlook.solution.geometry.mean_logits, axis=1))
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    return ClassTable(
        accuracy=joined["accuracy"].astype(np.float64),
        label=joined["label"],
        predicted={name: joined[name] for name in (*PREDICTORS, *BASELINE)},
        lost=joined["lead"] < -LEAST_LEAD,
        kept=joined["lead"] > LEAST_LEAD,
        near=joined["near"],
    )


def rank_correlation(first: Array, second: Array) -> float:
    """Spearman's rank correlation; NaN where one of them does not vary.

    Examples
    --------
    >>> round(rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0])), 12)
    1.0
    >>> rank_correlation(np.array([1.0, 1.0]), np.array([1.0, 2.0]))
    nan
    """
    from scipy.stats import spearmanr

    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def within(table: ClassTable, values: Array, chosen: NDArray[np.bool_], *, counts: bool = False) -> Array:
    """Rank correlation of a quantity with test accuracy for each class over its runs; those that are defined.

    Classes differ in how hard they are. Each compared with itself, that drops out. With ``counts``, also the number of
    its samples does: each class at each of its counts, over decays alone.
    """
    kinds = np.stack([table.label, table.predicted["count"] if counts else np.zeros(len(table.label))])
    found = []
    for kind in np.unique(kinds, axis=1).T:
        mine = chosen & (kinds == kind[:, None]).all(axis=0)
        found.append(rank_correlation(values[mine], table.accuracy[mine]))
    correlations = np.array(found)
    result: Array = correlations[~np.isnan(correlations)]
    return result


def judge_generalisation(experiment: Experiment, runs: Sequence[FinishedRun]) -> Reproduction:
    """Judge whether predictions for training samples say anything of test samples.

    Whether classes that are predicted to be kept, or lost, are so on test samples too; and for each quantity, whether
    it ranks test accuracies: over all, for each class, and over decays alone where a class is predicted to be kept.
    """
    name, table = experiment.name, class_table(runs)
    known = ~np.isnan(table.accuracy)
    judged, kept = known & ~table.near, known & table.kept
    checks = [_bounded(name, table, judged & table.lost, "lost"), _bounded(name, table, judged & table.kept, "kept")]
    for quantity, words in (PREDICTORS | BASELINE).items():
        values = table.predicted[quantity]
        pooled = rank_correlation(values[known], table.accuracy[known])
        scopes = {
            "over all classes and runs": np.array([pooled])[[not np.isnan(pooled)]],
            "for each class over its runs": within(table, values, known),
            "for each class at each count, over decays, where it is predicted to be kept": within(
                table, values, kept, counts=True
            ),
        }
        checks += [_ranks(name, words, scope, found) for scope, found in scopes.items() if len(found)]
    return Reproduction(experiment, tuple(runs), tuple(checks), tuple(_notes(table, judged, kept)), classes=table)


def _ranks(name: str, words: str, scope: str, found: Array) -> Check:
    """Whether a quantity ranks test accuracies: by the correlation in the middle, where there are several."""
    middle = float(np.median(found))
    spread = "" if len(found) == 1 else f" in the middle of {len(found)}, {found.min():.2f} to {found.max():.2f}"
    target = f"rank correlation of {RANKS:g} or more"
    return Check(name, f"{words} ranks test accuracy, {scope}", target, f"{middle:.2f}{spread}", middle >= RANKS)


def _bounded(name: str, table: ClassTable, chosen: NDArray[np.bool_], state: str) -> Check:
    """Whether classes predicted lost are hardly ever recognised, or those predicted kept are."""
    found, lost = table.accuracy[chosen], state == "lost"
    good = found <= LOST if lost else found >= KEPT
    target = f"accuracy {'≤' if lost else '≥'} {100 * (LOST if lost else KEPT):g} %, {len(found)} of {len(found)}"
    text = "no such class"
    if len(found):
        worst = found.max() if lost else found.min()
        text = f"{share(good.tolist())}, {100 * worst:.1f} % at {'most' if lost else 'least'}"
    claim = f"a class predicted to be {state} is {state} on test samples"
    return Check(name, claim, target, text, bool(len(found)) and bool(good.all()))


def _notes(table: ClassTable, judged: NDArray[np.bool_], kept: NDArray[np.bool_]) -> list[str]:
    def mean(chosen: NDArray[np.bool_]) -> str:
        return f"{100 * table.accuracy[chosen].mean():.1f} %" if chosen.any() else "–"

    notes = [
        f"Of the test samples of classes predicted to be lost, {mean(judged & table.lost)} are classified correctly; of"
        f" those predicted to be kept, {mean(judged & table.kept)}."
    ]
    over_decays = within(table, table.predicted["margin"], kept, counts=True)
    if len(over_decays):
        middle = float(np.median(over_decays))
        verdict = "ranks" if middle >= RANKS else "does not rank"
        notes.append(
            f"Where a class is predicted to be kept, and at a given count, its margin {verdict} its test accuracy over"
            f" decays: rank correlation {middle:.2f} in the middle."
        )
    return notes
