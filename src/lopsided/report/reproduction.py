"""Experiments carried out: one drawing each, and a folder with rows, drawings and verdicts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lopsided.core.comparison import COLLAPSED_NC1
from lopsided.core.files import writable_folder, write_atomically
from lopsided.paper.checks import LARGEST_ERROR, Table, all_hold
from lopsided.paper.judge_figures import LARGEST_BIAS_ERROR, threshold_ratios
from lopsided.paper.results import Reproduction
from lopsided.report.canvas import PALETTE, new_figure, symbols, tidy, to_png
from lopsided.report.next_experiments import draw_generalisation, draw_groups, draw_remedies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Quantities along an axis: column, title.
_ALONG = (
    ("rare_cosine", "cosine between the mean logits of rare classes"),
    ("minority_spread", "spread of the rare classes' means"),
    ("rank", "rank of the mean logits"),
)
_AXES = {"lambda_z": "decay λ_z", "n_a": "samples in each common class"}
#: Header of the table of verdicts.
HEADER = ("experiment", "claim", "predicted", "measured", "holds?")


def figure_reproduction(result: Reproduction) -> Figure:
    """Draw an experiment: what was measured, beside what was predicted.

    Parameters
    ----------
    result : Reproduction

    Returns
    -------
    matplotlib.figure.Figure
        Along an axis: cosine, spread and rank, thresholds dotted. Over training: NC1. Else the errors of mean logits
        and bias, a point a run. Of groups: their errors. Test accuracy against what was predicted of it.
    """
    figure = _DRAWINGS[result.experiment.kind](result)
    holds = sum(check.holds for check in result.checks)
    story = f"{result.experiment.name}: {holds} of {len(result.checks)} claims hold"
    figure.suptitle(symbols(f"{story}. {result.experiment.title}"), fontsize=11)
    return figure


def write_reproduction(folder: str | Path, results: Sequence[Reproduction]) -> Path:
    """Write drawings, rows and verdicts, a folder for each figure, and one table of all claims.

    Parameters
    ----------
    folder : str or Path
        Gets ``FIGURE/figure.png``, ``FIGURE/rows.jsonl`` and ``FIGURE/verdict.json`` of each, and ``verdicts.md``.
    results : sequence of Reproduction

    Returns
    -------
    Path
        ``verdicts.md``.

    Raises
    ------
    ValueError
        If the folder cannot be written.
    OSError
        If a file cannot be written; those written before are whole.
    """
    root = writable_folder(folder)
    for result in results:
        own = writable_folder(root / result.experiment.name)
        write_atomically(own / "figure.png", to_png(figure_reproduction(result)))
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in result.rows]
        write_atomically(own / "rows.jsonl", "\n".join(lines) + "\n")
        verdict = {
            "figure": result.experiment.name,
            "title": result.experiment.title,
            "lead": result.experiment.lead,
            "holds": all_hold(result.checks),
            "checks": [check.to_dict() for check in result.checks],
            "notes": list(result.notes),
            "tables": [{"header": table.header, "lines": table.lines} for table in result.tables],
        }
        write_atomically(own / "verdict.json", json.dumps(verdict, indent=1, ensure_ascii=False) + "\n")
    return write_atomically(root / "verdicts.md", verdicts_markdown(results))


def verdicts_markdown(results: Sequence[Reproduction]) -> str:
    """The table of all claims, as Markdown, with what was done and by which version."""
    lines = ["# Experiments, predicted and measured", ""]
    for result in results:
        row = result.rows[0]
        commits = dict.fromkeys((one["commit"] or "unknown")[:12] for one in result.rows)
        made = f"lopsided {row['version_lopsided']}, commit {', '.join(commits)}, torch {row['version_torch']}"
        lines.append(
            f"- **{result.experiment.name}**, {result.experiment.title}: {result.experiment.lead} Made by {made}."
        )
        lines += [f"  {note}" for note in result.notes]
    for table in [table for result in results for table in result.tables]:
        lines += ["", table.to_markdown()]
    cells = (
        (check.run, check.claim, check.target, check.found, "yes" if check.holds else "**no**")
        for result in results
        for check in result.checks
    )
    return "\n".join([*lines, "", Table(HEADER, tuple(cells)).to_markdown()]) + "\n"


def _draw_axis(result: Reproduction) -> Figure:
    figure = new_figure(12.6, 4.0)
    rows = sorted(result.rows, key=lambda row: row["x"])
    places = np.array([row["x"] for row in rows])
    thresholds = _crossings(rows)
    for axes, (name, title) in zip(figure.subplots(1, len(_ALONG)), _ALONG, strict=True):
        predicted = np.array([row[f"predicted_{name}"] for row in rows], dtype=float)  # None leaves a gap
        measured = np.array([row[name] for row in rows], dtype=float)
        line = "" if name == "rank" else "-"  # there is no rank between two ranks
        axes.plot(
            places, predicted, linestyle=line, marker="s", mfc="none", markersize=8, color=PALETTE[0], label="predicted"
        )
        axes.plot(places, measured, linestyle="", marker="o", markersize=4.5, color=PALETTE[1], label="measured")
        for place in thresholds:
            axes.axvline(place, color="#808080", linewidth=0.9, linestyle=":")
        if name == "rank":
            axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_title(title, fontsize=10)
        tidy(axes, _AXES[result.experiment.x or "n_a"])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _draw_collapse(result: Reproduction) -> Figure:
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    for index, entry in enumerate(result.runs):
        points = [(step["epoch"], step.get("nc1_rank_aware")) for step in entry.run.history]
        values, row = np.array(points, dtype=float), entry.row
        label = f"{row['network']}, {row['data']}, seed {row['seed']}"
        axes.plot(values[:, 0], values[:, 1], color=PALETTE[index % len(PALETTE)], linewidth=1.5, label=label)
    axes.axhline(COLLAPSED_NC1, color="#808080", linewidth=0.9, linestyle=":")
    axes.set_yscale("log")
    axes.set_ylabel("NC1 in the directions that are left", fontsize=9)
    tidy(axes, "epoch")
    axes.legend(fontsize=8, frameon=False)
    return figure


def _draw_errors(result: Reproduction) -> Figure:
    figure = new_figure(8.4, 4.2)
    labels = [f"{row['network']}\n{row['data']}\nseed {row['seed']}" for row in result.rows]
    pairs = (("mean_logits_error", "mean logits", LARGEST_ERROR), ("bias_error", "bias", LARGEST_BIAS_ERROR))
    for axes, (name, title, bound) in zip(figure.subplots(1, 2), pairs, strict=True):
        axes.plot(range(len(labels)), [row[name] for row in result.rows], "o", color=PALETTE[1])
        axes.axhline(bound, color="#808080", linewidth=0.9, linestyle=":")
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_title(f"{title}: relative error", fontsize=10)
        tidy(axes, "")
    return figure


def _crossings(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Where along the axis the decay crosses a threshold, between two runs by the power law through both."""
    places: list[float] = []
    for group in ("rare", "all"):
        logs = [(np.log(row["x"]), np.log(threshold_ratios(row)[group])) for row in rows]
        for (left, before), (right, after) in itertools.pairwise(logs):
            if before * after < 0:
                places.append(float(np.exp(left - before * (right - left) / (after - before))))
    return places


#: How each kind of experiment is drawn.
_DRAWINGS = {
    "axis": _draw_axis,
    "nc1": _draw_collapse,
    "mean_logits": _draw_errors,
    "groups": draw_groups,
    "generalisation": draw_generalisation,
    "remedies": draw_remedies,
}
