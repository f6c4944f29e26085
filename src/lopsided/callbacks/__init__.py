"""Monitors that log neural collapse while a network trains, on Lightning or the Hugging Face Trainer.

``CollapseMonitor`` needs ``pip install lopsided[train]``, ``TrainerCollapseMonitor`` needs ``lopsided[huggingface]``;
either is loaded on first use.
"""

from typing import TYPE_CHECKING

from lopsided.callbacks.batches import labels_of
from lopsided.callbacks.merging import Forecast, MergeAlarm, MergeWatch
from lopsided.callbacks.recorder import CollapseRecorder, CollapseWarning, Measurement
from lopsided.core.exports import lazy_exports

if TYPE_CHECKING:
    from lopsided.callbacks.huggingface import TrainerCollapseMonitor as TrainerCollapseMonitor
    from lopsided.callbacks.lightning import CollapseMonitor as CollapseMonitor

__getattr__, __dir__, _lazy = lazy_exports(__name__, lightning="CollapseMonitor", huggingface="TrainerCollapseMonitor")

__all__ = [
    *_lazy,
    "CollapseRecorder",
    "CollapseWarning",
    "Forecast",
    "Measurement",
    "MergeAlarm",
    "MergeWatch",
    "labels_of",
]
