"""Networks that end in a linear layer on features: what they have in common, a perceptron, and free features."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from lopsided.core.arguments import ArgumentError
from lopsided.core.solution import Solution
from lopsided.model import UFM
from lopsided.nn.heads import FixedHead
from lopsided.solver import fixed_classifier_optimum

Module = TypeVar("Module", bound=nn.Module)
#: Whether the features that enter the head have either sign, or have passed a ReLU.
LastFeatures = Literal["linear", "relu"]


class FeatureNetwork(nn.Module, ABC):
    """A classifier that shows what enters its last layer.

    Attributes
    ----------
    head : torch.nn.Linear
        The last layer, (K, d); a :class:`lopsided.nn.FixedHead` has a weight that is not trained.
    """

    head: nn.Linear

    @abstractmethod
    def features(self, inputs: Tensor) -> Tensor:
        """Return the (B, d) features of a batch of B inputs."""

    def decayed_and_last(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features that λ_h decays, and those that enter the head: the same, unless layers lie between."""
        features = self.features(inputs)
        return features, features

    @property
    def decayed_weights(self) -> tuple[Tensor, ...]:
        """The matrices that λ_w decays."""
        return (self.head.weight,)

    def predict(self, model: UFM) -> Solution:
        """State where the last layer ends, trained by the objective of a model: at the model's certified optimum.

        Under a :class:`lopsided.nn.FixedHead` that is the optimum of features and bias alone. Networks whose last
        layers are not those of the model state their own.
        """
        if isinstance(self.head, FixedHead):
            return fixed_classifier_optimum(model, self.head.weight.detach().cpu().double().numpy())
        return model.solve()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the (B, K) logits of a batch of B inputs."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


class BodyAndHead(FeatureNetwork):
    """A network whose features are what its ``body`` makes of the inputs."""

    body: nn.Module

    def features(self, inputs: Tensor) -> Tensor:
        """Return the (B, d) features of a batch of B inputs."""
        features: Tensor = self.body(inputs)
        return features


class Layered(BodyAndHead):
    """Layers in a row that end in ``width`` numbers, a feature layer of ``dim`` numbers, and a linear head.

    Features that have passed a ``"relu"`` are of positive sign; ``"linear"`` ones are of either sign, as in the model
    of this package. Where the features are not ``projected``, they are what the layers give.
    """

    def __init__(
        self,
        layers: list[nn.Module],
        width: int,
        num_classes: int,
        *,
        dim: int,
        last_features: LastFeatures,
        bias: bool,
        projected: bool = True,
    ) -> None:
        super().__init__()
        if projected:
            layers = [*layers, nn.Linear(width, dim), *([nn.ReLU()] if last_features == "relu" else [])]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(dim, num_classes, bias=bias)


class MultilayerPerceptron(Layered):
    """Hidden layers with batch norm and ReLU, a feature layer without batch norm, and a linear head.

    The feature layer must be free to choose the length of its output, which batch norm there would fix; so the decay
    of the features reaches their norm.

    Parameters
    ----------
    num_inputs : int
        Numbers in one input.
    num_classes, **features
        Of :class:`Layered`.
    hidden : sequence of int
        Widths of the hidden layers.
    """

    def __init__(self, num_inputs: int, num_classes: int, *, hidden: Sequence[int], **features: Any) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(num_inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
            num_inputs = width
        super().__init__(layers, num_inputs, num_classes, **features)


class FreeFeatures(FeatureNetwork):
    r"""The unconstrained feature model as a network: one free feature vector per sample.

    Trained like any other network, on :func:`lopsided.data.sample_indices`, it is the model's own simulation.

    Parameters
    ----------
    num_samples : int
        Number of samples N.
    num_classes : int
        Number of classes K.
    dim : int, optional
        Width d of the features, at least K, which it is by default.
    bias : bool, default True
        Whether the head has a bias.
    scale : float, default 1
        Standard deviation of each parameter at the start is ``scale / √d``.
    seed : int, default 0
        Decides the start; the global random state is neither read nor changed.

    Raises
    ------
    ValueError
        If ``dim`` is below K, where the model is no longer convex in the logits.

    Examples
    --------
    >>> network = FreeFeatures(num_samples=6, num_classes=3)
    >>> network(torch.tensor([0, 5])).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        num_samples: int,
        num_classes: int,
        *,
        dim: int | None = None,
        bias: bool = True,
        scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        width = checked_dim(num_classes if dim is None else dim, num_classes)
        generator = torch.Generator().manual_seed(seed)
        deviation = scale / math.sqrt(width)
        self.table = nn.Parameter(deviation * torch.randn(num_samples, width, generator=generator))
        self.head = seeded(lambda: nn.Linear(width, num_classes, bias=bias), seed)
        with torch.no_grad():
            self.head.weight.copy_(deviation * torch.randn(num_classes, width, generator=generator))
            if self.head.bias is not None:
                self.head.bias.zero_()

    def features(self, inputs: Tensor) -> Tensor:
        """Return the (B, d) features of B samples, given their numbers."""
        return self.table[inputs]


def checked_dim(dim: int, num_classes: int) -> int:
    """Return the width of the features, refused below K, where the model is not convex in the logits."""
    if dim < num_classes:
        rule = f"must be at least the number of classes, {num_classes}, for the prediction to apply"
        raise ArgumentError("dim", rule, dim)
    return dim


def seeded(build: Callable[[], Module], seed: int) -> Module:
    """Build with torch's initialisers, which know only the global random state, and put that state back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
