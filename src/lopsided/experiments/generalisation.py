"""Whether predictions for training samples say anything of test samples: rank correlations, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.experiments.checks import Check
from lopsided.experiments.configuration import Configuration
from lopsided.experiments.groups import LEAST_LEAD
from lopsided.remedies.outlook import outlook_of

Array = NDArray[np.float64]

#: Predicted quantities of a class, each with what it is called.
PREDICTORS = {
    "margin": "margin, threshold over λ_z",
    "lead": "lead of the own logit",
    "norm": "norm of the mean logits",
}
#: From this rank correlation on a quantity is said to rank the test accuracies.
RANKS = 0.5
#: Test accuracy up to which a class is not told from others, and from which on it is.
LOST, KEPT = 0.05, 0.2


@dataclass(frozen=True, eq=False)
class ClassTable:
    """One entry for each class of each run.

    Attributes
    ----------
    accuracy : (M,) array
        Test accuracy.
    label : (M,) array of int
        The class.
    predicted : dict of str to (M,) array
        Every quantity of :data:`PREDICTORS`.
    lost : (M,) array of bool
        Whether another class is predicted for its samples, by more than ``LEAST_LEAD``.
    told : (M,) array of bool
        Whether it is predicted itself, by as much.
    near : (M,) array of bool
        Whether its run is near a threshold, so that which classes are lost is not judged.
    """

    accuracy: Array
    label: NDArray[np.int64]
    predicted: dict[str, Array]
    lost: NDArray[np.bool_]
    told: NDArray[np.bool_]
    near: NDArray[np.bool_]


def class_table(configurations: Sequence[Configuration], rows: Sequence[dict[str, Any]]) -> ClassTable:
    """Predictions and test accuracies of all classes of all runs."""
    parts: dict[str, list[Any]] = {name: [] for name in ("accuracy", "label", "near", *PREDICTORS)}
    for configuration, row in zip(configurations, rows, strict=True):
        outlook = outlook_of(configuration.model)
        number = len(outlook.counts)
        parts["accuracy"].append(row["test_class_accuracy"] or [np.nan] * number)
        parts["label"].append(np.arange(number))
        parts["near"].append(np.full(number, row["near_threshold"]))
        parts["margin"].append(outlook.margins)
        parts["lead"].append(outlook.logit_gap)
        assert outlook.solution is not None
        parts["norm"].append(np.linalg.norm(outlook.solution.geometry.mean_logits, axis=1))
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    return ClassTable(
        accuracy=joined["accuracy"].astype(np.float64),
        label=joined["label"],
        predicted={name: joined[name] for name in PREDICTORS},
        lost=joined["lead"] < -LEAST_LEAD,
        told=joined["lead"] > LEAST_LEAD,
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


def within_classes(table: ClassTable, values: Array, chosen: NDArray[np.bool_]) -> Array:
    """Rank correlation of a quantity with test accuracy for each class, over its runs.

    Classes differ in how hard they are. Each compared with itself, at other decays and counts, that drops out.
    """
    found = []
    for label in np.unique(table.label):
        mine = chosen & (table.label == label)
        found.append(rank_correlation(values[mine], table.accuracy[mine]))
    correlations = np.array(found)
    result: Array = correlations[~np.isnan(correlations)]
    return result


def judge_generalisation(
    name: str, configurations: Sequence[Configuration], rows: Sequence[dict[str, Any]]
) -> tuple[list[Check], list[str]]:
    """Judge whether predictions rank test accuracies, and say what was found.

    Returns
    -------
    checks : list of Check
        Whether classes that the optimum tells, or does not, are so on test samples too; and for each quantity, whether
        it ranks test accuracies: over all, within each class, and within each class where the optimum tells it.
    notes : list of str
        The same in plain words.
    """
    table = class_table(configurations, rows)
    known = ~np.isnan(table.accuracy)
    judged = known & ~table.near
    checks = [_bounded(name, table, judged & table.lost, lost=True), _bounded(name, table, judged & table.told)]
    kept = known & table.told
    summary = {}
    for quantity, words in PREDICTORS.items():
        values = table.predicted[quantity]
        pooled = rank_correlation(values[known], table.accuracy[known])
        inside, among = within_classes(table, values, known), within_classes(table, values, kept)
        summary[quantity] = (pooled, _median(inside), _median(among))
        for scope, number, note in (
            ("over all classes and runs", pooled, ""),
            ("for each class over its runs", _median(inside), _range(inside)),
            ("the same where the optimum tells it", _median(among), _range(among)),
        ):
            checks.append(
                Check(
                    name,
                    f"{words} ranks test accuracy, {scope}",
                    f"rank correlation of {RANKS:g} or more",
                    f"{number:.2f}{note}",
                    bool(number >= RANKS),
                )
            )
    return checks, _notes(table, judged, summary)


def _bounded(name: str, table: ClassTable, chosen: NDArray[np.bool_], *, lost: bool = False) -> Check:
    """Whether classes predicted lost are hardly ever recognised, or those predicted kept are."""
    found = table.accuracy[chosen]
    good = found <= LOST if lost else found >= KEPT
    claim = f"a class that the optimum {'does not tell is not told' if lost else 'tells is told'} on test samples"
    target = f"accuracy {'≤' if lost else '≥'} {100 * (LOST if lost else KEPT):g} %, {len(found)} of {len(found)}"
    text = "no such class"
    if len(found):
        worst = found.max() if lost else found.min()
        text = f"{int(good.sum())} of {len(found)}, {100 * worst:.1f} % at {'most' if lost else 'least'}"
    return Check(name, claim, target, text, bool(len(found)) and bool(good.all()))


def _notes(table: ClassTable, judged: NDArray[np.bool_], summary: dict[str, tuple[float, float, float]]) -> list[str]:
    def mean(chosen: NDArray[np.bool_]) -> str:
        return f"{100 * table.accuracy[chosen].mean():.1f} %" if chosen.any() else "–"

    best = max(summary, key=lambda quantity: np.nan_to_num(summary[quantity][2], nan=-1.0))
    among = summary[best][2]
    verdict = "ranks" if among >= RANKS else "hardly ranks" if among > 0 else "does not rank"
    return [
        f"Of classes that the optimum gives to others {mean(judged & table.lost)} of the test samples are classified"
        f" right, of those that it tells {mean(judged & table.told)}.",
        f"Where it tells a class, the {PREDICTORS[best]} {verdict} the test accuracy of a class over decays and"
        f" counts: rank correlation {among:.2f} in the middle of the classes.",
    ]


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _range(values: Array) -> str:
    return f" in the middle, {values.min():.2f} to {values.max():.2f}" if len(values) else ""
