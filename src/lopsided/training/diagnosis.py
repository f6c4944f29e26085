"""What looks wrong in a training run, in words, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lopsided.core.comparison import COLLAPSED_NC1, Comparison, compare
from lopsided.core.geometry import MERGE_ABSOLUTE_TOLERANCE, Array, Geometry

#: NC1 still falls when it lost more than this share over the last quarter of the epochs.
STILL_FALLING = 0.2
#: Share by which the objective may end above the lowest value it had once the decays were raised.
RISE = 0.05
#: Share by which the objective may end above the certified optimum.
EXCESS = 0.05
#: Share of the mean logits that may lie outside the block form of the counts' clusters.
BLOCK_DEVIATION = 0.1
_MORE_SLOWLY = "raise the decays more slowly (a longer ramp from a smaller start), or train longer"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    Attributes
    ----------
    code : str
        Short name: ``loss-not-finite``, ``loss-rising``, ``no-collapse``, ``far-from-optimum``, ``counts-differ``,
        ``other-branch``, ``rank-deficient``, ``unexpected-blocks``, ``unexpected-merge`` or ``missing-merge``.
    message : str
        What was seen.
    remedy : str
        What to try.

    Examples
    --------
    >>> print(Finding("no-collapse", "NC1 is 0.2", "train longer"))
    NC1 is 0.2; train longer
    """

    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}"


def diagnose(
    history: Sequence[Row],
    *,
    predicted: Geometry,
    measured: Geometry,
    optimum: float | None = None,
    stationary: bool = False,
) -> tuple[Finding, ...]:
    """Say what looks wrong with a run.

    Parameters
    ----------
    history : sequence of mappings
        Rows of :class:`lopsided.training.TrainingResult`, in order; the first is the network before training.
    predicted : Geometry
        The optimum for the counts and decays that the run is meant to have.
    measured : Geometry
        The trained network.
    optimum : float, optional
        The certified optimum of the objective, or the objective of what is predicted.
    stationary : bool, default False
        Whether what is predicted is only a stationary point. Then a network that ended elsewhere, above it or below, is
        found to be on another branch: neither its rank nor its objective says that it is stuck. Nor must classes of
        equal count be alike.

    Returns
    -------
    tuple of Finding
        Empty when all is as predicted. After a loss that is not finite nothing else is judged.

    Examples
    --------
    >>> import lopsided as lp
    >>> geometry = lp.UFM(counts="500x5,100x5", lambda_z=3e-3, lambda_b=0.02).solve().geometry
    >>> row = {"epoch": 9, "objective": 1.0, "decay_factor": 1.0, "nc1_rank_aware": 1e-3, "rank": 9}
    >>> diagnose([row], predicted=geometry, measured=geometry)
    ()
    """
    findings = find_instability(history)
    if any(finding.code == "loss-not-finite" for finding in findings):
        return tuple(findings)
    comparison = compare(predicted, measured)
    findings += find_missing_collapse(history)
    blocks = find_unexpected_blocks(predicted, measured)
    if stationary:
        findings += find_other_branch(history, comparison, optimum)
        blocks = [finding for finding in blocks if finding.code == "counts-differ"]
    else:
        findings += [] if optimum is None else find_excess(history, optimum)
        findings += find_rank_deficiency(comparison)
    return (*findings, *blocks, *find_unexpected_merges(comparison))


def find_instability(history: Sequence[Row]) -> list[Finding]:
    """A loss that is not finite, or rises once the decays are raised."""
    remedy = "lower the learning rate (by ten, say), or enlarge the batch"
    for row in history:
        objective, of_batches = row["objective"], row.get("batch_objective")  # stored rows have None for NaN
        if objective is None or not math.isfinite(objective + (of_batches or 0.0)):
            rate = f" at learning rate {row['learning_rate']:.3g}" if "learning_rate" in row else ""
            return [Finding("loss-not-finite", f"the loss was not finite in epoch {row['epoch']}{rate}", remedy)]
    steady = [row for row in history if row["decay_factor"] >= 1.0]
    if not steady:
        return []
    best = min(steady, key=lambda row: float(row["objective"]))
    last = steady[-1]
    if last["objective"] <= (1 + RISE) * best["objective"]:
        return []
    message = (
        f"the objective rose from {best['objective']:.4g} in epoch {best['epoch']} to {last['objective']:.4g}"
        f" in epoch {last['epoch']}"
    )
    return [Finding("loss-rising", message, remedy)]


def find_missing_collapse(history: Sequence[Row]) -> list[Finding]:
    """Samples of a class that have not come together, and why that may be.

    Judged by ``nc1_rank_aware``, which stays finite when classes merge. With everything merged (rank 0) there is
    nothing left to collapse to, and nothing is said.
    """
    last = history[-1]
    if last["rank"] == 0 or (last["nc1_rank_aware"] is not None and last["nc1_rank_aware"] < COLLAPSED_NC1):
        return []
    value = math.inf if last["nc1_rank_aware"] is None else last["nc1_rank_aware"]
    seen = f"rank-aware NC1 is {value:.3g} after {last['epoch']} epochs, above {COLLAPSED_NC1:g}"
    earlier = next(row for row in history if row["epoch"] >= 0.75 * last["epoch"])
    before = earlier["nc1_rank_aware"]
    if before is not None and value < (1 - STILL_FALLING) * before:
        return [Finding("no-collapse", f"{seen}, and still falling", "train longer")]
    accuracy = last.get("train_accuracy", 1.0)
    if accuracy < 1 and not last.get("merged"):
        message = f"{seen}, and the network fits {100 * accuracy:.1f} % of the training samples"
        return [Finding("no-collapse", message, "widen or deepen the network, or train longer")]
    return [
        Finding(
            "no-collapse",
            f"{seen}, and no longer falling: the decay may be too weak to draw the samples of a class together",
            "raise lambda_h, or train longer at a higher learning rate",
        )
    ]


