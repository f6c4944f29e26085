"""One Newton step on the matrices of fixed rank, where the nuclear norm is smooth.

With A = U S Vᵀ of rank r and T = Uᵀ dA V, the second derivative of ‖A‖_* along the manifold is

    T_ij ↦ (T_ij − T_ji) / (s_i + s_j)         for i, j ≤ r
    x ↦ (x + G₀ yᵀ) / s,  y ↦ (y + xᵀ G₀) / s   for the blocks x = T_0r, y = T_r0

and T_00 = 0, where G₀ = U_0ᵀ ∇f V_0 has norm at most 1 at an optimum: the second line is what the curvature of the
manifold adds. ``within`` and ``bias`` are eliminated exactly (every cluster's ``within`` meets its own row alone; the
biases share one J × J system), so that conjugate gradients see one J × J matrix and cost four matrix products a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lopsided.solver.reduction import Array, Evaluation, Point, ReducedProblem, centred, diagonal, evaluate


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A full decomposition of ``between``: left (J, J), values (r,), right (J, J); the vectors are columns."""

    left: Array
    values: Array
    right: Array

    @property
    def rank(self) -> int:
        """Number of positive singular values r."""
        return len(self.values)

    @cached_property
    def matrix(self) -> Array:
        """The matrix of rank r itself."""
        rank = self.rank
        result: Array = (self.left[:, :rank] * self.values) @ self.right[:, :rank].T
        return result

    @cached_property
    def polar(self) -> Array:
        """U_r V_rᵀ, the gradient of the nuclear norm on the manifold."""
        result: Array = self.left[:, : self.rank] @ self.right[:, : self.rank].T
        return result

    def tangent(self, matrix: Array) -> Array:
        """The part of a matrix tangent to the manifold of rank r."""
        left, right = self.left[:, self.rank :], self.right[:, self.rank :]
        result: Array = matrix - left @ (left.T @ matrix @ right) @ right.T
        return result


def bias_curvature(evaluation: Evaluation) -> Array:
    """(J, J) second derivative in the biases: a graph Laplacian, so that no small entry is lost to cancellation."""
    problem = evaluation.problem
    mass = evaluation.probabilities.copy()
    diagonal(mass)[:] += evaluation.own
    laplacian: Array = -(mass.T * (problem.weights * problem.terms.row_scales**2)) @ mass
    diagonal(laplacian)[:] = 0.0
    diagonal(laplacian)[:] = -laplacian.sum(axis=1)
    laplacian *= np.outer(problem.terms.column_scales, problem.terms.column_scales)
    diagonal(laplacian)[:] += problem.bias_weights
    return laplacian


def _bias_solver(problem: ReducedProblem, hessian: Array) -> Callable[[Array], Array]:
    """Solves with the biases' Hessian, in the space of biases without the shift that no loss sees."""
    pin = problem.sizes / problem.terms.column_scales
    hessian = hessian + float(np.trace(hessian)) / float(pin @ pin) * np.outer(pin, pin)
    stretch = 1 / np.sqrt(np.maximum(diagonal(hessian), np.finfo(float).tiny))
    balanced = stretch[:, None] * hessian * stretch[None, :]
    diagonal(balanced)[:] = 1 + 8 * problem.num_clusters * np.finfo(float).eps
    inverse = np.linalg.inv(balanced) * (stretch[:, None] * stretch[None, :])

    def solve(right_hand_side: Array) -> Array:
        result: Array = inverse @ right_hand_side
        return result

    return solve


def settle_bias(problem: ReducedProblem, point: Point, accuracy: float = 0.1) -> Point:
    """The point with nearly the best biases for its logits: damped Newton steps, each one J × J inverse.

    ``accuracy`` is the length of the last step, in nats; Newton's error after it is about its square.
    """
    if not problem.has_bias:
        return point
    for _ in range(200):
        evaluation = evaluate(problem, point)
        gradient = evaluation.gradient.bias + problem.bias_weights * point.bias
        step = -_bias_solver(problem, bias_curvature(evaluation))(gradient)
        length = float(np.ptp(step))
        point = Point(point.between, point.within, point.bias + _damping(length) * step)
        if length < accuracy:
            break
    return point


def _damping(length: float) -> float:
    """A safe share of a step that moves margins by δ: ln(1 + δ)/δ, log-sum-exp being generalised self-concordant."""
    return float(np.log1p(length) / length) if length > 0.1 else 1.0


@dataclass(frozen=True, eq=False)
class Step:
    """A Newton direction, the share of it that is safe to take first, and what it cost."""

    direction: Point
    length: float
    products: int


