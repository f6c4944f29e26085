"""The cross-entropy family over clusters: value, gradient and certificate.

A loss depends only on differences of logits, so all is expressed in Y = (logit of a class) − (logit of the sample's own
class): the small numbers that matter late in training, 1 − p_own, are then sums and never differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lopsided.core.losses import ClassTerms
from lopsided.solver.arrays import NUMPY, Array, Backend, diagonal
from lopsided.solver.certificate import Certificate, dual_norm
from lopsided.solver.reduction import Evaluation, Point, ReducedProblem


@dataclass(frozen=True, eq=False)
class SoftmaxEvaluation(Evaluation):
    """With the softmax at the point.

    ``probabilities`` (J, J) is the total mass that a sample gives to the classes an entry of Y stands for, and ``own``
    (J,) the mass on its own class.
    """

    problem: SoftmaxProblem
    probabilities: Array
    own: Array


class SoftmaxProblem(ReducedProblem):
    """Cross-entropy with weights, margins, offsets, scales and label smoothing, over clusters."""

    shift: Array

    def __init__(
        self,
        counts: NDArray[np.float64],
        sizes: NDArray[np.float64],
        terms: ClassTerms,
        decay: float,
        bias_decay: float | None,
        backend: Backend = NUMPY,
    ) -> None:
        super().__init__(counts, sizes, decay, bias_decay, backend)
        xp, array = self.xp, backend.array
        self.terms = terms
        self.smoothing = terms.smoothing
        rows, columns, margins = array(terms.row_scales), array(terms.column_scales), array(terms.margins)
        self.rows, self.columns, self.own_margins = rows, columns, margins
        #: Weight of a cluster in the loss, over λ.
        self.weights = array(terms.weights * sizes * counts / (terms.normaliser * decay))
        #: From an entry of ``between`` to a scaled logit inside the loss.
        self.scale = (rows / (self.root_counts * self.root_sizes))[:, None] * (columns / self.root_sizes)[None, :]
        self.own_scale = rows * columns / (self.root_counts * self.sizes)
        #: From ``within`` to the scaled own logit, and to what that has above the others of the cluster.
        self.separation_scale = rows * columns / self.root_counts
        self.within_scale = (1 - 1 / self.sizes) * self.separation_scale
        #: Differences of logits at Z = 0: those of the offsets, and the margin taken off the own logit.
        offsets = array(terms.offsets)
        self.offsets = offsets[None, :] - (offsets - margins)[:, None]
        #: How many classes an entry of Y stands for; on the diagonal, the *other* classes of the cluster.
        self.multiplicity = xp.zeros_like(self.scale) + self.sizes[None, :]
        diagonal(self.multiplicity)[:] = self.sizes - 1
        #: Probability that the targets give to what an entry of Y stands for.
        self.targets = self.multiplicity * (terms.smoothing / float(sizes.sum()))
        #: Classes of a cluster stay apart only where p_own − p_same = 1 − ε − Nλ/(wδ√n) > 0, and without a margin
        #: exactly there; this is what is missing from 1.
        step = terms.normaliser * decay / (terms.weights * np.sqrt(counts) * terms.row_scales * terms.column_scales)
        shortfall = np.minimum(1.0, terms.smoothing + step)
        separable = (sizes > 1) & ((shortfall < 1) | (terms.margins > 0))
        self.shortfall, self.separable = array(shortfall), array(separable)
        self.separate = array(separable & (terms.margins == 0))
        shift = np.sqrt(sizes) / terms.column_scales
        self.shift = array(shift / np.linalg.norm(shift))
        largest = float(np.max(terms.weights * terms.row_scales**2) * np.max(terms.column_scales) ** 2)
        self.step_size = 2 * terms.normaliser * decay / largest  # L = wδ²/(2Nλ) for a softmax

    @cached_property
    def bias_weights(self) -> Array:
        """(J,) curvature of the bias penalty: λ_b m_j / λ_z; zeros for a free or absent bias."""
        return self.sizes * ((self.bias_decay or 0.0) / self.decay)

    def differences(self, point: Point) -> Array:
        """(J, J) what a point adds to the logits of the other classes minus the own one, one row a cluster."""
        bias = point.bias * self.columns
        own = diagonal(point.between) * self.own_scale + point.within * self.within_scale + self.rows * bias
        differences: Array = point.between * self.scale
        differences += self.rows[:, None] * bias[None, :]
        differences -= own[:, None]
        diagonal(differences)[:] = -point.within * self.separation_scale
        return differences

    def pull_back(self, dual: Array) -> Point:
        """The adjoint of :meth:`differences`."""
        same = self.xp.asarray(diagonal(dual), copy=True)
        other = self.xp.sum(dual, axis=1) - same
        between = dual * self.scale
        diagonal(between)[:] = -other * self.own_scale
        within = -(same * self.separation_scale + self.within_scale * other)
        bias = self.columns * ((self.rows @ dual - self.rows * same) - self.rows * other)
        return Point(between, within, bias)

    def evaluate(self, point: Point) -> SoftmaxEvaluation:
        """Value and gradient of the loss at a point: one pass over the J × J differences."""
        xp = self.xp
        differences = self.differences(point)
        differences += self.offsets
        top = xp.maximum(xp.max(differences, axis=1), 0.0)
        masses = xp.exp(differences - top[:, None])
        masses *= self.multiplicity
        own = xp.exp(-top)
        other = xp.sum(masses, axis=1)
        # log1p keeps the loss of a nearly perfect classifier; where it is not perfect the general form is exact enough
        losses = xp.where(top == 0, xp.log1p(other), top + xp.log(own + other))
        total = own + other
        masses /= total[:, None]
        if self.smoothing:
            losses = losses - xp.sum(self.targets * differences, axis=1)
        return SoftmaxEvaluation(
            problem=self,
            point=point,
            probabilities=masses,
            own=own / total,
            loss=float(self.weights @ losses),
            bias_penalty=float(0.5 * self.bias_weights @ point.bias**2),
            gradient=self.pull_back(self._dual(masses)),
        )

    def _dual(self, masses: Array) -> Array:
        """The gradient in Y."""
        excess = masses - self.targets if self.smoothing else masses
        return self.weights[:, None] * excess

    def certify(self, evaluation: SoftmaxEvaluation, nuclear_norm: float) -> Certificate:
        """Certificate of an evaluated point."""
        xp, point = self.xp, evaluation.point
        probabilities, gradient = evaluation.probabilities, evaluation.gradient
        if self.bias_decay == 0:
            probabilities = _balanced(evaluation)
            gradient = self.pull_back(self._dual(probabilities))
        norm = dual_norm(self, gradient.between, gradient.within)
        mix = min(1.0, 1.0 / norm) if norm > 0 else 1.0
        divergence = _divergence(mix * probabilities + (1 - mix) * self.targets, evaluation)
        pairing = float(xp.sum(gradient.between * point.between) + gradient.within @ point.within)
        gap = max(0.0, float(self.weights @ divergence)) + max(0.0, nuclear_norm + mix * pairing)
        if self.bias_decay:
            slack = self.bias_weights * point.bias + mix * gradient.bias
            gap += float(xp.sum(slack**2 / (2 * self.bias_weights)))
        objective = evaluation.loss + evaluation.bias_penalty + nuclear_norm
        gap = max(gap, float(np.finfo(float).eps) * objective)  # rounding alone leaves as much in doubt
        return Certificate(self.decay * objective, self.decay * gap, norm)


def _divergence(mixed: Array, evaluation: SoftmaxEvaluation) -> Array:
    """(J,) KL(p' ‖ p), from the masses p' gives to other classes.

    A sum over classes of p' log(p'/p) − p' + p, no term of which is negative. The own class's part is written in the
    change of what it is short of 1: a nearly perfect classifier's own probability is 1 to the last digit, and its
    errors are in the others.
    """
    xp, probabilities = evaluation.problem.xp, evaluation.probabilities
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # mass where there was none: no finite gap
        ratio = xp.where(mixed > 0, mixed / probabilities, 1.0)
    others = xp.sum(mixed * xp.log(ratio) - mixed + probabilities, axis=1)
    change = xp.sum(probabilities - mixed, axis=1) / evaluation.own
    # rounding may say that the own class loses all it has; its mass is then about zero, and x log x with it
    change = xp.maximum(change, -1 + float(np.finfo(float).eps))
    return others + evaluation.own * ((1 + change) * xp.log1p(change) - change)


def _balanced(evaluation: SoftmaxEvaluation) -> Array:
    """The masses on other classes once the class totals are those of the labels, as a free bias demands.

    A free bias makes the totals right at the optimum; on the way there the dual point must be made feasible. Each class
    predicted too often gives up the same share of its mass in every row, and each row passes what it freed to the
    classes predicted too seldom, in proportion to what they lack. Probabilities stay non-negative and rows keep sum 1.
    """
    problem, xp = evaluation.problem, evaluation.problem.xp
    weights = problem.weights * problem.rows
    excess = evaluation.gradient.bias / problem.columns
    probabilities = evaluation.probabilities
    lacking = xp.maximum(-excess, 0.0)
    if not float(xp.sum(lacking)) > 0:
        return probabilities
    totals = weights @ probabilities + weights * evaluation.own
    share = xp.minimum(xp.maximum(xp.maximum(excess, 0.0) / totals, 0.0), 1.0)
    freed = probabilities @ share + evaluation.own * share
    received = freed[:, None] * (lacking / xp.sum(lacking))[None, :]
    diagonal(received)[:] *= (problem.sizes - 1) / problem.sizes  # the rest is the own class's
    return probabilities * (1 - share)[None, :] + received
