"""An experiment carried out: its runs, each with its row, and what became of its claims."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.outlook import Outlook
from lopsided.paper.checks import Check, Table
from lopsided.paper.plans import Experiment, Point
from lopsided.runs.record import Run

#: A class whose own logit leads or trails by less than this, in nats, may be recognised by a network or not.
LEAST_LEAD = 0.1


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """One run of an experiment: what was asked for, and what is stored of it."""

    point: Point
    #: The row of the sweep, with ``figure``, ``x`` and the paper's own ``asked_counts`` and ``asked_lambda_z``.
    row: dict[str, Any]
    run: Run = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether it came to its end: what a run that diverged looked like before is no agreement."""
        return bool(self.row["outcome"] == "trained")

    @property
    def near_threshold(self) -> bool:
        """Whether its decay is too near a threshold for it to be judged."""
        return bool(self.row["near_threshold"])

    @property
    def keeps_some(self) -> bool:
        """Whether any mean logits are predicted to be left."""
        return self.run.predicted.rank > 0

    @property
    def same_merged(self) -> bool:
        """Whether it ended with the predicted classes merged, and no others."""
        return self.ended and self.run.comparison.same_merged

    @property
    def same_rank(self) -> bool:
        """Whether it ended at the predicted rank."""
        return self.ended and self.run.comparison.same_rank

    @property
    def logits_error(self) -> float | None:
        """Relative error of the mean logits; None where there is none."""
        error: float | None = self.row["mean_logits_error"] if self.ended else None
        return error

    @cached_property
    def predicted_lead(self) -> NDArray[np.float64]:
        """(K,) predicted lead of the own logit of a class's mean over the next one, bias included, in nats."""
        return Outlook.measured(self.run.predicted).logit_gap


@dataclass(frozen=True, eq=False)
class Reproduction:
    """An experiment carried out and judged, claim by claim; what else was found, in sentences and in numbers."""

    experiment: Experiment
    runs: tuple[FinishedRun, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    #: What a drawing needs of every class, as the judge has computed it.
    classes: Any = None

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The rows of the runs."""
        return tuple(entry.row for entry in self.runs)
