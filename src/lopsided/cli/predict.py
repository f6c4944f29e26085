"""``lopsided predict``: the certified optimum for given counts and decays."""

from __future__ import annotations

from typing import Any

import numpy as np
import typer

from lopsided.cli.options import (
    Bias,
    Counts,
    Features,
    Json,
    LambdaB,
    LambdaH,
    LambdaW,
    LambdaZ,
    Tolerance,
    bias_decay,
    takes_loss,
)
from lopsided.cli.output import bar, console, print_json, shown_rows
from lopsided.core.count_sources import read_counts
from lopsided.core.counts import class_ranges
from lopsided.core.losses import Loss
from lopsided.core.solution import Solution
from lopsided.model import UFM
from lopsided.theory import Thresholds

#: Most classes for which ``--json`` carries the K × K mean logits.
LARGEST_MATRIX = 64


@takes_loss
def predict(
    counts: Counts,
    *,
    lambda_z: LambdaZ = None,
    lambda_w: LambdaW = None,
    lambda_h: LambdaH = None,
    lambda_b: LambdaB = 0.0,
    bias: Bias = True,
    loss: Loss,
    features: Features = "any",
    tol: Tolerance = 1e-9,
    as_json: Json = False,
) -> None:
    """Predict the last layer that training ends in: which classes are kept apart, and which are lost.

    Exits with 1 where the optimum could not be certified to --tol: ReLU features and the focal loss end in a
    stationary point, which is certified only where its bound is tight.

    Example:

    lopsided predict --counts 500x5,100x5 --lambda-z 0.003 --lambda-b 0.02
    """
    model = UFM(
        read_counts(counts).counts,
        lambda_z,
        lambda_w=lambda_w,
        lambda_h=lambda_h,
        lambda_b=lambda_b,
        bias=bias,
        loss=loss,
        features=features,
    )
    solution = model.solve(tol=tol)
    thresholds = model.thresholds()
    if as_json:
        print_json(_as_object(solution, thresholds))
    else:
        _print_tables(solution, thresholds)
    if solution.status != "optimal":
        typer.echo(f"lopsided: {solution.message}", err=True)
        raise typer.Exit(1)


def _as_object(solution: Solution, thresholds: Thresholds) -> dict[str, Any]:
    model, geometry = solution.problem, solution.geometry
    value: dict[str, Any] = {
        "lambda_z": model.lambda_z,
        "lambda_b": bias_decay(model),
        "objective": solution.objective,
        "gap": solution.gap,
        "status": solution.status,
        "rank": geometry.rank,
        "merged": geometry.merged,
        "thresholds": thresholds.to_dict(),
        "clusters": [
            {
                "count": int(cluster.count),
                "classes": cluster.classes,
                "own_logit": cluster.own_logit,
                "bias": cluster.bias,
                "collapsed": cluster.collapsed,
            }
            for cluster in solution.clusters
        ],
    }
    if model.num_classes <= LARGEST_MATRIX:
        value["mean_logits"] = geometry.mean_logits
    return value


def _print_tables(solution: Solution, thresholds: Thresholds) -> None:
    from rich.table import Table

    model, geometry = solution.problem, solution.geometry
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("classes", no_wrap=True)
    for heading in ("samples", "own logit", "bias", "lost at λ_z ≥"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("λ_z / threshold", no_wrap=True)
    table.add_column("", min_width=4, no_wrap=True)  # the verdict must be legible, however narrow the terminal
    for row in shown_rows(len(solution.clusters)):
        if row is None:
            table.add_row(*["…"] * 7)
            continue
        cluster, within = solution.clusters[row], float(thresholds.within[row])
        threshold = thresholds.complete if np.isnan(within) else min(within, thresholds.complete)
        # a class alone in its cluster is lost earlier where it meets others at the origin; the path knows from where on
        earlier = cluster.collapsed and model.lambda_z < threshold
        table.add_row(
            class_ranges(cluster.classes),
            f"{cluster.count:.0f}",
            f"{cluster.own_logit:.4f}",
            f"{cluster.bias:.4f}" if model.bias else "none",
            f"≤ {model.lambda_z:.6g}" if earlier else f"{threshold:.6g}",
            f"{bar(1.0)} ≥ 1" if earlier else f"{bar(model.lambda_z / threshold)} {model.lambda_z / threshold:.3g}",
            "[bold red]lost[/]" if cluster.collapsed else "[green]kept[/]",
        )
    terminal = console()
    terminal.print(str(model), style="bold", no_wrap=True, overflow="ellipsis")
    terminal.print(table)
    terminal.print(
        f"rank {geometry.rank} of {model.num_directions}; objective {solution.objective:.10g}; "
        f"all classes merge at λ_z ≥ {thresholds.complete:.6g}"
    )
    certificate = "certified" if solution.status == "optimal" else f"NOT certified ({solution.status})"
    # Past a dozen digits the gap is rounding, and its figures differ from machine to machine.
    gap = f"at most {solution.gap:.2g}" if solution.gap >= 1e-12 else "less than 1e-12"
    terminal.print(f"{certificate}: {gap} above the true optimum")
    if thresholds.note:
        terminal.print(f"thresholds {thresholds.note}", style="dim")
    terminal.print(_verdict(solution, thresholds), style="bold")


def _verdict(solution: Solution, thresholds: Thresholds) -> str:
    """One sentence: what is lost, and how far away the next change is."""
    model, decay = solution.problem, solution.problem.lambda_z
    if solution.geometry.rank == 0:
        return (
            f"Everything is lost: every class gets the same prediction; classes separate below λ_z = "
            f"{thresholds.complete:.6g}, {thresholds.complete / decay:.3g} times this decay."
        )
    lost = [index for index, cluster in enumerate(solution.clusters) if cluster.collapsed]
    if lost:
        classes = sorted(k for index in lost for k in solution.clusters[index].classes)
        begin = f"Lost: classes {class_ranges(classes)} cannot be told apart; "
        nearest = float(np.nanmin(thresholds.within[lost], initial=thresholds.complete))
        if (
            np.isnan(thresholds.within[lost]).sum() > 1
        ):  # they meet at the origin, from a decay on that must be searched
            return f"{begin}the classes alone in their count part at a lower decay, which lopsided path finds."
        return f"{begin}all are kept below λ_z = {nearest:.6g}, {nearest / decay:.3g} times this decay."
    directions = model.num_directions
    if solution.geometry.rank < directions:
        return (
            f"No two classes coincide, but they differ along only {solution.geometry.rank} of {directions} directions; "
            f"all merge at λ_z = {thresholds.complete:.6g}, {thresholds.complete / decay:.3g} times this decay."
        )
    values = [*thresholds.within, thresholds.complete]
    first = int(np.nanargmin(values))
    who = (
        "all classes"
        if first == len(solution.clusters)
        else f"classes {class_ranges(solution.clusters[first].classes)}"
    )
    return (
        f"No class is lost: the first to merge are {who}, at λ_z = {values[first]:.6g}, "
        f"{values[first] / decay:.3g} times this decay."
    )
