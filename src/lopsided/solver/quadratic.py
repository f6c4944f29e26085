r"""Squared error over clusters: a quadratic of A, so that Newton's model of the loss is the loss.

Row k of A = D^{1/2} Z is to be √n_k e_k; let T be these targets, s = (√n_k) and w the class weights, W = diag(w). With
the best bias for every A put in, the loss is, over λ,

.. math:: \frac{1}{2N\lambda}\langle A-T,\,Q(A-T)\rangle,\qquad
          Q=W-\frac{(Ws)(Ws)^\top}{\sum_kw_kn_k+N\lambda_b},

Q = W without a bias. Directions inside a cluster are orthogonal to s, so that there the optimum is known: the proximal
step of each within value, w α = (w√n − Nλ)_+. What is left is a J × J problem in which the bias is one rank-one term.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lopsided.core.losses import ClassTerms
from lopsided.solver.arrays import NUMPY, Array, Backend, diagonal
from lopsided.solver.certificate import Certificate, dual_norm
from lopsided.solver.reduction import Curvature, Evaluation, Point, ReducedProblem


@dataclass(frozen=True, eq=False)
class QuadraticEvaluation(Evaluation):
    """At a point whose bias is the best one for its logits."""

    problem: QuadraticProblem


class QuadraticProblem(ReducedProblem):
    """Squared error with class weights, over clusters."""

    shift = None

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
        self.weights = backend.array(terms.weights / (terms.normaliser * decay))  # over λ
        self.step_size = terms.normaliser * decay / float(terms.weights.max())
        self.within = self.xp.maximum(self.root_counts - 1 / self.weights, 0.0) * (self.sizes > 1)
        self.separable = self.separate = self.within > 0
        #: Ws over clusters, √m_j of them in each, and what it is divided by.
        self.pull = self.weights * self.root_counts * self.root_sizes
        total = float(self.pull @ (self.root_counts * self.root_sizes))
        self.stiffness = total + bias_decay / decay if bias_decay is not None else float("inf")

    def curve(self, between: Array) -> Array:
        """Q times the between part of a matrix, over Nλ."""
        return self.weights[:, None] * between - (self.pull / self.stiffness)[:, None] * (self.pull @ between)[None, :]

    def residual(self, point: Point) -> tuple[Array, Array]:
        """A − T between and within clusters."""
        between = self.xp.asarray(point.between, copy=True)
        diagonal(between)[:] -= self.root_counts
        return between, point.within - self.root_counts

    def evaluate(self, point: Point) -> QuadraticEvaluation:
        """Value and gradient of the loss at the logits of a point, and the best bias for them."""
        xp = self.xp
        between, within = self.residual(point)
        curved = self.curve(between)
        others = self.sizes - 1
        # one class's bias is the cluster's component over √m
        bias = -(self.pull @ between) / self.stiffness / self.root_sizes
        loss = 0.5 * float(xp.sum(between * curved) + (others * self.weights) @ within**2)
        gradient = Point(curved, others * self.weights * within, xp.zeros_like(bias))
        return QuadraticEvaluation(self, Point(point.between, point.within, bias), loss, 0.0, gradient)

    def certify(self, evaluation: QuadraticEvaluation, nuclear_norm: float) -> Certificate:
        """Certificate of an evaluated point: (1 − t)²/2 ⟨A − T, Q(A − T)⟩ is what the loss lies above its tangent."""
        point, gradient = evaluation.point, evaluation.gradient
        norm = dual_norm(self, gradient.between, gradient.within)
        mix = min(1.0, 1.0 / norm) if norm > 0 else 1.0
        pairing = float(self.xp.sum(gradient.between * point.between) + gradient.within @ point.within)
        gap = (1 - mix) ** 2 * evaluation.loss + max(0.0, nuclear_norm + mix * pairing)
        objective = evaluation.loss + nuclear_norm
        gap = max(gap, float(np.finfo(float).eps) * objective)  # rounding alone leaves as much in doubt
        return Certificate(self.decay * objective, self.decay * gap, norm)

    def lost_to_bias(self, point: Point) -> float:
        """The loss is a parabola in the bias."""
        if not self.has_bias:
            return 0.0
        error = self.root_sizes * (point.bias - self.evaluate(point).point.bias)
        return 0.5 * self.decay * self.stiffness * float(error @ error)

    def first_guesses(self) -> list[Point]:
        """The targets, less their projection on s: with an absent or free bias one step from the optimum."""
        between = self.xp.zeros_like(self.origin().between)
        diagonal(between)[:] = self.root_counts
        if self.has_bias:
            mass = self.root_counts * self.root_sizes / self.num_samples**0.5
            between = between - mass[:, None] * (mass @ between)[None, :]
        return [Point(between, self.within, self.xp.zeros_like(self.within))]


class QuadraticCurvature(Curvature):
    """The second derivative of squared error; its bias is best at every point already."""

    def __init__(self, evaluation: QuadraticEvaluation) -> None:
        self.evaluation = evaluation
        self.problem = evaluation.problem

    def eliminated_gradient(self) -> tuple[Array, Array | None]:
        """The gradient in ``between``."""
        return self.evaluation.gradient.between, None

    def product(self, between: Array) -> Array:
        """Curvature times a step."""
        return self.problem.curve(between)

    def response(self, between: Array, bias: Array | None) -> Point:
        """The whole step: ``within`` goes to its optimum."""
        return Point(
            between, self.problem.within - self.evaluation.point.within, self.problem.xp.zeros_like(self.problem.within)
        )

    def entries(self) -> Array:
        """(J, J) curvature of each entry of ``between`` by itself."""
        problem = self.problem
        own = problem.weights - problem.pull**2 / problem.stiffness
        return own[:, None] + problem.xp.zeros_like(own)[None, :]

    def change(self, direction: Point) -> float:
        """Zero: a quadratic's second derivative is the same everywhere."""
        return 0.0
