"""What all figures share: a canvas without global state, axes of classes and counts, brackets at merged classes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.files import check_writable, writable_folder, write_atomically
from lopsided.core.geometry import Array, Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of curves and of merged groups, told apart by colour-blind readers too (Okabe & Ito, 2008).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
#: Values about zero: blue below, red above, the pair that no common colour blindness confuses.
DIVERGING = "RdBu_r"
#: Kinds of files a figure can be, each with the metadata that would change from day to day or with the version.
KINDS = {"png": ("Software",), "svg": ("Date", "Creator"), "pdf": ("CreationDate", "Creator", "Producer")}
#: Which argument a folder of a figure belongs to, and what it must do with it.
_IN_A_FOLDER = ("figure", "lie in")
#: Undefined entries.
UNDEFINED = "#D9D9D9"
#: Up to this many classes, each is named on the axes; and entries are written into the cells.
NAMED, WRITTEN = 24, 12


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure, in inches, that no interactive backend ever hears of.

    Examples
    --------
    >>> new_figure(4, 3).get_size_inches()
    array([4., 3.])
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def tidy(axes: Axes, label: str) -> None:
    """Give axes a name below, a faint grid, small ticks, and no frame."""
    axes.set_xlabel(symbols(label), fontsize=9)
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    """Draw a figure as PNG.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    dpi : int
        Dots per inch.

    Returns
    -------
    bytes
        The same for the same figure: no date is stored.
    """
    return to_bytes(figure, "png", dpi)


def to_bytes(figure: Figure, kind: str, dpi: int = 110) -> bytes:
    """Draw a figure as a file of a kind in :data:`KINDS`; the bytes are the same for the same figure."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "lopsided"}):  # names inside an SVG are random otherwise
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=dict.fromkeys(KINDS[kind]))
    return buffer.getvalue()


def figure_path(figure: str | Path) -> Path:
    """Check the name of a file for a figure before any work is spent on it; nothing is left behind.

    Parameters
    ----------
    figure : str or Path
        Ends in one of :data:`KINDS`. Its folder is made when the figure is saved.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If it ends otherwise, is a folder, or its folder cannot be written.

    Examples
    --------
    >>> figure_path("path.svg").suffix
    '.svg'
    """
    path = Path(figure)
    if path.suffix.lower().removeprefix(".") not in KINDS:
        raise ArgumentError("figure", f"must end in .{', .'.join(KINDS)}", str(figure), remedy="rename it")
    if path.is_dir():
        raise ArgumentError("figure", "must be a file", got=f"the folder {str(figure)!r}", remedy="add a file name")
    check_writable(path.parent, *_IN_A_FOLDER)
    return path


def save_figure(figure: Figure, path: str | Path, dpi: int = 110) -> Path:
    """Draw a figure into a file in one step, so that whatever interrupts leaves the old file or none.

    Raises
    ------
    ValueError
        As :func:`figure_path` does.
    OSError
        If the disk refuses.
    """
    target = figure_path(path)
    content = to_bytes(figure, target.suffix.lower().removeprefix("."), dpi)
    writable_folder(target.parent, *_IN_A_FOLDER)
    return write_atomically(target, content)


def symbols(text: str) -> str:
    r"""Typeset the decays in a text for Matplotlib; dollars of the user stay dollars.

    Examples
    --------
    >>> print(symbols("λ_z = 0.01 for 5 $"))
    $\lambda_z$ = 0.01 for 5 \$
    """
    text = text.replace("$", r"\$")
    for index in "zwhb":
        text = text.replace(f"λ_{index}", rf"$\lambda_{index}$")
    return text


def display_order(geometry: Geometry) -> NDArray[np.intp]:
    """Order the classes from the most to the least common, so that classes of equal count stand together.

    Examples
    --------
    >>> display_order(Geometry([5, 9, 5, 9], [[1.0], [2.0], [3.0], [4.0]])).tolist()
    [1, 3, 0, 2]
    """
    return np.argsort(-geometry.counts, kind="stable")


