"""What was solved, whatever solved it: one frozen value that says what it claims and how far it can be off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.losses import SquaredError
from lopsided.core.predictions import Predictions, predictions_of
from lopsided.core.problem import Problem

Array = NDArray[np.float64]

#: Most classes for which :meth:`Solution.to_dict` carries the K × K mean logits.
LARGEST_MATRIX = 64
#: A mean logit below this many nats is what is left of zero in a local minimisation.
NEARLY_ZERO = 1e-3


@dataclass(frozen=True)
class ClusterSummary:
    """What the solution does to the classes of one count.

    Attributes
    ----------
    count : int
        Samples in each class.
    classes : list of int
        The classes.
    own_logit : float
        Mean logit of each class for itself, bias left out, in nats.
    bias : float
        Bias of each class, in nats.
    collapsed : bool
        Whether their means coincide with each other's or with another cluster's, so that the network cannot tell these
        classes apart.
    """

    count: int
    classes: list[int]
    own_logit: float
    bias: float
    collapsed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class Solution:
    """The answer to a problem, with what is known about it.

    Attributes
    ----------
    objective : float
        Value of the regularised loss, in nats.
    gap : float
        Upper bound on how far ``objective`` lies above the optimum, valid whatever the solver did; NaN where no bound
        is known.
    status : str
        ``"optimal"`` where gap ≤ tol · max(1, |objective|); ``"not_certified"`` where a convex problem was not solved
        that far; ``"stationary"`` where nothing more is claimed than a stationary point, the best of those found.
    message : str
        One sentence for a person: what was certified, or the likely causes and what to do.
    iterations : int
        Steps that were needed; 0 for a closed form.
    problem : Problem
        What was solved.
    geometry : Geometry
        The last layer.
    clusters : list of ClusterSummary
        The same by cluster, in the order of ``problem.clusters``.
    singular_values : (rank,) array
        The positive singular values of :math:`D^{1/2}Z`, the largest first.
    predictions : Predictions
        What it predicts for the samples of each class.
    residual : float
        Largest violation of stationarity as a share of the decay: |gradient|, or for a coordinate held at zero by a
        ReLU the negative part of its gradient. NaN for a certified optimum, whose gap says more.
    objectives : array
        What was reached from each start, in their order; of one start, the objective.
    """

    objective: float
    gap: float
    status: str
    message: str
    iterations: int
    problem: Problem
    geometry: Geometry = field(repr=False)
    clusters: list[ClusterSummary] = field(repr=False)
    singular_values: Array = field(repr=False)
    predictions: Predictions = field(repr=False)
    residual: float = field(default=math.nan, repr=False)
    objectives: Array = field(default_factory=lambda: np.empty(0), repr=False)

    @classmethod
    def of_geometry(
        cls,
        problem: Problem,
        geometry: Geometry,
        *,
        objective: float,
        gap: float,
        status: str,
        message: str,
        iterations: int,
        residual: float = math.nan,
        objectives: Array | None = None,
    ) -> Solution:
        """A solution of which the whole last layer is at hand, K × K mean logits and all.

        Means of ReLU features below 1e-3 nats count as zero, and their classes as collapsed.
        """
        logits = geometry.mean_logits
        own = np.diagonal(logits)
        empty = np.abs(logits).max(axis=1) <= NEARLY_ZERO * (problem.features == "relu")
        clusters = []
        for count, group in zip(problem.clusters.counts, problem.clusters.classes, strict=True):
            together = len(group) > 1 and any(set(group) <= set(merged) for merged in geometry.merged)
            clusters.append(
                ClusterSummary(
                    count=int(count),
                    classes=group,
                    own_logit=float(own[group].mean()),
                    bias=float(geometry.bias[group].mean()),
                    collapsed=geometry.rank == 0 or together or bool(empty[group].all()),
                )
            )
        scaled = np.sqrt(problem.counts)[:, None] * logits
        values: Array = np.linalg.svd(scaled.astype(np.float64), compute_uv=False)
        return cls(
            objective=objective,
            gap=gap,
            status=status,
            message=message,
            iterations=iterations,
            problem=problem,
            geometry=geometry,
            clusters=clusters,
            singular_values=values[: geometry.rank],
            predictions=predictions_of(problem, logits + geometry.bias),
            residual=residual,
            objectives=np.array([objective]) if objectives is None else objectives,
        )

    @property
    def certified(self) -> bool:
        """Whether this is the optimum, up to the gap that was asked for."""
        return self.status == "optimal"

    @property
    def rank(self) -> int:
        """Rank of the mean logits."""
        return self.geometry.rank

    def probabilities(self, classes: Sequence[int] | None = None) -> Array:
        """(len(classes), K) softmax inside the loss, with all its terms, of the mean logits of some classes."""
        if isinstance(self.problem.loss, SquaredError):
            raise ArgumentError("loss", "must have probabilities", got="SquaredError(), whose predictions are scores")
        chosen = np.arange(self.problem.num_classes) if classes is None else np.asarray(classes)
        terms = self.problem.terms
        geometry = self.geometry
        logits = geometry.class_means[chosen] @ geometry.classifier.T + geometry.bias
        inside = terms.row_scales[chosen, None] * terms.column_scales * logits + terms.offsets
        inside[np.arange(len(chosen)), chosen] -= terms.margins[chosen]
        weights = np.exp(inside - inside.max(axis=1, keepdims=True))
        result: Array = weights / weights.sum(axis=1, keepdims=True)
        return result

    def certificate(self) -> dict[str, Any]:
        """What is claimed, in plain values for JSON: objective, gap (None where no bound is known) and status."""
        return {
            "objective": self.objective,
            "gap": None if math.isnan(self.gap) else self.gap,
            "status": self.status,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``mean_logits`` only up to 64 classes."""
        problem = self.problem
        value: dict[str, Any] = {
            "lambda_z": problem.lambda_z,
            "lambda_b": problem.lambda_b if problem.bias else None,
            **self.certificate(),
            "rank": self.geometry.rank,
            "merged": self.geometry.merged,
            "clusters": [cluster.to_dict() for cluster in self.clusters],
        }
        if problem.num_classes <= LARGEST_MATRIX:
            value["mean_logits"] = self.geometry.mean_logits.tolist()
        return value