class _LossCurvature:
    """Second derivative of the loss in the margins, ``within`` eliminated row by row and the biases by one solve."""

    def __init__(self, evaluation: Evaluation) -> None:
        problem = self.problem = evaluation.problem
        self.evaluation = evaluation
        self.same = diagonal(evaluation.probabilities).copy()
        self.other = evaluation.probabilities.sum(axis=1) - self.same
        self.active = problem.separable & (evaluation.point.within > 0)
        # the direction of ``within`` in a row of margins: −beta off the diagonal, −gamma on it
        self.beta, self.gamma = problem.within_scale, problem.separation_scale
        same, other, beta, gamma = self.same, self.other, self.beta, self.gamma
        self.centre = -(beta * other + gamma * same)
        pivot = problem.weights * (
            beta**2 * other * (1 - other) + gamma**2 * same * (1 - same) - 2 * beta * gamma * other * same
        )
        self.pivot = np.where(self.active, pivot, 1.0)
        self.within_gradient = evaluation.gradient.within + (problem.sizes - 1)
        self.solve_bias = self._bias_elimination() if problem.has_bias else None

    def _bias_elimination(self) -> Callable[[Array], Array]:
        hessian = bias_curvature(self.evaluation)
        if self.active.any():
            terms = self.problem.terms
            coupling = self.evaluation.curvature * (terms.row_scales * (-self.beta - self.centre))[:, None]
            diagonal(coupling)[:] = 0.0
            diagonal(coupling)[:] = -coupling.sum(axis=1)
            coupling = (coupling * terms.column_scales)[self.active]
            hessian -= (coupling.T / self.pivot[self.active]) @ coupling
        return _bias_solver(self.problem, hessian)

    def margins(self, between: Array) -> Array:
        """Change of the margins with a change of ``between``."""
        margins: Array = between * self.problem.scale
        margins -= (diagonal(between) * self.problem.own_scale)[:, None]
        diagonal(margins)[:] = 0.0
        return margins

    def bias_margins(self, bias: Array) -> Array:
        """Change of the margins with a change of the biases."""
        scaled = bias * self.problem.terms.column_scales
        result: Array = (scaled[None, :] - scaled[:, None]) * self.problem.terms.row_scales[:, None]
        return result

    def bias_part(self, dual: Array) -> Array:
        """The adjoint of :meth:`bias_margins`."""
        rows = self.problem.terms.row_scales
        result: Array = self.problem.terms.column_scales * (rows @ dual - rows * dual.sum(axis=1))
        return result

    def apply(self, margins: Array) -> tuple[Array, Array]:
        """The curvature times a change of the margins (overwritten), and its pull on ``within`` before elimination."""
        weights = self.problem.weights
        mean = np.einsum("ij,ij->i", self.evaluation.probabilities, margins)
        same = diagonal(margins).copy()
        on_same = weights * self.same * (same - mean)
        on_other = weights * mean * (1 - self.other - self.same) - on_same
        pull = -(self.gamma * on_same + self.beta * on_other)
        share = np.where(self.active, pull / self.pivot, 0.0)
        margins -= (mean + share * (-self.beta - self.centre))[:, None]
        diagonal(margins)[:] = same - mean - share * (-self.gamma - self.centre)
        margins *= self.evaluation.curvature
        return margins, pull

    def eliminated_gradient(self) -> tuple[Array, Array | None]:
        """Gradient in ``between`` once ``within`` and the biases respond at their best, and the biases' own step."""
        share = np.where(self.active, self.within_gradient / self.pivot, 0.0)
        response = self.evaluation.curvature * (share * (self.beta + self.centre))[:, None]
        diagonal(response)[:] = diagonal(self.evaluation.curvature) * (share * (self.gamma + self.centre))
        dual = self.evaluation.dual + response
        if self.solve_bias is None:
            return self.problem.pull_back(dual).between, None
        pulled = self.problem.pull_back(dual)
        bias = -self.solve_bias(pulled.bias + self.problem.bias_weights * self.evaluation.point.bias)
        dual += self.apply(self.bias_margins(bias))[0]
        return self.problem.pull_back(dual).between, bias

    def product(self, between: Array) -> Array:
        """Curvature in ``between`` after elimination."""
        dual, _ = self.apply(self.margins(between))
        if self.solve_bias is not None:
            bias = -self.solve_bias(self.bias_part(dual))
            dual += self.apply(self.bias_margins(bias))[0]
        return self.problem.pull_back(dual).between

    def response(self, between: Array, bias: Array | None) -> Point:
        """The whole step for a step of ``between``; ``bias`` is the biases' step at ``between`` = 0."""
        margins = self.margins(between)
        step = np.zeros_like(self.same)
        if self.solve_bias is not None and bias is not None:
            dual, _ = self.apply(margins.copy())
            step = bias - self.solve_bias(self.bias_part(dual))
            margins += self.bias_margins(step)
        _, pull = self.apply(margins)
        within = np.where(self.active, -(self.within_gradient + pull) / self.pivot, 0.0)
        return Point(between, within, step)

    def entry_curvature(self) -> Array:
        """(J, J) curvature of each entry of ``between`` by itself, for the preconditioner."""
        weights, same, other = self.problem.weights, self.same, self.other
        entries: Array = self.problem.scale**2 * self.evaluation.curvature
        entries *= 1 - self.evaluation.probabilities
        own = weights * other * (1 - other)
        cross = weights * (self.beta * other * (1 - other) - self.gamma * other * same)
        diagonal(entries)[:] = self.problem.own_scale**2 * (own - np.where(self.active, cross**2 / self.pivot, 0.0))
        return entries


