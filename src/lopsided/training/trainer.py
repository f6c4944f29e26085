"""Training a network by the regularised objective, on Lightning's loop."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lopsided.data import ImbalancedData
from lopsided.geometry import Geometry
from lopsided.metrics import Moments
from lopsided.problem import UFM
from lopsided.training.diagnosis import Finding, diagnose
from lopsided.training.networks import FeatureNetwork
from lopsided.training.objective import Decays, Descent, RegularisedObjective
from lopsided.training.recording import Progress, Recorder

#: Measurements taken over a run if ``measure_every`` is not given.
_DEFAULT_MEASUREMENTS = 50


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained network and what was measured.

    Attributes
    ----------
    network : FeatureNetwork
        The trained network, on the CPU; its batch-norm statistics are those of the whole training set.
    model : UFM
        The model whose optimum predicts this run: same counts, decays and bias.
    history : list of dict
        One row a measured epoch, the first of the network before training. ``epoch``; ``seconds`` since the start;
        ``learning_rate``; ``decay_factor`` on λ_w and λ_h; ``batch_objective``, the mean loss of the epoch's batches as
        the optimiser saw them (None at the start). Then, over the whole training set in evaluation mode: ``loss``
        (cross-entropy), ``objective`` at the final decays, ``train_accuracy``, and the measures of
        :func:`lopsided.metrics.measure`, ``nc1`` among them. A row taken after the parameters ceased to be finite has
        NaN for loss and objective and no measures.
    moments : Moments
        Of the training features at the last finite measurement.
    measures : dict
        What :func:`lopsided.metrics.measure` says of them.
    geometry : Geometry
        Measured, at the same moment.
    train_accuracy : float
        Share of the training samples whose own logit is the largest, at the same moment.
    epochs : int
        Epochs done; fewer than asked for when the loss was not finite.
    findings : tuple of Finding
        What looks wrong, if anything.
    """

    network: FeatureNetwork = field(repr=False)
    model: UFM
    history: list[dict[str, Any]] = field(repr=False)
    moments: Moments = field(repr=False)
    measures: dict[str, Any] = field(repr=False)
    geometry: Geometry
    train_accuracy: float
    epochs: int
    findings: tuple[Finding, ...]


