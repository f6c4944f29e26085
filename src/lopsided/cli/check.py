"""``lopsided check``: whether these decays erase classes."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from lopsided.advice import check as check_counts
from lopsided.cli.checkpoint_counts import read_checkpoint
from lopsided.cli.class_table import print_outlook
from lopsided.cli.network import read_network
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
from lopsided.cli.output import console, plain_table, print_json
from lopsided.core.arguments import ArgumentError
from lopsided.core.count_sources import ClassCounts, read_counts
from lopsided.core.ends import USUAL
from lopsided.core.losses import Loss, SquaredError
from lopsided.core.outlook import FADING, Outlook
from lopsided.solver.stationary import MOST_CLASSES


@takes_loss
def check(
    counts: Annotated[str | None, COUNTS] = None,
    *,
    lambda_z: LambdaZ = None,
    weight_decay: WeightDecay = None,
    feature_decay: FeatureDecay = None,
    end: Annotated[
        str | None,
        typer.Option(
            metavar="END",
            help="How the network ends, beside a --weight-decay that its optimiser has for all parameters: batch-norm,"
            " batch-norm-relu, residual:BRANCHES or none.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="A function that returns (model, optimizer) or (model, optimizer, example input): the decays are read"
            " off them, and what they amount to.",
        ),
    ] = None,
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

    Exits with 1 where a class is lost, or the optimum could not be certified. With --weight-decay alone it depends on
    how the network ends: then it answers for the usual ends, and --end names one.

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
    decays = None if network is None else read_network(network, int(found.counts.sum()))
    settings: dict[str, Any] = {
        "weight_decay": weight_decay,
        "lambda_b": lambda_b,
        "bias": bias,
        "loss": loss,
        "margin": margin,
        "sampling_strategy": sampling_strategy,
        "tol": tol,
    }
    outlook = check_counts(
        found,
        lambda_z,
        feature_decay=feature_decay,
        end=end,
        network=decays,
        features=features,
        feature_penalty_per=feature_penalty_per,
        **settings,
    )
    outlook = dataclasses.replace(outlook, assumptions=said + outlook.assumptions)
    known_end = (
        outlook.problem is not None or end or network or (features, feature_penalty_per) != ("any", "appearance")
    )
    others = {} if known_end else _by_end(found, settings)
    if as_json:
        ends = {name: one.to_dict() for name, one in others.items()}
        print_json(outlook.to_dict() | ({"ends": ends} if ends else {}))
    else:
        _print(outlook, others)
    if outlook.solution is not None and not outlook.certified:
        typer.echo(f"lopsided: {outlook.solution.message}", err=True)
    if outlook.lost or not outlook.certified:
        raise typer.Exit(1)


def _by_end(counts: ClassCounts, settings: dict[str, Any]) -> dict[str, Outlook]:
    """What a weight decay of all parameters does in networks of the usual ends."""
    # of so many classes, and under squared error, ReLU features are not solved
    without_relu = len(counts.counts) > MOST_CLASSES or isinstance(settings["loss"], SquaredError)
    ends = [name for name in USUAL if not (without_relu and name.endswith("relu"))]
    return {name: check_counts(counts, end=name, **settings) for name in ends}


def _print(outlook: Outlook, others: dict[str, Outlook]) -> None:
    print_outlook(outlook)
    terminal = console()
    for sentence in outlook.assumptions:
        terminal.print(f"- {sentence}", style="dim", markup=False)
    if others:
        terminal.print(outlook.verdict, markup=False)
        _print_ends(others)
        return
    helped = outlook.lost and len(outlook.lost) < len(outlook.states)
    helps = " lopsided advise says what helps." if helped else ""
    terminal.print(f"{outlook.verdict}{helps}", style="bold", markup=False)


def _print_ends(outlooks: dict[str, Outlook]) -> None:
    terminal = console()
    table = plain_table("a network that ends in", "λ_z", "lost", "first lost at a weight decay of")
    for name, outlook in outlooks.items():
        assert outlook.problem is not None
        lost = outlook.called(outlook.lost) if outlook.lost else "none"
        first = f"{outlook.critical_weight_decays.min():.4g}" + ("" if outlook.exact.all() else " ≈")
        table.add_row(name, f"{outlook.problem.lambda_z:.3g}", lost, first)
    table.add_row("none of these", "–", "–", "unknown")
    terminal.print(table)
    terminal.print(
        "It depends on how the network ends. These decays are for one weight decay of all parameters, and classes are"
        " lost at them at the latest: --end names one, --network reads it off the network itself.",
        style="bold",
    )
