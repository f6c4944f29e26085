"""Time the solver against CVXPY in one process, each method's duality gap beside its time.

The rival is the formulation that published code uses: a K × K matrix of mean logits under CVXPY's ``normNuc``, handed
to CLARABEL (interior point) or SCS (splitting), at their default settings. Every answer is judged twice: by the
duality gap of its mean logits, which is what it proves of itself, and by how far it lies above the certified optimum.

    python benchmarks/solve.py [--json] [--everything]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import cvxpy as cp
import numpy as np
from rich.console import Console
from rich.table import Table

import lopsided as lp

#: Beyond this many classes an interior-point method on the K × K program takes hours; ``--everything`` tries it.
LARGEST_INTERIOR_POINT = 30


def long_tail(num_classes: int) -> lp.UFM:
    """A long tail 1280·e^{−5.5 k/K} at half the decay at which its rarest class would collapse."""
    counts = np.round(1280 * np.exp(-5.5 * np.arange(num_classes) / num_classes))
    return lp.UFM(counts, lambda_z=0.5 * float(np.sqrt(counts.min()) / counts.sum()), lambda_b=0.02)


def problems() -> list[lp.UFM]:
    return [
        lp.UFM("500x5,100x5", lambda_z=0.003, lambda_b=0.02),
        lp.UFM("500x10,200x10,50x10", lambda_z=0.001, lambda_b=0.02),
        long_tail(80),
    ]


def with_cvxpy(problem: lp.UFM, solver: str) -> lp.Certificate | None:
    """The certificate of CVXPY's answer; None where the solver gives up."""
    counts = problem.counts.astype(float)
    classes = problem.num_classes
    logits, bias = cp.Variable((classes, classes)), cp.Variable(classes)
    outputs = logits + cp.reshape(bias, (1, classes), order="C")
    losses = cp.multiply(counts / counts.sum(), cp.log_sum_exp(outputs, axis=1) - cp.diag(outputs))
    penalty = problem.lambda_z * cp.normNuc(cp.diag(np.sqrt(counts)) @ logits)
    program = cp.Problem(cp.Minimize(cp.sum(losses) + penalty + problem.lambda_b / 2 * cp.sum_squares(bias)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an inaccurate answer shows in its gap
        try:
            program.solve(solver=solver)
        except cp.SolverError:
            return None
    return lp.certify_logits(problem, logits.value, bias.value)


def timed(run: Callable[[], object], repeats: int) -> float:
    """The median time of a few runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(problem: lp.UFM, everything: bool) -> list[dict[str, object]]:
    solution = problem.solve()
    ours = timed(problem.solve, repeats=21)
    name = str(problem) if problem.num_classes <= 30 else f"long tail, K = {problem.num_classes}"
    rows = [{"problem": name, "method": "lopsided", "seconds": ours, "ratio": 1.0, "gap": solution.gap, "excess": 0.0}]
    for solver in ("CLARABEL", "SCS"):
        if solver == "CLARABEL" and problem.num_classes > LARGEST_INTERIOR_POINT and not everything:
            continue
        start = time.perf_counter()
        certificate = with_cvxpy(problem, solver)
        seconds = time.perf_counter() - start
        rows.append(
            {
                "problem": name,
                "method": f"CVXPY + {solver}",
                "seconds": seconds,
                "ratio": seconds / ours,
                "gap": certificate and certificate.gap,
                "excess": certificate and certificate.objective - solution.objective,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    parser.add_argument("--everything", action="store_true", help="also what is expected to take hours")
    arguments, _ = parser.parse_known_args()  # `make bench` passes the same to every benchmark
    progress = Console(stderr=True)
    with_cvxpy(lp.UFM("3,2", lambda_z=0.1, lambda_b=0.02), "CLARABEL")  # its imports are not its speed
    rows = []
    with progress.status("") as status:
        for problem in problems():
            status.update(f"K = {problem.num_classes}")
            rows += measure(problem, arguments.everything)
    if arguments.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
        return
    table = Table("problem", "method", "time [ms]", "times ours", "gap", "above the optimum")
    for row in rows:
        table.add_row(
            str(row["problem"]),
            str(row["method"]),
            f"{1e3 * float(row['seconds']):.1f}",
            f"{row['ratio']:.0f}×",
            *("gives up" if row[key] is None else f"{row[key]:.1e}" for key in ("gap", "excess")),
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
