"""One Newton step on the matrices of fixed rank, where the nuclear norm is smooth.

With A = U S Vᵀ of rank r and T = Uᵀ dA V, the second derivative of ‖A‖_* along the manifold is

    T_ij ↦ (T_ij − T_ji) / (s_i + s_j)         for i, j ≤ r
    x ↦ (x + G₀ yᵀ) / s,  y ↦ (y + xᵀ G₀) / s   for the blocks x = T_0r, y = T_r0

and T_00 = 0, where G₀ = U_0ᵀ ∇f V_0 has norm at most 1 at an optimum: the second line is what the curvature of the
manifold adds. ``within`` and ``bias`` being eliminated, conjugate gradients see one J × J matrix. They run in the
coordinates T; each step costs four matrix products for the loss and up to four for the preconditioner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lopsided.solver.arrays import Array, diagonal
from lopsided.solver.methods import curvature_of
from lopsided.solver.reduction import Evaluation, Point
from lopsided.solver.softmax_curvature import damping

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
        return (self.left[:, : self.rank] * self.values) @ self.right[:, : self.rank].T

    @cached_property
    def polar(self) -> Array:
        """U_r V_rᵀ, the gradient of the nuclear norm on the manifold."""
        return self.left[:, : self.rank] @ self.right[:, : self.rank].T


@dataclass(frozen=True, eq=False)
class Step:
    """A Newton direction, the share of it that is safe to take first, and what it cost."""

    direction: Point
    length: float
    products: int


def newton_step(evaluation: Evaluation, spectrum: Spectrum, tolerance: float, max_products: int) -> Step:
    """The Newton direction at a point with ``spectrum.matrix`` as ``between``, by preconditioned conjugate gradients.

    ``tolerance`` is the relative reduction of the residual in the preconditioner's norm.
    """
    curvature = curvature_of(evaluation)
    gradient, bias = curvature.eliminated_gradient()
    products = 0
    if spectrum.rank > 0:
        frame = _Frame(evaluation, spectrum)
        between, products = _conjugate_gradients(
            lambda inner: frame.nuclear(inner) + frame.inside(curvature.product(frame.outside(inner))),
            _preconditioner(evaluation, frame, curvature.entries()),
            -frame.inside(gradient + spectrum.polar),
            tolerance,
            max_products,
        )
        between = frame.outside(between)
    else:
        between = evaluation.problem.xp.zeros_like(gradient)
    direction = curvature.response(between, bias)
    return Step(direction, damping(curvature.change(direction)), products)


class _Frame:
    """Coordinates T = Uᵀ dA V of the tangent space, in which the nuclear norm's curvature couples T_ij and T_ji alone.

    For that the null vectors are turned until the gradient between them is diagonal, G₀ = −diag(g): the couplings.
    """

    def __init__(self, evaluation: Evaluation, spectrum: Spectrum) -> None:
        self.problem, xp = evaluation.problem, evaluation.problem.xp
        rank = self.rank = spectrum.rank
        self.left, self.right, values = spectrum.left, spectrum.right, spectrum.values
        couplings = xp.ones_like(values)
        if rank < self.problem.num_clusters:
            normal = spectrum.left[:, rank:].T @ evaluation.gradient.between @ spectrum.right[:, rank:]
            turn_left, lost, turn_right = xp.linalg.svd(-normal)
            self.left = xp.concat([spectrum.left[:, :rank], spectrum.left[:, rank:] @ turn_left], axis=1)
            self.right = xp.concat([spectrum.right[:, :rank], spectrum.right[:, rank:] @ turn_right.T], axis=1)
            values = xp.concat([values, xp.zeros_like(lost)])
            couplings = xp.concat([couplings, xp.minimum(lost, 1.0)])
        self.values = values
        sums = values[:, None] + values[None, :]
        sums[rank:, rank:] = float("inf")
        self.straight = 1 / sums
        self.crossed = -self.straight * xp.minimum(couplings[:, None], couplings[None, :])

    def inside(self, matrix: Array) -> Array:
        """The tangent part of a matrix, in these coordinates."""
        result = self.left.T @ self.problem.centred(matrix) @ self.right
        result[self.rank :, self.rank :] = 0.0
        return result

    def outside(self, inner: Array) -> Array:
        """The matrix with these coordinates."""
        return self.problem.centred(self.left @ inner @ self.right.T)

    def nuclear(self, inner: Array) -> Array:
        """The nuclear norm's second derivative."""
        result = self.straight * inner
        result += self.crossed * inner.T
        return result


