"""Neural collapse, logged while the Hugging Face Trainer trains."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sized
from typing import Any, Literal

from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lopsided.callbacks.batches import LabelsOf, labels_of
from lopsided.callbacks.merging import MergeAlarm, describe
from lopsided.callbacks.recorder import CollapseRecorder, CollapseWarning, Measurement
from lopsided.callbacks.schedule import stride
from lopsided.core.arguments import ArgumentError, check_choice, check_whole


class TrainerCollapseMonitor(TrainerCallback):
    """Logs the measures of neural collapse during training, and warns before classes merge.

    What :class:`lopsided.callbacks.CollapseMonitor` is for Lightning. A callback cannot reach the Trainer's log by
    itself: :meth:`attach` makes the two known to each other, and values then go wherever the Trainer reports to, and
    into ``trainer.state.log_history``.

    Parameters
    ----------
    num_classes : int
        Number of classes K.
    loader : {"train", "val"}, default "train"
        What to measure on: training batches, in training mode and under changing weights, or evaluation.
    every_n_steps : int, optional
        Optimiser steps between measurements on training batches; at the end of each epoch by default.
    every_n_batches : int, optional
        Gather each so-many-th batch; by default as :class:`lopsided.callbacks.CollapseMonitor` does.
    on_merge : {"warn", "stop", "ignore"}, default "warn"
        What to do when classes are about to merge, or have.
    labels : callable, optional
        From the keyword arguments of the model's forward pass to the labels (B,); those under ``labels`` by default.
    prefix : str, optional
        Before each name; ``""`` or ``"eval_"`` by default, as the Trainer has it.
    **options
        Of :class:`lopsided.callbacks.CollapseRecorder`.

    Attributes
    ----------
    measurement : Measurement or None
        The latest.
    alarms : list of MergeAlarm
        All so far.

    Raises
    ------
    ValueError
        If an argument breaks its rule; in training, if the classifier or the labels are not to be found. With label
        smoothing by the Trainer the model is not given labels.

    Notes
    -----
    A resumed run starts watching anew.

    Examples
    --------
    >>> from lopsided.callbacks import TrainerCollapseMonitor
    >>> monitor = TrainerCollapseMonitor(num_classes=3, loader="val")
    >>> monitor.prefix
    'eval_'
    """

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
            raise ArgumentError(
                "every_n_steps",
                "must be left out where loader='val': see eval_steps of the Trainer",
                got=str(every_n_steps),
            )
        self.recorder = CollapseRecorder(num_classes, **options)
        self.loader, self.on_merge, self.every_n_steps = loader, on_merge, every_n_steps
        self.every_n_batches = every_n_batches
        self.prefix = {"train": "", "val": "eval_"}[loader] if prefix is None else prefix
        self.measurement: Measurement | None = None
        self.alarms: list[MergeAlarm] = []
        self._labels_of = labels
        self._trainer: Trainer | None = None
        self._handles: list[RemovableHandle] = []
        self._optimizer: Any = None
        self._stride = every_n_batches or 1
        self._batches = 0

    def attach(self, trainer: Trainer) -> TrainerCollapseMonitor:
        """Log through a Trainer, and become one of its callbacks if that has not been said yet.

        Returns
        -------
        TrainerCollapseMonitor
            Itself.
        """
        if self not in trainer.callback_handler.callbacks:
            trainer.add_callback(self)
        self._trainer = trainer
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Find the classifier."""
        if self._trainer is None:
            warnings.warn(
                "this monitor writes to the Trainer's log_history alone; for its loggers call monitor.attach(trainer)",
                UserWarning,
                stacklevel=2,
            )
        self._optimizer = kwargs.get("optimizer")
        if self.loader == "train" and self.every_n_batches is None:
            batches = kwargs.get("train_dataloader")
            self._stride = stride(self.every_n_steps or (len(batches) if isinstance(batches, Sized) else math.inf))
        self._hook(kwargs["model"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the model as it was."""
        self._unhook()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure where steps say so."""
        if self.every_n_steps is not None and state.global_step % self.every_n_steps == 0:
            self._record(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure where epochs say so."""
        if self.loader == "train" and self.every_n_steps is None:
            self._record(state, control)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure what was evaluated."""
        if self.loader == "val":
            self._record(state, control)

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> None:
        """Forget what was only to be predicted."""
        if self.loader == "val":
            self.recorder.discard()

    def _hook(self, model: nn.Module) -> None:
        self._unhook()
        self.recorder.attach(model)
        self._batches = 0
        self._handles = [
            model.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True),
            model.register_forward_hook(self._after, with_kwargs=True),
        ]

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.recorder.detach()

    def _before(self, model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self._gathers(model) or not self.recorder.found:
            self.recorder.begin()

    def _after(self, model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        gathers = self._gathers(model)
        self._batches += model.training == (self.loader == "train")
        if gathers:
            self.recorder.add(self._labels_of(kwargs))
        elif not self.recorder.found:
            self.recorder.end()

    def _gathers(self, model: nn.Module) -> bool:
        return model.training == (self.loader == "train") and self._batches % self._stride == 0

    def _record(self, state: TrainerState, control: TrainerControl) -> None:
        measurement = self.recorder.measure([] if self._optimizer is None else [self._optimizer])
        self._batches = 0
        if measurement is None:
            return
        self.measurement = measurement
        values = {self.prefix + name: value for name, value in measurement.scalars.items()}
        if self._trainer is None:
            state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
        else:
            self._trainer.log(values)
        self.alarms += measurement.alarms
        if measurement.alarms and self.on_merge != "ignore":
            if state.is_world_process_zero:
                warnings.warn(describe(measurement.alarms, state.global_step), CollapseWarning, stacklevel=2)
            if self.on_merge == "stop":
                control.should_training_stop = True
