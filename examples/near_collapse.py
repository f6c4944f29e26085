"""Classes of nearly equal counts never coincide, and yet nothing tells them apart: how near they come.

Exact collapse needs equal counts; real data have none. For three pairs of classes of nearly equal counts the script
shows from which decay on their class means are within a twentieth of each other, beside the decay at which equal counts
would merge. Then it lets one pair's counts approach each other, on either side of that decay: below it their distance
stays; above it the distance falls in proportion to the log count ratio, as the derived rate says. Exit code 0 only if
it does.

    python examples/near_collapse.py --figure near_collapse.png
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

import lopsided as lp
from lopsided.report import figure_near_collapse, figure_path, save_figure
from lopsided.theory import NearCollapse, near_collapse, near_collapse_rate

LAMBDA_B = 0.02
COUNTS = (520, 500, 208, 200, 51, 50)
PAIRS = ((0, 1), (2, 3), (4, 5))
#: How near two class means must be to count as merged, as a share of their size.
TOLERANCE = 0.05
#: Of the second pair, which keep its mean count.
STEPS = (32, 16, 8, 4, 2)
#: How far the smallest step may be from the derived laws.
AGREEMENT = 1e-3


def pairs_table() -> tuple[Table, NearCollapse]:
    """From which decay on each pair is merged to within the tolerance."""
    model = lp.UFM(COUNTS, 1.0, lambda_b=LAMBDA_B)
    decays = np.geomspace(0.1, 1.05, 80) * model.thresholds().complete
    near = near_collapse(model, decays, PAIRS)
    merged = near.merged_from(TOLERANCE)
    table = Table(title=f"Pairs of nearly equal counts, λ_b = {LAMBDA_B}")
    for heading in ("samples", "log ratio", "equal counts\nmerge at λ_z", f"means within\n{TOLERANCE:g} from λ_z"):
        table.add_column(heading, justify="right")
    for (first, second), threshold, decay in zip(PAIRS, near.thresholds, merged, strict=True):
        one, other = COUNTS[first], COUNTS[second]
        table.add_row(f"{one}, {other}", f"{math.log(one / other):.4f}", f"{threshold:.6f}", f"{decay:.6f}")
    return table, near


def law_table() -> tuple[Table, bool]:
    """One pair's distance as its counts approach each other, and whether it does what is derived."""
    middle, total = (COUNTS[2] + COUNTS[3]) // 2, sum(COUNTS)
    below, above = 0.8 * math.sqrt(middle) / total, 1.2 * math.sqrt(middle) / total
    table = Table(title=f"Counts {middle} ± step, at 0.8 and 1.2 of the decay at which equal ones merge")
    for heading in ("step", "log ratio", "distance\nbelow", "distance\nabove", "above, over\nlog ratio", "derived"):
        table.add_column(heading, justify="right")
    found = []
    for step in (*STEPS, 0):
        counts = [*COUNTS[:2], middle + step, middle - step, *COUNTS[4:]]
        model = lp.UFM(counts, above, lambda_b=LAMBDA_B)
        near = near_collapse(model, [below, above], [(2, 3)])
        ratio = math.log(counts[2] / counts[3])
        apart, close = near.distance_means[:, 0]
        rate = near_collapse_rate(model, (2, 3)).means
        over = f"{close / ratio:.5f}" if step else "-"
        table.add_row(str(step), f"{ratio:.5f}", f"{apart:.6f}", f"{close:.6f}", over, f"{rate:.5f}")
        found.append((apart, close, ratio, rate))
    (apart, close, ratio, rate), (tied_apart, tied_close, _, _) = found[-2:]
    agrees = abs(close / ratio / rate - 1) < AGREEMENT and abs(apart / tied_apart - 1) < AGREEMENT
    return table, agrees and tied_close < 1e-6


def main() -> int:
    """Print both tables; 0 only if the derived laws hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", metavar="FILE", help="draw cosines and distances: .png, .svg or .pdf")
    figure = parser.parse_args().figure
    try:
        target = None if figure is None else figure_path(figure)
    except ValueError as error:
        parser.error(f"--{error}")
    console = Console(width=100)
    pairs, near = pairs_table()
    console.print(pairs)
    law, holds = law_table()
    console.print(law)
    console.print("The derived laws hold." if holds else "The derived laws do NOT hold.")
    if target is not None:
        save_figure(figure_near_collapse(near), target)
        console.print(f"Figure: {target}", soft_wrap=True, markup=False)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
