"""Figures over time and over runs: what training did, and which classes ended up merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.comparison import COLLAPSED_NC1
from lopsided.core.geometry import Array, Geometry
from lopsided.report import wording
from lopsided.report.canvas import NAMED, PALETTE, display_order, new_figure, symbols, tidy
from lopsided.runs.record import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure_training(runs: Sequence[Run]) -> Figure:
    """Draw the rank-aware NC1, accuracy and the objective's distance from the certified optimum over training.

    Parameters
    ----------
    runs : sequence of Run
        Each a line. Rows of their histories that lack a quantity, or have none that is finite, leave a gap.

    Returns
    -------
    matplotlib.figure.Figure
        Of NC1 the rank-aware form, since the others divide by directions in which merged classes differ by noise alone.
        Where nothing is left it has no value, and no line.

    Raises
    ------
    ValueError
        If no run has a history.
    """
    if not any(run.history for run in runs):
        raise ArgumentError("runs", "must hold a run with a history", got="none")
    figure = new_figure(12.6, 4.2)
    variability, accuracy, excess = figure.subplots(1, 3)
    for index, run in enumerate(runs):
        style: dict[str, Any] = {
            "color": PALETTE[index % len(PALETTE)],
            "linestyle": ("-", "--", "-.", ":")[index % 4],
            "linewidth": 1.8,
        }
        label = symbols(f"{run.name}: {wording.decay(run)}")
        _line(variability, run, lambda row: row.get("nc1_rank_aware"), label=label, **style)
        _line(accuracy, run, lambda row: row.get("train_accuracy"), label=label, **style)
        _line(excess, run, _excess(run), label=label, **style)
    variability.set_yscale("log")
    variability.axhline(COLLAPSED_NC1, color="#808080", linewidth=0.8)
    variability.set_title("rank-aware NC1: in the directions that are left", fontsize=10)
    accuracy.set_ylim(-0.02, 1.03)
    accuracy.set_title("training accuracy", fontsize=10)
    excess.set_yscale("log")
    excess.set_title("objective above the certified optimum, nats", fontsize=10)
    for axes in (variability, accuracy, excess):
        tidy(axes, "epoch")
    figure.legend(handles=variability.lines[: len(runs)], fontsize=9, loc="outside lower center", ncols=len(runs))
    figure.suptitle(_training_story(runs), fontsize=12)
    return figure


def _excess(run: Run) -> Callable[[dict[str, Any]], float | None]:
    best = run.certificate.get("objective")

    def excess(row: dict[str, Any]) -> float | None:
        value = row.get("objective")
        return None if value is None or best is None or value <= best else value - best

    return excess


def _line(axes: Axes, run: Run, value: Callable[[dict[str, Any]], float | None], **style: Any) -> None:
    rows = [(row.get("epoch"), value(row)) for row in run.history]
    points = np.array(rows, dtype=float).reshape(-1, 2)  # None becomes not-a-number, which leaves a gap
    axes.plot(points[:, 0], points[:, 1], **style)


def _training_story(runs: Sequence[Run]) -> str:
    final = [run.measures.get("nc1_rank_aware") for run in runs if run.predicted.rank > 0]
    reached = sum(value is not None and value < COLLAPSED_NC1 for value in final)
    goal = f"rank-aware NC1 below {COLLAPSED_NC1:g}"
    return f"Training: {reached} of {len(final)} networks with classes left end with {goal}"


def figure_merged(runs: Sequence[Run]) -> Figure:
    """Draw which classes merge at each decay: predicted and measured, class by class.

    Parameters
    ----------
    runs : sequence of Run
        Of as many classes each. The first one's counts order the classes.

    Returns
    -------
    matplotlib.figure.Figure
        Two lines a run; classes of one colour and letter cannot be told apart, white ones can.

    Raises
    ------
    ValueError
        If there are no runs, or their numbers of classes differ.
    """
    sizes = sorted({run.predicted.num_classes for run in runs})
    if len(sizes) != 1:
        raise ArgumentError("runs", "must be one or more, over equally many classes", got=str(sizes or "none"))
    lines = [(run, which) for run in runs for which in ("predicted", "measured")]
    order = display_order(runs[0].predicted)
    total = len(order)
    figure = new_figure(min(12.6, 3.2 + 0.55 * total), 1.8 + 0.36 * len(lines))
    axes = figure.subplots()
    labels = np.array([_group_numbers(getattr(run, which))[order] for run, which in lines])
    heights = np.array([2.4 * (index // 2) + index % 2 for index in range(len(lines))])
    for height, row in zip(heights, labels, strict=True):
        _draw_groups(axes, height, row)
    axes.set_yticks(heights, [symbols(f"{wording.decay(run)}  {which}") for run, which in lines], fontsize=9)
    names, counts = wording.class_names(runs[0]), runs[0].predicted.counts[order]
    if total <= NAMED:
        texts = [f"{names[k]}\n({count:.0f})" for k, count in zip(order, counts, strict=True)]
        rotated = max(map(len, names)) > 8
        axes.set_xticks(range(total), texts, fontsize=8, parse_math=False, rotation=45 if rotated else 0, ha="center")
    else:
        ticks = np.linspace(0, total - 1, 9).round().astype(int)
        axes.set_xticks(ticks, [f"{counts[k]:.0f}" for k in ticks], fontsize=8)
    axes.set_xlabel("class (samples)" if total <= NAMED else "classes, by their number of samples", fontsize=9)
    axes.set_xlim(-0.6, total - 0.4)
    axes.set_ylim(heights[-1] + 0.6, -0.6)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    same = sum(run.comparison.same_merged for run in runs)
    figure.suptitle(f"Merged classes: predicted and measured agree at {same} of {len(runs)} decays", fontsize=12)
    axes.set_title("one colour and letter: not told apart; white: told apart", fontsize=9, color="#404040")
    return figure


def _group_numbers(geometry: Geometry) -> Array:
    """Number of the merged group of each class; −1 for classes that stand alone."""
    numbers = np.full(geometry.num_classes, -1.0)
    for number, group in enumerate(geometry.merged):
        numbers[group] = number
    return numbers


def _draw_groups(axes: Axes, height: float, row: Array) -> None:
    from matplotlib.patches import Rectangle

    for place, number in enumerate(row.astype(int)):
        colour = "white" if number < 0 else PALETTE[(number + 1) % len(PALETTE)]
        axes.add_patch(
            Rectangle((place - 0.46, height - 0.42), 0.92, 0.84, facecolor=colour, edgecolor="#808080", linewidth=0.6)
        )
        if number >= 0 and len(row) <= NAMED:
            letter = chr(ord("A") + number % 26)
            ink = "white" if colour in PALETTE[:4] else "black"
            axes.text(place, height, letter, ha="center", va="center", fontsize=8, color=ink, fontweight="bold")
