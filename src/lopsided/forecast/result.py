"""What a forecast at one decay answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ForecastSolution:
    """The optimum of the last layers over frozen features, at one decay.

    It says what :class:`lopsided.Solution` says of itself, in the same words, and is a type of its own since there is
    no stated :class:`lopsided.UFM` behind it: its features are given, differ between the samples of a class, and its
    classes have recalls instead of mean predictions.

    Attributes
    ----------
    decay, lambda_s, lambda_b : float
        λ_w, λ_s and λ_b.
    objective : float
        Value of the regularised loss, in nats.
    gap : float
        Upper bound on how far ``objective`` lies above the optimum, valid whatever the solver did.
    status : str
        ``"optimal"`` where gap ≤ tol · max(1, objective), else ``"not_certified"``.
    message : str
        One sentence for a person.
    iterations : int
        Proximal Newton steps.
    recall : (K,) array
        Share of each class's training samples that are predicted as it.
    held_out_recall : (K,) array
        The same on held-out samples; NaN for a class that has none there, or where there are none.
    weights : (K, d) array
        V: ``features @ weights.T + bias`` are the logits.
    bias : (K,) array
        With mixing it holds what centring the features takes off, which is not decayed.
    active : int
        Channels that are on, or with mixing the rank of V.
    """

    decay: float
    lambda_s: float
    lambda_b: float
    objective: float
    gap: float
    status: str
    message: str
    iterations: int
    recall: Array
    held_out_recall: Array
    weights: Array = field(repr=False)
    bias: Array = field(repr=False)
    active: int

    @property
    def certified(self) -> bool:
        """Whether this is the optimum, up to the gap that was asked for."""
        return self.status == "optimal"

    @property
    def lost(self) -> NDArray[np.bool_]:
        """(K,) whether a class's recall on training samples is below one half."""
        return self.recall < 0.5

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes ``None``."""
        return {
            "decay": self.decay,
            "lambda_s": self.lambda_s,
            "lambda_b": self.lambda_b,
            "objective": self.objective,
            "gap": self.gap,
            "status": self.status,
            "recall": self.recall.tolist(),
            "held_out_recall": [None if np.isnan(value) else float(value) for value in self.held_out_recall],
            "active": self.active,
        }
