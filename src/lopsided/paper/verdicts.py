"""Whether a figure of the paper comes out again: claims, each with what was predicted and what was found."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from lopsided.core.comparison import COLLAPSED_NC1
from lopsided.model import UFM
from lopsided.paper.checks import LARGEST_ERROR, Check, errors_check, share
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


def judge_axis(name: str, rows: Sequence[Row], runs: Sequence[Run]) -> list[Check]:
    """Measures along an axis: where classes merge, ranks, cosines, spreads, mean logits."""
    judged = [(row, run) for row, run in zip(rows, runs, strict=True) if not row["near_threshold"]]
    if not judged:
        return [Check(name, "runs away from the thresholds", "at least one", "none", False)]
    checks = []
    for group, words in (("rare", "the rare classes merge"), ("all", "all classes merge")):
        predicted = [_is_merged(run.predicted.merged, group, run) for _, run in judged]
        measured = [_is_merged(run.measured.merged, group, run) for _, run in judged]
        places = [row["x"] for row, _ in judged]
        if any(predicted) or any(measured):
            target, found = _where(places, predicted), _where(places, measured)
            checks.append(Check(name, f"where {words}", target, found, predicted == measured))
    same = [run.comparison.same_merged for _, run in judged]
    checks.append(
        Check(name, "merged classes as predicted, no others", share([True] * len(same)), share(same), all(same))
    )
    ranks = [run.comparison.same_rank for _, run in judged]
    checks.append(Check(name, "rank as predicted", share([True] * len(ranks)), share(ranks), all(ranks)))
    for quantity, words in (
        ("rare_cosine", "cosine between rare classes"),
        ("minority_spread", "spread of rare classes"),
    ):
        checks.append(_difference(name, quantity, words, [row for row, _ in judged]))
    left = [row for row, run in judged if run.predicted.rank > 0]
    if left:
        checks.append(errors_check(name, "mean logits", [row["mean_logits_error"] for row in left], LARGEST_ERROR))
    return checks


def judge_collapse(name: str, rows: Sequence[Row], runs: Sequence[Run]) -> list[Check]:
    """Samples of a class that come together in training."""
    ends = [run.measures["nc1_rank_aware"] for run in runs]
    highest = max(math.inf if value is None else value for value in ends)
    target, found = f"log NC1 below {math.log(COLLAPSED_NC1):.1f}", f"at most {math.log(highest):.1f}"
    falls = [_fall(run) for run in runs]
    return [
        Check(name, "NC1 ends small in every run", target, found, highest < COLLAPSED_NC1),
        Check(
            name, "NC1 falls in training", f"by {FALL:g} or more", f"by {min(falls):.3g} or more", min(falls) >= FALL
        ),
        Check(
            name,
            "every sample fitted",
            "100 %",
            f"{100 * min(row['train_accuracy'] for row in rows):.4g} % at least",
            all(row["train_accuracy"] == 1 for row in rows),
        ),
    ]


def judge_mean_logits(name: str, rows: Sequence[Row], runs: Sequence[Run]) -> list[Check]:
    """Mean logits and bias at the end of training."""
    ordered = [_own_logits_ordered(run) for run in runs]
    return [
        errors_check(name, "mean logits", [row["mean_logits_error"] for row in rows], LARGEST_ERROR),
        errors_check(name, "bias", [row["bias_error"] for row in rows], LARGEST_BIAS_ERROR),
        Check(name, "own logits rise with the count", share([True] * len(runs)), share(ordered), all(ordered)),
    ]


def _difference(name: str, quantity: str, words: str, rows: Sequence[Row]) -> Check:
    """Agreement of a quantity wherever both the prediction and the measurement have it."""
    pairs = [(row["x"], row[quantity], row[f"predicted_{quantity}"]) for row in rows]
    both = [(abs(found - target), x) for x, found, target in pairs if found is not None and target is not None]
    if not both:
        return Check(name, f"{words} as predicted", "defined somewhere", "defined nowhere", False)
    worst, place = max(both)
    text = f"{worst:.3f} off at most, at {place:g}"
    return Check(
        name, f"{words} as predicted", f"at most {LARGEST_DIFFERENCE:g} off", text, worst <= LARGEST_DIFFERENCE
    )


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
