"""``lopsided check``: whether these decays erase classes."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from lopsided.advice import check as check_counts
from lopsided.cli.checkpoint_counts import read_checkpoint
from lopsided.cli.class_table import print_outlook
from lopsided.cli.options import (
    COUNTS,
    Bias,
    FeatureDecay,
    Features,
    Json,
    LambdaB,
    LambdaZ,
    Margin,
    Tolerance,
    WeightDecay,
    takes_loss,
)
from lopsided.cli.output import console, print_json
from lopsided.core.arguments import ArgumentError
from lopsided.core.count_sources import read_counts
from lopsided.core.losses import Loss
from lopsided.core.outlook import FADING, Outlook


@takes_loss
def check(
    counts: Annotated[str | None, COUNTS] = None,
    *,
    lambda_z: LambdaZ = None,
    weight_decay: WeightDecay = None,
    feature_decay: FeatureDecay = None,
    lambda_b: LambdaB | None = None,
    bias: Bias = True,
    loss: Loss,
    features: Features = "any",
    margin: Margin = FADING,
    sampling_strategy: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Check after oversampling: minority, not minority, not majority, all, a share, CLASS:SAMPLES,…, or"
            " counts.",
        ),
    ] = None,
    feature_penalty_per: Annotated[
        str,
        typer.Option(
            metavar="WHAT", help="Whether features of repeated samples are decayed per appearance or per sample."
        ),
    ] = "appearance",
    tol: Tolerance | None = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A trained network's features, labels, weight and bias, as lopsided measure reads them: λ_z"
            " follows from them and --weight-decay, the counts from the labels.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check before training which classes these decays keep, which are fading, and which are lost.

    Exits with 1 where a class is lost, or the optimum could not be certified. With --weight-decay alone
    nothing can be decided: then it prints the feature decay from which on each class is lost.

    Example:

    lopsided check --counts cifar100-lt:100 --weight-decay 5e-4 --feature-decay 1e-6
    """
    said: tuple[str, ...] = ()
    found = None if counts is None else read_counts(counts)
    if checkpoint is not None:
        trained = read_checkpoint(checkpoint, found, lambda_z, weight_decay, feature_decay, bias)
        found, lambda_z, weight_decay, bias = trained.counts, trained.lambda_z, None, trained.lambda_b is not None
        lambda_b = trained.lambda_b if lambda_b is None else lambda_b
        said = (trained.statement,)
    if found is None:
        raise ArgumentError("counts", "must be given, or --checkpoint, whose labels are counted", got="neither")
    outlook = check_counts(
        found,
        lambda_z,
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        lambda_b=lambda_b or 0.0,
        bias=bias,
        loss=loss,
        features=features,
        margin=margin,
        sampling_strategy=sampling_strategy,
        feature_penalty_per=feature_penalty_per,
        tol=tol,
    )
    outlook = dataclasses.replace(outlook, assumptions=said + outlook.assumptions)
    if as_json:
        print_json(outlook.to_dict())
    else:
        _print(outlook)
    if outlook.solution is not None and not outlook.certified:
        typer.echo(f"lopsided: {outlook.solution.message}", err=True)
    if outlook.lost or not outlook.certified:
        raise typer.Exit(1)


def _print(outlook: Outlook) -> None:
    print_outlook(outlook)
    terminal = console()
    for sentence in outlook.assumptions:
        terminal.print(f"- {sentence}", style="dim", markup=False)
    helps = ""
    if outlook.lost and len(outlook.lost) < len(outlook.states):
        helps = " lopsided advise says what helps."
    elif outlook.problem is None:
        helps = " Give --feature-decay or --lambda-z."
    terminal.print(f"{outlook.verdict}{helps}", style="bold", markup=False)
