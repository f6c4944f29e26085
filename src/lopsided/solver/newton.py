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

#: A singular value below this share of the median one is small: the preconditioner takes its pairs in the frame.
SMALL_SHARE = 0.05


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
    r"""Second derivative of the loss in ``between``, with ``within`` and the biases at their best response.

    A step of ``between`` and of the scaled biases β = γb changes the margins of row j off the diagonal by
    S_ji M_ji + ρ_j β_i − own_j, and ``within`` adds −beta there and −gamma on the diagonal. All that couples the
    entries of a row are two numbers: ``flow``, the expected change Σ P_ji (S_ji M_ji + ρ_j β_i), and ``own``. So a
    product reads each J × J array once or twice, beside the four matrix products of the nuclear norm.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        problem = self.problem = evaluation.problem
        self.evaluation = evaluation
        self.rows, self.columns = problem.terms.row_scales, problem.terms.column_scales
        self.masses = evaluation.probabilities.copy()
        self.same = diagonal(self.masses).copy()
        diagonal(self.masses)[:] = 0.0
        self.other = self.masses.sum(axis=1)
        self.slopes = self.masses * problem.scale
        self.bends = self.slopes * problem.scale
        self.bends *= problem.weights[:, None]
        self.active = problem.separable & (evaluation.point.within > 0)
        same, other, beta, gamma = self.same, self.other, problem.within_scale, problem.separation_scale
        pivot = problem.weights * (
            beta**2 * other * (1 - other) + gamma**2 * same * (1 - same) - 2 * beta * gamma * other * same
        )
        self.pivot = np.where(self.active, pivot, 1.0)
        #: What a unit of mean change pulls on ``within``, and what a unit of ``within`` pushes the other margins.
        self.pull = np.where(self.active, problem.weights * (gamma * same - beta * (1 - other)), 0.0)
        self.push = beta * (1 - other) - gamma * same
        self.within_gradient = np.where(self.active, evaluation.gradient.within + (problem.sizes - 1), 0.0)
        self.solve_bias = self._bias_elimination() if problem.has_bias else None

    def _bias_elimination(self) -> Callable[[Array], Array]:
        hessian = bias_curvature(self.evaluation)
        if self.active.any():
            coupling = self.masses * (self.rows * self.problem.weights * self.push)[:, None]
            diagonal(coupling)[:] = -coupling.sum(axis=1)
            coupling = (coupling * self.columns)[self.active]
            hessian -= (coupling.T / self.pivot[self.active]) @ coupling
        return _bias_solver(self.problem, hessian)

    def _shifts(self, flow: Array, own: Array) -> tuple[Array, Array]:
        """By row: what is added to every change of a margin, and the sum over the row of the resulting dual change."""
        mean = flow - self.other * own
        shift = -own - mean + self.pull * mean / self.pivot * self.push
        return shift, self.problem.weights * (flow + self.other * shift)

    def _bias_pull(self, shift: Array, total: Array, along: Array | None = None) -> Array:
        """The biases' part of a dual change: ``along`` is the elementwise product of slopes and ``between``."""
        weights = self.rows * self.problem.weights
        pulled = (weights * shift) @ self.masses - self.rows * total
        if along is not None:
            pulled = pulled + weights @ along
        result: Array = self.columns * pulled
        return result

    def _spread(self, shift: Array, total: Array, bias: Array | None) -> Array:
        """``between``'s part of a dual change that does not come from ``between`` itself."""
        result = np.repeat((self.problem.weights * shift)[:, None], len(shift), axis=1)
        if bias is not None:
            result += np.outer(self.problem.weights * self.rows, self.columns * bias)
        result *= self.slopes
        diagonal(result)[:] = -self.problem.own_scale * total
        return result

    def _respond(self, flow: Array, own: Array, bias: Array) -> tuple[Array, Array]:
        """``flow`` and ``own`` once the biases have moved."""
        scaled = self.columns * bias
        return flow + self.rows * (self.masses @ scaled), own + self.rows * scaled

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
        shift, total = self._shifts(*self._respond(np.zeros_like(shift), np.zeros_like(shift), bias))
        return between + self._spread(shift, total, bias), bias

    def _bias_response(self, along: Array, flow: Array, own: Array) -> Array:
        assert self.solve_bias is not None
        return -self.solve_bias(self._bias_pull(*self._shifts(flow, own), along))

    def product(self, between: Array) -> Array:
        """Curvature in ``between`` after elimination."""
        along = self.slopes * between
        flow, own, bias = along.sum(axis=1), diagonal(between) * self.problem.own_scale, None
        if self.solve_bias is not None:
            bias = self._bias_response(along, flow, own)
            flow, own = self._respond(flow, own, bias)
        shift, total = self._shifts(flow, own)
        result = self._spread(shift, total, bias)
        result += np.multiply(self.bends, between, out=along)  # zero on the diagonal
        return result

    def response(self, between: Array, bias: Array | None) -> Point:
        """The whole step for a step of ``between``; ``bias`` is the biases' step at ``between`` = 0."""
        along = self.slopes * between
        flow, own = along.sum(axis=1), diagonal(between) * self.problem.own_scale
        step = np.zeros_like(own)
        if bias is not None:
            step = bias + self._bias_response(along, flow, own)
            flow, own = self._respond(flow, own, step)
        within = -(self.within_gradient + self.pull * (flow - self.other * own)) / self.pivot
        return Point(between, within, step)

    def entry_curvature(self) -> Array:
        """(J, J) curvature of each entry of ``between`` by itself, for the preconditioner."""
        share = 1 - self.pull * self.push / self.pivot
        entries: Array = self.bends * (1 - self.masses * share[:, None])
        own = self.problem.weights * self.other * (1 - self.other) - (self.pull * self.other) ** 2 / self.pivot
        diagonal(entries)[:] = self.problem.own_scale**2 * own
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
        frame = _Frame(evaluation, spectrum)
        between, products = _conjugate_gradients(
            lambda inner: frame.nuclear(inner) + frame.inside(curvature.product(frame.outside(inner))),
            _preconditioner(evaluation, frame, curvature.entry_curvature()),
            -frame.inside(gradient + spectrum.polar),
            tolerance,
            max_products,
        )
        between = frame.outside(between)
    else:
        between = np.zeros_like(gradient)
    direction = curvature.response(between, bias)
    change = evaluation.problem.margins(direction)
    change[evaluation.problem.multiplicity == 0] = 0.0
    return Step(direction, _damping(float(np.max(np.abs(change)))), products)


