"""A measured network in words: every measure with its convention, and what became of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from lopsided.core.comparison import compare
from lopsided.core.geometry import Geometry
from lopsided.core.outlook import Outlook
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
    "nc4": "share of class means that the classifier, with its bias, assigns to another class",
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


def verdict(measured: Geometry, predicted: Geometry | None = None) -> str:
    """Say which classes are lost and whether that was expected, in one or two sentences.

    Parameters
    ----------
    measured : Geometry
        The network.
    predicted : Geometry, optional
        The optimum at its decay.

    Returns
    -------
    str

    Examples
    --------
    >>> import lopsided as lp
    >>> lost, kept = (lp.UFM("500x2,100x3", lambda_z=decay).solve().geometry for decay in (8e-3, 1e-3))
    >>> verdict(lost)
    'Lost: classes 2–4 cannot be told apart.'
    >>> verdict(lost, lost)
    'Lost: classes 2–4 cannot be told apart, as predicted at this decay.'
    >>> verdict(kept, lost)
    'No class is lost, but that is not what is predicted at this decay. Expected: classes 2–4 cannot be told apart.'
    """
    found = Outlook.measured(measured)
    if predicted is None:
        return found.verdict
    said = found.verdict.removesuffix(".")
    if compare(predicted, measured).same_merged:  # as near as a measurement can tell
        return f"{said}, as predicted at this decay."
    wanted = Outlook.measured(predicted).verdict.removeprefix("Lost: ")
    return f"{said}, but that is not what is predicted at this decay. Expected: {wanted}"
