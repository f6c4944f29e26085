"""Neural collapse, logged while Lightning trains."""

from __future__ import annotations

from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from lopsided.callbacks.monitor import Monitor
from lopsided.core.arguments import check_whole


class CollapseMonitor(Monitor, Callback):
    r"""Logs the measures of neural collapse during training, and warns before classes merge.

    The features are those that pass the classifier anyway; no batch is run a second time. With ``loader="train"`` they
    are the network's in training mode, under weights that change while they are gathered: exact for the batches seen,
    and not quite what one network has. ``loader="val"`` measures one network in evaluation mode, on the first
    validation loader; to have that of the training samples, give them as a validation loader.

    Logged through ``pl_module.log_dict``, under ``prefix``: ``nc1``, ``nc1_trace_ratio``, ``nc2_etf``, ``nc3_etf``,
    ``nc4``, ``minority_spread``, ``rank``, all the other numbers of :func:`lopsided.metrics.measure`, and ``merged``,
    how many classes have. What has no finite value is left out. Workers are merged, and log the same.

    Parameters
    ----------
    num_classes : int
        Number of classes K.
    loader : {"train", "val"}, default "train"
        What to measure on. The sanity check before training is left alone.
    every_n_epochs : int, default 1
        Epochs between measurements; training batches of the others pass untouched.
    every_n_steps : int, optional
        Measure after so many optimiser steps instead, from the training batches since the last time.
    every_n_batches : int, optional
        Gather each so-many-th batch. By default all of a validation or of a short epoch, and each sixteenth
        training batch where 512 or more pass between two measurements, which costs a step less than 5 % (``make
        bench``). In short epochs ``every_n_epochs=16`` does.
    on_merge : {"warn", "stop", "ignore"}, default "warn"
        What to do when classes are about to merge, or have (:class:`lopsided.callbacks.MergeWatch`): one
        :class:`lopsided.callbacks.CollapseWarning` that names them, the end of training as well, or nothing.
    labels : callable, optional
        From a batch to its labels (B,). By default the second of a pair, or ``labels``, ``label``, ``targets``,
        ``target`` or ``y`` of a mapping.
    prefix : str, optional
        Before each name; ``"train/"`` or ``"val/"`` by default.
    **options
        Of :class:`lopsided.callbacks.CollapseRecorder`: how the classifier is found, and what the forecast rests on.

    Attributes
    ----------
    measurement : Measurement or None
        The latest.
    alarms : list of MergeAlarm
        All so far.

    Raises
    ------
    ValueError
        In training, if the classifier or the labels are not to be found.

    Notes
    -----
    What was seen of the classes' distances is stored in checkpoints. What was gathered since the last measurement is
    not: a run resumed in mid-epoch measures the rest of that epoch.

    Examples
    --------
    >>> from lopsided.callbacks import CollapseMonitor
    >>> monitor = CollapseMonitor(num_classes=10, every_n_epochs=5, on_merge="stop", counts="500x5,100x5")
    >>> monitor.prefix
    'train/'
    """

    prefixes: ClassVar = {"train": "train/", "val": "val/"}
    validation_interval = "the trainer's val_check_interval"

    def __init__(self, num_classes: int, *, every_n_epochs: int = 1, **settings: Any) -> None:
        check_whole("every_n_epochs", every_n_epochs)
        super().__init__(num_classes, **settings)
        self.every_n_epochs = every_n_epochs
        self._measured_step = 0

    @property
    def state_key(self) -> str:
        """What tells two monitors of one trainer apart in a checkpoint."""
        return self._generate_state_key(loader=self.loader, prefix=self.prefix)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"watch": self.recorder.watch.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.recorder.watch.load_state_dict(state_dict["watch"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the classifier."""
        self.recorder.attach(pl_module)
        self._measured_step = trainer.global_step
        self._set_stride(trainer.num_training_batches)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the model as it was."""
        self.recorder.detach()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the model as it was."""
        self.recorder.detach()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Record the batch where it is due, or where the classifier has yet to be told from other layers."""
        if self._gathers(trainer, batch_idx) or not self.recorder.found:
            self.recorder.begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch, and measure where steps say so."""
        if self._gathers(trainer, batch_idx):
            self.recorder.add(self._labels_of(batch))
        elif not self.recorder.found:
            self.recorder.end()
        step = trainer.global_step
        if self.every_n_steps is not None and step - self._measured_step >= self.every_n_steps:
            self._measured_step = step
            self._record(trainer, pl_module, in_epoch=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure where epochs say so."""
        if self.loader == "train" and self.every_n_steps is None and self._is_due(trainer):
            self._record(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the classifier, where validation is all that runs."""
        if self._validates(trainer) and self.recorder.capture is None:
            self.recorder.attach(pl_module)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Record the batch."""
        if self._validates(trainer) and dataloader_idx == 0 and batch_idx % self._stride == 0:
            self.recorder.begin()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the batch."""
        if self._validates(trainer) and dataloader_idx == 0 and batch_idx % self._stride == 0:
            self.recorder.add(self._labels_of(batch))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure."""
        if self._validates(trainer):
            self._record(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the model as it was, where validation is all that ran."""
        if not trainer.training and self.recorder.capture is not None and trainer.state.fn == "validate":
            self.recorder.detach()

    def _gathers(self, trainer: Trainer, batch_idx: int) -> bool:
        due = self.every_n_steps is not None or self._is_due(trainer)
        return self.loader == "train" and due and batch_idx % self._stride == 0

    def _validates(self, trainer: Trainer) -> bool:
        due = trainer.state.fn == "validate" or self._is_due(trainer)
        return self.loader == "val" and due and not trainer.sanity_checking

    def _is_due(self, trainer: Trainer) -> bool:
        return (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def _record(self, trainer: Trainer, pl_module: LightningModule, *, in_epoch: bool = False) -> None:
        values = self._measure(trainer.optimizers)
        if not values:
            return
        pl_module.log_dict(
            values,
            on_step=in_epoch,
            on_epoch=not in_epoch,
            logger=not in_epoch and bool(trainer.loggers),
            batch_size=1,  # the values are of many batches, and Lightning would ask which
            sync_dist=trainer.world_size > 1,
        )
        if in_epoch:  # through log_dict they would reach the logger at every log_every_n_steps-th step only
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
        if self._stops(trainer.global_step, speaks=trainer.is_global_zero):
            trainer.should_stop = True