class _Frame:
    """Coordinates T = Uᵀ dA V of the tangent space, in which the nuclear norm's curvature couples T_ij and T_ji alone.

    For that the null vectors are turned until the gradient between them is diagonal, G₀ = −diag(g): the couplings.
    """

    def __init__(self, evaluation: Evaluation, spectrum: Spectrum) -> None:
        self.problem = evaluation.problem
        rank = self.rank = spectrum.rank
        normal = spectrum.left[:, rank:].T @ evaluation.gradient.between @ spectrum.right[:, rank:]
        turn_left, couplings, turn_right = np.linalg.svd(-normal)
        self.left = np.concatenate([spectrum.left[:, :rank], spectrum.left[:, rank:] @ turn_left], axis=1)
        self.right = np.concatenate([spectrum.right[:, :rank], spectrum.right[:, rank:] @ turn_right.T], axis=1)
        self.values = np.concatenate([spectrum.values, np.zeros(len(couplings))])
        couplings = np.concatenate([np.ones(rank), np.minimum(couplings, 1.0)])
        sums = self.values[:, None] + self.values[None, :]
        sums[rank:, rank:] = np.inf
        self.straight = 1 / sums
        self.crossed = -self.straight * np.minimum(couplings[:, None], couplings[None, :])

    def inside(self, matrix: Array) -> Array:
        """The tangent part of a matrix, in these coordinates."""
        result: Array = self.left.T @ centred(self.problem, matrix) @ self.right
        result[self.rank :, self.rank :] = 0.0
        return result

    def outside(self, inner: Array) -> Array:
        """The matrix with these coordinates."""
        return centred(self.problem, self.left @ inner @ self.right.T)

    def nuclear(self, inner: Array) -> Array:
        """The nuclear norm's second derivative."""
        result: Array = self.straight * inner
        result += self.crossed * inner.T
        return result


def _preconditioner(evaluation: Evaluation, frame: _Frame, entries: Array) -> Callable[[Array], Array]:
    """2 × 2 blocks, of T_ij and T_ji where a singular value is small or zero, else of the entries (i, j) and (j, i).

    The nuclear norm's curvature is exact in the frame, the data's in the entries, where it differs from class to class
    by orders of magnitude. Among large singular values A is nearly diagonal, the norm's curvature in entries is nearly
    that with the diagonal of A in place of singular values, and where the two halves of a pair move together only the
    data's counts. Where a singular value is small the norm's curvature outweighs the data's.
    """
    typical = float(frame.values[frame.rank // 2])
    large = int(np.sum(frame.values > SMALL_SHARE * typical))
    left, right = frame.left, frame.right
    stretch = np.maximum(diagonal(evaluation.point.between), 0.5 * float(frame.values[large - 1]))
    straight = 1 / (stretch[:, None] + stretch[None, :])
    # an own entry moves, the row being centred, all others of the row a little, and those the norm holds
    mass = evaluation.problem.shift**2
    held = entries.copy()
    diagonal(held)[:] += mass * (straight @ mass)
    by_entry = _pairwise_inverse(held, straight, straight)

    data = np.zeros_like(entries)
    squared_left, squared_right = left**2, right**2
    data[large:] = squared_left[:, large:].T @ entries @ squared_right
    data[:large, large:] = squared_left[:, :large].T @ (entries @ squared_right[:, large:])
    data[frame.rank :, frame.rank :] = 0.0  # not tangent
    by_pair = _pairwise_inverse(data, frame.straight, -frame.crossed)

    def apply(residual: Array) -> Array:
        result = by_pair(residual)
        block = left[:, :large] @ residual[:large, :large] @ right[:, :large].T
        result[:large, :large] = left[:, :large].T @ by_entry(block) @ right[:, :large]
        return result

    return apply


def _pairwise_inverse(data: Array, straight: Array, crossed: Array) -> Callable[[Array], Array]:
    """Inverse of X ↦ data·X + straight·X − crossed·Xᵀ, entry by entry, with straight = crossed on the diagonal."""
    determinant = data * data.T + straight * (data + data.T) + (straight - crossed) * (straight + crossed)
    own = data.T + straight
    other = crossed.copy()
    diagonal(determinant)[:] = diagonal(data)
    diagonal(own)[:] = 1.0
    diagonal(other)[:] = 0.0
    unusable = ~(determinant > 0)
    determinant[unusable] = 1.0
    own[unusable] = other[unusable] = 0.0
    own /= determinant
    other /= determinant

    def apply(matrix: Array) -> Array:
        result: Array = own * matrix
        result += other * matrix.T
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
