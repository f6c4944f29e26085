r"""The duality gap of the program: how far from the optimum any point can be at most.

The dual point of a softmax p with targets e is its slopes, made to fit: balanced over classes where the bias is free
(their sum must vanish), then mixed with zero, :math:`p'=tp+(1-t)e`, until the dual norm is at most κ. Fenchel's
inequality gives the gap as a sum of terms that are never negative, so that nothing is lost to cancellation,

.. math:: \sum_n\omega_n\mathrm{KL}(p'_n\|p_n)+\big(\kappa\,\Omega(V)+\langle G',V\rangle\big)
          +\tfrac{\lambda_b}2\|b+g'/\lambda_b\|^2,

with G' and g' the slopes of p' in weights and bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lopsided.forecast.program import Evaluation, Program
from lopsided.solver.arrays import Array


@dataclass(frozen=True, eq=False)
class Certificate:
    """How good a point is.

    Attributes
    ----------
    objective : float
        The value at the point, in nats.
    gap : float
        Upper bound on how far that is above the optimum.
    slopes : (K, d) array
        Of the dual point, which is feasible: no channel's norm is above κ.
    """

    objective: float
    gap: float
    slopes: Array


def certify(
    program: Program, point: Array, evaluation: Evaluation, gradient: Array, decay: float, bias_decay: float
) -> Certificate:
    """Certificate of an evaluated point.

    Parameters
    ----------
    program : Program
    point, gradient : (K, D) array
        X, and the loss's gradient there.
    evaluation : Evaluation
        The loss at X.
    decay, bias_decay : float
        κ and λ_b (0: free).
    """
    xp, channels = program.xp, program.num_channels
    probabilities = evaluation.probabilities
    if program.bias and bias_decay == 0:
        balanced = _balanced(program, probabilities)
        if balanced is not None:
            probabilities, gradient = balanced, program.slopes(balanced)
    slopes, weights = gradient[:, :channels], point[:, :channels]
    norm = program.penalty.dual(xp, slopes)
    mix = min(1.0, decay / norm) if norm > 0 else 1.0
    size = decay * program.penalty.value(xp, weights)
    gap = max(0.0, size + mix * float(xp.sum(slopes * weights)))
    if mix < 1 or probabilities is not evaluation.probabilities:
        gap += _divergence(program, probabilities, evaluation.probabilities, mix)
    objective = evaluation.loss + size
    if program.bias and bias_decay:
        bias = point[:, -1] * program.constant
        slack = bias + mix * gradient[:, -1] / (program.constant * bias_decay)
        gap += 0.5 * bias_decay * float(xp.sum(slack**2))
        objective += 0.5 * bias_decay * float(xp.sum(bias**2))
    gap = max(gap, 4 * float(np.finfo(float).eps) * abs(objective))  # rounding alone leaves as much in doubt
    return Certificate(objective, gap, mix * slopes)


def _divergence(program: Program, probabilities: Array, base: Array, mix: float) -> float:
    """Σ ω KL(p' ‖ p), p' the mix of probabilities and targets; as p' log(p'/p) − p' + p, no term below zero."""
    xp = program.xp
    mixed = program.targets(1 - mix)
    mixed += mix * probabilities
    positive = mixed > 0
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # mass where there was none: no finite gap
        ratio = xp.where(positive, mixed / base, 1.0)
    terms = xp.log(ratio)
    terms *= mixed
    terms -= mixed
    terms += base
    return max(0.0, float(xp.sum(xp.sum(terms, axis=0) * program.omega)))


def _balanced(program: Program, probabilities: Array) -> Array | None:
    """Probabilities whose class totals are those of the targets, as a free bias demands; None where they are.

    Each class predicted too often gives up the same share of its mass in every row, and each row passes what it freed
    to the classes predicted too seldom, in proportion to what they lack.
    """
    xp = program.xp
    excess = program.excess(probabilities) @ program.pull
    lacking = xp.maximum(-excess, 0.0)
    if not float(xp.sum(lacking)) > 0:
        return None
    totals = probabilities @ program.pull
    share = xp.minimum(xp.maximum(excess, 0.0) / xp.where(totals > 0, totals, 1.0), 1.0)
    freed = share @ probabilities
    return probabilities * (1 - share)[:, None] + (lacking / xp.sum(lacking))[:, None] * freed[None, :]
