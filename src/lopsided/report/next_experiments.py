"""Drawings of the experiments that the paper leaves open: groups of runs, and test accuracy against predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lopsided.paper.checks import LARGEST_ERROR
from lopsided.paper.generalisation import PREDICTORS, rank_correlation
from lopsided.paper.groups import group_label, grouped
from lopsided.paper.remedy_table import treatment
from lopsided.paper.results import Reproduction
from lopsided.report.canvas import PALETTE, new_figure, symbols, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_groups(result: Reproduction) -> Figure:
    """Rank, predicted and measured, and the error of the mean logits, a line of points for each group."""
    groups = grouped(result.runs, result.experiment.by, group_label)
    figure = new_figure(11.4, 1.6 + 0.42 * len(groups))
    ranks, errors = figure.subplots(1, 2, sharey=True)
    for place, members in enumerate(groups.values()):
        rows = [entry.row for entry in members]
        decays = sorted({row["lambda_z"] for row in rows})
        for row in rows:
            height = place + 0.6 * (decays.index(row["lambda_z"]) + 0.5) / len(decays) - 0.3
            ranks.plot(row["predicted_rank"], height, "s", mfc="none", markersize=8, color=PALETTE[0])
            ranks.plot(row["rank"], height, "o", markersize=4.5, color=PALETTE[1])
            if row["predicted_rank"] > 0:  # there is no share of nothing
                errors.plot(row["mean_logits_error"], height, "o", markersize=4.5, color=PALETTE[1])
    ranks.set_yticks(range(len(groups)), [symbols(label) for label in groups], fontsize=8)
    ranks.invert_yaxis()
    ranks.xaxis.get_major_locator().set_params(integer=True)
    errors.axvline(LARGEST_ERROR, color="#808080", linewidth=0.9, linestyle=":")
    errors.set_xlim(left=0)
    tidy(ranks, "rank of the mean logits: predicted □, measured •; the weakest decay of a group on top")
    tidy(errors, "relative error of the mean logits")
    return figure


def draw_generalisation(result: Reproduction) -> Figure:
    """Test accuracy of each class of each run against what was predicted for the class."""
    table = result.classes
    figure = new_figure(12.6, 4.0)
    known = ~np.isnan(table.accuracy)
    for axes, (quantity, words) in zip(
        figure.subplots(1, len(PREDICTORS), sharey=True), PREDICTORS.items(), strict=True
    ):
        values = table.predicted[quantity]
        for group, colour, label in (
            (~table.lost, PALETTE[0], "predicted to be kept, or tied"),
            (table.lost, PALETTE[1], "predicted to be lost"),
        ):
            chosen = known & group
            axes.plot(values[chosen], table.accuracy[chosen], "o", markersize=3, alpha=0.6, color=colour, label=label)
        if quantity == "margin":
            axes.set_xscale("log")
        correlation = rank_correlation(values[known], table.accuracy[known])
        axes.set_title(f"rank correlation {correlation:.2f}", fontsize=10)
        tidy(axes, words)
        if quantity == "margin":
            axes.set_ylabel("test accuracy of a class", fontsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def draw_remedies(result: Reproduction) -> Figure:
    """Test accuracy of the rare and of the common classes under each remedy, a point a seed."""
    labels = [treatment(row, result.experiment.by) for row in result.rows]
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    figure = new_figure(8.4, 1.4 + 0.34 * len(places))
    axes = figure.subplots()
    for column, colour, name in (
        ("test_accuracy_common", PALETTE[0], "common classes"),
        ("test_accuracy_rare", PALETTE[1], "rare classes"),
    ):
        accuracies = np.array([row[column] for row in result.rows], dtype=float)
        axes.plot(accuracies, [places[label] for label in labels], "o", markersize=4.5, color=colour, label=name)
    axes.set_yticks(range(len(places)), [symbols(label) for label in places], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    tidy(axes, "test accuracy")
    axes.legend(fontsize=8, frameon=False)
    return figure
