"""Watching a training run: what is measured at chosen epochs, and when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lopsided.core.arguments import ArgumentError
from lopsided.data import ImbalancedData
from lopsided.metrics import measure
from lopsided.nn.sampling import place_among_processes
from lopsided.training.evaluation import Evaluation, evaluate, refresh_batch_norm
from lopsided.training.objective import RegularisedObjective
from lopsided.training.resampling import Resampling

#: Called after every epoch with the number of epochs done, the number planned, and the latest row of the history.
Progress = Callable[[int, int, Mapping[str, Any]], None]

#: Measures that say what was measured; they would repeat in every row.
_SAME_EVERY_EPOCH = ("num_classes", "num_samples", "counts")


class Recorder(Callback):
    """Measures the last layer over the whole training set, and stops a run whose loss is not finite.

    The start, every ``every``-th epoch and the last are measured; what is a number goes to the loggers, too.
    """

    def __init__(
        self, data: ImbalancedData, *, every: int, progress: Progress | None, resampling: Resampling | None = None
    ) -> None:
        self.history: list[dict[str, Any]] = []  # a row a measured epoch, see TrainingResult
        self.evaluation: Evaluation  # the latest finite measurement
        self.measures: dict[str, Any]  # of it
        self.parameters: tuple[torch.Tensor, torch.Tensor | None]  # weight and bias of the head at that moment
        self._data = data
        self._every = every
        self._progress = progress
        self._resampling = resampling
        self._batch_losses: list[torch.Tensor] = []
        self._start = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with."""
        return {"history": list(self.history), "seconds": time.perf_counter() - self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the history of an interrupted run."""
        self.history = list(state_dict["history"])
        self._start = time.perf_counter() - state_dict["seconds"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the network as it comes."""
        assert isinstance(pl_module, RegularisedObjective)
        if self.history:
            self.measure(pl_module)
        else:
            self._record(trainer, pl_module, epoch=0, batch_objective=None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, without waiting for the device."""
        self._batch_losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure where it is due, and stop where nothing is left to be learnt."""
        epoch, epochs = trainer.current_epoch + 1, int(trainer.max_epochs or 0)
        objective = float(_mean_over_processes(torch.stack(self._batch_losses).mean()))
        self._batch_losses.clear()
        if not math.isfinite(objective):
            trainer.should_stop = True
        if trainer.should_stop or epoch % self._every == 0 or epoch == epochs:
            self._record(trainer, pl_module, epoch=epoch, batch_objective=objective)
        if self._progress is not None:
            self._progress(epoch, epochs, self.history[-1])

    def _record(self, trainer: Trainer, module: LightningModule, *, epoch: int, batch_objective: float | None) -> None:
        assert isinstance(module, RegularisedObjective)
        row: dict[str, Any] = {
            "epoch": epoch,
            "seconds": time.perf_counter() - self._start,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "decay_factor": module.decay_factor,
            "batch_objective": batch_objective,
        }
        self.history.append(row)
        try:
            self.measure(module)
        except ValueError:
            if epoch == 0:  # what the user handed in, not what training made of it
                raise
            trainer.should_stop = True
            row.update(loss=math.nan, objective=math.nan)
            return
        bias = self.parameters[1]
        penalty = module.decays.penalty(module.network.decayed_weights, bias, self._squared_features())
        row.update(
            loss=self.evaluation.loss,
            objective=self.evaluation.loss + float(penalty.detach()),
            train_accuracy=self.evaluation.accuracy,
            **{name: value for name, value in self.measures.items() if name not in _SAME_EVERY_EPOCH},
        )
        scalars = {name: value for name, value in row.items() if isinstance(value, (int, float))}
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step=epoch)

    def measure(self, module: RegularisedObjective) -> None:
        """Measure the network as it is now; where it is not finite, what was measured before stays."""
        data_term, rows = module.data_term, None
        if self._resampling is not None:
            data_term, rows = self._resampling.data_term(self._data.counts), self._resampling.rows
        refresh_batch_norm(module.network, self._data.inputs, rows)
        evaluation = evaluate(module.network, self._data.inputs, self._data.labels, data_term)
        if not math.isfinite(evaluation.loss):
            raise ArgumentError("network", "must have a finite loss on the data", got=str(evaluation.loss))
        head = module.network.head
        bias = None if head.bias is None else head.bias.detach().cpu().double()
        weight = head.weight.detach().cpu().double()
        self.measures = measure(evaluation.moments, weight=weight, bias=bias)
        self.evaluation, self.parameters = evaluation, (weight, bias)

    def _squared_features(self) -> float:
        """The sum over the samples of the model, from one appearance of each sample of the data."""
        if self._resampling is None:
            return self.evaluation.squared_features
        weights = self._resampling.sample_weights(self._data.counts)
        return float(weights @ torch.tensor(self.evaluation.class_squared_features, dtype=torch.float64))


def _mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    processes, _ = place_among_processes()
    if processes > 1:
        torch.distributed.all_reduce(value)
    return value / processes
