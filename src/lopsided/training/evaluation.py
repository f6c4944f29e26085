"""What a network does on a whole data set: its moments, its loss, its accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from lopsided.metrics import Moments
from lopsided.nn.loss_modules import DataTerm
from lopsided.training.networks import FeatureNetwork

#: Samples passed at once; up to so many, the batch-norm statistics are those of the whole set exactly.
_CHUNK = 8192


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A network measured on a set of samples.

    Attributes
    ----------
    moments : Moments
        Of the features.
    loss : float
        Mean loss, in nats for cross-entropy.
    class_squared_features : (K,) list of float
        Sum over the samples of each class of the squared norms of the features that λ_h decays.
    accuracy : float
        Share of the samples whose own logit is the largest.
    class_accuracy : (K,) list of float
        The same in each class; NaN for an absent one.
    """

    moments: Moments = field(repr=False)
    loss: float
    class_squared_features: list[float]
    accuracy: float
    class_accuracy: list[float]

    @property
    def squared_features(self) -> float:
        """Sum over all samples of their squared feature norms."""
        return sum(self.class_squared_features)


@torch.no_grad()
def evaluate(network: FeatureNetwork, inputs: Tensor, labels: Tensor, data_term: DataTerm | None = None) -> Evaluation:
    """Measure a network in evaluation mode, which is left as it was.

    Parameters
    ----------
    network : FeatureNetwork
        The network.
    inputs : (N, …) tensor
        Samples, on any device.
    labels : (N,) int64 tensor
        Their classes, on the CPU.
    data_term : DataTerm, optional
        The loss, from :func:`lopsided.nn.loss_module`; cross-entropy by default.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a feature is not finite.

    Examples
    --------
    >>> from lopsided.training import FreeFeatures
    >>> from lopsided.data import sample_indices
    >>> data = sample_indices("3,2")
    >>> result = evaluate(FreeFeatures(5, 2), data.inputs, data.labels)
    >>> result.moments.counts
    tensor([3, 2])
    """
    device = network.head.weight.device
    num_classes = network.head.out_features
    moments = Moments(num_classes, network.head.in_features, device="cpu")
    right, squares = torch.zeros(2, num_classes, dtype=torch.float64)
    loss = 0.0
    training = network.training
    network.eval()
    try:
        for chunk, classes in zip(torch.split(inputs, _CHUNK), torch.split(labels, _CHUNK), strict=True):
            decayed, features = network.decayed_and_last(chunk.to(device))
            logits = network.head(features).cpu().double()
            features = features.cpu().double()
            moments.update(features, classes)
            mean = functional.cross_entropy(logits, classes) if data_term is None else data_term(logits, classes)
            loss += len(classes) * float(mean)
            squares.index_add_(0, classes, decayed.cpu().double().square().sum(dim=1))
            right.index_add_(0, classes, (logits.argmax(dim=1) == classes).double())
    finally:
        network.train(training)
    return Evaluation(
        moments=moments,
        loss=loss / len(labels),
        class_squared_features=squares.tolist(),
        accuracy=float(right.sum()) / len(labels),
        class_accuracy=(right / moments.counts).tolist(),
    )


def refresh_batch_norm(network: FeatureNetwork, inputs: Tensor, rows: Tensor | None = None) -> None:
    """Set the statistics of every batch-norm layer to those of ``inputs`` under the present weights.

    The running averages of training lag behind the weights and mix batches. The objective is about the features that
    the loss sees, those normalised with the statistics of the samples themselves; after this call evaluation mode
    gives just these for the whole training set (variances are over N − 1 instead of N). Beyond 8192 samples the
    statistics are the mean of those of equal parts, each of which has its share of every class.

    Parameters
    ----------
    network : FeatureNetwork
        Changed in its batch-norm buffers alone.
    inputs : (N, …) tensor
        The training set.
    rows : (M,) int64 tensor, optional
        The samples that count, in order and as often as they count; every one once by default. Where training shows
        some more often, the features that the loss sees are normalised with the statistics of that mix.
    """
    device = network.head.weight.device
    shown = torch.arange(len(inputs)) if rows is None else rows

    def chunks() -> Iterator[Tensor]:
        number = math.ceil(len(shown) / _CHUNK)
        for first in range(number):  # the samples come class by class: every part needs some of each
            yield inputs[shown[first::number].to(inputs.device)].to(device)

    update_bn(chunks(), network)
