"""Experiments read from files, fitted to a scale and to the data at hand: the paper's nine figures, and the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import format_counts, parse_counts
from lopsided.data.imbalanced import check_classes
from lopsided.paper.bundled import read_bundled, small_scale
from lopsided.runs.configuration import Configuration
from lopsided.runs.grids import GRID, expand
from lopsided.runs.sweep import samples_a_class

#: The figures of Hong & Ling (JMLR 2024), in the paper's order.
FIGURES = tuple(f"fig{number}" for number in range(1, 10))
#: What the paper leaves open.
NEXT = ("initialisation", "counts", "losses", "relu", "depth", "generalisation", "remedies")
EXPERIMENTS = (*FIGURES, *NEXT)
SCALES = ("small", "full")
_ABOUT = ("title", "kind", "x", "by")


@dataclass(frozen=True)
class Point:
    """One run of an experiment, with the paper's counts and decays, and as it is carried out.

    With fewer samples the decays are larger, and the optimum is the same.
    """

    asked: Configuration
    fitted: Configuration


@dataclass(frozen=True)
class Experiment:
    """An experiment, planned for a scale and the data at hand."""

    name: str
    title: str
    #: What is drawn and judged, one of :data:`lopsided.paper.reproduction.JUDGES`.
    kind: str
    #: The axis, ``lambda_z`` or ``n_a``, in the units of the file.
    x: str | None
    #: Settings that make groups of runs.
    by: tuple[str, ...]
    scale: str
    points: tuple[Point, ...]

    def position(self, point: Point) -> float:
        """Where a run stands on the axis."""
        return float(point.asked.model.lambda_z if self.x == "lambda_z" else parse_counts(point.asked.counts).max())

    @property
    def lead(self) -> str:
        """What was done, in a sentence or two."""
        networks, data = (
            ", ".join(dict.fromkeys(getattr(point.fitted, name) for point in self.points))
            for name in ("network", "data")
        )
        text = f"{len(self.points)} runs of {networks} on {data}, {self.scale} scale."
        scaled = [point for point in self.points if point.asked.counts != point.fitted.counts]
        if scaled:
            text += (
                f" Counts are scaled down by a factor c and decays up by 1/√c, which leaves the optimum as it is:"
                f" {scaled[0].asked.counts} is carried out as {scaled[0].fitted.counts}."
            )
        return text


def plan(
    name: str,
    scale: str = "small",
    *,
    data_folder: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Experiment:
    """Plan one of the :data:`EXPERIMENTS` for a scale and the data at hand; ``changes`` replace settings of its file.

    ``small`` takes minutes a run on one core; ``full`` has the paper's own networks, epochs and numbers of samples.

    Examples
    --------
    >>> experiment = plan("fig5", changes={"data": "digits"})
    >>> point = experiment.points[0]
    >>> point.asked.counts, point.fitted.counts, round(point.fitted.lambda_z / point.asked.lambda_z, 4)
    ('500x5,100x5', '155x5,31x5', 1.7961)
    """
    if name not in EXPERIMENTS:
        raise ArgumentError("figure", f"must be one of: {', '.join(EXPERIMENTS)}", name)
    if scale not in SCALES:
        raise ArgumentError("scale", f"must be one of: {', '.join(SCALES)}", scale)
    changes = dict(changes or {})
    figure, scales = read_bundled(name), read_bundled("scales")
    settings = "full" if scale == "full" else small_scale(changes.get("data"), data_folder)
    shared = {key: value for key, value in figure.items() if key not in (*_ABOUT, *scales, GRID)}
    own = figure.get(settings, {})
    base = {**scales[settings], **shared, **{key: value for key, value in own.items() if key != GRID}}
    most = base.pop("most_samples", None)
    grids = _grids(figure.get(GRID, {}), own.get(GRID, {}))
    runs = expand({**base, GRID: grids}, changes)
    sources = {(run.data, run.image_size) for run in runs}  # each is read once: that takes a second
    available = {source: samples_a_class(source[0], data_folder, source[1]) for source in sources}
    points = tuple(
        Point(run, run if scale == "full" else fit(run, available[run.data, run.image_size], most)) for run in runs
    )
    return Experiment(
        name, figure["title"], figure["kind"], figure.get("x"), tuple(figure.get("by", ())), scale, points
    )


def fit(
    configuration: Configuration, available: Sequence[int] | np.ndarray[Any, Any], most: int | None
) -> Configuration:
    """The same optimum with fewer samples: counts times c, decays over √c, for the largest c ≤ 1 that keeps them whole.

    Mean logits, bias and thresholds relative to the decay are left exactly as they are; see docs/theory.md. There are
    ``available`` samples in each class, and at most ``most`` in all.

    Examples
    --------
    >>> run = Configuration(data="digits", counts="500x5,100x5", lambda_z=0.003)
    >>> small = fit(run, [150] * 10, most=None)
    >>> small.counts, round(small.lambda_z, 6)
    ('150x5,30x5', 0.005477)
    """
    counts = parse_counts(configuration.counts)  # as they are drawn, whatever is shown or merged of them
    check_classes(counts, len(available), configuration.data)
    divisor = math.gcd(*counts.tolist())
    shares = counts // divisor
    times = min(divisor, int(np.min(np.asarray(available)[: len(shares)] // shares)))
    if most is not None:
        times = min(times, most // int(shares.sum()))
    if times < 1:
        limit = "" if most is None else f", and at most {most} in all"
        raise ArgumentError(
            "counts",
            f"must be in the ratios of {configuration.counts}, which takes at least {format_counts(shares)} samples",
            got=f"{np.asarray(available)[: len(shares)].min()} in a class of {configuration.data}{limit}",
            remedy="choose others, or other data",
        )
    decays = configuration.decays_times(math.sqrt(divisor / times))
    return configuration.replace(counts=format_counts(times * shares), **decays)


def _grids(stated: Any, own: Any) -> list[dict[str, Any]]:
    """The grids of a file: one table of a scale replaces keys in each of them, several replace them."""
    if isinstance(own, list):
        return own
    return [{**grid, **own} for grid in (stated if isinstance(stated, list) else [stated])]
