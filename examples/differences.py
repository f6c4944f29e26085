"""Where this project differs from Hong & Ling (JMLR 2024) and the code published with it, each difference computed.

Prints the numbers of docs/differences.md. Exit code 0 only if every claim made there holds.

    python examples/differences.py [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from scipy.optimize import minimize

import lopsided as lp
from lopsided.theory import relu_complete_threshold, seli_limit, two_cluster_threshold

MODES: dict[str, dict[str, float | bool]] = {
    "no bias": {"bias": False},
    "penalised, lambda_b 0.02": {"lambda_b": 0.02},
    "free bias": {},
}
FIGURE_5 = "500x5,100x5"
DATA_SET_1 = "5000x4,4000x3,3000x3"


@dataclass(frozen=True)
class Difference:
    """A claim, its numbers by name, and whether they bear it out."""

    title: str
    numbers: dict[str, float]
    holds: bool


def certified(model: lp.UFM) -> lp.Geometry:
    """The optimum, or an error: no claim rests on a number without its certificate."""
    solution = model.solve()
    if solution.gap > 1e-9 * solution.objective:
        raise ArithmeticError(f"{model}: {solution.message}")
    return solution.geometry


def sign() -> Difference:
    """Theorem 3(a): the sign of the logits that rare classes give each other."""
    numbers = {name: certified(lp.UFM(FIGURE_5, 0.003, **mode)).mean_logits[5, 6] for name, mode in MODES.items()}
    return Difference(
        "Rare classes' mean logit for each other, 500x5,100x5, lambda_z 0.003",
        {"lost from lambda_z": 1 / 300, **numbers},
        min(numbers.values()) > 0,
    )


def limit() -> Difference:
    """Theorem 5: what W and H tend to."""
    smallest = certified(lp.UFM("2x5,1x5", 1e-290 / math.sqrt(15), bias=False))
    tends_to = seli_limit(lp.UFM("2x5,1x5", 1.0, bias=False))
    numbers = {"simplex": -1 / 9}
    for name, geometry in (("lambda_z sqrt(N) = 1e-290", smallest), ("limit", tends_to)):
        for where, (i, j) in (("common", (0, 1)), ("rare", (5, 6))):
            numbers[f"{name}: means, {where} classes"] = geometry.cosines_means[i, j]
            numbers[f"{name}: classifier, {where} classes"] = geometry.cosines_classifier[i, j]
            numbers[f"{name}: mean logits, {where} classes"] = geometry.cosines_logits[i, j]
    errors = [np.abs(smallest.cosines_means - other).max() for other in (tends_to.cosines_means, simplex(10))]
    return Difference("Cosines in the limit of small decay, 2x5,1x5, no bias", numbers, errors[0] < 0.05 * errors[1])


def free_bias_limit() -> Difference:
    """Theorem 5 with a free bias: what the mean logits tend to."""
    smallest = certified(lp.UFM("2x5,1x5", 1e-290 / math.sqrt(15)))
    tends_to = seli_limit(lp.UFM("2x5,1x5", 1.0))
    numbers = {
        f"{name}: {where} classes": geometry.cosines_logits[i, j]
        for name, geometry in (("lambda_z sqrt(N) = 1e-290", smallest), ("limit", tends_to))
        for where, (i, j) in (("common", (0, 1)), ("rare", (5, 6)))
    }
    outputs = smallest.mean_logits + smallest.bias
    numbers["outputs, bias included: cosines from the simplex by at most"] = float(
        np.abs(cosines(outputs) - simplex(10)).max()
    )
    errors = [np.abs(smallest.cosines_logits - other).max() for other in (tends_to.cosines_logits, simplex(10))]
    return Difference("Mean logits in the same limit with a free bias", numbers, errors[0] < 0.05 * errors[1])


def half() -> Difference:
    """The ½ that the published code leaves out, on a small problem minimised as that code states it."""
    counts, level, bias_level = np.array([6, 6, 2, 2]), 0.05, 0.01
    root, shares = np.sqrt(counts)[:, None], counts / counts.sum()

    def as_published(packed: np.ndarray) -> float:
        weight, features, bias = packed[:16].reshape(4, 4), packed[16:32].reshape(4, 4), packed[32:]
        outputs = features @ weight.T / root + bias
        top = outputs.max(axis=1, keepdims=True)
        losses = (top + np.log(np.exp(outputs - top).sum(axis=1, keepdims=True)))[:, 0] - np.diag(outputs)
        penalty = 5 * level * np.sum(weight**2) + level / 20 * np.sum(features**2) + bias_level * np.sum(bias**2)
        return float(shares @ losses + penalty)

    start = np.random.default_rng(0).normal(size=36)
    numbers = {"minimum as published": float(minimize(as_published, start, method="BFGS", options={"gtol": 1e-7}).fun)}
    for decay in (2 * bias_level, bias_level):
        numbers[f"optimum for lambda_z 0.05, lambda_b {decay:.2f}"] = (
            lp.UFM(counts, level, lambda_b=decay).solve().objective
        )
    found, right, wrong = numbers.values()
    return Difference(
        "6x2,2x2 at l 0.05, reg_b 0.01: the decays 5l, l/20 and reg_b without the factor 1/2",
        numbers,
        abs(found - right) < 1e-8 < 1e-5 < abs(found - wrong),
    )


def optimiser_decay() -> Difference:
    """What the optimiser's own weight decay of 5e-4 adds to the penalties of the scripts for Figures 1, 2 and 9."""
    explicit = 5e-4
    trained = lp.UFM(DATA_SET_1, lambda_w=2 * 1e-3 + explicit, lambda_h=2 * 1e-6, lambda_b=0.02 + explicit)
    stated = lp.UFM(DATA_SET_1, lambda_w=1e-3, lambda_h=1e-6, lambda_b=0.02)
    numbers = {}
    for name, model in (("stated", stated), ("trained", trained)):
        numbers[f"Figures 1 and 2, {name}: lambda_z"] = model.lambda_z
        numbers[f"Figures 1 and 2, {name}: own logit, 5000 samples"] = certified(model).mean_logits[0, 0]
    for count in (500, 5500):
        total = 5 * (count + count // 2)
        level = 0.1 / total
        decay = math.sqrt((10 * level + explicit) * level / 10)
        numbers[f"Figure 9, n_A = {count}: N lambda_z (0.1 is stated)"] = total * decay
    return Difference(
        "Weight decay 5e-4 of the optimiser, on top of the penalties", numbers, trained.lambda_z > 2 * stated.lambda_z
    )


def angles() -> Difference:
    """Figure 9: cosines of mean predictions, and of a logit over the classes, which its script computes."""
    logits = certified(lp.UFM("500x5,250x5", 0.1 / 3750, lambda_b=0.02)).mean_logits
    numbers = {}
    for name, vectors in (("mean predictions", logits), ("logits over the classes", logits.T)):
        for where, (i, j) in (("common", (0, 1)), ("rare", (5, 6))):
            numbers[f"{name}, {where} classes"] = cosines(vectors)[i, j]
    values = list(numbers.values())
    return Difference("Cosines of Figure 9 at n_A = 500", numbers, abs(values[0] - values[2]) > 0.02)


def readme_example() -> Difference:
    """The example in the README of the published code."""
    model = lp.UFM("5000x3,4000x3,3000x4", 0.005, lambda_b=0.02)
    geometry = certified(model)
    numbers = {
        "N lambda_z": model.num_samples * model.lambda_z,
        "root of the largest count": math.sqrt(5000),
        "complete collapse from lambda_z": model.thresholds().complete,
        "rank of the optimum": geometry.rank,
    }
    return Difference("The example 3 3 4 / 5000 4000 3000 at reg_z 0.005", numbers, geometry.rank == 0)


def regimes() -> Difference:
    """The decay between the paper's cases (b) and (c)."""
    numbers = {name: two_cluster_threshold(lp.UFM(FIGURE_5, 1.0, **mode)) for name, mode in MODES.items()}
    none, penalised, free = numbers.values()
    numbers["unique for so many rare classes to a common one"] = (1 + math.sqrt(2)) ** 2 * math.exp(2 * math.sqrt(2))
    return Difference("Clusters told apart up to lambda_z, 500x5,100x5", numbers, penalised < free < none)


def early_collapse() -> Difference:
    """Complete collapse with features of any sign, and with features that end in a ReLU."""
    model = lp.UFM(FIGURE_5, 1.0, lambda_b=0.02)
    relu, linear = relu_complete_threshold(model), model.thresholds().complete
    numbers = {"features of any sign": linear, "H >= 0, at least": relu.lower, "H >= 0, at most": relu.upper}
    holds = 0.0063 < relu.lower <= relu.upper < 0.0069 < linear
    return Difference("Complete collapse, 500x5,100x5; the paper's networks: between 0.0063 and 0.0069", numbers, holds)


def cosines(rows: np.ndarray) -> np.ndarray:
    """Cosines of the rows of a matrix with each other."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


def simplex(classes: int) -> np.ndarray:
    """Cosines of a simplex."""
    return (1 + 1 / (classes - 1)) * np.eye(classes) - 1 / (classes - 1)


DIFFERENCES: tuple[Callable[[], Difference], ...] = (
    sign,
    limit,
    free_bias_limit,
    half,
    optimiser_decay,
    angles,
    readme_example,
    regimes,
    early_collapse,
)


def main() -> int:
    """Print every difference with its numbers; 0 only if all claims hold."""
    parser = argparse.ArgumentParser(description="Where lopsided differs from Hong & Ling (JMLR 2024).")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    options = parser.parse_args()
    found = [difference() for difference in DIFFERENCES]
    if options.json:
        print(json.dumps([asdict(difference) | {"holds": bool(difference.holds)} for difference in found], indent=1))
    else:
        for difference in found:
            print(f"{'holds' if difference.holds else 'FAILS'}  {difference.title}")
            for name, value in difference.numbers.items():
                print(f"       {name:<61} {value:.6g}")
    return 0 if all(difference.holds for difference in found) else 1


if __name__ == "__main__":
    sys.exit(main())
