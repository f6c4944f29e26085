"""``lopsided path``: every decay at which the rank drops, and the singular values on the way."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from lopsided.cli.options import Bias, Counts, Json, LambdaB, bias_decay, number, takes_loss, whole_number
from lopsided.cli.output import console, fill, patient_progress, plain_table, print_json
from lopsided.core.arguments import ArgumentError
from lopsided.core.count_sources import read_counts
from lopsided.core.counts import parse_terms
from lopsided.core.losses import Loss
from lopsided.core.solution import Solution
from lopsided.model import UFM
from lopsided.theory import CriticalDecay, SingularPaths, critical_path, singular_paths

#: The curves go from this share of the smallest critical decay to this multiple of the largest.
BEFORE, BEYOND = 1 / 3, 1.15
#: A figure has no more pixels across.
MOST_POINTS = 10_000
_CURVES = "Singular values"


@takes_loss
def path(
    counts: Counts,
    *,
    lambda_b: LambdaB = 0.0,
    bias: Bias = True,
    loss: Loss,
    smallest_share: Annotated[
        float,
        typer.Option(
            parser=number, metavar="SHARE", help="Where the search ends, as a share of the decay at which all merge."
        ),
    ] = 1e-4,
    values: Annotated[
        bool, typer.Option("--values", help="Give the singular values on the way, too.", rich_help_panel=_CURVES)
    ] = False,
    points: Annotated[
        str,
        typer.Option(
            metavar="N", help="Decays at which they are computed, beside the critical ones.", rich_help_panel=_CURVES
        ),
    ] = "80",
    decays: Annotated[
        str | None,
        typer.Option(metavar="DECAYS", help="These decays instead, such as 0.001,0.003,0.01.", rich_help_panel=_CURVES),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Draw them against the decay: .png, .svg or .pdf.", rich_help_panel=_CURVES),
    ] = None,
    as_json: Json = False,
) -> None:
    """Every decay λ_z at which the optimum loses rank: which classes merge there, and the rank on both sides.

    Exits with 1 where an optimum on the way could not be certified.

    Example:

    lopsided path --counts 500x5,100x5 --no-bias --figure path.png
    """
    from lopsided.report import figure_path, figure_singular_values, save_figure

    model = UFM(read_counts(counts).counts, lambda_z=1.0, lambda_b=lambda_b, bias=bias, loss=loss)  # λ_z plays no part
    number_of_points = whole_number("points", points, 2, MOST_POINTS)
    chosen = None if decays is None else _read(model, decays)
    target = None if figure is None else figure_path(figure)
    found = _search(model, smallest_share)
    curves = None
    if values or target is not None or chosen is not None:
        with patient_progress("singular values") as progress:
            curves = singular_paths(model, _spread(found, number_of_points) if chosen is None else chosen, progress)
    if target is not None:
        assert curves is not None
        save_figure(figure_singular_values(model, found, curves), target)
    if as_json:
        print_json(_as_object(model, found, curves))
    else:
        _print_tables(model, found, curves if values or chosen is not None else None)
        if target is not None:
            console().print(f"Figure: {target}", markup=False, soft_wrap=True)
    broken = [solution for solution in (curves.solutions if curves else []) if solution.status != "optimal"]
    if broken:
        typer.echo(f"lopsided: at λ_z = {broken[0].problem.lambda_z:.6g}: {broken[0].message}", err=True)
        raise typer.Exit(1)


def _read(model: UFM, text: str) -> list[float]:
    """The decays that a user lists, each checked by the model before any is solved."""
    listed = list(parse_terms(text, "decays", "write numbers separated by commas, such as 0.001,0.003,0.01"))
    if not listed:
        raise ArgumentError("decays", "must be one number or more", text, remedy="write such as 0.001,0.003,0.01")
    for decay in listed:
        try:
            model.replaced(lambda_z=decay)
        except ArgumentError as error:
            raise error.renamed(lambda_z="decays") from None
    return listed


def _search(model: UFM, smallest_share: float) -> list[CriticalDecay]:
    with patient_progress("critical decays") as progress:
        try:
            return critical_path(model, smallest_share, progress)
        except ArithmeticError as error:
            if type(error) is not ArithmeticError:
                raise  # a division by zero is a defect
            typer.echo(f"lopsided: {error}: raise --smallest-share", err=True)
            raise typer.Exit(1) from None


def _spread(found: list[CriticalDecay], points: int) -> list[float]:
    """Decays in equal ratios around the critical ones, and these."""
    critical = [drop.lambda_z for drop in found]
    return [*np.geomspace(BEFORE * critical[-1], BEYOND * critical[0], points).tolist(), *critical]


def _as_object(model: UFM, found: list[CriticalDecay], curves: SingularPaths | None) -> dict[str, Any]:
    classes = model.clusters.classes
    value: dict[str, Any] = {
        "lambda_b": bias_decay(model),
        "path": [
            {
                "lambda_z": drop.lambda_z,
                "rank_below": drop.rank_below,
                "rank_above": drop.rank_above,
                "merging": [classes[cluster] for cluster in drop.merging],
            }
            for drop in found
        ],
    }
    if curves is not None:
        value["singular_values"] = [
            {
                "lambda_z": solution.problem.lambda_z,
                "rank": solution.geometry.rank,
                "values": solution.singular_values,
                **solution.certificate(),
            }
            for solution in curves.solutions
        ]
    return value


def _print_tables(model: UFM, found: list[CriticalDecay], curves: SingularPaths | None) -> None:
    from lopsided.report import lost_at

    def drop(row: CriticalDecay) -> list[str]:
        return [f"{row.lambda_z:.8g}", str(row.rank_below), str(row.rank_above), lost_at(model, row)]

    def solved(row: Solution) -> list[str]:
        numbers = "  ".join(f"{number:.4g}" for number in row.singular_values)
        return [f"{row.problem.lambda_z:.6g}", str(row.geometry.rank), numbers or "none"]

    terminal = console()
    terminal.print(fill(plain_table("λ_z", "rank below", "rank above", "what is lost", left=[3]), found, drop))
    directions = model.num_directions
    last = found[-1]
    terminal.print(
        f"Below λ_z = {last.lambda_z:.6g} every class is kept apart: rank {last.rank_below}."
        if last.rank_below == directions
        else f"Below λ_z = {last.lambda_z:.6g} the rank is {last.rank_below} of {directions}; "
        "a smaller --smallest-share searches further down.",
        style="bold",
    )
    if curves is not None:
        terminal.print()
        terminal.print(fill(plain_table("λ_z", "rank", "singular values", left=[2]), curves.solutions, solved))
