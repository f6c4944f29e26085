"""What every monitor shares: features gathered as the model runs, measured now and then, and watched for merges."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from lopsided.callbacks.batches import without_ignored
from lopsided.callbacks.merging import Forecast, MergeAlarm, MergeWatch
from lopsided.core.arguments import ArgumentError, check_number
from lopsided.core.counts import parse_counts
from lopsided.core.geometry import Geometry, class_separations, merged_classes
from lopsided.core.losses import Loss
from lopsided.metrics import FeatureCapture, Moments, MomentState, NeuralCollapse
from lopsided.metrics.capture import Reducer, check_call
from lopsided.metrics.effective_decay import EffectiveDecay, effective_decay
from lopsided.metrics.summary import measure_geometry
from lopsided.nn.optimizer_decay import DecayWarning, optimizer_decays

#: Duality gap to which the optimum at the measured decay is found: the decay itself is known to a few per cent.
_GAP = 1e-6


class CollapseWarning(UserWarning):
    """Classes are about to merge, or have."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """One measurement of a network at work.

    Attributes
    ----------
    values : dict
        All of :func:`lopsided.metrics.measure`; with a forecast also ``lambda_z``, ``decay_ratio`` and
        ``decay_mismatch``; and ``separation``, the least of :func:`lopsided.core.geometry.class_separations`.
    geometry : Geometry
        Measured.
    decay : EffectiveDecay or None
        The decay that acts on the network, where it is known.
    forecast : Forecast or None
        What the theory says of a network under this decay.
    alarms : list of MergeAlarm
        Classes newly found to be merging.
    """

    values: dict[str, Any]
    geometry: Geometry
    decay: EffectiveDecay | None
    forecast: Forecast | None
    alarms: list[MergeAlarm]

    @property
    def scalars(self) -> dict[str, float]:
        """What a logger takes: the measures that are numbers here, and ``merged`` as the number of merged classes."""
        found = {
            name: float(value)
            for name, value in self.values.items()
            if isinstance(value, (int, float)) and name != "num_classes"
        }
        return found | {"merged": float(sum(map(len, self.values["merged"])))}


class CollapseRecorder:
    r"""Gathers class moments of what enters a classifier, and measures them.

    Parameters
    ----------
    num_classes : int
        Number of classes K.
    classifier, reduce, call
        As for :class:`lopsided.metrics.FeatureCapture`; the width of the features is the classifier's.
    counts : str or (K,) array_like, optional
        Training samples in each class, for the forecast. By default those measured, which will do where what is
        measured has the proportions of the training set.
    lambda_w, lambda_b : float, optional
        Decay of the classifier and its bias in the ½ convention, for the forecast, where the loss has it. Read from the
        optimiser by default (:func:`lopsided.nn.optimizer_decays`).
    loss : optional
        What the network is trained with, as in :class:`lopsided.UFM`; cross-entropy by default.
    predicted : Geometry, optional
        To measure the distance from it, as in :func:`lopsided.metrics.measure`.
    scatter : bool, optional
        Whether to keep the within-class scatter, as for :class:`lopsided.metrics.Moments`. Traces alone leave out the
        NC1s that invert Σ_B, and cost less.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        classifier: str | nn.Module | None = None,
        reduce: Reducer | None = None,
        call: int | None = None,
        counts: str | ArrayLike | None = None,
        lambda_w: float | None = None,
        lambda_b: float = 0.0,
        loss: Loss | None = None,
        predicted: Geometry | None = None,
        scatter: bool = True,
    ) -> None:
        Moments(num_classes, 1, device="meta")  # refuses a number of classes that is none
        check_call(call)
        self.num_classes = num_classes
        self.capture: FeatureCapture | None = None
        self.watch = MergeWatch()
        self._find = {"classifier": classifier, "reduce": reduce, "call": call}
        self._counts = None if counts is None else parse_counts(counts)
        if self._counts is not None and len(self._counts) != num_classes:
            raise ArgumentError("counts", f"must have one entry a class, {num_classes}", len(self._counts))
        if lambda_w is not None:
            check_number("lambda_w", lambda_w, least=0, note=" (0: no decay)")
        self._decays, self._loss = (lambda_w, lambda_b), loss
        self._metric: NeuralCollapse | None = None
        self._options = {"predicted": predicted, "scatter": scatter}

    def attach(self, model: nn.Module) -> None:
        """Put the hook on a model's classifier; it records nothing before :meth:`begin`."""
        self.capture = FeatureCapture(model, self.num_classes, **self._find).attach()  # type: ignore[arg-type]
        self.capture.enabled = False

    def detach(self) -> None:
        """Take the hook off, and forget what was gathered."""
        if self.capture is not None:
            self.capture.detach()
        self.capture = self._metric = None

    @property
    def found(self) -> bool:
        """Whether it is known which module is the classifier."""
        return self.capture is not None and self.capture.name is not None

    def begin(self) -> None:
        """Record the forward pass to come."""
        assert self.capture is not None
        self.capture.discard()
        self.capture.enabled = True

    def end(self) -> Tensor:
        """Record no further, and return the features of the pass."""
        assert self.capture is not None
        self.capture.enabled = False
        return self.capture.take()

    def add(self, labels: Tensor) -> None:
        """Add the pass that has run to the moments; rows with the label −100 count for nothing."""
        features = self.end()
        if self._metric is None:
            assert self.capture is not None
            head = self.capture.classifier
            metric = NeuralCollapse(self.num_classes, features.shape[1], head, **self._options)  # type: ignore[arg-type]
            self._metric = metric.to(features.device)
        self._metric.update(*without_ignored(features, labels.detach().to(features.device)))

    def discard(self) -> None:
        """Forget what was gathered."""
        if self._metric is not None:
            self._metric.reset()

    def measure(self, optimizers: Sequence[Optimizer]) -> Measurement | None:
        """Measure what all workers gathered since the last time, together, and start anew; None where that is nothing.

        The same on every worker. The forecast reads the weight decay of the optimisers, which train the network.
        """
        if self._metric is None:
            return None
        with self._metric.sync_context():
            moments = self._metric.gathered()
        weight, bias = self._metric.weight_and_bias()
        self._metric.reset()
        if moments.num_samples == 0:
            return None
        geometry = moments.geometry(weight, bias)
        values = measure_geometry(moments, geometry, predicted=self._metric.predicted)
        separations = class_separations(geometry)
        if np.isfinite(separations).any():
            values["separation"] = float(np.nanmin(separations))
        decay = self._decay(moments, weight, bias, optimizers)
        forecast = None if decay is None else self._forecast(moments, decay)
        if forecast is not None:
            values["decay_ratio"], values["decay_mismatch"] = forecast.ratio, forecast.mismatch
            if self._counts is not None:
                values["lambda_z"] = forecast.lambda_z
        return Measurement(values, geometry, decay, forecast, self.watch.update(geometry, forecast))

    def _decay(
        self, moments: Moments, weight: Any, bias: Any, optimizers: Sequence[Optimizer]
    ) -> EffectiveDecay | None:
        """The decay that acts on the features, of as many samples as the network is trained on."""
        lambda_w, lambda_b = self._decays
        head = None if self._metric is None else self._metric.classifier
        if lambda_w is None and optimizers and isinstance(head, nn.Module):
            with warnings.catch_warnings():
                # Whoever asks about the optimiser is warned; here the warning would come with every measurement.
                warnings.simplefilter("ignore", DecayWarning)
                try:
                    decays = optimizer_decays(optimizers, head)  # type: ignore[arg-type]
                except ValueError:  # the classifier is not trained
                    return None
            lambda_w, lambda_b = decays.lambda_w, decays.lambda_b or 0.0
        if not lambda_w:
            return None
        try:
            return effective_decay(
                as_trained(moments, self._counts), weight, bias, weight_decay=lambda_w, bias_decay=lambda_b
            )
        except ValueError:  # a classifier or features of zero
            return None

    def _forecast(self, moments: Moments, decay: EffectiveDecay) -> Forecast | None:
        counts = moments.counts.cpu().numpy() if self._counts is None else self._counts
        present = np.flatnonzero(counts > 0)
        if len(present) < 2:
            return None
        model = decay.model(counts[present], loss=self._loss)
        limits = model.thresholds()
        least = float(np.nanmin([*limits.within, limits.complete]))
        # Below half the decay at which the rarest would merge with another of its size no two are near each other.
        far = self._loss is None and decay.lambda_z < 0.5 * math.sqrt(counts[present].min()) / model.num_samples
        lost: list[list[int]] = []
        if not far:
            optimum = model.solve(tol=_GAP).geometry
            groups = merged_classes(optimum.mean_logits, np.ones(len(present), dtype=bool), absolute=True)
            lost = [present[group].tolist() for group in groups]
        return Forecast(lost, decay.lambda_z / least, decay.lambda_z, decay.mismatch)


def as_trained(moments: Moments, counts: NDArray[np.int64] | None) -> Moments:
    """Return the moments that as many samples of each class as the network is trained on would have had.

    The classes measured keep their mean and their variance; the scatter grows as a whole. A class that was not
    measured stays absent, and the others stand in for it.

    Examples
    --------
    >>> moments = Moments(num_classes=2, dim=1)
    >>> moments.update(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
    >>> larger = as_trained(moments, np.array([20, 5]))
    >>> larger.counts.tolist(), larger.means.tolist(), larger.within_class_variances.tolist()
    ([20, 5], [[2.0], [5.0]], [1.0, 0.0])
    """
    if counts is None:
        return moments
    state = moments.state
    wanted = torch.from_numpy(counts).to(state.counts.device)
    present = state.counts > 0
    stand_in = wanted.sum() / wanted[present].sum()
    target = torch.where(present, (wanted * stand_in).round().to(state.counts.dtype), 0)
    traces = state.traces * (target / state.counts.clamp(min=1))
    before = state.traces.sum()
    growth = traces.sum() / before if before > 0 else before.new_ones(())
    return Moments.from_state(MomentState(target, state.means, traces, state.scatter * growth))
