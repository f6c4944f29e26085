"""Figures of matrices: mean logits and cosines, predicted beside measured, on one colour scale."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import MERGE_ABSOLUTE_TOLERANCE, Array
from lopsided.core.outlook import Outlook
from lopsided.report import wording
from lopsided.report.canvas import draw_matrix, new_figure, symbols
from lopsided.runs.record import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_mean_logits(run: Run) -> Figure:
    """Draw the mean logits of a run: predicted, measured, difference.

    Parameters
    ----------
    run : Run

    Returns
    -------
    matplotlib.figure.Figure
        Three panels on one colour scale; merged classes are bracketed.
    """
    predicted, measured = run.predicted.mean_logits, run.measured.mean_logits
    entry = run.comparison["mean_logits"]
    off = wording.error(entry.relative_error, entry.absolute_error, "nats")
    panels = [
        ("predicted: the certified optimum", predicted, run.predicted.merged),
        ("measured: the trained network", measured, run.measured.merged),
        (f"measured − predicted: {off}", measured - predicted, []),
    ]
    names = wording.class_names(run)
    figure = new_figure(12.6, 4.4)
    figure.suptitle(symbols(f"Mean logits at {wording.decay(run)}: {wording.outcome(run)}"), fontsize=12)
    all_axes = figure.subplots(1, 3)
    limit = _limit([predicted, measured])
    for column, (axes, (title, values, merged)) in enumerate(zip(all_axes, panels, strict=True)):
        image = draw_matrix(
            axes, values, run.predicted, names, limit=limit, brackets=merged, row_labels=column == 0, text_size=6.5
        )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("logit of class", fontsize=9)
    all_axes[0].set_ylabel("samples of class (how many)", fontsize=9)
    figure.colorbar(image, ax=list(all_axes), label="nats", shrink=0.8, pad=0.02)
    return figure


def figure_cosines(run: Run) -> Figure:
    """Draw the cosines between class means, and between rows of the classifier, of a run.

    Parameters
    ----------
    run : Run

    Returns
    -------
    matplotlib.figure.Figure
        Two by two panels, predicted beside measured. Grey where a vector is zero and has no direction: everywhere a
        prediction is undefined, the measured direction is noise and is left out too.
    """
    figure = new_figure(9.2, 8.6)
    comparison = run.comparison
    names = wording.class_names(run)
    figure.suptitle(symbols(f"Angles at {wording.decay(run)}: {_angles(run)}"), fontsize=12)
    all_axes = figure.subplots(2, 2)
    for row, (attribute, label) in enumerate(
        (("cosines_means", "class means"), ("cosines_classifier", "rows of the classifier"))
    ):
        entry = comparison[attribute]
        off = wording.error(entry.relative_error, entry.absolute_error, "")
        predicted, measured = getattr(run.predicted, attribute), getattr(run.measured, attribute)
        measured = np.where(np.isfinite(predicted), measured, np.nan)
        for column, (title, values) in enumerate(
            ((f"{label}, predicted", predicted), (f"{label}, measured (error {off})", measured))
        ):
            axes = all_axes[row, column]
            image = draw_matrix(
                axes,
                values,
                run.predicted,
                names,
                limit=1.0,
                brackets=(run.predicted, run.measured)[column].merged,
                row_labels=column == 0,
                column_labels=row == 1,
            )
            axes.set_title(title, fontsize=10)
        all_axes[row, 0].set_ylabel("class (samples)", fontsize=9)
    figure.colorbar(image, ax=all_axes, label="cosine", shrink=0.6, pad=0.02)
    return figure


def _angles(run: Run) -> str:
    defined = np.isfinite(np.diagonal(run.predicted.cosines_means))
    if not defined.any():
        return "no direction is left"
    if not defined.all():
        gone = int(np.sum(~defined))
        return f"the means of {gone} classes are zero (grey), the others keep their angles"
    if run.predicted.merged:
        return "merged classes point the same way"
    return "every class keeps a direction of its own"


def figure_overview(runs: Sequence[Run]) -> Figure:
    """Draw predicted above measured mean logits, one column a run: the whole story at a glance.

    Parameters
    ----------
    runs : sequence of Run
        In the order of the columns, such as rising decay.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are no runs.
    """
    if not runs:
        raise ArgumentError("runs", "must hold at least one run", got="none")
    figure = new_figure(3.9 * len(runs) + 1.0, 8.0)
    all_axes = figure.subplots(2, len(runs), squeeze=False)
    figure.suptitle(_story(runs), fontsize=15)
    limit = _limit([g.mean_logits for run in runs for g in (run.predicted, run.measured)])
    for column, run in enumerate(runs):
        names = wording.class_names(run)
        for row, geometry in enumerate((run.predicted, run.measured)):
            image = draw_matrix(
                all_axes[row, column],
                geometry.mean_logits,
                run.predicted,
                names,
                limit=limit,
                brackets=geometry.merged,
                row_labels=column == 0,
                column_labels=row == 1,
                text_size=0,
            )
        title = textwrap.fill(wording.state(run, run.measured), 34)
        all_axes[0, column].set_title(symbols(f"{wording.decay(run)}\n{title}"), fontsize=12)
        entry = run.comparison["mean_logits"]
        off = wording.error(entry.relative_error, entry.absolute_error, "nats")
        all_axes[1, column].set_title(
            f"relative difference {off}" if off.endswith("%") else off, fontsize=10, color="#404040"
        )
        all_axes[1, column].set_xlabel("logit of class", fontsize=9)
    for row, label in enumerate(("Predicted", "Measured in a trained network")):
        axes = all_axes[row, 0]
        axes.set_ylabel("samples of class (how many)", fontsize=9)
        axes.annotate(
            label,
            xy=(0, 0.5),
            xytext=(-10, 0),
            xycoords=(axes.yaxis.label, "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="center",
            fontsize=13,
            fontweight="bold",
        )
    figure.colorbar(image, ax=all_axes, label="mean logit, in nats", shrink=0.7, pad=0.02)
    return figure


def _story(runs: Sequence[Run]) -> str:
    """State what a reader sees from left to right, if it is the usual story."""
    if len(runs) == 3:
        first, second, third = (Outlook.measured(run.measured) for run in runs)
        rare = second.lost and second.kept and max(second.counts[second.lost]) <= min(second.counts[second.kept])
        if not first.lost and rare and not third.kept:
            return "More weight decay first erases the rare classes, then all of them"
    return "Mean logits of each class (row) for each class (column)"


def _limit(matrices: Sequence[Array]) -> float:
    """Largest magnitude of all, so that one scale serves all; 1 nat where that is too little to tell classes apart."""
    largest = max(float(np.max(np.abs(values[np.isfinite(values)]), initial=0.0)) for values in matrices)
    return largest if largest > MERGE_ABSOLUTE_TOLERANCE else 1.0
