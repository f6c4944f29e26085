"""The unconstrained feature model trained by SGD with momentum reaches the certified optimum.

Every feature is a free parameter, as in the simulations of Hong & Ling (JMLR 2024). Three experiments: balanced counts
give the simplex equiangular tight frame; with two clusters the rare classes merge exactly where the threshold says as
the ratio of the counts grows; three clusters show the block structure. Exit code 0 only if every check holds.

    python examples/paper_own_way.py
"""

from __future__ import annotations

import math
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

import lopsided as lp
from lopsided.data import sample_indices
from lopsided.training import FreeFeatures, TrainingResult, train

LAMBDA_B = 0.02
#: With 3 + 3 classes and 10 samples in each rare one, N = 150 at the ratio 4: there the rare classes merge.
THRESHOLD_RATIO = 4
THRESHOLD_DECAY = math.sqrt(10) / 150
RATIOS = (1, 3, 3.8, 4.2, 7)

OBJECTIVE_TOLERANCE = 1e-4
LOGIT_TOLERANCE = 0.01
NC1_TOLERANCE = 1e-6
SHOWN_TOLERANCE = 1e-3


def run(counts: str, lambda_z: float) -> TrainingResult:
    """Train W, H and b from a random start, all samples at once."""
    data = sample_indices(counts)
    network = FreeFeatures(data.num_samples, data.num_classes)
    return train(
        network,
        data,
        lambda_w=lambda_z,
        lambda_h=lambda_z,
        lambda_b=LAMBDA_B,
        epochs=250,
        learning_rate=8.0,
        optimizer="sgd",
        ramp=0.0,
        measure_every=200,
    )


def worst_cosine(geometry: lp.Geometry) -> float:
    """How far the cosines of class means and classifier are from those of a simplex, −1/(K − 1)."""
    apart = ~np.eye(geometry.num_classes, dtype=bool)
    cosines = np.concatenate([geometry.cosines_means[apart], geometry.cosines_classifier[apart]])
    return float(np.abs(cosines + 1 / (geometry.num_classes - 1)).max())


def own_share_gap(geometry: lp.Geometry, first: int, second: int) -> float:
    """How much more probability a sample of class ``first`` gives to its own class than to class ``second``."""
    logits = geometry.mean_logits[first] + geometry.bias
    probabilities = np.exp(logits - logits.max())
    return float((probabilities[first] - probabilities[second]) / probabilities.sum())


def block_spread(matrix: np.ndarray, size: int) -> float:
    """The largest difference between entries that one block holds: its diagonal apart, where it is on the diagonal."""
    spread = 0.0
    for row in range(0, len(matrix), size):
        for column in range(0, len(matrix), size):
            block = matrix[row : row + size, column : column + size]
            own = np.eye(size, dtype=bool) if row == column else np.zeros((size, size), dtype=bool)
            spread = max([spread, *(float(np.ptp(part)) for part in (block[own], block[~own]) if part.size)])
    return spread


class Report:
    """A table of runs, and whether all of their checks hold."""

    def __init__(self) -> None:
        self.table = Table(title="Free features trained by SGD with momentum 0.9")
        for heading in (
            "experiment",
            f"objective\n≤ {OBJECTIVE_TOLERANCE:g}",
            f"mean logits\n≤ {LOGIT_TOLERANCE:g}",
            f"rank-aware\nNC1 ≤ {NC1_TOLERANCE:g}",
            "what it shows",
            "expected",
            f"found\n± {SHOWN_TOLERANCE:g}",
            "",
        ):
            self.table.add_column(heading)
        self.all_hold = True

    def add(self, experiment: str, result: TrainingResult, what: str, expected: float, found: float) -> None:
        """Compare a run with its certified optimum, and one number with what it should be."""
        solution = result.model.solve()
        last = result.history[-1]
        excess = abs(last["objective"] / solution.objective - 1)
        logits = lp.compare(solution.geometry, result.geometry)["mean_logits"].relative_error
        holds = (
            excess <= OBJECTIVE_TOLERANCE
            and logits <= LOGIT_TOLERANCE
            and last["nc1_rank_aware"] <= NC1_TOLERANCE
            and abs(found - expected) <= SHOWN_TOLERANCE
            and not result.findings
        )
        self.table.add_row(
            experiment,
            f"{excess:.1e}",
            f"{logits:.1e}",
            f"{last['nc1_rank_aware']:.1e}",
            what,
            f"{expected:.4f}",
            f"{round(found, 4) + 0.0:.4f}",
            "ok" if holds else " ".join(["FAILS", *(finding.code for finding in result.findings)]),
        )
        self.all_hold &= holds


def main() -> int:
    """Run the three experiments and print their checks."""
    report = Report()

    balanced = run("10x4", 0.02)
    report.add("balanced", balanced, "cosines from -1/3", 0.0, worst_cosine(balanced.geometry))

    for ratio in RATIOS:
        result = run(f"{round(10 * ratio)}x3,10x3", THRESHOLD_DECAY)
        # 1 − Nλ/√n, which is zero from the threshold on.
        expected = max(0.0, 1 - (1 + ratio) / (1 + THRESHOLD_RATIO))
        gap = own_share_gap(result.geometry, 4, 5)
        report.add(f"two clusters, ratio {ratio}", result, "gap of rare classes", expected, gap)

    blocks = run("40x2,20x2,10x2", 0.01)
    report.add("three clusters", blocks, "spread in blocks", 0.0, block_spread(blocks.geometry.mean_logits, 2))

    Console(width=120).print(report.table)
    return 0 if report.all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
