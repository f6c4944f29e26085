"""What training gives back: the network, its prediction and what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lopsided.core.geometry import Geometry
from lopsided.core.solution import Solution
from lopsided.metrics import Moments
from lopsided.model import UFM
from lopsided.training.diagnosis import Finding
from lopsided.training.networks import FeatureNetwork


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained network and what was measured.

    Attributes
    ----------
    network : FeatureNetwork
        The trained network, on the CPU; its batch-norm statistics are those of the whole training set, in the mix in
        which classes are shown.
    model : UFM
        The model that predicts this run: same counts, decays, bias and loss; that of the resampled data where they are.
    prediction : Solution
        What the network states for that model: its certified optimum, for networks that end in one linear layer.
    history : list of dict
        One row a measured epoch, the first of the network before training. ``epoch``; ``seconds`` since the start;
        ``learning_rate``; ``decay_factor`` on λ_w and λ_h; ``batch_objective``, the mean loss of the epoch's batches as
        the optimiser saw them (None at the start). Then, over the whole training set in evaluation mode: ``loss``
        (of the data) and ``objective`` at the final decays, both those of ``model``, ``train_accuracy``, and the
        measures of :func:`lopsided.metrics.measure`, ``nc1`` among them. A row taken after the parameters ceased to be
        finite has NaN for loss and objective and no measures.
    moments : Moments
        Of the training features at the last finite measurement.
    measures : dict
        What :func:`lopsided.metrics.measure` says of them.
    geometry : Geometry
        Measured, at the same moment; its counts are those of ``model``.
    train_accuracy : float
        Share of the training samples whose own logit is the largest, at the same moment.
    class_accuracy : (K,) list of float
        The same in each class.
    test_accuracy : float or None
        Share of the test samples whose own logit is the largest, at the end; None without a test part, or after a loss
        that is not finite.
    test_class_accuracy : (K,) list of float, or None
        The same in each class; NaN for one without test samples.
    epochs : int
        Epochs done; fewer than asked for when the loss was not finite.
    findings : tuple of Finding
        What looks wrong, if anything.
    """

    network: FeatureNetwork = field(repr=False)
    model: UFM
    prediction: Solution = field(repr=False)
    history: list[dict[str, Any]] = field(repr=False)
    moments: Moments = field(repr=False)
    measures: dict[str, Any] = field(repr=False)
    geometry: Geometry
    train_accuracy: float
    class_accuracy: list[float] = field(repr=False)
    test_accuracy: float | None
    test_class_accuracy: list[float] | None = field(repr=False)
    epochs: int
    findings: tuple[Finding, ...]

    @property
    def diverged(self) -> bool:
        """Whether the run ended in a loss that is not finite; what was measured is then from before."""
        return any(finding.code == "loss-not-finite" for finding in self.findings)


class DivergenceError(ArithmeticError):
    """A run whose loss ceased to be finite, where that was asked to be an error.

    Attributes
    ----------
    result : TrainingResult
        What there is of the run.
    """

    def __init__(self, result: TrainingResult) -> None:
        super().__init__("; ".join(str(finding) for finding in result.findings))
        self.result = result
