"""The figure of a phase diagram: regions with their names in the picture, and the boundaries between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from lopsided.core.geometry import Array
from lopsided.report import wording
from lopsided.report.canvas import new_figure, symbols
from lopsided.theory import Axis, PhaseDiagram, Regime
from lopsided.theory.boundaries import BOUNDARIES, regimes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Fill of each regime, from untouched to lost: light, so that lines and words stand out.
FILLS = ("#FFFFFF", "#FBE3B8", "#F2B58F", "#9C9C9C", "#BFD7EA")
#: Colour and style of each boundary.
LINES = {
    "minority": ("#B8860B", "--"),
    "majority": ("#0072B2", ":"),
    "between": ("#D55E00", "-."),
    "complete": ("#000000", "-"),
}
#: What a boundary is called.
BOUNDARY_NAMES = {
    "minority": "the rarer classes merge",
    "majority": "the commoner classes merge",
    "between": "clusters no longer told apart",
    "complete": "everything merges",
}
#: What an axis is called.
AXIS_NAMES = {
    "lambda_z": "decay λ_z",
    "ratio": "samples in a class of A for each in one of B",
    "n_a": "samples in each class of A",
    "n_b": "samples in each class of B",
    "m_a": "classes of A",
    "m_b": "classes of B",
}
#: Words put into a region of the picture.
_LABELS = (
    "all apart",
    "rare classes\nmerged",
    "rare classes:\nbias alone",
    "all merged",
    "merged within\nthe clusters",
)
#: Points to each side at which boundary lines are computed, and the smallest share of the picture that gets a label.
_FINE, _SMALLEST = 160, 0.004
#: Cells of the band that a section is drawn as.
_BAND = 900


def figure_phase(diagram: PhaseDiagram) -> Figure:
    """Draw a phase diagram, or a section of one.

    Parameters
    ----------
    diagram : PhaseDiagram

    Returns
    -------
    matplotlib.figure.Figure
        Cells are the points of the grid, a section is a band; lines are the exact boundaries, drawn through points of a
        finer grid.
    """
    from matplotlib.colors import BoundaryNorm, ListedColormap

    section = diagram.y is None
    figure = new_figure(8.4, 2.6 if section else 5.8)
    axes = figure.subplots()
    if diagram.y is None:
        edges_x, edges_y = diagram.x.between(_BAND), np.array([0.0, 1.0])
        regimes = regimes_of(diagram.log_excess(np.sqrt(edges_x[1:] * edges_x[:-1])))[None, :]
    else:
        edges_x, edges_y, regimes = _edges(diagram.x), _edges(diagram.y), diagram.regimes
    norm = BoundaryNorm(np.arange(len(FILLS) + 1) - 0.5, len(FILLS))
    axes.pcolormesh(edges_x, edges_y, regimes, cmap=ListedColormap(FILLS), norm=norm)
    _draw_boundaries(axes, diagram)
    for axis, name in ((diagram.x, "x"), (diagram.y, "y")):
        if axis is None:
            axes.set_yticks([])
            continue
        getattr(axes, f"set_{name}label")(symbols(AXIS_NAMES[axis.name]), fontsize=10)
        if axis.log:
            getattr(axes, f"set_{name}scale")("log")
    axes.set_xlim(edges_x[0], edges_x[-1])
    axes.set_ylim(edges_y[0], edges_y[-1])
    _name_regions(axes, regimes, edges_x, edges_y)
    axes.tick_params(labelsize=9)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    axes.set_title(symbols(describe(diagram)), fontsize=9, color="#404040")
    figure.suptitle("Which classes merge" + (": a section" if section else ""), fontsize=12)
    return figure


def describe(diagram: PhaseDiagram) -> str:
    """Say what is fixed in a diagram.

    Examples
    --------
    >>> from lopsided.theory import phase_diagram
    >>> describe(phase_diagram(Axis("ratio", 1, 9), lambda_z=0.005, m_a=5, m_b=5, n_b=100, lambda_b=0.02))
    'λ_z = 0.005, 5 classes of A, 5 classes of B, 100 samples in each class of B, λ_b = 0.02'
    """
    parts = []
    for name, value in diagram.fixed.items():
        text = wording.number(value, 6)
        parts.append({"lambda_z": f"λ_z = {text}", "ratio": f"{text} to 1 samples"}.get(name, ""))
        if not parts[-1]:
            parts[-1] = f"{text} {AXIS_NAMES[name]}"
    kind = "no bias" if not diagram.bias else f"λ_b = {diagram.lambda_b:g}" if diagram.lambda_b else "free bias"
    adjusted = [f"logit adjustment {diagram.logit_adjustment:g}"] if diagram.logit_adjustment else []
    return ", ".join([*parts, kind, *adjusted])


def _edges(axis: Axis) -> Array:
    """The borders of the cells about an axis's values: half way between them."""
    values = np.log(axis.values) if axis.log else axis.values
    middle = (values[1:] + values[:-1]) / 2
    if len(values) == 1:
        edges = np.array([values[0] - 0.5, values[0] + 0.5])
    else:
        edges = np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])
    return np.exp(edges) if axis.log else edges


def _draw_boundaries(axes: Axes, diagram: PhaseDiagram) -> None:
    if diagram.y is None:
        for name in BOUNDARIES:
            colour, style = LINES[name]
            for number, place in enumerate(diagram.crossings[name][0]):
                label = BOUNDARY_NAMES[name] if number == 0 else None
                axes.axvline(place, color=colour, linestyle=style, linewidth=1.6, label=label)
        return
    x, y = diagram.x.between(_FINE - 1), diagram.y.between(_FINE - 1)
    excess = diagram.log_excess(x[None, :], y[:, None])
    for name, values in zip(BOUNDARIES, excess, strict=True):
        shown = np.ma.masked_invalid(values)
        if shown.count() == 0 or not shown.min() < 0 < shown.max():
            continue
        colour, style = LINES[name]
        axes.contour(x, y, shown, levels=[0.0], colors=[colour], linestyles=[style], linewidths=1.6)
        axes.plot([], [], color=colour, linestyle=style, linewidth=1.6, label=BOUNDARY_NAMES[name])


def _name_regions(axes: Axes, regimes: NDArray[np.int64], edges_x: Array, edges_y: Array) -> None:
    """Write each regime's name where it has the most room."""
    rows, columns = regimes.shape
    # cells of about equal size on paper, and a border that counts as the end of a region
    scale = (max(1, round(60 / rows)), max(1, round(90 / columns)))
    fine = np.pad(np.kron(regimes, np.ones(scale, dtype=int)), 1, constant_values=-1)
    for regime in Regime:
        room = distance_transform_edt(fine == regime)
        if np.sum(fine == regime) < _SMALLEST * fine.size:
            continue
        roomy = np.argwhere(room > room.max() - 0.5)  # in a long band all of its middle line: there in the centre
        row, column = roomy[np.argmin(np.sum((roomy - roomy.mean(axis=0)) ** 2, axis=1))]
        place = [
            _middle_of_cell(edges, (index - 1) // step)
            for index, step, edges in ((column, scale[1], edges_x), (row, scale[0], edges_y))
        ]
        narrow = room.max() < 5
        axes.text(
            place[0],
            place[1],
            _LABELS[regime].replace("\n", " ") if narrow else _LABELS[regime],
            ha="center",
            va="center",
            fontsize=7.5 if narrow else 9,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.5},
        )


def _middle_of_cell(edges: Array, index: int) -> float:
    cell = min(max(index, 0), len(edges) - 2)
    return float(edges[cell] + edges[cell + 1]) / 2
