"""A whole report in a folder: figures as PNG and one page that holds them all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lopsided.core.arguments import ArgumentError
from lopsided.core.files import writable_folder, write_atomically
from lopsided.paper.checks import Check
from lopsided.report import wording
from lopsided.report.canvas import to_png
from lopsided.report.curves import figure_merged, figure_training
from lopsided.report.matrices import figure_cosines, figure_mean_logits, figure_overview
from lopsided.report.page import Picture, render_page
from lopsided.runs.record import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Name of the page in its folder.
PAGE = "report.html"
#: Name of a figure, how to draw it, and what it shows.
_Figure = tuple[str, Callable[[], "Figure"], str]


def write_report(
    folder: str | Path,
    title: str,
    lead: str,
    runs: Sequence[Run],
    checks: Sequence[Check] = (),
    on_figure: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Draw the figures of some runs and write them, with one page that shows all, into a folder.

    Parameters
    ----------
    folder : str or Path
        Made if need be; files of an earlier report are replaced, each in one step.
    title, lead : str
        Heading of the page, and what was done.
    runs : sequence of Run
        At least one; their names become parts of file names, so they must differ in letters or digits.
    checks : sequence of Check
        The claims to be judged.
    on_figure : callable, optional
        Called before each figure is drawn, with its name, its number and how many there are.

    Returns
    -------
    Path
        The page, ``report.html``.

    Raises
    ------
    ValueError
        If the folder cannot be written, there are no runs, or two have the same name.
    OSError
        If a file cannot be written, as on a full disk; those written before are whole.
    """
    slugs = [_slug(run.name) for run in runs]
    if len(set(slugs)) < len(slugs):
        names = ", ".join(run.name for run in runs)
        raise ArgumentError("runs", "must have names that differ in letters or digits", got=str(names))
    target = writable_folder(folder)

    told = " ".join(f"At {wording.decay(run)} {wording.outcome(run)}." for run in runs)
    overview: list[_Figure] = [
        (
            "overview",
            partial(figure_overview, runs),
            f"Mean logits, predicted above measured, one column a decay. {told}",
        ),
        ("merged-classes", partial(figure_merged, runs), f"Which classes merge at each decay. {told}"),
    ]
    if any(run.history for run in runs):
        text = "Rank-aware NC1, accuracy, and the objective's distance from the certified optimum, over training."
        overview.append(("training", partial(figure_training, runs), text))
    sections: dict[str, list[_Figure]] = {}
    for run in runs:
        at, slug = f"at {wording.decay(run)}", _slug(run.name)
        sections[run.name] = [
            (
                f"mean-logits-{slug}",
                partial(figure_mean_logits, run),
                f"Mean logits {at}: predicted, measured and their difference. {wording.outcome(run).capitalize()}.",
            ),
            (
                f"cosines-{slug}",
                partial(figure_cosines, run),
                f"Cosines between class means, and between rows of the classifier, {at}: predicted beside measured.",
            ),
        ]

    planned = len(overview) + sum(map(len, sections.values()))
    drawn = itertools.count(1)

    def draw(name: str, figure: Callable[[], Figure], text: str) -> Picture:
        if on_figure is not None:
            on_figure(name, next(drawn), planned)
        picture = Picture(name, to_png(figure()), text)
        write_atomically(target / f"{name}.png", picture.png)
        return picture

    pictures = list(itertools.starmap(draw, overview))
    of_runs = {name: list(itertools.starmap(draw, figures)) for name, figures in sections.items()}
    return write_atomically(target / PAGE, render_page(title, lead, runs, checks, pictures, of_runs))


def _slug(name: str) -> str:
    """Keep what every file system takes."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name).strip("-") or "run"