def find_excess(history: Sequence[Row], optimum: float) -> list[Finding]:
    """An objective that ends far above the certified optimum."""
    last = history[-1]
    excess = last["objective"] / optimum - 1
    if excess <= EXCESS:
        return []
    above = f"{100 * excess:.0f} % above the certified optimum {optimum:.4g}"
    message = f"the objective ended at {last['objective']:.4g}, {above}"
    return [Finding("far-from-optimum", message, "train longer, or at another learning rate")]


def find_other_branch(history: Sequence[Row], comparison: Comparison, objective: float | None) -> list[Finding]:
    """A network that is not at the stationary point that was predicted."""
    ended = float(history[-1]["objective"])
    differs = objective is not None and abs(ended / objective - 1) > EXCESS
    if comparison.same_rank and not differs:
        return []
    values = ("", "") if objective is None else (f" and an objective of {ended:.4g}", f" and {objective:.4g}")
    message = (
        f"the network ended at rank {comparison.measured.rank}{values[0]}, where the predicted stationary point has"
        f" rank {comparison.predicted.rank}{values[1]}: there are others"
    )
    return [Finding("other-branch", message, "compare several seeds or initialisations")]


def find_rank_deficiency(comparison: Comparison) -> list[Finding]:
    """Mean logits of lower rank than the optimum's: where decays that are large from the start leave a network.

    Judged by the rule of ``Comparison``: a rank that only a measurement misses is not called deficient. Classifier and
    features that lie in a common subspace stay in it, since neither's gradient leaves what the other spans; a large
    decay draws them into one before the classes have separated.
    """
    predicted, measured = comparison.predicted, comparison.measured
    if measured.rank >= predicted.rank or comparison.same_rank:
        return []
    message = (
        f"the mean logits have rank {measured.rank}, where the optimum has rank {predicted.rank}: training is stuck in"
        " a solution of too low a rank"
    )
    return [Finding("rank-deficient", message, _MORE_SLOWLY)]


def find_unexpected_blocks(predicted: Geometry, measured: Geometry) -> list[Finding]:
    """Measured classes that are not alike where the counts of the prediction say they are.

    Classes of one count form a cluster, whose classes the optimum treats alike: the mean logits are constant on each
    block, but for the diagonals of the diagonal blocks. What a prediction itself has outside the blocks, as under a
    fixed classifier of unequal angles, is no surprise.
    """
    order = "check that counts and classes are in the same order"
    if not np.array_equal(predicted.counts, measured.counts):
        index = int(np.argmax(predicted.counts != measured.counts))
        message = (
            f"the counts of the prediction are not those of the data: class {index} has"
            f" {measured.counts[index]} samples, not {predicted.counts[index]}"
        )
        return [Finding("counts-differ", message, order)]
    deviation, expected = (
        logits - _block_average(logits, predicted.counts) for logits in (measured.mean_logits, predicted.mean_logits)
    )
    deviation = deviation - expected
    scale = max(float(np.linalg.norm(measured.mean_logits)), MERGE_ABSOLUTE_TOLERANCE * measured.num_classes)
    share = float(np.linalg.norm(deviation)) / scale
    if share <= BLOCK_DEVIATION:
        return []
    worst = int(np.argmax(np.linalg.norm(deviation, axis=0) + np.linalg.norm(deviation, axis=1)))
    message = (
        f"{100 * share:.0f} % of the mean logits lie outside the blocks of the counts, most for class {worst} of the"
        f" cluster with {predicted.counts[worst]} samples a class"
    )
    return [Finding("unexpected-blocks", message, f"{order}, else train longer")]


def find_unexpected_merges(comparison: Comparison) -> list[Finding]:
    """Classes that merged against the prediction, or were to merge and have not, by the rule of ``Comparison``."""
    findings = []
    if pairs := comparison.unexpected_merges:
        message = f"classes {_classes(pairs)} have merged, though the prediction keeps them apart"
        findings.append(Finding("unexpected-merge", message, _MORE_SLOWLY))
    if pairs := comparison.missing_merges:
        message = f"classes {_classes(pairs)} were predicted to merge and have not"
        remedy = "train longer, or check that the decays are those of the prediction"
        findings.append(Finding("missing-merge", message, remedy))
    return findings


def _block_average(matrix: Array, counts: np.ndarray[Any, Any]) -> Array:
    """The matrix averaged over all permutations of classes inside the clusters of equal count."""
    labels = np.unique(counts, return_inverse=True)[1]
    blocks = 2 * (len(counts) * labels[:, None] + labels) + np.eye(len(counts), dtype=np.int64)
    parts = np.unique(blocks, return_inverse=True)[1].ravel()
    means = np.bincount(parts, weights=matrix.ravel()) / np.bincount(parts)
    average: Array = means[parts].reshape(matrix.shape)
    return average


def _classes(pairs: Sequence[tuple[int, int]]) -> list[int]:
    return sorted({index for pair in pairs for index in pair})
