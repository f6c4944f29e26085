"""What ``lopsided measure`` found, as tables and as one JSON object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lopsided.cli.output import console
from lopsided.core.outlook import Outlook

if TYPE_CHECKING:
    from lopsided.core.geometry import Geometry
    from lopsided.core.solution import Solution
    from lopsided.metrics import EffectiveDecay
    from lopsided.runs.record import Run


@dataclass(frozen=True, eq=False)
class Measurement:
    """A measured network and, where a decay is given, its prediction.

    Attributes
    ----------
    geometry : Geometry
    measures : dict
        From :func:`lopsided.metrics.measure`.
    class_accuracy : list of float or None
    decay : EffectiveDecay or None
        None where no decay is given, and with it all that follows.
    feature_decay : float or None
        Decay of the features, where it is given and not estimated.
    solution : Solution or None
    run : Run or None
        The prediction and the measurement, as a report takes them.
    """

    geometry: Geometry
    measures: dict[str, Any]
    class_accuracy: list[float] | None
    decay: EffectiveDecay | None = None
    feature_decay: float | None = None
    solution: Solution | None = None
    run: Run | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of all samples whose own logit is the largest."""
        if self.class_accuracy is None:
            return None
        counts = self.geometry.counts
        return float(np.nansum(np.asarray(self.class_accuracy) * counts) / counts.sum())

    @property
    def outlook(self) -> Outlook:
        """What has become of the classes."""
        return Outlook.measured(self.geometry)

    @property
    def verdict(self) -> str:
        """Which classes are lost and, where there is a prediction, whether that was to be expected."""
        from lopsided.report import verdict

        return verdict(self.geometry, None if self.run is None else self.run.predicted)

    def as_object(self, report: Path | None) -> dict[str, Any]:
        """Everything, for JSON."""
        lost = {"measured": self.outlook.lost}
        value: dict[str, Any] = {
            "measures": self.measures,
            "accuracy": self.accuracy,
            "class_accuracy": self.class_accuracy,
            "lost": lost,
            "verdict": self.verdict,
        }
        if self.decay is not None and self.solution is not None and self.run is not None:
            from lopsided.theory import thresholds

            solution, model = self.solution, self.solution.problem
            lost["predicted"] = Outlook.measured(solution.geometry).lost
            value["effective_decay"] = self.decay.to_dict()
            value["prediction"] = {
                **solution.to_dict(),
                "lambda_w": model.lambda_w,
                "lambda_h": model.lambda_h,
                "thresholds": thresholds(model).to_dict(),
            }
            value["comparison"] = self.run.comparison.to_dict()
        if report is not None:
            value["report"] = str(report)
        return value

    def show(self, report: Path | None) -> None:
        """Print tables and the verdict."""
        from lopsided.core.counts import format_counts
        from lopsided.report import measures_table

        terminal = console()
        samples, classes = self.measures["num_samples"], self.measures["num_classes"]
        title = f"{samples} samples in {classes} classes ({format_counts(self.geometry.counts)})"
        terminal.print(title, style="bold", no_wrap=True, overflow="ellipsis")
        terminal.print(measures_table(self.measures))
        space = "mean logits" if self.geometry.has_classifier else "class means"
        right = "" if self.accuracy is None else f"; {100 * self.accuracy:.4g} % of the samples classified correctly"
        terminal.print(f"rank {self.geometry.rank} of the {space}{right}")
        if self.run is not None:
            self._show_prediction()
        terminal.print(self.verdict, style="bold red" if self.outlook.lost else "bold")
        if report is not None:
            terminal.print(f"Report: {report}", markup=False, soft_wrap=True)

    def _show_prediction(self) -> None:
        from lopsided.report import comparison_table

        assert self.decay is not None
        assert self.solution is not None
        assert self.run is not None
        terminal = console()
        terminal.print()
        terminal.print(f"Effective decay: {self.decay.statement}", markup=False)
        if self.decay.implied_lambda_w is not None:
            implied, stated = f"{self.decay.implied_lambda_w:.3g}", f"{self.decay.lambda_w:.3g}"
            terminal.print(
                f"λ_w estimated from the classifier itself, under plain cross-entropy: {implied}; stated: {stated}."
            )
        if self.feature_decay is not None:
            terminal.print(f"The prediction uses the stated decay of the features, {self.feature_decay:.4g}.")
        certificate = "certified" if self.solution.status == "optimal" else f"NOT certified ({self.solution.status})"
        terminal.print(f"Prediction ({certificate}): {self.solution.problem}", markup=False)
        terminal.print(comparison_table(self.run))
