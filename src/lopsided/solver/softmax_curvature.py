r"""Second derivative of the cross-entropy family, with ``within`` and the biases at their best response.

A step of ``between`` and of the scaled biases β = γb changes the differences of logits of row j off the diagonal by
S_ji M_ji + ρ_j β_i − own_j, and ``within`` adds −beta there and −gamma on the diagonal. All that couples the entries of
a row are two numbers: ``flow``, the expected change Σ P_ji (S_ji M_ji + ρ_j β_i), and ``own``. So a product reads each
J × J array once or twice. ``within`` and ``bias`` are eliminated exactly: every cluster's ``within`` meets its own row
alone, and the biases share one J × J system.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lopsided.solver.arrays import Array, diagonal
from lopsided.solver.reduction import Curvature, Point
from lopsided.solver.softmax import SoftmaxEvaluation, SoftmaxProblem


def damping(length: float) -> float:
    """A safe share of a step that moves differences of logits by δ: ln(1 + δ)/δ, by generalised self-concordance."""
    return float(np.log1p(length) / length) if length > 0.1 else 1.0


def settle_bias(problem: SoftmaxProblem, point: Point, accuracy: float = 0.1) -> Point:
    """The point with nearly the best biases for its logits: damped Newton steps, each one J × J inverse.

    ``accuracy`` is the length of the last step, in nats; Newton's error after it is about its square.
    """
    if not problem.has_bias:
        return point
    for _ in range(200):
        evaluation = problem.evaluate(point)
        gradient = evaluation.gradient.bias + problem.bias_weights * point.bias
        step = -_bias_solver(problem, _bias_curvature(evaluation))(gradient)
        length = float(problem.xp.max(step) - problem.xp.min(step))
        point = Point(point.between, point.within, point.bias + damping(length) * step)
        if length < accuracy:
            break
    return point


def _bias_curvature(evaluation: SoftmaxEvaluation) -> Array:
    """(J, J) second derivative in the biases: a graph Laplacian, so that no small entry is lost to cancellation."""
    problem, xp = evaluation.problem, evaluation.problem.xp
    mass = xp.asarray(evaluation.probabilities, copy=True)
    diagonal(mass)[:] += evaluation.own
    laplacian = -(mass.T * (problem.weights * problem.rows**2)[None, :]) @ mass
    diagonal(laplacian)[:] = 0.0
    diagonal(laplacian)[:] = -xp.sum(laplacian, axis=1)
    laplacian *= problem.columns[:, None]
    laplacian *= problem.columns[None, :]
    diagonal(laplacian)[:] += problem.bias_weights
    return laplacian


def _bias_solver(problem: SoftmaxProblem, hessian: Array) -> Callable[[Array], Array]:
    """Solves with the biases' Hessian, in the space of biases without the shift that no loss sees."""
    xp = problem.xp
    pin = problem.sizes / problem.columns
    trace = float(xp.sum(diagonal(hessian)))
    hessian = hessian + (trace / float(pin @ pin) * pin)[:, None] * pin[None, :]
    stretch = 1 / xp.sqrt(xp.maximum(diagonal(hessian), float(np.finfo(float).tiny)))
    balanced = stretch[:, None] * hessian * stretch[None, :]
    diagonal(balanced)[:] = 1 + 8 * problem.num_clusters * float(np.finfo(float).eps)
    inverse = xp.linalg.inv(balanced) * (stretch[:, None] * stretch[None, :])
    return lambda right_hand_side: inverse @ right_hand_side


