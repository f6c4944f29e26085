r"""The duality gap: how far from the optimum any point can be at most.

The dual of loss + λ‖A‖_* asks for slopes G of the loss with ‖G‖_op ≤ λ. Any point gives such slopes: its own, with the
free biases' condition restored and then mixed with zero until the norm fits, G' = tG. Fenchel's inequality gives the
gap as a sum of terms that are never negative,

    gap/λ = (what the loss lies above its tangent of slope G') + (‖A‖_* + ⟨G', A⟩) + ½‖√β b + g'/√β‖²,

with g' the biases' part of G' and β the curvature of their penalty. Nothing is lost to cancellation between two large
objectives. For cross-entropy the first term is Σ_j w_j KL(p'_j ‖ p_j), p' = t p + (1 − t) e the softmax p mixed with
the targets e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lopsided.solver.arrays import Array


@dataclass(frozen=True)
class Certificate:
    """How good a point is.

    Attributes
    ----------
    objective : float
        Value of the regularised loss at the point, in nats.
    gap : float
        Upper bound on how far that is above the optimum.
    dual_norm : float
        ‖∇f‖_op / λ_z: 1 at every optimum but Z = 0, where it is at most 1.
    """

    objective: float
    gap: float
    dual_norm: float


def dual_norm(problem: Any, between: Array, within: Array) -> float:
    """‖G‖_op of the whole K × K gradient of a reduced problem, from its between and within parts."""
    xp = problem.xp
    largest = float(xp.linalg.eigvalsh(between @ between.T)[-1])
    others = xp.maximum(problem.sizes - 1, 1.0)
    inside = float(xp.max(xp.where(problem.sizes > 1, xp.abs(within) / others, 0.0)))
    return max(math.sqrt(max(largest, 0.0)), inside)
