"""Time a training step that is watched against one that is not.

The steps are bare: forward, backward, SGD with momentum, on synthetic images; no loader and no trainer to hide behind.
Blocks of steps with and without the recorder alternate, and the ratio is the median over pairs of neighbours, so that a
busy machine slows both. What a measurement costs, once a round, stands beside: in milliseconds and in steps.

    python benchmarks/monitor.py [--json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits
from torch import nn

from lopsided.callbacks import CollapseRecorder
from lopsided.callbacks.monitor import LARGEST_STRIDE

CLASSES, BLOCK, PAIRS, MEASUREMENTS = 10, 32, 9, 3


def perceptron() -> nn.Sequential:
    widths = [784, 256, 256, 256]
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, narrow in itertools.pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], CLASSES))


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, CLASSES)),
    )


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {"MLP 784-256-256-256": perceptron, "small CNN": convolutional}
#: Name, each so-many-th batch, and whether the scatter is kept.
SETTINGS = [
    ("every batch", 1, True),
    ("every batch, traces only", 1, False),
    (f"each {LARGEST_STRIDE}th batch (default from 512 on)", LARGEST_STRIDE, True),
]


class Run:
    """A network in training, with or without a recorder on it."""

    def __init__(self, build: Callable[[], nn.Sequential], batch: int) -> None:
        torch.manual_seed(0)
        self.network = build()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.batches = [(torch.randn(batch, 1, 28, 28), torch.randint(CLASSES, (batch,))) for _ in range(4)]

    def block(self, recorder: CollapseRecorder | None, every: int) -> float:
        """Seconds a step takes, over one block."""
        start = time.perf_counter()
        for step in range(BLOCK):
            inputs, labels = self.batches[step % len(self.batches)]
            gathers = recorder is not None and step % every == 0
            if gathers:
                recorder.begin()
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.network(inputs), labels).backward()
            self.optimizer.step()
            if gathers:
                recorder.add(labels)
        return (time.perf_counter() - start) / BLOCK


def compare(name: str, build: Callable[[], nn.Sequential], batch: int) -> list[dict[str, object]]:
    rows = []
    for setting, every, scatter in SETTINGS:
        run, recorder = Run(build, batch), CollapseRecorder(CLASSES, scatter=scatter)
        recorder.attach(run.network)
        run.block(None, 1), run.block(recorder, every)  # first calls allocate
        pairs = [(run.block(recorder, every), run.block(None, 1)) for _ in range(PAIRS)]
        measuring = []
        for _ in range(MEASUREMENTS):
            run.block(recorder, LARGEST_STRIDE)
            start = time.perf_counter()
            recorder.measure([run.optimizer])
            measuring.append(time.perf_counter() - start)
        step = statistics.median(bare for _, bare in pairs)
        rows.append(
            {
                "network": name,
                "batch": batch,
                "setting": setting,
                "step_seconds": step,
                "ratio": statistics.median(watched / bare for watched, bare in pairs),
                "measurement_seconds": statistics.median(measuring),
                "steps_a_measurement": statistics.median(measuring) / step,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    arguments, _ = parser.parse_known_args()  # `make bench` passes the same to every benchmark
    torch.set_num_threads(1)  # several that wait for each other on a busy machine would be all that is measured
    with threadpool_limits(1), Console(stderr=True).status("training steps"):
        results = [
            row for name, build in NETWORKS.items() for batch in (128, 256) for row in compare(name, build, batch)
        ]
    if arguments.json:
        json.dump(results, sys.stdout, indent=2)
        print()
        return
    table = Table("network", "batch", "gathered", "step [ms]", "ratio", "measurement [ms]", "in steps")
    table.title = (
        f"training steps, {CLASSES} classes, with and without the recorder; threads: {torch.get_num_threads()}"
    )
    for row in results:
        table.add_row(
            str(row["network"]),
            str(row["batch"]),
            str(row["setting"]),
            f"{1e3 * float(row['step_seconds']):.2f}",
            f"{row['ratio']:.3f}",
            f"{1e3 * float(row['measurement_seconds']):.1f}",
            f"{row['steps_a_measurement']:.1f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
