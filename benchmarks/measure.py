"""Time one pass of the class moments against the matrix products that no such pass can do without.

The yardstick is the bare Σ XᵀX over the same batches, already in float64 and with nothing else done to them. Each
method is timed beside it, pass by pass in turn, so that a busy machine slows both; the ratio is the median of theirs.

    python benchmarks/measure.py [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from lopsided.metrics import Moments, NeuralCollapse, measure

SAMPLES, DIM, CLASSES, BATCH = 20_000, 512, 1000, 256
REPEATS = 9

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def bare_products(batches: Batches) -> None:
    total = torch.zeros(DIM, DIM, dtype=torch.float64)
    for features, _ in batches:
        total.addmm_(features.T, features)


def moments(batches: Batches, scatter: bool = True) -> Moments:
    gathered = Moments(CLASSES, DIM, scatter=scatter)
    for features, labels in batches:
        gathered.update(features, labels)
    return gathered


def metric(batches: Batches) -> NeuralCollapse:
    gathered = NeuralCollapse(CLASSES, DIM)
    for features, labels in batches:
        gathered.update(features, labels)
    return gathered


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(name: str, run: Callable[[], object], yardstick: Callable[[], object], numbers: int) -> dict[str, object]:
    run(), yardstick()  # first calls allocate
    pairs = [(seconds(run), seconds(yardstick)) for _ in range(REPEATS)]
    return {
        "method": name,
        "seconds": statistics.median(own for own, _ in pairs),
        "ratio": statistics.median(own / bare for own, bare in pairs),
        "state_bytes": 8 * numbers,
    }


def rows() -> list[dict[str, object]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    features = torch.randn(SAMPLES, DIM, generator=generator) + torch.randn(CLASSES, DIM, generator=generator)[labels]

    def batches(dtype: torch.dtype) -> Batches:
        return list(zip(features.to(dtype).split(BATCH), labels.split(BATCH), strict=True))

    double, single, half = batches(torch.float64), batches(torch.float32), batches(torch.bfloat16)
    full, traces = moments(double), moments(double, scatter=False)
    sizes = [sum(tensor.numel() for tensor in gathered.state) for gathered in (full, traces)]
    cases: list[tuple[str, Callable[[], object], int]] = [
        ("bare Σ XᵀX, float64", lambda: bare_products(double), DIM * DIM),
        ("Moments, float64 features", lambda: moments(double), sizes[0]),
        ("Moments, float32 features", lambda: moments(single), sizes[0]),
        ("Moments, bfloat16 features", lambda: moments(half), sizes[0]),
        ("Moments, traces only", lambda: moments(single, scatter=False), sizes[1]),
        ("NeuralCollapse.update", lambda: metric(single), metric(single).moments.numel()),
        ("measure, once at the end", lambda: measure(full), sizes[0]),
    ]
    return [compare(name, run, lambda: bare_products(double), numbers) for name, run, numbers in cases]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    arguments, _ = parser.parse_known_args()  # `make bench` passes the same to every benchmark
    with Console(stderr=True).status("class moments"):
        results = rows()
    if arguments.json:
        json.dump(results, sys.stdout, indent=2)
        print()
        return
    table = Table(
        "one pass",
        "time [ms]",
        "times bare products",
        "state [MB]",
        title=f"{SAMPLES:,} × {DIM} features, {CLASSES} classes, {BATCH} at a time; threads: {torch.get_num_threads()}",
    )
    for row in results:
        table.add_row(
            str(row["method"]),
            f"{1e3 * float(row['seconds']):.0f}",
            f"{row['ratio']:.2f}",
            f"{int(row['state_bytes']) / 1e6:.2f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