def newton_step(evaluation: Evaluation, spectrum: Spectrum, tolerance: float, max_products: int) -> Step:
    """The Newton direction at a point of rank r, by preconditioned conjugate gradients.

    Parameters
    ----------
    evaluation : Evaluation
        At a point whose ``between`` is ``spectrum.matrix``.
    spectrum : Spectrum
        The decomposition of ``between``.
    tolerance : float
        Relative reduction of the residual, in the preconditioner's norm.
    max_products : int
        At most so many products with the Hessian.
    """
    curvature = _LossCurvature(evaluation)
    gradient, bias = curvature.eliminated_gradient()
    products = 0
    if spectrum.rank > 0:
        nuclear = _nuclear_curvature(evaluation, spectrum)

        precondition = _preconditioner(evaluation, spectrum, curvature.entry_curvature())

        def project(between: Array) -> Array:
            return centred(evaluation.problem, spectrum.tangent(between))

        between, products = _conjugate_gradients(
            lambda between: spectrum.tangent(curvature.product(between)) + nuclear(between),
            lambda residual: project(precondition(residual)),
            -project(gradient + spectrum.polar),
            tolerance,
            max_products,
        )
    else:
        between = np.zeros_like(gradient)
    direction = curvature.response(between, bias)
    change = evaluation.problem.margins(direction)
    change[evaluation.problem.multiplicity == 0] = 0.0
    return Step(direction, _damping(float(np.max(np.abs(change)))), products)


def _nuclear_curvature(evaluation: Evaluation, spectrum: Spectrum) -> Callable[[Array], Array]:
    left, right, values, rank = spectrum.left, spectrum.right, spectrum.values, spectrum.rank
    normal = left[:, rank:].T @ evaluation.gradient.between @ right[:, rank:]
    antisymmetric = 1 / (values[:, None] + values[None, :])
    whole = len(left) == rank

    def product(between: Array) -> Array:
        inner = left.T @ between @ right
        result = np.zeros_like(inner)
        result[:rank, :rank] = (inner[:rank, :rank] - inner[:rank, :rank].T) * antisymmetric
        if not whole:
            below, beside = inner[rank:, :rank], inner[:rank, rank:]
            result[rank:, :rank] = (below + normal @ beside.T) / values
            result[:rank, rank:] = (beside + below.T @ normal) / values[:, None]
        lifted: Array = left @ result @ right.T
        return lifted

    return product


def _preconditioner(evaluation: Evaluation, spectrum: Spectrum, entries: Array) -> Callable[[Array], Array]:
    """Entries (i, j) and (j, i) as one 2 × 2 block, with the diagonal of A in place of its singular values.

    A is nearly diagonal, and one class's data curvature differs from another's by orders of magnitude, so the standard
    basis serves better than the singular vectors. Where a class has collapsed its block couples as the manifold's
    normal part does: by the diagonal of −∇f, which is 1 for the others.
    """
    floor = 0.5 * float(spectrum.values[-1])
    stretch = diagonal(evaluation.point.between)
    kept = stretch > floor
    coupling = np.where(kept, 1.0, np.clip(-diagonal(evaluation.gradient.between), 0.0, 1.0))
    stretch = np.maximum(stretch, floor)
    straight = 1 / (stretch[:, None] + stretch[None, :])
    diagonal(straight)[:] = 0.0
    crossed = -straight * np.minimum(coupling[:, None], coupling[None, :])
    determinant = entries * entries.T + straight * (entries + entries.T) + (straight**2 - crossed**2)
    straight += entries
    diagonal(determinant)[:] = diagonal(straight) ** 2
    usable = determinant > 0
    determinant = np.where(usable, determinant, 1.0)
    own = np.where(usable, straight.T / determinant, 0.0)
    other = np.where(usable, -crossed / determinant, 0.0)

    def apply(residual: Array) -> Array:
        result: Array = own * residual
        result += other * residual.T
        return result

    return apply


def _conjugate_gradients(
    product: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    right_hand_side: Array,
    tolerance: float,
    max_products: int,
) -> tuple[Array, int]:
    """Preconditioned conjugate gradients on matrices, stopped at negative curvature as a truncated Newton method is."""
    solution = np.zeros_like(right_hand_side)
    residual = right_hand_side.copy()
    search = precondition(residual)
    energy = first = float(np.vdot(residual, search))
    used = 0
    while used < max_products and energy > 0:
        image = product(search)
        used += 1
        bend = float(np.vdot(search, image))
        if not bend > 0:
            if used == 1:
                solution = search
            break
        length = energy / bend
        solution += length * search
        residual -= length * image
        image = precondition(residual)
        new = float(np.vdot(residual, image))
        if new <= tolerance**2 * first:
            break
        search *= new / energy
        search += image
        energy = new
    return solution, used
