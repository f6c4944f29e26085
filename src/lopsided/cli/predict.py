"""``lopsided predict``: the certified optimum for given counts and decays."""

from __future__ import annotations

import typer

from lopsided.advice import outlook_of
from lopsided.cli.class_table import print_outlook
from lopsided.cli.options import (
    Bias,
    Counts,
    FeatureDecay,
    Features,
    Json,
    LambdaB,
    LambdaZ,
    Tolerance,
    WeightDecay,
    takes_loss,
)
from lopsided.cli.output import console, print_json
from lopsided.core.count_sources import read_counts
from lopsided.core.losses import Loss
from lopsided.core.outlook import Outlook
from lopsided.core.solution import Solution
from lopsided.model import UFM
from lopsided.theory import Thresholds


@takes_loss
def predict(
    counts: Counts,
    *,
    lambda_z: LambdaZ = None,
    lambda_w: WeightDecay = None,
    lambda_h: FeatureDecay = None,
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
    found = read_counts(counts)
    model = UFM(
        found.counts,
        lambda_z,
        lambda_w=lambda_w,
        lambda_h=lambda_h,
        lambda_b=lambda_b,
        bias=bias,
        loss=loss,
        features=features,
    )
    solution, thresholds = model.solve(tol=tol), model.thresholds()
    if as_json:
        print_json({**solution.to_dict(), "thresholds": thresholds.to_dict()})
    else:
        _print(outlook_of(model, names=found.names, known=thresholds, solution=solution), solution, thresholds)
    if not solution.certified:
        typer.echo(f"lopsided: {solution.message}", err=True)
        raise typer.Exit(1)


def _print(outlook: Outlook, solution: Solution, thresholds: Thresholds) -> None:
    print_outlook(outlook, logits=True)
    terminal = console()
    terminal.print(
        f"rank {solution.rank} of {solution.problem.num_directions}; objective {solution.objective:.10g}; "
        f"all classes merge at λ_z ≥ {thresholds.complete:.6g}"
    )
    certificate = "certified" if solution.certified else f"NOT certified ({solution.status})"
    # Past a dozen digits the gap is rounding, and its figures differ from machine to machine.
    gap = f"at most {solution.gap:.2g}" if solution.gap >= 1e-12 else "less than 1e-12"
    terminal.print(f"{certificate}: {gap} above the true optimum")
    if not outlook.exact.all() and not thresholds.note:
        terminal.print("≈: a yardstick, for a class alone in its count", style="dim")
    if thresholds.note:
        terminal.print(f"thresholds {thresholds.note}", style="dim")
    terminal.print(outlook.verdict, style="bold", markup=False)