def draw_matrix(
    axes: Axes,
    values: Array,
    geometry: Geometry,
    names: Sequence[str],
    *,
    limit: float,
    brackets: Sequence[Sequence[int]] = (),
    row_labels: bool = True,
    column_labels: bool = True,
    text_size: float = 6.5,
) -> Any:
    """Draw one (K, K) matrix with its classes, their counts, and brackets at merged groups.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    values : (K, K) array
        In the order of the classes; not-a-number cells are grey.
    geometry : Geometry
        Whose counts order and label the classes.
    names : sequence of str
        Class names.
    limit : float
        The colour scale runs from −limit to limit.
    brackets : sequence of sequences of int
        Groups of classes to bracket as merged.
    row_labels, column_labels : bool
        Whether the axes say which class is where.
    text_size : float
        Points, of the numbers in the cells; 0 leaves them out.

    Returns
    -------
    matplotlib.image.AxesImage
        For a colour bar.
    """
    import matplotlib

    order = display_order(geometry)
    shown = values[np.ix_(order, order)]
    colours = matplotlib.colormaps[DIVERGING].with_extremes(bad=UNDEFINED)
    image = axes.imshow(np.ma.masked_invalid(shown), cmap=colours, vmin=-limit, vmax=limit)
    middle = (len(order) - 1) / 2
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    if not np.isfinite(shown).any():
        note = "undefined:\nzero has no direction"
        axes.text(middle, middle, note, ha="center", va="center", fontsize=9, bbox=paper)
    elif np.nanmax(np.abs(shown)) < 0.005:
        axes.text(middle, middle, "zero everywhere", ha="center", va="center", fontsize=9, bbox=paper)
    elif text_size and len(order) <= WRITTEN:
        _write_cells(axes, shown, limit, text_size)
    _label_classes(axes, geometry.counts[order], [names[k] for k in order], row_labels, column_labels)
    _separate_counts(axes, geometry.counts[order])
    _bracket_groups(axes, order, brackets)
    return image


def _write_cells(axes: Axes, shown: Array, limit: float, size: float) -> None:
    for row, column in np.argwhere(np.isfinite(shown)):
        value = shown[row, column]
        text = f"{value:.2f}" if limit < 9.995 else f"{value:.1f}"
        if float(text) == 0.0:
            text = "0"
        dark = abs(value) > 0.6 * limit
        cell = axes.text(column, row, text.replace("-", "−"), ha="center", va="center", fontsize=size)
        cell.set(color="w" if dark else "k", in_layout=False)  # inside the axes, so the layout need not measure it


def _label_classes(axes: Axes, counts: NDArray[Any], names: list[str], rows: bool, columns: bool) -> None:
    total = len(counts)
    if total <= NAMED:
        ticks = list(range(total))
        row_names = [f"{name} ({count:.0f})" for name, count in zip(names, counts, strict=True)]
        column_names = names
    else:
        ticks = np.linspace(0, total - 1, 9).round().astype(int).tolist()
        row_names = [f"n = {counts[k]:.0f}" for k in ticks]
        column_names = [f"{counts[k]:.0f}" for k in ticks]
    axes.set_yticks(ticks, row_names if rows else [""] * len(ticks), fontsize=8, parse_math=False)
    long = max(map(len, column_names)) > 3
    axes.set_xticks(
        ticks,
        column_names if columns else [""] * len(ticks),
        fontsize=8,
        parse_math=False,
        rotation=45 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor",
    )
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_color("#808080")
        spine.set_linewidth(0.6)


def _separate_counts(axes: Axes, counts: NDArray[Any]) -> None:
    changes = np.flatnonzero(np.diff(counts)) + 0.5
    if len(changes) <= 8:
        for place in changes:
            axes.axhline(place, color="#808080", linewidth=0.6)
            axes.axvline(place, color="#808080", linewidth=0.6)


def _bracket_groups(axes: Axes, order: NDArray[np.intp], groups: Sequence[Sequence[int]]) -> None:
    position = np.argsort(order)
    right = len(order) - 0.5
    step = 0.025 * len(order)
    for index, group in enumerate(groups):
        colour = PALETTE[1] if len(groups) == 1 else PALETTE[(index + 1) % len(PALETTE)]
        places = np.sort(position[list(group)])
        for block in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            top, bottom = block[0] - 0.35, block[-1] + 0.35
            axes.plot(
                [right + step, right + 2 * step, right + 2 * step, right + step],
                [top, top, bottom, bottom],
                color=colour,
                linewidth=1.8,
                clip_on=False,
                scalex=False,
                scaley=False,
            )
            if len(block) > 1:
                label = "merged" if len(groups) == 1 else f"merged ({index + 1})"
                axes.text(
                    right + 2.6 * step,
                    (top + bottom) / 2,
                    label,
                    rotation=270,
                    color=colour,
                    ha="left",
                    va="center",
                    fontsize=8,
                    fontweight="bold",
                )
