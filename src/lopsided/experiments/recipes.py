"""Tuned settings: for each data set, a network and a descent that reach the terminal phase in seconds on two cores.

A recipe is read without torch, and trained with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lopsided.data import ImbalancedData, load_data

if TYPE_CHECKING:
    from lopsided.training import FeatureNetwork, Progress, TrainingResult


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run but the seed.

    Attributes
    ----------
    data : str
        Name of the data set.
    counts : str
        Class counts.
    lambda_z : mapping of str to float
        Decays to show: one below, one between and one above the collapse thresholds.
    decay_ratio : float
        λ_w = decay_ratio · λ_z and λ_h = λ_z / decay_ratio. The optimum of the logits does not depend on it; how fast
        it is reached does.
    lambda_b : float
        Decay of the bias.
    hidden : tuple of int
        Widths of the hidden layers of the multilayer perceptron.
    dim : int
        Width of the features.
    epochs, batch_size, learning_rate, ramp, ramp_start
        Of :func:`lopsided.training.train`.

    Examples
    --------
    >>> recipe = RECIPES["digits"]
    >>> recipe.counts, recipe.decays(0.003)
    ('150x5,30x5', {'lambda_w': 0.09, 'lambda_h': 0.0001, 'lambda_b': 0.02})
    """

    data: str
    counts: str
    lambda_z: Mapping[str, float]
    decay_ratio: float
    lambda_b: float
    hidden: tuple[int, ...]
    dim: int
    epochs: int
    batch_size: int
    learning_rate: float
    ramp: float
    ramp_start: float

    def decays(self, lambda_z: float) -> dict[str, Any]:
        """Return ``lambda_w``, ``lambda_h`` and ``lambda_b``, as ``train`` and :class:`lopsided.UFM` take them."""
        return {
            "lambda_w": lambda_z * self.decay_ratio,
            "lambda_h": lambda_z / self.decay_ratio,
            "lambda_b": self.lambda_b,
        }

    def descent(self) -> dict[str, Any]:
        """Return the settings of the descent, as ``train`` takes them."""
        names = ("epochs", "batch_size", "learning_rate", "ramp", "ramp_start")
        return {name: getattr(self, name) for name in names}

    def load(self, *, seed: int = 0) -> ImbalancedData:
        """Load the data in the recipe's counts; see :func:`lopsided.data.load_data`."""
        return load_data(self.data, self.counts, seed=seed)

    def network(self, data: ImbalancedData, *, seed: int = 0) -> FeatureNetwork:
        """Build the recipe's network for the data, with the initial weights of a seed."""
        from lopsided.training import build_network

        return build_network("mlp", data.input_shape, data.num_classes, hidden=self.hidden, dim=self.dim, seed=seed)

    def train(
        self, data: ImbalancedData, lambda_z: float, *, seed: int = 0, progress: Progress | None = None
    ) -> TrainingResult:
        """Build the network and train it at one decay.

        Parameters
        ----------
        data : ImbalancedData
            From :meth:`load`.
        lambda_z : float
            Decay of the mean logits.
        seed : int, default 0
            Decides the initial weights and the order of the samples.
        progress : callable, optional
            See :func:`lopsided.training.train`.

        Returns
        -------
        TrainingResult
        """
        from lopsided.training import train

        network = self.network(data, seed=seed)
        return train(network, data, **self.decays(lambda_z), **self.descent(), seed=seed, progress=progress)


#: The recipe of each data set, by its name.
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        # Thresholds: the rare classes merge at √30/900 = 0.00609, all classes at √150/900 = 0.01361.
        "digits": Recipe(
            data="digits",
            counts="150x5,30x5",
            lambda_z=MappingProxyType({"below": 0.003, "between": 0.009, "above": 0.016}),
            decay_ratio=30.0,
            lambda_b=0.02,
            hidden=(128, 128),
            dim=32,
            epochs=400,
            batch_size=300,
            learning_rate=0.01,
            ramp=0.4,
            ramp_start=0.03,
        ),
        # Figure 5 of Hong & Ling (2024); thresholds √100/3000 = 0.00333 and √500/3000 = 0.00745.
        "fashion-mnist": Recipe(
            data="fashion-mnist",
            counts="500x5,100x5",
            lambda_z=MappingProxyType({"below": 0.0027, "between": 0.0051, "above": 0.0075}),
            decay_ratio=30.0,
            lambda_b=0.02,
            hidden=(256, 256, 256),
            dim=32,
            epochs=110,
            batch_size=500,
            learning_rate=0.01,
            ramp=0.4,
            ramp_start=0.03,
        ),
    }
)
