"""How much of the early collapse of real networks is due to features that end in a ReLU.

Hong & Ling (JMLR 2024) train networks on two groups of classes, over the decay in Figures 5 and 6 and over the size of
the larger group in Figures 7 and 8. The networks of Figure 5 collapse completely between λ_z = .0063 and .0069, earlier
than their theory says for features of any sign. The features of these networks end in a ReLU; for H ≥ 0 the model
itself collapses earlier, in every figure.

    python examples/relu_collapse.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

import lopsided as lp
from lopsided.theory import relu_complete_threshold

LAMBDA_B = 0.02
#: What stands on the horizontal axis of each figure, and its problem there.
DECAYS = {
    "5": ("500x5,100x5", (0.0027, 0.0030, 0.0033, 0.0039, 0.0045, 0.0051, 0.0057, 0.0063, 0.0069, 0.0075)),
    "6": ("500x3,100x7", (0.0037, 0.0041, 0.0045, 0.0053, 0.0062, 0.0070, 0.0078, 0.0086, 0.0094, 0.0102)),
}
SIZES = {
    "7": ("{}x5,100x5", (100, 200, 300, 400, 600, 800, 1000, 1100, 1200, 1400)),
    "8": ("{}x3,100x7", (100, 400, 450, 500, 700, 1000, 1600, 2200, 2500, 2800)),
}
LAMBDA_Z = 0.005
#: Between these decays the networks of Figure 5 collapsed.
NETWORKS = (0.0063, 0.0069)


def model(counts: str, lambda_z: float, features: str) -> lp.UFM:
    """The problem of the figures."""
    return lp.UFM(counts, lambda_z, lambda_b=LAMBDA_B, features=features)


def first_whole_number(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest number in (low, high] from which on a statement holds."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def thresholds(features: str) -> dict[str, float]:
    """Where everything collapses in each figure: the λ_z in 5 and 6, the n_A of the larger group in 7 and 8."""
    found: dict[str, float] = {}
    for figure, (counts, _) in DECAYS.items():
        found[figure] = collapse(counts, features)
    for figure, (pattern, _) in SIZES.items():

        def collapsed(size: int, pattern: str = pattern) -> bool:
            return collapse(pattern.format(size), features) <= LAMBDA_Z

        found[figure] = first_whole_number(collapsed, 500, 100_000)
    return found


def collapse(counts: str, features: str) -> float:
    """The decay of complete collapse, by a closed form with any sign and a certified bound for H ≥ 0."""
    problem = model(counts, 1.0, features)
    if features == "any":
        return problem.thresholds().complete
    bracket = relu_complete_threshold(problem)
    assert bracket.upper - bracket.lower < 1e-9 * bracket.upper, "the threshold is not known sharply"
    return bracket.upper


def certified_on_both_sides(figure: str, threshold: float) -> bool:
    """Whether the optimum, certified, is zero just above the ReLU threshold and not below."""
    if figure in DECAYS:
        problems = [model(DECAYS[figure][0], share * threshold, "relu") for share in (0.99, 1.01)]
    else:
        sizes = (round(0.97 * threshold), round(threshold))
        problems = [model(SIZES[figure][0].format(size), LAMBDA_Z, "relu") for size in sizes]
    below, above = (problem.solve() for problem in problems)
    certified = below.status == above.status == "optimal"
    return certified and below.geometry.rank > 0 and above.geometry.rank == 0


def main() -> int:
    """Print the table; 0 only if ReLU answers are certified and Figure 5's threshold lies where the networks' does."""
    table = Table(title=f"Complete collapse of the paper's problems, λ_b = {LAMBDA_B}")
    for column in ("figure", "counts", "any sign", "first point", "H ≥ 0", "first point", "certified"):
        table.add_column(column, justify="right" if column in ("any sign", "first point", "H ≥ 0") else "left")
    linear, relu = thresholds("any"), thresholds("relu")
    certified = True
    for figure, (counts, points) in (DECAYS | SIZES).items():
        both = certified_on_both_sides(figure, relu[figure])
        certified &= both
        cells = []
        for value in (linear[figure], relu[figure]):
            after = [point for point in points if point >= value]
            cells += [f"{value:.4g}", f"{after[0]:g}" if after else "none"]
        table.add_row(figure, counts.format("n_A"), *cells, "yes" if both else "no")
    console = Console(width=100)
    console.print(table)
    console.print("Figures 5 and 6: the decay λ_z; 7 and 8: n_A at λ_z = 0.005. First point: of those in the figure.")
    low, high = NETWORKS
    least, most = ((linear["5"] - relu["5"]) / (linear["5"] - edge) for edge in (low, high))
    console.print(f"Figure 5's networks collapse between {low} and {high}; H ≥ 0 alone gives {relu['5']:.6f}:")
    console.print(
        f"at least {least:.0%} of how much earlier they collapse than features of any sign, at most all of it"
    )
    console.print(f"(the ends of the interval give {least:.2f} and {most:.2f}).")
    return 0 if certified and low < relu["5"] < high else 1


if __name__ == "__main__":
    sys.exit(main())
