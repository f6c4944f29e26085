"""ReLU features explain the early complete collapse of the networks in the paper.

Hong & Ling (JMLR 2024) train networks on 5 classes of 500 and 5 of 100 samples. Their theory, for features of any
sign, has everything collapse at λ_z = .00745; the networks, whose features end in a ReLU, collapse between .0063 and
.0069. With H ≥ 0 the model itself collapses at .00675.

    python examples/relu_collapse.py
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

import lopsided as lp
from lopsided.theory import relu_complete_threshold, relu_stationary_point

COUNTS = "500x5,100x5"
LAMBDA_B = 0.02
DECAYS = (0.0027, 0.0030, 0.0033, 0.0039, 0.0045, 0.0051, 0.0057, 0.0063, 0.0069, 0.0075)
#: Where the paper's networks collapsed (Figure 5).
NETWORKS = (0.0063, 0.0069)


def describe(geometry: lp.Geometry) -> str:
    """Which classes are still told apart."""
    if geometry.rank == 0:
        return "everything merged"
    return "rare merged" if [5, 6, 7, 8, 9] in geometry.merged else "all apart"


def main() -> int:
    """Print the table; 0 only if every ReLU answer is certified and the threshold lies where the networks' does."""
    model = lp.UFM(COUNTS, 1.0, lambda_b=LAMBDA_B)
    threshold, linear = relu_complete_threshold(model), model.thresholds().complete
    table = Table(title=f"{COUNTS}, λ_b = {LAMBDA_B}")
    for column in ("λ_z", "any sign", "H ≥ 0", "gap of H ≥ 0"):
        table.add_column(column, justify="left" if column in ("any sign", "H ≥ 0") else "right")
    certified = True
    for decay in DECAYS:
        model = lp.UFM(COUNTS, decay, lambda_b=LAMBDA_B)
        found = relu_stationary_point(model)
        certified &= found.gap < 1e-6
        table.add_row(
            f"{decay:.4f}", describe(model.solve().geometry), describe(found.geometry), f"{max(found.gap, 1e-12):.0e}"
        )
    console = Console()
    console.print(table)
    console.print(f"Everything collapses at λ_z = {linear:.6f} for features of any sign,")
    console.print(f"at {threshold.upper:.6f} for H ≥ 0 (certified from below: {threshold.lower:.6f}),")
    console.print(f"between {NETWORKS[0]} and {NETWORKS[1]} in the paper's networks.")
    return 0 if certified and NETWORKS[0] < threshold.lower <= threshold.upper < NETWORKS[1] else 1


if __name__ == "__main__":
    sys.exit(main())
