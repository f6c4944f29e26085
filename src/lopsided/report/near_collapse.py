"""The figure of classes of nearly equal counts: how close their means come as the decay grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lopsided.report.canvas import PALETTE, new_figure, tidy
from lopsided.theory import NearCollapse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: More pairs than this are left out, the first ones kept: their lines could not be told apart.
MOST_PAIRS = len(PALETTE)


def figure_near_collapse(near: NearCollapse) -> Figure:
    """Draw the cosine and the relative distance of pairs of class means against the decay.

    Parameters
    ----------
    near : NearCollapse

    Returns
    -------
    matplotlib.figure.Figure
        A colour for each pair: solid for class means, dashed for rows of the classifier, dotted where classes of equal
        counts would merge. Lines end where nothing is left. A distance of zero, of equal counts, has no place on the
        logarithmic axis, and leaves a gap.
    """
    figure = new_figure(10.4, 4.6)
    left, right = figure.subplots(1, 2, sharex=True)
    counts = near.problem.counts
    for index, (first, second) in enumerate(near.pairs[:MOST_PAIRS].tolist()):
        colour = PALETTE[index]
        label = f"classes {first} and {second} ({counts[first]} and {counts[second]} samples)"
        distances = np.where(near.distance_means[:, index] > 0, near.distance_means[:, index], np.nan)
        rows = np.where(near.distance_classifier[:, index] > 0, near.distance_classifier[:, index], np.nan)
        left.plot(near.decays, near.cosine_means[:, index], color=colour, linewidth=1.8, label=label)
        left.plot(near.decays, near.cosine_classifier[:, index], color=colour, linewidth=1.0, linestyle="--")
        right.plot(near.decays, distances, color=colour, linewidth=1.8)
        right.plot(near.decays, rows, color=colour, linewidth=1.0, linestyle="--")
        for axes in (left, right):
            axes.axvline(near.thresholds[index], color=colour, linewidth=1.0, linestyle=":")
    right.set_yscale("log")
    left.set_title("cosine", fontsize=10)
    right.set_title("distance over root mean square norm", fontsize=10)
    for axes in (left, right):
        tidy(axes, "decay λ_z")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
    figure.suptitle("Class means (solid) and classifier rows (dashed) of nearly equal counts", fontsize=12)
    return figure
