"""Training a network by the regularised objective, on Lightning's loop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger

from lopsided.advice.resampling import FEATURE_PENALTY_PER
from lopsided.core.arguments import ArgumentError, check_choice, check_whole
from lopsided.core.counts import format_counts
from lopsided.core.geometry import Geometry
from lopsided.core.losses import Loss
from lopsided.data import ImbalancedData
from lopsided.model import UFM
from lopsided.nn.heads import FixedHead
from lopsided.nn.loss_modules import loss_module
from lopsided.training.batches import Augmentation, Batches
from lopsided.training.diagnosis import diagnose
from lopsided.training.evaluation import Evaluation, evaluate
from lopsided.training.loop import fit
from lopsided.training.networks import FeatureNetwork
from lopsided.training.objective import Decays, OptimizerConfig, RegularisedObjective
from lopsided.training.recording import Progress, Recorder
from lopsided.training.resampling import Resampling
from lopsided.training.result import DivergenceError, TrainingResult

#: Measurements taken over a run if ``measure_every`` is not given.
_DEFAULT_MEASUREMENTS = 50


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
    sampling_strategy: Any = None,
    feature_penalty_per: Literal["appearance", "sample"] = "appearance",
    optimizer: Literal["adam", "sgd"] = "adam",
    momentum: float = 0.9,
    schedule: Literal["cosine", "steps"] = "cosine",
    ramp: float | None = None,
    ramp_start: float | None = None,
    loss: Loss | None = None,
    features: Literal["any", "relu"] = "any",
    crop: int = 0,
    flip: bool = False,
    seed: int = 0,
    measure_every: int | None = None,
    checkpoint: str | Path | None = None,
    logger: Logger | Sequence[Logger] | None = None,
    progress: Progress | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    on_divergence: Literal["record", "raise"] = "record",
) -> TrainingResult:
    """Train a network by a loss with decay on classifier, features and bias.

    The optimum of the same objective over free features is what :class:`lopsided.UFM` predicts; nothing else (no
    optimiser weight decay, and no augmentation unless asked for) acts on the network. Ctrl-C is passed on as
    ``KeyboardInterrupt`` and leaves the network with its latest weights.

    Parameters
    ----------
    network : FeatureNetwork
        Trained in place.
    data : ImbalancedData
        Its training part alone is used.
    lambda_w, lambda_h : float
        Decay of the classifier, and of the features summed over all N samples. A classifier that is not trained, see
        :class:`lopsided.nn.FixedHead`, has no decay.
    lambda_b : float, default 0
        Decay of the head's bias; 0 leaves it free.
    epochs : int
        Passes through the data.
    learning_rate : float
        At the start.
    batch_size : int, optional
        Upper bound on the samples in a batch; the batches of an epoch are of equal size within one sample. All
        samples at once by default.
    sampling_strategy : dict, str, float, callable or (K,) array_like, optional
        How many samples of each class an epoch shows, see :func:`lopsided.advice.target_counts`; fewer than there are
        may be asked for, too. Every sample once by default.
    feature_penalty_per : {"appearance", "sample"}, default "appearance"
        Whether the feature decay counts a sample as often as an epoch shows it, or once; see
        :func:`lopsided.advice.resampled`, which states the model.
    optimizer : {"adam", "sgd"}, default "adam"
        How steps are taken.
    momentum : float, default 0.9
        Of SGD.
    schedule : {"cosine", "steps"}, default "cosine"
        ``"cosine"``: λ_w and λ_h are raised geometrically, the learning rate follows half a cosine to 0. ``"steps"``,
        as in the paper: λ_w and λ_h jump to their values, the learning rate is divided by ten after a third and
        after two thirds of the steps.
    ramp, ramp_start : float, optional
        λ_w and λ_h are smaller over this share of the steps, ``ramp_start`` times their values at first. By default 0.4
        and 0.03 for ``"cosine"``, 1/6 and 0.1 for ``"steps"``; a ramp of 0 has them constant.
    loss : CrossEntropy or another loss, optional
        As :class:`lopsided.UFM` takes it; cross-entropy by default.
    features : {"any", "relu"}, default "any"
        Which optimum predicts the run: over features of any sign, or H ≥ 0; see :class:`lopsided.UFM`. The network is
        what it is.
    crop, flip : int and bool, default 0 and False
        See :class:`lopsided.training.Augmentation`.
    seed : int, default 0
        Decides the order of the samples; the global random state is neither read nor changed.
    measure_every : int, optional
        Epochs between measurements; by default there are about 50 of them.
    checkpoint : str or Path, optional
        File in which the run is stored after every measurement. Where it exists, the run goes on from there, to the
        same end as if it had never stopped.
    logger : Logger or sequence of Logger, optional
        Lightning's: what is measured is logged there, by epoch.
    progress : callable, optional
        Called as ``progress(epochs_done, epochs_planned, latest_row)`` after every epoch.
    accelerator : str, default "auto"
        Lightning's: "cpu", "gpu", or what is there.
    devices : int, default 1
        Processes, each with an equal part of every batch and all of them with the same data and seed. Lightning starts
        the script that calls this once more for each; every process gets the whole result. Batch norm uses the
        statistics of each part.
    on_divergence : {"record", "raise"}, default "record"
        Whether a loss that is not finite is a finding of the result, or an error.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ValueError
        If the network and the data do not fit, or the checkpoint is damaged or another run's.
    DivergenceError
        If the loss ceases to be finite, with ``on_divergence="raise"``.
    OSError
        If a checkpoint cannot be written.

    Examples
    --------
    >>> from lopsided.training import FreeFeatures, train
    >>> from lopsided.data import sample_indices
    >>> data = sample_indices("6x2,3")
    >>> result = train(FreeFeatures(15, 3), data, lambda_w=0.02, lambda_h=0.02, epochs=40, learning_rate=1.0,
    ...                optimizer="sgd", accelerator="cpu")
    >>> result.history[-1]["objective"] < result.history[0]["objective"]
    True
    """
    check_whole("epochs", epochs)
    check_whole("batch_size", batch_size, optional=True)
    check_whole("measure_every", measure_every, optional=True)
    check_whole("devices", devices)
    check_choice("feature_penalty_per", feature_penalty_per, FEATURE_PENALTY_PER)
    check_choice("on_divergence", on_divergence, ("record", "raise"))
    descent = OptimizerConfig(learning_rate, optimizer, momentum, ramp, ramp_start, schedule)  # type: ignore[arg-type]
    augmentation = Augmentation(crop, flip)
    augmentation.check_inputs(data.input_shape)
    _check_fit(network, data)
    has_bias, is_fixed = network.head.bias is not None, isinstance(network.head, FixedHead)
    decays = {"lambda_w": lambda_w, "lambda_h": lambda_h, "lambda_b": lambda_b}
    problem = UFM(data.counts, **decays, bias=has_bias, loss=loss, features=features)
    model, resampling, sampler = problem, None, None
    shown, data_term = data.counts, None if loss is None else loss_module(loss, data.counts)
    if sampling_strategy is not None:
        resampling = Resampling.of(problem, data, sampling_strategy, feature_penalty_per, seed)
        model, sampler = resampling.model, resampling.sampler
        shown, data_term = sampler.counts, resampling.data_term(sampler.counts)
    prediction = network.predict(model)  # first: what cannot be predicted is refused before it is trained

    total = int(shown.sum())
    smallest = total // math.ceil(total / (batch_size or total))
    if smallest < devices:
        rule = f"must be at most the samples in the smallest batch, {smallest}"
        raise ArgumentError("devices", rule, devices, remedy="enlarge `batch_size`")
    every = measure_every or math.ceil(epochs / _DEFAULT_MEASUREMENTS)
    batches = Batches(data, batch_size or total, seed, augmentation, sampler)
    objective = RegularisedObjective(
        network,
        num_samples=total,
        decays=Decays(weight=0.0 if is_fixed else model.lambda_w, features=model.lambda_h, bias=model.lambda_b),
        descent=descent,
        data_term=data_term,
        sample_weights=None if resampling is None else resampling.sample_weights(shown),
    )
    recorder = Recorder(data, every=every, progress=progress, resampling=resampling)
    settings = {
        **decays,
        **dataclasses.asdict(descent),
        **dataclasses.asdict(augmentation),
        "loss": repr(problem.loss),
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "measure_every": every,
        "data": data.name,
        "counts": format_counts(data.counts),
        "samples": None if checkpoint is None else data.fingerprint,
        "shown": None if resampling is None else format_counts(shown),
        "feature_penalty_per": None if resampling is None else feature_penalty_per,
        "network": type(network).__name__,
        "parameters": {name: list(parameter.shape) for name, parameter in network.named_parameters()},
        **({"head": network.head.fingerprint} if isinstance(network.head, FixedHead) else {}),
    }
    fit(objective, batches, recorder, settings, checkpoint, logger, epochs, accelerator, devices)

    found = recorder.evaluation.moments.geometry(*recorder.parameters)
    geometry = Geometry(model.counts, found.class_means, found.classifier, found.bias)
    test = _test(network, data, recorder)
    result = TrainingResult(
        network=network,
        model=model,
        prediction=prediction,
        history=recorder.history,
        moments=recorder.evaluation.moments,
        measures=recorder.measures,
        geometry=geometry,
        train_accuracy=recorder.evaluation.accuracy,
        class_accuracy=recorder.evaluation.class_accuracy,
        test_accuracy=None if test is None else test.accuracy,
        test_class_accuracy=None if test is None else test.class_accuracy,
        epochs=recorder.history[-1]["epoch"],
        findings=diagnose(
            recorder.history,
            predicted=prediction.geometry,
            measured=geometry,
            optimum=prediction.objective,
            stationary=math.isnan(prediction.gap),
        ),
    )
    if result.diverged and on_divergence == "raise":
        raise DivergenceError(result)
    return result


def _test(network: FeatureNetwork, data: ImbalancedData, recorder: Recorder) -> Evaluation | None:
    """Measure the trained network on the test part, where there is one and the network is still finite."""
    if data.test_inputs is None or data.test_labels is None or not math.isfinite(recorder.history[-1]["objective"]):
        return None
    return evaluate(network, data.test_inputs, data.test_labels)


def _check_fit(network: FeatureNetwork, data: ImbalancedData) -> None:
    if network.head.out_features != data.num_classes:
        rule = f"must have one logit a class of the data, {data.num_classes}"
        raise ArgumentError("network", rule, network.head.out_features)
    found = data.labels.bincount(minlength=data.num_classes).tolist()
    if found != data.counts.tolist():
        raise ArgumentError("data.counts", f"must be the numbers of labels, {found}", data.counts.tolist())
