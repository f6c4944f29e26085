"""Time the solver at the size of real long-tailed data, in multiples of one singular value decomposition.

A decomposition of the reduced matrix (one row a cluster) is the least that an iteration can cost. It is timed before
and after the solves of that size; its quickest time is the unit and the solves' median is the time, so that a busy
machine makes the solver look worse and not better. Every answer's duality gap stands beside its time.

    python benchmarks/large.py [--json] [--device cuda] [--everything]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

import lopsided as lp

#: λ_b of all problems, and decays on the way of a path.
BIAS_DECAY, STEPS = 0.02, 50
#: Solves of one problem, of which the median counts.
REPEATS = 3


def long_tail(num_classes: int, head: float = 1280.0) -> np.ndarray:
    """Counts head · e^{−5.5 k/K}: many classes of the tail tie."""
    counts: np.ndarray = np.round(head * np.exp(-5.5 * np.arange(num_classes) / num_classes))
    return counts


def pareto(num_classes: int = 8142, head: float = 1000.0, tail: float = 2.0) -> np.ndarray:
    """Counts falling from ``head`` to ``tail`` as an inverse square: as many classes as iNaturalist 2018."""
    place = np.arange(num_classes) / (num_classes - 1)
    counts: np.ndarray = np.round(head / (1 + (np.sqrt(head / tail) - 1) * place) ** 2)
    return counts


def problems() -> dict[str, np.ndarray]:
    return {
        "long tail": long_tail(1000),
        "all distinct": long_tail(1000, head=256_000.0),
        "Pareto": pareto(),
    }


def decomposition_seconds(size: int, device: str | None) -> float:
    """The time of one full singular value decomposition of a random matrix."""
    matrix = np.random.default_rng(0).normal(size=(size, size))
    if device is None:
        return elapsed(lambda: np.linalg.svd(matrix))
    import torch

    tensor = torch.asarray(matrix, device=device)

    def decompose() -> None:
        torch.linalg.svd(tensor)
        if tensor.is_cuda:
            torch.cuda.synchronize()

    return elapsed(decompose)


def elapsed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_megabytes() -> float:
    """The most memory that this process has held so far."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def solve_row(name: str, counts: np.ndarray, factor: float, device: str | None) -> dict[str, object]:
    """One problem at Nλ = factor · √n_min."""
    model = lp.UFM(counts, factor * float(np.sqrt(counts.min()) / counts.sum()), lambda_b=BIAS_DECAY)
    size = model.clusters.num_clusters
    before = min(decomposition_seconds(size, device) for _ in range(3))
    found: list[lp.Solution] = []
    seconds = statistics.median(elapsed(lambda: found.append(model.solve(device=device))) for _ in range(REPEATS))
    unit = min(before, *(decomposition_seconds(size, device) for _ in range(3)))
    solution = found[0]
    return {
        "problem": name,
        "classes": model.num_classes,
        "clusters": size,
        "decay": factor,
        "rank": solution.geometry.rank,
        "seconds": seconds,
        "decompositions": seconds / unit,
        "relative_gap": solution.gap / solution.objective,
        "iterations": solution.iterations,
        "peak_megabytes": peak_megabytes(),
    }


def path_row(name: str, counts: np.ndarray, device: str | None) -> dict[str, object]:
    """A path of decays from complete collapse to half the rarest threshold, against its hardest cold solve."""
    model = lp.UFM(counts, 1.0, lambda_b=BIAS_DECAY)
    last = 0.5 * float(np.sqrt(counts.min()) / counts.sum())
    decays = np.geomspace(model.thresholds().complete, last, STEPS)
    cold = [elapsed(lambda decay=decay: model.replaced(lambda_z=decay).solve(device=device)) for decay in decays]
    found: list[lp.Solution] = []
    seconds = elapsed(lambda: found.extend(lp.solve_path(model, decays, device=device)))
    return {
        "problem": name,
        "classes": model.num_classes,
        "clusters": model.clusters.num_clusters,
        "seconds": seconds,
        "hardest_cold_solve": max(cold),
        "ratio": seconds / max(cold),
        "ratio_to_all_cold": seconds / sum(cold),
        "relative_gap": max(solution.gap / solution.objective for solution in found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--device", help="a device of PyTorch, such as cuda; NumPy by default")
    parser.add_argument("--everything", action="store_true", help="also the path of a thousand classes (minutes)")
    arguments, _ = parser.parse_known_args()  # `make bench` passes the same to every benchmark
    device = arguments.device
    lp.UFM("3,2", 0.1).solve(device=device)  # its imports are not its speed
    progress = Console(stderr=True)
    solves, paths = [], []
    with progress.status("") as status:
        chosen = problems()
        for name in (
            "Pareto",
            "long tail",
            "all distinct",
        ):  # the peak of memory only grows; that of the first is asked
            for factor in (0.5, 3.0):
                status.update(f"{name}, Nλ = {factor:g} √n_min")
                solves.append(solve_row(name, chosen[name], factor, device))
        several = {"two clusters": np.repeat([500.0, 100.0], 5), "long tail of 100": long_tail(100)}
        if arguments.everything:
            several["long tail"] = chosen["long tail"]
        for name, counts in several.items():
            status.update(f"{name}, path of {STEPS} decays")
            paths.append(path_row(name, counts, device))
    if arguments.json:
        json.dump({"solves": solves, "paths": paths}, sys.stdout, indent=2)
        print()
        return
    table = Table(
        "counts", "classes", "clusters", "Nλ/√n_min", "rank", "time [s]", "SVDs", "gap/objective", "peak [MB]"
    )
    for row in solves:
        table.add_row(
            str(row["problem"]),
            str(row["classes"]),
            str(row["clusters"]),
            f"{row['decay']:g}",
            str(row["rank"]),
            f"{row['seconds']:.2f}",
            f"{row['decompositions']:.0f}",
            f"{row['relative_gap']:.0e}",
            f"{row['peak_megabytes']:.0f}",
        )
    console = Console(width=140)
    console.print(table)
    table = Table(
        "path of counts",
        "clusters",
        f"{STEPS} decays [s]",
        "hardest cold [s]",
        "ratio",
        "all cold",
        "worst gap/objective",
    )
    for row in paths:
        table.add_row(
            str(row["problem"]),
            str(row["clusters"]),
            f"{row['seconds']:.2f}",
            f"{row['hardest_cold_solve']:.4f}",
            f"{row['ratio']:.0f}×",
            f"{1 / row['ratio_to_all_cold']:.1f}×",
            f"{row['relative_gap']:.0e}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
