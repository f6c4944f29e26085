"""What the monitors of both trainers share: their settings, and what is done about a measurement."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch.optim import Optimizer

from lopsided.callbacks.batches import LabelsOf, labels_of
from lopsided.callbacks.merging import MergeAlarm
from lopsided.callbacks.recorder import CollapseRecorder, CollapseWarning, Measurement
from lopsided.core.arguments import ArgumentError, check_choice, check_whole

#: Of a long epoch each so-many-th batch is gathered, and so many are gathered at least of a short one.
LARGEST_STRIDE, FEWEST_BATCHES = 16, 32


class Monitor:
    """A recorder with the settings of :class:`lopsided.callbacks.CollapseMonitor`, where they are described."""

    #: What stands before the names of measures, by the loader that is measured.
    prefixes: ClassVar[dict[str, str]]
    #: What says, in the trainer, how often there is a validation.
    validation_interval: ClassVar[str]

    def __init__(
        self,
        num_classes: int,
        *,
        loader: Literal["train", "val"] = "train",
        every_n_steps: int | None = None,
        every_n_batches: int | None = None,
        on_merge: Literal["warn", "stop", "ignore"] = "warn",
        labels: LabelsOf = labels_of,
        prefix: str | None = None,
        **options: Any,
    ) -> None:
        check_choice("loader", loader, ("train", "val"))
        check_choice("on_merge", on_merge, ("warn", "stop", "ignore"))
        check_whole("every_n_steps", every_n_steps, optional=True)
        check_whole("every_n_batches", every_n_batches, optional=True)
        if loader == "val" and every_n_steps is not None:
            rule = f"must be left out where loader='val': see {self.validation_interval}"
            raise ArgumentError("every_n_steps", rule, every_n_steps)
        self.recorder = CollapseRecorder(num_classes, **options)
        self.loader, self.on_merge = loader, on_merge
        self.every_n_steps, self.every_n_batches = every_n_steps, every_n_batches
        self.prefix = self.prefixes[loader] if prefix is None else prefix
        self.measurement: Measurement | None = None
        self.alarms: list[MergeAlarm] = []
        self._labels_of = labels
        self._stride = every_n_batches or 1

    def _set_stride(self, batches_per_epoch: float) -> None:
        """Choose which training batches to gather, where the user has not."""
        if self.loader == "train" and self.every_n_batches is None:
            self._stride = stride(self.every_n_steps or batches_per_epoch)

    def _measure(self, optimizers: Sequence[Optimizer]) -> dict[str, float]:
        """Measure what was gathered; return what is to be logged, nothing where nothing was gathered."""
        measurement = self.recorder.measure(optimizers)
        if measurement is None:
            return {}
        self.measurement = measurement
        self.alarms += measurement.alarms
        return {self.prefix + name: value for name, value in measurement.scalars.items()}

    def _stops(self, step: int, *, speaks: bool) -> bool:
        """Warn of the classes that the latest measurement found merging; whether training is to end for them.

        Of several workers one speaks.
        """
        if self.measurement is None or not self.measurement.alarms or self.on_merge == "ignore":
            return False
        if speaks:
            alarms = "; ".join(map(str, self.measurement.alarms))
            warnings.warn(f"step {step}: {alarms}", CollapseWarning, stacklevel=3)
        return self.on_merge == "stop"


def stride(batches: float) -> int:
    """Each so-many-th training batch to gather, of as many as pass between two measurements.

    Each sixteenth costs a step less than 5 % (``make bench``); but of a short epoch all are needed, or rare classes
    would hardly be seen.

    Examples
    --------
    >>> stride(5), stride(100), stride(391), stride(float("inf"))
    (1, 3, 12, 16)
    """
    return max(1, int(min(batches, LARGEST_STRIDE * FEWEST_BATCHES)) // FEWEST_BATCHES)
