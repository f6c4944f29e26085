"""Judges of the paper's figures: measures along an axis, the collapse in training, and the mean logits at its end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from lopsided.core.comparison import COLLAPSED_NC1
from lopsided.model import UFM
from lopsided.paper.checks import LARGEST_ERROR, Check, errors_check, flags_check
from lopsided.paper.plans import Experiment
from lopsided.paper.results import FinishedRun, Reproduction
from lopsided.runs.record import Run

#: Largest difference of a cosine or a spread that counts as agreement.
LARGEST_DIFFERENCE = 0.1
#: Largest relative error of the bias that does, of which the paper reports about so much.
LARGEST_BIAS_ERROR = 0.2
#: What NC1 must fall by in training, beside ending below :data:`lopsided.core.comparison.COLLAPSED_NC1`.
FALL = 100.0

Row = dict[str, Any]


def threshold_ratios(row: Row) -> dict[str, float]:
    """λ_z over the decay at which the rarest classes merge (``rare``), and over that at which all do (``all``).

    Examples
    --------
    >>> row = {"counts": "500x5,100x5", "lambda_z": 0.005, "lambda_b": 0.02, "bias": True}
    >>> {name: round(value, 3) for name, value in threshold_ratios(row).items()}
    {'rare': 1.5, 'all': 0.671}
    """
    model = UFM(row["counts"], lambda_z=row["lambda_z"], lambda_b=row["lambda_b"], bias=row["bias"])
    thresholds = model.thresholds()
    rarest = int(model.clusters.counts.argmin())
    decays = {"rare": float(thresholds.within[rarest]), "all": float(thresholds.complete)}
    return {group: model.lambda_z / decay for group, decay in decays.items()}


def judge_axis(experiment: Experiment, runs: Sequence[FinishedRun]) -> Reproduction:
    """Measures along an axis: where classes merge, ranks, cosines, spreads, mean logits."""
    name, judged = experiment.name, [entry for entry in runs if not entry.near_threshold]
    if not judged:
        none = Check(name, "runs away from the thresholds", "at least one", "none", False)
        return Reproduction(experiment, tuple(runs), (none,))
    checks = []
    for group, words in (("rare", "the rare classes merge"), ("all", "all classes merge")):
        predicted = [_is_merged(entry.run.predicted.merged, group, entry.run) for entry in judged]
        measured = [_is_merged(entry.run.measured.merged, group, entry.run) for entry in judged]
        places = [entry.row["x"] for entry in judged]
        if any(predicted) or any(measured):
            target, found = _where(places, predicted), _where(places, measured)
            checks.append(Check(name, f"where {words}", target, found, predicted == measured))
    same = (entry.run.comparison.same_merged for entry in judged)
    checks.append(flags_check(name, "merged classes as predicted, no others", same))
    checks.append(flags_check(name, "rank as predicted", (entry.run.comparison.same_rank for entry in judged)))
    for quantity, words in (
        ("rare_cosine", "cosine between rare classes"),
        ("minority_spread", "spread of rare classes"),
    ):
        checks.append(_difference(name, quantity, words, [entry.row for entry in judged]))
    errors = [entry.row["mean_logits_error"] for entry in judged if entry.keeps_some]
    if errors:
        checks.append(errors_check(name, "mean logits", errors, LARGEST_ERROR))
    return Reproduction(experiment, tuple(runs), tuple(checks))


def judge_collapse(experiment: Experiment, runs: Sequence[FinishedRun]) -> Reproduction:
    """Samples of a class that come together in training."""
    name, ends = experiment.name, [entry.run.measures["nc1_rank_aware"] for entry in runs]
    highest = max(math.inf if value is None else value for value in ends)
    target, end = f"log NC1 below {math.log(COLLAPSED_NC1):.1f}", f"at most {math.log(highest):.1f}"
    fall = min(_fall(entry.run) for entry in runs)
    fitted = min(entry.row["train_accuracy"] for entry in runs)
    checks = (
        Check(name, "NC1 ends small in every run", target, end, highest < COLLAPSED_NC1),
        Check(name, "NC1 falls in training", f"by {FALL:g} or more", f"by {fall:.3g} or more", fall >= FALL),
        Check(name, "every sample fitted", "100 %", f"{100 * fitted:.4g} % at least", fitted == 1),
    )
    return Reproduction(experiment, tuple(runs), checks)


def judge_mean_logits(experiment: Experiment, runs: Sequence[FinishedRun]) -> Reproduction:
    """Mean logits and bias at the end of training."""
    name = experiment.name
    checks = (
        errors_check(name, "mean logits", [entry.row["mean_logits_error"] for entry in runs], LARGEST_ERROR),
        errors_check(name, "bias", [entry.row["bias_error"] for entry in runs], LARGEST_BIAS_ERROR),
        flags_check(name, "own logits rise with the count", (_own_logits_ordered(entry.run) for entry in runs)),
    )
    return Reproduction(experiment, tuple(runs), checks)


def _difference(name: str, quantity: str, words: str, rows: Sequence[Row]) -> Check:
    """Agreement of a quantity wherever both the prediction and the measurement have it."""
    pairs = [(row["x"], row[quantity], row[f"predicted_{quantity}"]) for row in rows]
    both = [(abs(found - target), x) for x, found, target in pairs if found is not None and target is not None]
    if not both:
        return Check(name, f"{words} as predicted", "defined somewhere", "defined nowhere", False)
    worst, place = max(both)
    target, found = f"at most {LARGEST_DIFFERENCE:g} off", f"{worst:.3f} off at most, at {place:g}"
    return Check(name, f"{words} as predicted", target, found, worst <= LARGEST_DIFFERENCE)


def _is_merged(merged: Sequence[Sequence[int]], group: str, run: Run) -> bool:
    """Whether the rarest classes, or all, are in one merged group."""
    counts = run.predicted.counts
    wanted = {index for index, count in enumerate(counts) if group == "all" or count == counts.min()}
    return len(wanted) > 1 and any(wanted <= set(members) for members in merged)


def _where(places: Sequence[float], flags: Sequence[bool]) -> str:
    """Where along an axis something is so.

    Examples
    --------
    >>> _where([1, 2, 3, 4], [False, False, True, True]), _where([1, 2, 3], [True, False, True])
    ('from 3 on, not up to 2', 'at 1, 3')
    """
    ordered = sorted(zip(places, flags, strict=True))
    flagged = [place for place, flag in ordered if flag]
    others = [place for place, flag in ordered if not flag]
    if not flagged:
        return f"nowhere from {ordered[0][0]:g} to {ordered[-1][0]:g}"
    if not others:
        return f"everywhere from {ordered[0][0]:g} to {ordered[-1][0]:g}"
    if others[-1] < flagged[0]:
        return f"from {flagged[0]:g} on, not up to {others[-1]:g}"
    if flagged[-1] < others[0]:
        return f"up to {flagged[-1]:g}, not from {others[0]:g} on"
    return f"at {', '.join(f'{place:g}' for place in flagged)}"


def _fall(run: Run) -> float:
    """By which factor NC1 fell from the start to the end."""
    first, last = (row.get("nc1_rank_aware") for row in (run.history[0], run.history[-1]))
    return 0.0 if first is None or last is None else math.inf if last == 0 else first / last


def _own_logits_ordered(run: Run) -> bool:
    """Whether the mean own logit of a cluster rises with its count, as in the prediction."""
    own, counts = run.measured.mean_logits.diagonal(), run.predicted.counts
    means = [float(own[counts == count].mean()) for count in sorted(set(counts.tolist()))]
    return all(low < high for low, high in itertools.pairwise(means))
