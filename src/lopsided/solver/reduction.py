"""The convex problem over mean logits, reduced to its clusters.

Let A = D^{1/2} Z with one *row* a class (PyTorch's layout; the paper has columns). Permuting classes of equal count
leaves the optimum unchanged, so that A = ⊕_j within_j (I − 11ᵀ/m_j) + U · between · Uᵀ, with U the normalised cluster
indicators. K classes in J clusters are one J × J matrix ``between``, J numbers ``within`` and J biases, and

    ‖A‖_* = ‖between‖_* + Σ_j (m_j − 1) |within_j|.

Everything is in units of λ: the objective is divided by λ_z, and the dual constraint reads ‖∇f‖_op ≤ 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.solver.arrays import NUMPY, Array, Backend, diagonal
from lopsided.solver.certificate import Certificate


@dataclass(frozen=True, eq=False)
class Point:
    """Variables of the reduced problem: ``between`` (J, J), ``within`` (J,) and ``bias`` (J,)."""

    between: Array
    within: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The smooth part of the objective at a point, and its gradient, over λ.

    The gradient's bias part leaves the penalty out.
    """

    problem: Any
    point: Point
    loss: float
    bias_penalty: float
    gradient: Point


class Curvature(ABC):
    """Second derivative of a loss in ``between``, with ``within`` and the biases at their best response."""

    @abstractmethod
    def eliminated_gradient(self) -> tuple[Array, Array | None]:
        """Gradient in ``between`` once ``within`` and the biases respond at their best, and the biases' own step."""

    @abstractmethod
    def product(self, between: Array) -> Array:
        """Curvature in ``between`` after elimination, times a step."""

    @abstractmethod
    def response(self, between: Array, bias: Array | None) -> Point:
        """The whole step for a step of ``between``; ``bias`` is the biases' step at ``between`` = 0."""

    @abstractmethod
    def entries(self) -> Array:
        """(J, J) curvature of each entry of ``between`` by itself, for the preconditioner."""

    @abstractmethod
    def change(self, direction: Point) -> float:
        """How far a step leads from where its second derivative was taken, in nats; 0 where it is constant."""


class ReducedProblem(ABC):
    """The problem over clusters, and a loss: ``counts`` and ``sizes`` (J,) are NumPy's, other arrays the backend's.

    ``bias_decay`` is λ_b: 0 for a free bias, None for no bias.
    """

    #: 1/L for the largest curvature L of the loss in the coordinates of A, in units of λ.
    step_size: float
    #: (J,) clusters whose classes may stay apart, and those of which it is known beforehand that they do.
    separable: Array
    separate: Array
    #: (J,) unit vector, the shift of a sample's logits that the loss does not see; None where it sees all.
    shift: Array | None

    def __init__(
        self,
        counts: NDArray[np.float64],
        sizes: NDArray[np.float64],
        decay: float,
        bias_decay: float | None,
        backend: Backend = NUMPY,
    ) -> None:
        self.backend, self.xp = backend, backend.xp
        self.host_counts, self.host_sizes = counts, sizes
        self.counts, self.sizes = backend.array(counts), backend.array(sizes)
        self.decay = decay
        self.bias_decay = bias_decay
        self.num_clusters = len(counts)
        self.num_samples = float(sizes @ counts)
        self.root_counts, self.root_sizes = self.xp.sqrt(self.counts), self.xp.sqrt(self.sizes)

    @property
    def has_bias(self) -> bool:
        """Whether there is a bias at all."""
        return self.bias_decay is not None

    def nuclear_within(self, within: Array) -> float:
        """The part of ‖A‖_* that lies inside the clusters."""
        return float((self.sizes - 1) @ self.xp.abs(within))

    def centred(self, between: Array) -> Array:
        """``between`` without the shift of each row that the loss does not see: it would cost and gain nothing."""
        if self.shift is None:
            return between
        return between - (between @ self.shift)[:, None] * self.shift[None, :]

    def own_logits(self, point: Point) -> Array:
        """(J,) mean logit of a cluster's classes for themselves, bias left out."""
        between = diagonal(point.between) / self.sizes
        return (between + point.within * (1 - 1 / self.sizes)) / self.root_counts

    def origin(self) -> Point:
        """Z = 0 without biases."""
        zeros = self.xp.zeros_like(self.counts)
        return Point(zeros[:, None] * zeros[None, :], zeros, zeros)

    @abstractmethod
    def evaluate(self, point: Point) -> Evaluation:
        """Value and gradient of the loss at a point."""

    @abstractmethod
    def certify(self, evaluation: Any, nuclear_norm: float) -> Certificate:
        """Certificate of an evaluated point; ``nuclear_norm`` is ‖A‖_* of the whole matrix."""

    def lost_to_bias(self, point: Point) -> float:
        """What the objective at a point lies above that of its evaluation, in nats, which may take a better bias."""
        return 0.0
