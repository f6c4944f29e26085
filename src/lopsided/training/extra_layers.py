"""Linear layers between a network's features and its last layer."""

from __future__ import annotations

from torch import Tensor, nn

from lopsided.core.arguments import ArgumentError
from lopsided.core.solution import Solution
from lopsided.model import UFM
from lopsided.nn.heads import FixedHead
from lopsided.solver import deep_branch
from lopsided.training.networks import FeatureNetwork


class ExtraLayers(FeatureNetwork):
    """A network with linear layers, without bias, put between its features and its head.

    λ_w decays the layers like the head, and λ_h the features of the network as it was. What is measured is the last
    layer: the head, and what enters it. It is predicted by :func:`lopsided.solver.deep_branch`, a stationary point:
    with two or more linear layers the model is not convex.

    Parameters
    ----------
    network : FeatureNetwork
        Its head is taken out and becomes this network's.
    number : int
        Layers put between, at least 1, all d × d. They start orthogonal, so that the features keep their lengths; their
        products then pass on all d directions.

    Raises
    ------
    ValueError
        If the head is not trained.

    Examples
    --------
    >>> from lopsided.training import build_network
    >>> network = ExtraLayers(build_network("mlp", (1, 8, 8), 4, dim=8), 2)
    >>> [list(weight.shape) for weight in network.decayed_weights]
    [[8, 8], [8, 8], [4, 8]]
    """

    def __init__(self, network: FeatureNetwork, number: int) -> None:
        super().__init__()
        if isinstance(network.head, FixedHead):
            rule = "must have a head that is trained, for layers before it to have a prediction"
            raise ArgumentError("network", rule)
        self.head = network.head
        del network.head
        self.network = network
        dim = self.head.in_features
        self.layers = nn.Sequential(*(nn.Linear(dim, dim, bias=False) for _ in range(number)))
        for weight in self.decayed_weights:
            nn.init.orthogonal_(weight)

    def decayed_and_last(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (B, d) features of the network as it was, and what the layers make of them."""
        decayed = self.network.features(inputs)
        return decayed, self.layers(decayed)

    def features(self, inputs: Tensor) -> Tensor:
        """Return the (B, d) features that enter the head."""
        return self.decayed_and_last(inputs)[1]

    @property
    def decayed_weights(self) -> tuple[Tensor, ...]:
        """The matrices of the layers, then the head's."""
        return (*(parameter for parameter in self.layers.parameters()), self.head.weight)

    def predict(self, model: UFM) -> Solution:
        """State the stationary point to which raised decays lead; see :func:`lopsided.solver.deep_branch`."""
        return deep_branch(model, len(self.layers) + 1)