class SoftmaxCurvature(Curvature):
    """The second derivative at an evaluated point."""

    def __init__(self, evaluation: SoftmaxEvaluation) -> None:
        problem = self.problem = evaluation.problem
        xp = self.xp = problem.xp
        self.evaluation = evaluation
        self.masses = xp.asarray(evaluation.probabilities, copy=True)
        self.same = xp.asarray(diagonal(self.masses), copy=True)
        diagonal(self.masses)[:] = 0.0
        self.other = xp.sum(self.masses, axis=1)
        self.slopes = self.masses * problem.scale
        self.bends = self.slopes * problem.scale
        self.bends *= problem.weights[:, None]
        self.active = problem.separable & (evaluation.point.within > 0)
        same, other, beta, gamma = self.same, self.other, problem.within_scale, problem.separation_scale
        pivot = problem.weights * (
            beta**2 * other * (1 - other) + gamma**2 * same * (1 - same) - 2 * beta * gamma * other * same
        )
        self.pivot = xp.where(self.active, pivot, 1.0)
        #: What a unit of ``within`` pushes the other differences, and what a unit of mean change pulls on ``within``.
        self.push = beta * (1 - other) - gamma * same
        self.pull = xp.where(self.active, -problem.weights * self.push, 0.0)
        self.within_gradient = xp.where(self.active, evaluation.gradient.within + (problem.sizes - 1), 0.0)
        self.solve_bias = self._bias_elimination() if problem.has_bias else None

    def _bias_elimination(self) -> Callable[[Array], Array]:
        hessian = _bias_curvature(self.evaluation)
        if bool(self.xp.any(self.active)):
            coupling = self.masses * (self.problem.rows * self.problem.weights * self.push)[:, None]
            diagonal(coupling)[:] = -self.xp.sum(coupling, axis=1)
            coupling = (coupling * self.problem.columns[None, :])[self.active]
            hessian -= (coupling.T / self.pivot[self.active][None, :]) @ coupling
        return _bias_solver(self.problem, hessian)

    def _shifts(self, flow: Array, own: Array) -> tuple[Array, Array]:
        """By row: what is added to every difference, and the sum over the row of the resulting dual change."""
        mean = flow - self.other * own
        shift = -own - mean + self.pull * mean / self.pivot * self.push
        return shift, self.problem.weights * (flow + self.other * shift)

    def _bias_pull(self, shift: Array, total: Array, along: Array | None = None) -> Array:
        """The biases' part of a dual change: ``along`` is the elementwise product of slopes and ``between``."""
        weights = self.problem.rows * self.problem.weights
        pulled = (weights * shift) @ self.masses - self.problem.rows * total
        if along is not None:
            pulled = pulled + weights @ along
        return self.problem.columns * pulled

    def _spread(self, shift: Array, total: Array, bias: Array | None) -> Array:
        """``between``'s part of a dual change that does not come from ``between`` itself."""
        problem = self.problem
        pushed = (problem.weights * shift)[:, None]
        if bias is not None:
            pushed = pushed + (problem.weights * problem.rows)[:, None] * (problem.columns * bias)[None, :]
        result = self.slopes * pushed
        diagonal(result)[:] = -problem.own_scale * total
        return result

    def _respond(self, flow: Array, own: Array, bias: Array) -> tuple[Array, Array]:
        """``flow`` and ``own`` once the biases have moved."""
        scaled = self.problem.columns * bias
        return flow + self.problem.rows * (self.masses @ scaled), own + self.problem.rows * scaled

    def eliminated_gradient(self) -> tuple[Array, Array | None]:
        """Gradient in ``between`` once ``within`` and the biases respond at their best, and the biases' own step."""
        point, gradient = self.evaluation.point, self.evaluation.gradient
        shift = self.within_gradient / self.pivot * self.push
        total = self.problem.weights * self.other * shift
        between = gradient.between + self._spread(shift, total, None)
        if self.solve_bias is None:
            return between, None
        pulled = gradient.bias + self.problem.bias_weights * point.bias + self._bias_pull(shift, total)
        bias = -self.solve_bias(pulled)
        zeros = self.xp.zeros_like(shift)
        shift, total = self._shifts(*self._respond(zeros, zeros, bias))
        return between + self._spread(shift, total, bias), bias

    def _bias_response(self, along: Array, flow: Array, own: Array) -> Array:
        assert self.solve_bias is not None
        return -self.solve_bias(self._bias_pull(*self._shifts(flow, own), along))

    def product(self, between: Array) -> Array:
        """Curvature in ``between`` after elimination, times a step."""
        along, bias = self.slopes * between, None
        flow, own = self.xp.sum(along, axis=1), diagonal(between) * self.problem.own_scale
        if self.solve_bias is not None:
            bias = self._bias_response(along, flow, own)
            flow, own = self._respond(flow, own, bias)
        shift, total = self._shifts(flow, own)
        result = self._spread(shift, total, bias)
        result += self.bends * between  # zero on the diagonal
        return result

    def response(self, between: Array, bias: Array | None) -> Point:
        """The whole step for a step of ``between``; ``bias`` is the biases' step at ``between`` = 0."""
        along = self.slopes * between
        flow, own = self.xp.sum(along, axis=1), diagonal(between) * self.problem.own_scale
        step = self.xp.zeros_like(own)
        if bias is not None:
            step = bias + self._bias_response(along, flow, own)
            flow, own = self._respond(flow, own, step)
        within = -(self.within_gradient + self.pull * (flow - self.other * own)) / self.pivot
        return Point(between, within, step)

    def entries(self) -> Array:
        """(J, J) curvature of each entry of ``between`` by itself, for the preconditioner."""
        share = 1 - self.pull * self.push / self.pivot
        entries = self.bends * (1 - self.masses * share[:, None])
        own = self.problem.weights * self.other * (1 - self.other) - (self.pull * self.other) ** 2 / self.pivot
        diagonal(entries)[:] = self.problem.own_scale**2 * own
        return entries

    def change(self, direction: Point) -> float:
        """The largest change of a difference of logits."""
        change = self.xp.where(self.problem.multiplicity == 0, 0.0, self.problem.differences(direction))
        return float(self.xp.max(self.xp.abs(change)))
