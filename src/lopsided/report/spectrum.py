"""The figure of singular values against the decay, with the decays at which the rank drops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lopsided.core.counts import class_ranges
from lopsided.model import UFM
from lopsided.report.canvas import PALETTE, new_figure, tidy
from lopsided.theory import CriticalDecay, SingularPaths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Up to this many curves each is named in the legend; and up to this many critical decays are named in the picture.
MOST_CURVES, MOST_NAMES = 10, 8


def figure_singular_values(problem: UFM, path: Sequence[CriticalDecay], paths: SingularPaths) -> Figure:
    """Draw the singular values of the optimum against the decay.

    Parameters
    ----------
    problem : UFM
        Whose clusters name the curves.
    path : sequence of CriticalDecay
        The decays at which the rank drops: vertical lines, with the classes that merge there.
    paths : SingularPaths
        The curves.

    Returns
    -------
    matplotlib.figure.Figure
        Solid lines tell classes inside a cluster apart, dashed ones clusters from one another. Of many curves only the
        two kinds are named.
    """
    figure = new_figure(9.0, 5.2)
    axes = figure.subplots()
    _draw_curves(axes, problem, paths)
    _draw_drops(axes, problem, path)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    tidy(axes, "decay λ_z")
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(r"singular values of $D^{1/2}Z$, $\sqrt{\mathrm{samples}}\cdot$nats", fontsize=9)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    figure.suptitle(_story(path), fontsize=12)
    return figure


def _draw_curves(axes: Axes, problem: UFM, paths: SingularPaths) -> None:
    clusters = problem.clusters
    inside = np.flatnonzero(clusters.sizes > 1).tolist()
    named = len(inside) + paths.between.shape[1] <= MOST_CURVES
    for place, cluster in enumerate(inside):
        classes, directions = class_ranges(clusters.classes[cluster]), int(clusters.sizes[cluster]) - 1
        many = f", {directions} directions" if directions > 1 else ""
        label = f"inside classes {classes}{many}" if named else "inside clusters" if place == 0 else "_"
        colour = PALETTE[place % len(PALETTE)] if named else PALETTE[0]
        axes.plot(paths.decays, paths.within[:, cluster], color=colour, linewidth=1.8 if named else 0.8, label=label)
    for place in range(paths.between.shape[1]):
        label = f"between clusters, direction {place + 1}" if named else "between clusters" if place == 0 else "_"
        colour = PALETTE[(len(inside) + place) % len(PALETTE)] if named else PALETTE[1]
        width = 1.8 if named else 0.8
        axes.plot(paths.decays, paths.between[:, place], color=colour, linewidth=width, linestyle="--", label=label)


def _draw_drops(axes: Axes, problem: UFM, path: Sequence[CriticalDecay]) -> None:
    for drop in path:
        axes.axvline(drop.lambda_z, color="#808080", linewidth=0.8 if len(path) <= MOST_NAMES else 0.3, zorder=0)
        if len(path) <= MOST_NAMES:
            axes.text(
                drop.lambda_z,
                0.98,
                f"{drop.lambda_z:.4g}: {lost_at(problem, drop)} ",
                transform=axes.get_xaxis_transform(),
                rotation=90,
                ha="right",
                va="top",
                fontsize=7.5,
                color="#404040",
            )


def lost_at(problem: UFM, drop: CriticalDecay) -> str:
    """Say what is lost at a critical decay.

    Examples
    --------
    >>> import lopsided as lp
    >>> model = lp.UFM("500x5,100x5", lambda_z=1.0, bias=False)
    >>> [lost_at(model, drop) for drop in model.critical_path()]
    ['all classes merge', '1 direction between clusters', 'classes 5–9 merge']
    """
    if drop.rank_above == 0:
        return "all classes merge"
    clusters = problem.clusters
    parts = [f"classes {class_ranges(clusters.classes[cluster])} merge" for cluster in drop.merging]
    between = drop.rank_below - drop.rank_above - sum(int(clusters.sizes[cluster]) - 1 for cluster in drop.merging)
    if between:
        parts.append(f"{between} direction{'s' * (between > 1)} between clusters")
    return "; ".join(parts)


def _story(path: Sequence[CriticalDecay]) -> str:
    steps = f"{len(path)} step{'s' * (len(path) > 1)}"
    return f"The rank falls from {path[-1].rank_below} to {path[0].rank_above} in {steps}"