def _preconditioner(evaluation: Evaluation, frame: _Frame, entries: Array) -> Callable[[Array], Array]:
    """2 × 2 blocks, of T_ij and T_ji where a singular value is small or zero, else of the entries (i, j) and (j, i).

    The nuclear norm's curvature is exact in the frame, the data's in the entries, where it differs from class to class
    by orders of magnitude. Among large singular values A is nearly diagonal, the norm's curvature in entries is nearly
    that with the diagonal of A in place of singular values, and where the two halves of a pair move together only the
    data's counts. Where a singular value is small the norm's curvature outweighs the data's.
    """
    problem, xp = frame.problem, frame.problem.xp
    typical = float(frame.values[frame.rank // 2])
    large = int(xp.sum(xp.astype(frame.values > SMALL_SHARE * typical, xp.int64)))
    left, right = frame.left, frame.right
    stretch = xp.maximum(diagonal(evaluation.point.between), 0.5 * float(frame.values[large - 1]))
    straight = 1 / (stretch[:, None] + stretch[None, :])
    held = xp.asarray(entries, copy=True)
    if problem.shift is not None:
        # an own entry moves, the row being centred, all others of the row a little, and those the norm holds
        mass = problem.shift**2
        diagonal(held)[:] += mass * (straight @ mass)
    by_entry = _pairwise_inverse(xp, held, straight, straight)

    data = xp.zeros_like(entries)
    squared_left, squared_right = left**2, right**2
    data[large:, :] = squared_left[:, large:].T @ entries @ squared_right
    data[:large, large:] = squared_left[:, :large].T @ (entries @ squared_right[:, large:])
    data[frame.rank :, frame.rank :] = 0.0  # not tangent
    by_pair = _pairwise_inverse(xp, data, frame.straight, -frame.crossed)

    def apply(residual: Array) -> Array:
        result = by_pair(residual)
        block = left[:, :large] @ residual[:large, :large] @ right[:, :large].T
        result[:large, :large] = left[:, :large].T @ by_entry(block) @ right[:, :large]
        return result

    return apply


def _pairwise_inverse(xp: Any, data: Array, straight: Array, crossed: Array) -> Callable[[Array], Array]:
    """Inverse of X ↦ data·X + straight·X − crossed·Xᵀ, entry by entry, with straight = crossed on the diagonal."""
    determinant = data * data.T + straight * (data + data.T) + (straight - crossed) * (straight + crossed)
    own = data.T + straight
    diagonal(determinant)[:] = diagonal(data)
    diagonal(own)[:] = 1.0
    usable = determinant > 0
    determinant = xp.where(usable, determinant, 1.0)
    own = xp.where(usable, own / determinant, 0.0)
    other = xp.where(usable, crossed / determinant, 0.0)
    diagonal(other)[:] = 0.0

    def apply(matrix: Array) -> Array:
        result = own * matrix
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
    solution = 0 * right_hand_side
    residual = right_hand_side
    search = precondition(residual)
    energy = first = _inner(residual, search)
    used = 0
    while used < max_products and energy > 0:
        image = product(search)
        used += 1
        bend = _inner(search, image)
        if not bend > 0:
            if used == 1:
                solution = search
            break
        length = energy / bend
        solution += length * search
        residual = residual - length * image
        image = precondition(residual)
        new = _inner(residual, image)
        if new <= tolerance**2 * first:
            break
        search *= new / energy
        search += image
        energy = new
    return solution, used


def _inner(one: Array, other: Array) -> float:
    return float(one.reshape(-1) @ other.reshape(-1))