def train(
    network: FeatureNetwork,
    data: ImbalancedData,
    *,
    lambda_w: float,
    lambda_h: float,
    lambda_b: float = 0.0,
    epochs: int,
    learning_rate: float,
    batch_size: int | None = None,
    optimizer: Literal["adam", "sgd"] = "adam",
    momentum: float = 0.9,
    ramp: float = 0.4,
    ramp_start: float = 0.03,
    seed: int = 0,
    measure_every: int | None = None,
    progress: Progress | None = None,
    accelerator: str = "auto",
) -> TrainingResult:
    """Train a network by cross-entropy with decay on classifier, features and bias.

    The optimum of the same objective over free features is what :class:`lopsided.UFM` predicts; nothing else (no
    optimiser weight decay, no augmentation) acts on the network. Ctrl-C is passed on as ``KeyboardInterrupt`` and
    leaves the network with its latest weights.

    Parameters
    ----------
    network : FeatureNetwork
        Trained in place.
    data : ImbalancedData
        Its training part alone is used.
    lambda_w, lambda_h : float
        Decay of the classifier, and of the features summed over all N samples.
    lambda_b : float, default 0
        Decay of the head's bias; 0 leaves it free.
    epochs : int
        Passes through the data.
    learning_rate : float
        At the start; it follows half a cosine to 0.
    batch_size : int, optional
        Upper bound on the samples in a batch; the batches of an epoch are of equal size within one sample. All
        samples at once by default.
    optimizer : {"adam", "sgd"}, default "adam"
        How steps are taken.
    momentum : float, default 0.9
        Of SGD.
    ramp, ramp_start : float, default 0.4 and 0.03
        λ_w and λ_h are raised geometrically, from ``ramp_start`` times their values, over this share of the steps;
        0 has them constant.
    seed : int, default 0
        Decides the order of the samples; the global random state is neither read nor changed.
    measure_every : int, optional
        Epochs between measurements; by default there are about 50 of them.
    progress : callable, optional
        Called as ``progress(epochs_done, epochs_planned, latest_row)`` after every epoch.
    accelerator : str, default "auto"
        Lightning's: "cpu", "gpu", or what is there.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ValueError
        If an argument breaks its rule, or the network and the data do not fit.

    Examples
    --------
    >>> from lopsided.training import FreeFeatures, sample_indices, train
    >>> data = sample_indices("6x2,3")
    >>> result = train(FreeFeatures(15, 3), data, lambda_w=0.02, lambda_h=0.02, epochs=40, learning_rate=1.0,
    ...                optimizer="sgd", accelerator="cpu")
    >>> result.history[-1]["objective"] < result.history[0]["objective"]
    True
    """
    _check_whole("epochs", epochs)
    _check_whole("batch_size", batch_size, optional=True)
    _check_whole("measure_every", measure_every, optional=True)
    _check_range("learning_rate", learning_rate, "above 0", learning_rate > 0)
    _check_range("momentum", momentum, "in [0, 1)", 0 <= momentum < 1)
    _check_range("ramp", ramp, "in [0, 1)", 0 <= ramp < 1)
    _check_range("ramp_start", ramp_start, "in (0, 1]", 0 < ramp_start <= 1)
    if optimizer not in ("adam", "sgd"):
        raise ValueError(f"optimizer must be 'adam' or 'sgd'; got {optimizer!r}")
    _check_fit(network, data)
    has_bias = network.head.bias is not None
    model = UFM(data.counts, lambda_w=lambda_w, lambda_h=lambda_h, lambda_b=lambda_b, bias=has_bias)

    batches = _Batches(data, batch_size or data.num_samples, seed)
    objective = RegularisedObjective(
        network,
        num_samples=data.num_samples,
        decays=Decays(weight=model.lambda_w, features=model.lambda_h, bias=model.lambda_b),
        descent=Descent(learning_rate, optimizer, momentum, ramp, ramp_start),
    )
    recorder = Recorder(data, every=measure_every or math.ceil(epochs / _DEFAULT_MEASUREMENTS), progress=progress)
    _fit(objective, batches, recorder, epochs=epochs, accelerator=accelerator)

    geometry = recorder.evaluation.moments.geometry(*recorder.parameters)
    solution = model.solve()
    return TrainingResult(
        network=network,
        model=model,
        history=recorder.history,
        moments=recorder.evaluation.moments,
        measures=recorder.measures,
        geometry=geometry,
        train_accuracy=recorder.evaluation.accuracy,
        epochs=recorder.history[-1]["epoch"],
        findings=diagnose(
            recorder.history, predicted=solution.geometry, measured=geometry, optimum=float(solution.objective)
        ),
    )


class _Batches:
    """All samples in a new order every epoch, in batches of equal size within one sample.

    The tensors are in memory and a batch is one indexing operation, so a loader with workers would only add to it. A
    last batch of one sample, on which batch norm fails, cannot occur.
    """

    def __init__(self, data: ImbalancedData, batch_size: int, seed: int) -> None:
        self._data = data
        self._number = math.ceil(data.num_samples / batch_size)
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(self._data.num_samples, generator=self._generator)
        for rows in order.tensor_split(self._number):
            yield self._data.inputs[rows], self._data.labels[rows]


def _fit(
    objective: RegularisedObjective, batches: _Batches, recorder: Recorder, *, epochs: int, accelerator: str
) -> None:
    """Run Lightning's loop, silent, leaving no files, and letting Ctrl-C through."""
    with _quiet():
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=epochs,
            callbacks=[recorder],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with _interruptible():
            trainer.fit(objective, batches)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Lightning says about itself; warnings about what it was given pass."""
    loggers = [logging.getLogger(f"lightning.{part}.utilities.rank_zero") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            # Lightning's own use of a torch class that newer torch releases rename.
            warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn the exit that Lightning makes of Ctrl-C back into KeyboardInterrupt, and heed further ones again."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if in_main_thread and handler is not None:  # None: installed by a host program, out of Python's reach
            signal.signal(signal.SIGINT, handler)


def _check_whole(name: str, value: int | None, *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")


def _check_range(name: str, value: float, rule: str, holds: bool) -> None:
    if not holds or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number {rule}; got {value!r}")


def _check_fit(network: FeatureNetwork, data: ImbalancedData) -> None:
    if network.head.out_features != data.num_classes:
        raise ValueError(
            f"network must have one logit a class of the data, {data.num_classes}; got {network.head.out_features}"
        )
    found = data.labels.bincount(minlength=data.num_classes).tolist()
    if found != data.counts.tolist():
        raise ValueError(f"data.counts must be the numbers of labels, {found}; got {data.counts.tolist()}")
