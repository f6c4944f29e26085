"""Neural collapse, logged while the Hugging Face Trainer trains."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sized
from typing import Any, ClassVar

from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lopsided.callbacks.monitor import Monitor


class TrainerCollapseMonitor(Monitor, TrainerCallback):
    """Logs the measures of neural collapse during training, and warns before classes merge.

    What :class:`lopsided.callbacks.CollapseMonitor` is for Lightning. A callback cannot reach the Trainer's log by
    itself: :meth:`attach` makes the two known to each other, and values then go wherever the Trainer reports to, and
    into ``trainer.state.log_history``.

    Parameters
    ----------
    loader : {"train", "val"}, default "train"
        What to measure on: training batches, in training mode and under changing weights, or evaluation.
    labels : callable, optional
        From the keyword arguments of the model's forward pass to the labels (B,); those under ``labels`` by default.
    prefix : str, optional
        Before each name; ``""`` or ``"eval_"`` by default, as the Trainer has it.
    num_classes, every_n_steps, every_n_batches, on_merge, **options
        As for :class:`lopsided.callbacks.CollapseMonitor`, whose attributes this has too; training batches are measured
        at the end of each epoch unless ``every_n_steps`` is given.

    Raises
    ------
    ValueError
        In training, if the classifier or the labels are not to be found. With label smoothing by the Trainer the model
        is not given labels.

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

    prefixes: ClassVar = {"train": "", "val": "eval_"}
    validation_interval = "eval_steps of the Trainer"

    def __init__(self, num_classes: int, **settings: Any) -> None:
        super().__init__(num_classes, **settings)
        self._trainer: Trainer | None = None
        self._handles: list[RemovableHandle] = []
        self._optimizer: Any = None
        self._batches = 0

    def attach(self, trainer: Trainer) -> TrainerCollapseMonitor:
        """Log through a Trainer, become one of its callbacks if this is none yet, and return the monitor itself."""
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
        batches = kwargs.get("train_dataloader")
        self._set_stride(len(batches) if isinstance(batches, Sized) else math.inf)
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
        values = self._measure([] if self._optimizer is None else [self._optimizer])
        self._batches = 0
        if not values:
            return
        if self._trainer is None:
            state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
        else:
            self._trainer.log(values)
        if self._stops(state.global_step, speaks=state.is_world_process_zero):
            control.should_training_stop = True
