"""Time a forecast's path of decays in multiples of training the network once, in one process.

A perceptron is trained on a made table of 58,000 rows and 7 lopsided classes (16 epochs, batches of 512); its last
features go into ``lp.forecast``, which solves twenty decays, each to a certified gap. The same decays by 400 steps of
accelerated proximal gradient (FISTA, each decay begun from the one before) are the baseline, with the gap it is left
with.

    python benchmarks/forecast.py [--json] [--rows 58000] [--decays 20] [--kind channels mixing] [--everything] [--cpu]
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import lopsided as lp
from lopsided.forecast.certificate import Certificate, certify
from lopsided.forecast.program import Program

#: Shares of the classes, about those of Statlog's shuttle table, the rarest raised to some dozens of rows.
SHARES = np.array([0.70, 0.17, 0.09, 0.03, 0.006, 0.003, 0.001])
INPUTS, WIDTH, EPOCHS, BATCH = 36, 128, 16, 512
#: Steps of the baseline a decay, and the gap that is asked of ours, as a share of the objective (of 1, below 1).
FISTA_STEPS, TOLERANCE = 400, 1e-6


def table(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes of three overlapping clouds each."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(len(SHARES), size=rows, p=SHARES / SHARES.sum())
    labels[: len(SHARES)] = np.arange(len(SHARES))
    centres = generator.normal(size=(len(SHARES), 3, INPUTS))
    clouds = generator.integers(0, 3, rows)
    inputs = 0.9 * centres[labels, clouds] + 1.3 * generator.normal(size=(rows, INPUTS))
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels)


def perceptron() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(INPUTS, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()),
        *(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()),
        nn.Linear(WIDTH, len(SHARES)),
    )


def train(inputs: torch.Tensor, labels: torch.Tensor, decay: float) -> nn.Sequential:
    torch.manual_seed(0)
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=decay)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return model


def fista(program: Program, decay: float, bias_decay: float, point: np.ndarray, steps: int) -> np.ndarray:
    """Accelerated proximal gradient as anyone would write it, with the step that the spectral norm allows."""
    channels = program.num_channels
    gram = (program.features * program.pull[:, None]).T @ program.features
    step = 1 / (0.5 * np.linalg.eigvalsh(gram)[-1] + program.ridge(bias_decay))
    ahead, momentum = point, 1.0
    for _ in range(steps):
        gradient = program.slopes(program.evaluate(ahead @ program.features.T).probabilities)
        if program.bias:
            gradient[:, -1] += program.ridge(bias_decay) * ahead[:, -1]
        moved = ahead - step * gradient
        moved[:, :channels] = program.penalty.shrink(program.xp, moved[:, :channels], step * decay)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead, point, momentum = moved + (momentum - 1) / following * (moved - point), moved, following
    return point


def certificate_of(program: Program, point: np.ndarray, decay: float, bias_decay: float) -> Certificate:
    evaluation = program.evaluate(point @ program.features.T)
    return certify(program, point, evaluation, program.slopes(evaluation.probabilities), decay, bias_decay)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    parser.add_argument("--rows", type=int, default=58_000)
    parser.add_argument("--decays", type=int, default=20)
    parser.add_argument("--kind", nargs="+", default=["channels", "mixing"], choices=["channels", "mixing"])
    parser.add_argument("--everything", action="store_true", help="FISTA on every decay, not on one of them")
    parser.add_argument("--cpu", action="store_true", help="processor time: for a busy machine, with OMP_NUM_THREADS=1")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu else time.perf_counter
    inputs, labels = table(arguments.rows)
    start = clock()
    model = train(inputs, labels, 5e-4)
    training = clock() - start
    rows = []
    for kind in arguments.kind:
        mixing = kind == "mixing"
        model.eval()
        with torch.no_grad():
            features = model[:4](inputs) if mixing else model[:6](inputs)
        norm = model[4]
        costs = None if mixing else torch.sqrt(norm.weight**2 + norm.bias**2).detach()
        start = clock()
        made = lp.forecast(features, labels, costs=costs, lambda_w=5e-4, lambda_s=5e-4, lambda_b=5e-4, tol=TOLERANCE)
        decays = np.geomspace(made.largest_decay, 1e-3 * made.largest_decay, arguments.decays + 1)[1:]
        solutions = []
        for decay in decays:
            before = clock()
            solutions.append(made.at(decay))
            took = clock() - before
            answer = solutions[-1]
            print(
                f"{kind} {decay:.2e}: {took:.2f} s, {answer.iterations} steps, gap {answer.gap:.1e} of "
                f"{answer.objective:.4f}, {answer.active} on, recall {answer.recall.round(2)}",
                file=sys.stderr,
            )
        ours = clock() - start
        program, point, seconds, gaps = made.program, made.program.bias_only(5e-4), 0.0, []
        chosen = decays if arguments.everything else decays[len(decays) // 2 :][:1]
        for decay in chosen:
            start = clock()
            point = fista(program, decay, decay, point, FISTA_STEPS)
            seconds += clock() - start
            gaps.append(certificate_of(program, point, decay, decay).gap)
        baseline = seconds * len(decays) / len(chosen)
        rows.append(
            {
                "kind": kind,
                "training_seconds": training,
                "seconds": ours,
                "trainings": ours / training,
                "steps": sum(solution.iterations for solution in solutions),
                "largest_gap": max(solution.gap / max(1.0, solution.objective) for solution in solutions),
                "fista_seconds": baseline,
                "fista_over_ours": baseline / ours,
                "fista_largest_gap": max(gaps),
            }
        )
    if arguments.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
        return
    shown = Table("kind", "one training [s]", "path [s]", "trainings", "steps", "gap", "FISTA [s]", "× ours", "its gap")
    for row in rows:
        shown.add_row(
            str(row["kind"]),
            *(f"{float(row[key]):.2f}" for key in ("training_seconds", "seconds", "trainings")),
            str(row["steps"]),
            f"{row['largest_gap']:.1e}",
            *(f"{float(row[key]):.1f}" for key in ("fista_seconds", "fista_over_ours")),
            f"{row['fista_largest_gap']:.1e}",
        )
    Console(width=140).print(shown)


if __name__ == "__main__":
    main()
