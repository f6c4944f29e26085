"""``lopsided advise``: the smallest change along each lever that keeps classes, each solved again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer

from lopsided.advice import Advice, Remedy
from lopsided.advice import advise as advise_problem
from lopsided.advice.checking import problem_of
from lopsided.advice.resampling import parse_classes
from lopsided.cli.class_table import lead, print_outlook
from lopsided.cli.options import Bias, Counts, FeatureDecay, Json, LambdaB, LambdaZ, Margin, WeightDecay, takes_loss
from lopsided.cli.output import console, patient_progress, plain_table, print_json
from lopsided.core.count_sources import read_counts
from lopsided.core.losses import Loss
from lopsided.core.outlook import FADING, Outlook


@takes_loss
def advise(
    counts: Counts,
    *,
    lambda_z: LambdaZ = None,
    weight_decay: WeightDecay = None,
    feature_decay: FeatureDecay = None,
    lambda_b: LambdaB = 0.0,
    bias: Bias = True,
    loss: Loss,
    keep: Annotated[
        str, typer.Option(metavar="CLASSES", help="Classes to be kept: all, or such as 5-9,12, or their names.")
    ] = "all",
    margin: Margin = FADING,
    levers: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these levers, such as decay,class-weights.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Advise what to change so that classes are kept: the smallest change along each lever, solved again.

    Exits with 1 where no lever keeps them.

    Example:

    lopsided advise --counts 500x5,100x5 --lambda-z 0.0035 --lambda-b 0.02 --keep 5-9
    """
    found = read_counts(counts)
    problem = problem_of(
        found,
        lambda_z,
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        lambda_b=lambda_b,
        bias=bias,
        loss=loss,
    )
    with patient_progress("remedies") as progress:
        advice = advise_problem(
            problem,
            parse_classes(keep, len(found.counts), found.names),
            margin=margin,
            levers=None if levers is None else [name.strip() for name in levers.split(",")],
            names=found.names,
            progress=progress,
        )
    if as_json:
        print_json(advice.to_dict())
    else:
        _print(advice)
    if not any(remedy.works for remedy in advice.remedies):
        raise typer.Exit(1)


def _print(advice: Advice) -> None:
    before = advice.before
    print_outlook(before)
    terminal = console()
    if not advice.short:
        headline = f"Nothing to change: every class to be kept has a margin of {advice.margin:.4g} or more."
    else:
        headline = (
            f"{len(advice.short)} of {len(advice.keep)} classes to be kept lack a margin of {advice.margin:.4g}:"
            f" {before.called(advice.short)}."
        )
    terminal.print(headline, style="bold", markup=False)
    terminal.print()
    table = plain_table("remedy", "margin", "p(own)", "lead", "others", "p(own)")
    table.add_column("", min_width=5, no_wrap=True)
    chosen = advice.short or advice.keep
    others = [k for k in range(len(before.counts)) if k not in set(chosen)]
    table.add_row(*_row("as it is", before, chosen, others, ""))
    for remedy in advice.remedies:
        verdict = "[green]works[/]" if remedy.works else "[bold red]fails[/]"
        moved = (remedy.classes[chosen].tolist(), remedy.classes[others].tolist())
        table.add_row(*_row(_title(remedy), remedy.outlook, *moved, verdict))
    terminal.print(table)
    lacking = "that lack it" if advice.short else "to be kept"
    terminal.print(
        f"Margin, probability and lead: the lowest of the classes {lacking}; others: margin and probability, the lowest"
        " of the rest.",
        style="dim",
    )
    terminal.print()
    for remedy in advice.remedies:
        terminal.print(f"{_title(remedy)}: {_sentence(advice, remedy)}", markup=False)
    _print_spelled([remedy for remedy in advice.remedies if remedy.works])
    for note in advice.notes:
        terminal.print(f"- {note}", style="dim", markup=False)


def _title(remedy: Remedy) -> str:
    return f"{remedy.name} ({remedy.convention})" if remedy.convention else remedy.name


def _print_spelled(remedies: Sequence[Remedy]) -> None:
    """How remedies are applied, one a line, uncut, to be copied."""
    if not remedies:
        return
    terminal = console()
    asked = remedies[0].train_options
    options = "".join(
        f" --{name.replace('_', '-')} {asked[name]}" for name in ("remedy_margin", "remedy_keep") if name in asked
    )
    terminal.print()
    terminal.print(
        f"Applied by lopsided train --remedy NAME{options}, or by lopsided.nn in Python:",
        style="bold",
        markup=False,
        soft_wrap=True,
    )
    width = max(len(str(remedy.train_options["remedy"])) for remedy in remedies)
    for remedy in remedies:
        line = f"{remedy.train_options['remedy']:<{width}}  {remedy.python or '–'}"
        terminal.print(line, markup=False, soft_wrap=True)
    terminal.print()


def _row(title: str, outlook: Outlook | None, chosen: Sequence[int], others: Sequence[int], verdict: str) -> list[str]:
    """The lowest of the chosen classes, and of the others, in an outlook."""
    if outlook is None:
        return [title, *["–"] * 5, verdict]

    def lowest(name: str, classes: Sequence[int], form: str) -> str:
        values = getattr(outlook, name)[classes]
        return "–" if len(values) == 0 or np.isnan(values).any() else f"{values.min():{form}}"

    return [
        title,
        lowest("margins", chosen, ".3g"),
        lowest("probability", chosen, ".3f"),
        lead(outlook.logit_gap[chosen].min(), 2),
        lowest("margins", others, ".3g"),
        lowest("probability", others, ".3f"),
        verdict,
    ]


def _sentence(advice: Advice, remedy: Remedy) -> str:
    parts = [remedy.change if remedy.works else f"{remedy.reason}. Nearest: {remedy.change}"]
    if remedy.outlook is None or remedy.cost is None:
        return remedy.reason + "."
    misclassified = set(remedy.outlook.misclassified)
    still = [
        k
        for k in advice.keep
        if remedy.classes[k] in misclassified and remedy.outlook.states[remedy.classes[k]] != "lost"
    ]
    if still:
        parts.append(f"another class is still predicted for {len(still)} of those kept ({advice.before.called(still)})")
    for word in ("lost", "fading", "misclassified"):
        hit = getattr(remedy.cost, f"newly_{word}")
        if hit:
            parts.append(f"it costs: newly {word} {advice.before.called(hit)}")
    return "; ".join(parts) + "."
