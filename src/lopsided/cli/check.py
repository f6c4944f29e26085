"""``lopsided check``: whether these decays erase classes."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated

import numpy as np
import typer

from lopsided.advice import FADING, Outlook
from lopsided.advice import check as check_counts
from lopsided.cli.options import (
    COUNTS,
    Bias,
    FeatureDecay,
    Features,
    Json,
    LambdaB,
    LambdaZ,
    Margin,
    WeightDecay,
    number,
    takes_loss,
)
from lopsided.cli.output import console, print_json
from lopsided.cli.trained import read_checkpoint
from lopsided.core.arguments import ArgumentError
from lopsided.core.count_sources import read_counts
from lopsided.core.losses import Loss


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
    tol: Annotated[
        float | None,
        typer.Option(parser=number, metavar="TOL", help="Largest certified gap, as a share of max(1, objective)."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A trained network's features, labels, weight and bias, as lopsided measure reads them: --weight-decay"
            " and its own sizes tell λ_z, its labels the counts.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check before training which classes these decays keep, which are fading, and which are lost.

    Exits with 1 where a class is lost, or the optimum could not be certified. With --weight-decay alone it cannot be
    known: then it gives the range, the feature decay from which on each class is lost.

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
    uncertified = outlook.solution is not None and outlook.solution.status != "optimal"
    if uncertified:
        assert outlook.solution is not None
        typer.echo(f"lopsided: {outlook.solution.message}", err=True)
    if outlook.lost or uncertified:
        raise typer.Exit(1)


def _print(outlook: Outlook) -> None:
    from lopsided.cli.class_table import class_table

    terminal = console()
    if outlook.problem is not None:
        terminal.print(str(outlook.problem), style="bold", no_wrap=True, overflow="ellipsis", markup=False)
    terminal.print(class_table(outlook))
    for sentence in outlook.assumptions:
        terminal.print(f"- {sentence}", style="dim", markup=False)
    terminal.print(_verdict(outlook), style="bold", markup=False)


def _verdict(outlook: Outlook) -> str:
    """One sentence: what is lost, and from which decay on."""
    from lopsided.cli.class_table import names_of

    if outlook.problem is None:
        low, high = (float(end) for end in (outlook.thresholds.min(), outlook.complete))
        assert outlook.weight_decay is not None
        decay = outlook.weight_decay
        if low >= high * (1 - 1e-9):
            return f"Unknown: all classes are lost from a feature decay of {high**2 / decay:.4g} on, none before."
        return (
            f"Unknown: no class is lost below a feature decay of {low**2 / decay:.4g}, and all are from"
            f" {high**2 / decay:.4g} on; in a trained network, below and from ‖W‖/‖H‖ = {low / decay:.4g} and"
            f" {high / decay:.4g}. Give --feature-decay or --lambda-z."
        )
    decay = outlook.problem.lambda_z
    total = len(outlook.states)
    if len(outlook.lost) == total:
        return (
            f"Everything is lost: every input gets the same prediction; classes separate below λ_z ="
            f" {outlook.complete:.6g}, {outlook.complete / decay:.3g} times this decay."
        )
    if outlook.lost:
        limit = float(outlook.thresholds[outlook.lost].min())
        zero = " Their means are zero: only the bias is left to predict by." if outlook.at_origin else ""
        return (
            f"Lost: {len(outlook.lost)} of {total} classes ({names_of(outlook, outlook.lost)}); all of them are kept"
            f" below λ_z = {limit:.6g}, {limit / decay:.3g} times this decay.{zero} lopsided advise says what helps."
        )
    lowest = float(np.nanmin(outlook.margins))
    if outlook.fading:
        misclassified = len(set(outlook.misclassified))
        wrong = f"; samples of {misclassified} of them are given to another class" if misclassified else ""
        return (
            f"No class is lost, but {len(outlook.fading)} of {total} are fading ({names_of(outlook, outlook.fading)}):"
            f" the decay may grow {lowest:.3g} times{wrong}."
        )
    assert math.isfinite(lowest)
    return f"All {total} classes are kept: the decay may grow {lowest:.3g} times before the first is lost."
