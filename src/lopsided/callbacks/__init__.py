"""Monitors that log neural collapse while a network trains, on Lightning or the Hugging Face Trainer.

``CollapseMonitor`` needs ``pip install lopsided[train]``, ``TrainerCollapseMonitor`` needs ``lopsided[huggingface]``;
either is loaded on first use.
"""

from typing import TYPE_CHECKING, Any

from lopsided.callbacks.batches import labels_of
from lopsided.callbacks.merging import Forecast, MergeAlarm, MergeWatch
from lopsided.callbacks.recorder import CollapseRecorder, CollapseWarning, Measurement

if TYPE_CHECKING:
    from lopsided.callbacks.huggingface import TrainerCollapseMonitor
    from lopsided.callbacks.lightning import CollapseMonitor

__all__ = [
    "CollapseMonitor",
    "CollapseRecorder",
    "CollapseWarning",
    "Forecast",
    "Measurement",
    "MergeAlarm",
    "MergeWatch",
    "TrainerCollapseMonitor",
    "labels_of",
]


def __getattr__(name: str) -> Any:
    if name == "CollapseMonitor":
        from lopsided.callbacks.lightning import CollapseMonitor

        return CollapseMonitor
    if name == "TrainerCollapseMonitor":
        from lopsided.callbacks.huggingface import TrainerCollapseMonitor

        return TrainerCollapseMonitor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
