"""A measured network in words: every measure with its convention, and what became of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from lopsided.core.comparison import Comparison
from lopsided.core.counts import class_ranges
from lopsided.core.geometry import Geometry
from lopsided.report import wording

#: What each measure is, by its name in :func:`lopsided.metrics.measure`, in the order of the table.
CONVENTIONS = {
    "nc1": "tr(Σ_W Σ_B⁺)/K, Σ_B a mean over classes, about the mean of all samples (the paper's)",
    "nc1_unweighted": "the same, about the mean of the class means",
    "nc1_weighted": "the same, Σ_B a mean over samples",
    "nc1_rank_aware": "the paper's, along the directions that still tell classes apart",
    "nc1_corrected": "the paper's, without the bias of few samples a class",
    "nc1_trace_ratio": "tr Σ_W / tr Σ_B, the paper's Σ_B; needs no inverse",
    "nc1_trace_ratio_corrected": "the same, without the bias of few samples a class",
    "cdnv": "variance over squared distance, mean over all pairs of classes",
    "cdnv_unmerged": "the same, over pairs that have not merged",
    "cdnv_corrected": "over all pairs, without the bias of few samples a class",
    "nc2_etf": "class means from a simplex, about their own mean",
    "nc2_etf_classifier": "classifier from a simplex",
    "nc2_predicted": "class means from the predicted optimum",
    "nc2_predicted_classifier": "classifier from the predicted optimum",
    "nc3_etf": "classifier from the class means",
    "nc3_predicted": "classifier from what the prediction makes of these class means",
    "nc4": "share of class means that the classifier, with its bias, gives to another class",
    "minority_spread": "distance of the rare classes' means, in units of the common ones'",
}


def measures_table(measures: Mapping[str, Any]) -> Table:
    """Make the table of what was measured, for the terminal.

    Parameters
    ----------
    measures : mapping
        From :func:`lopsided.metrics.measure`.

    Returns
    -------
    rich.table.Table

    Examples
    --------
    >>> measures_table({"nc1": 0.02, "rank": 3}).row_count
    1
    """
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("measure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("what it is")
    for name, convention in CONVENTIONS.items():
        if name in measures:
            table.add_row(Text(name), wording.number(measures[name]), Text(convention, style="dim"))
    return table


def lost_classes(geometry: Geometry) -> list[int]:
    """The classes that cannot be told from another one, in order.

    Examples
    --------
    >>> import lopsided as lp
    >>> lost_classes(lp.UFM("500x2,100x3", lambda_z=8e-3).solve().geometry)
    [2, 3, 4]
    """
    return sorted(index for group in geometry.merged for index in group)


def verdict(measured: Geometry, comparison: Comparison | None = None) -> str:
    """Say which classes are lost and whether that was to be expected, in one or two sentences.

    Parameters
    ----------
    measured : Geometry
        The network.
    comparison : Comparison, optional
        Of the network with its prediction.

    Returns
    -------
    str

    Examples
    --------
    >>> import lopsided as lp
    >>> geometry = lp.UFM("500x2,100x3", lambda_z=8e-3).solve().geometry
    >>> verdict(geometry)
    'Lost: classes 2–4 cannot be told apart.'
    >>> verdict(geometry, lp.compare(geometry, geometry))
    'Lost: classes 2–4 cannot be told apart, as predicted at this decay.'
    """
    lost = lost_classes(measured)
    said = f"Lost: classes {class_ranges(lost)} cannot be told apart" if lost else "No class is lost"
    if comparison is None:
        return f"{said}."
    if comparison.same_merged:
        return f"{said}, as predicted at this decay."
    parts = [f"{said}, but that is not what is predicted at this decay."]
    if comparison.unexpected_merges:
        apart = _classes(comparison.unexpected_merges)
        parts.append(f"The optimum keeps {apart} apart: it is not the decay that loses them; train longer.")
    if comparison.missing_merges:
        merging = _classes(comparison.missing_merges)
        parts.append(f"The optimum loses {merging}: training on may lose them; less decay would keep them.")
    return " ".join(parts)


def _classes(pairs: list[tuple[int, int]]) -> str:
    return f"classes {class_ranges(sorted({index for pair in pairs for index in pair}))}"
