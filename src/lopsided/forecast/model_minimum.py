r"""The minimum of a quadratic model plus the penalty: one proximal Newton step.

Accelerated proximal gradient steps find which channels are on, or the rank; from there Newton's method on the smooth
part finishes in a few steps. A Newton step is taken only where it lowers the model, so that the whole converges
wherever it starts.
"""

from __future__ import annotations

import math
from typing import Any

from lopsided.forecast.curvature import Curvature, largest_eigenvalue
from lopsided.forecast.penalties import SmoothPart
from lopsided.forecast.program import Program
from lopsided.solver.arrays import Array

#: Proximal gradient steps between two attempts of Newton's method, and the most of both.
GRADIENT_STEPS, ROUNDS = 12, 40
#: Conjugate gradient steps of one Newton step, where the curvature is not a matrix.
CONJUGATE_STEPS = 60


class Model:
    """⟨g, X − X₀⟩ + ½⟨X − X₀, H(X − X₀)⟩ + κ Ω(V), the bias in X's last column where there is one.

    Parameters
    ----------
    program : Program
        Whose penalty and bias these are.
    start, slope : (K, D) array
        X₀ and g.
    curvature : Curvature
        H.
    decay : float
        κ.
    """

    def __init__(self, program: Program, start: Array, slope: Array, curvature: Curvature, decay: float) -> None:
        self.program, self.start, self.slope, self.curvature, self.decay = program, start, slope, curvature, decay
        self.xp = program.xp
        self.channels = int(start.shape[1]) - program.bias

    def gradient(self, point: Array) -> Array:
        """The smooth part's gradient."""
        return self.slope + self.curvature.apply(point - self.start)

    def value(self, point: Array, gradient: Array) -> float:
        """The model at a point whose smooth gradient is at hand."""
        smooth = 0.5 * float(self.xp.sum((point - self.start) * (self.slope + gradient)))
        return smooth + self.decay * self.program.penalty.value(self.xp, point[:, : self.channels])

    def shrink(self, point: Array, step: float) -> Array:
        """The proximal map of the penalty at a step size."""
        weights = self.program.penalty.shrink(self.xp, point[:, : self.channels], step * self.decay)
        return self.xp.concat([weights, point[:, self.channels :]], axis=1)

    def residual(self, point: Array, gradient: Array, step: float) -> float:
        """How far a proximal gradient step moves, over its size."""
        moved = self.shrink(point - step * gradient, step) - point
        square = float(self.xp.sum(moved * moved))
        return math.sqrt(square) / step


def minimise_model(model: Model, tol: float) -> Array:
    """Minimise a model until the residual is this share of where it started, or nothing is gained.

    Returns
    -------
    (K, D) array
    """
    point = model.start
    gradient = model.slope
    top = largest_eigenvalue(model.curvature, gradient + 1e-3)
    if top <= 0:
        return point
    step = 1 / (1.05 * top)
    first = residual = model.residual(point, gradient, step)
    value = model.value(point, gradient)
    for _ in range(ROUNDS):
        if residual <= tol * first:
            break
        before = value
        point, gradient, step = _gradient_steps(model, point, gradient, step)
        value = model.value(point, gradient)
        for _ in range(4):
            trial = _newton_step(model, point, gradient, value)
            if trial is None:
                break
            point, gradient, gained = trial[0], trial[1], value - trial[2]
            value = trial[2]
            if gained <= 1e-3 * (before - value):
                break
        residual = model.residual(point, gradient, step)
        if before - value <= 1e-15 * (abs(value) + 1e-30):
            break
    return point


def _gradient_steps(model: Model, point: Array, gradient: Array, step: float) -> tuple[Array, Array, float]:
    """A few accelerated proximal gradient steps, begun anew where they turn back."""
    xp = model.xp
    ahead, ahead_gradient, momentum = point, gradient, 1.0
    for _ in range(GRADIENT_STEPS):
        while True:
            moved = model.shrink(ahead - step * ahead_gradient, step)
            moved_gradient = model.gradient(moved)
            change = moved - ahead
            square = float(xp.sum(change * change))
            if float(xp.sum(change * (moved_gradient - ahead_gradient))) <= square / step * (1 + 1e-9):
                break
            step /= 1.5
        if square == 0:
            return moved, moved_gradient, step
        if float(xp.sum((ahead - moved) * (moved - point))) > 0:
            momentum = 1.0
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        share = (momentum - 1) / following
        ahead = moved + share * (moved - point)
        ahead_gradient = moved_gradient + share * (moved_gradient - gradient)
        point, gradient, momentum = moved, moved_gradient, following
    return point, gradient, step


def _newton_step(model: Model, point: Array, gradient: Array, value: float) -> tuple[Array, Array, float] | None:
    """Newton's method on the smooth part; None where it does not lower the model."""
    xp, channels = model.xp, model.channels
    weights = point[:, :channels]
    part = model.program.penalty.smooth_part(xp, weights)
    slope = gradient + 0.0
    slope[:, :channels] += model.decay * part.slope
    direction = (_by_conjugate_gradients if model.curvature.matrix is None else _by_elimination)(model, part, slope)
    if direction is None:
        return None
    size = 1.0
    for _ in range(4):
        trial = point + size * direction
        trial = xp.concat([part.retract(trial[:, :channels]), trial[:, channels:]], axis=1)
        trial_gradient = model.gradient(trial)
        trial_value = model.value(trial, trial_gradient)
        if trial_value < value:
            return trial, trial_gradient, trial_value
        size /= 3
    return None


def _by_elimination(model: Model, part: SmoothPart, slope: Array) -> Array | None:
    """The Newton direction by solving the linear system in the smooth part's coordinates."""
    xp, channels = model.xp, model.channels
    classes, width = slope.shape
    blocks = xp.reshape(model.curvature.matrix, (classes, width, classes, width)) + 0.0
    left, right = part.frame()
    if left is not None and right is not None:  # the bias's column stays
        turn = xp.zeros((width, width), dtype=slope.dtype, device=model.program.backend.device)
        turn[:channels, :channels] = right
        if width > channels:
            turn[channels, channels] = 1.0
        blocks = _turned(xp, blocks, left, turn)
        slope = left.T @ slope @ turn
    inner = blocks[:, :channels, :, :channels]
    part.add_curvature(inner, model.decay)
    free = part.free()
    if width > channels:
        free = xp.concat([free, xp.ones((classes, 1), dtype=xp.bool, device=model.program.backend.device)], axis=1)
    chosen = xp.nonzero(xp.reshape(free, (-1,)))[0]
    matrix = xp.reshape(blocks, (classes * width, classes * width))
    if int(chosen.shape[0]) < classes * width:
        matrix = xp.take(xp.take(matrix, chosen, axis=0), chosen, axis=1)
    damping = 1e-13 * float(xp.max(xp.linalg.diagonal(matrix)))
    every = xp.arange(int(chosen.shape[0]))
    matrix[every, every] += damping
    try:
        solved = xp.linalg.solve(matrix, -xp.take(xp.reshape(slope, (-1,)), chosen))
    except model.program.backend.decomposition_error:
        return None
    direction = xp.zeros((classes * width,), dtype=slope.dtype, device=model.program.backend.device)
    direction[chosen] = solved
    direction = xp.reshape(direction, (classes, width))
    return direction if left is None or right is None else left @ direction @ turn.T


def _turned(xp: Any, blocks: Array, left: Array, right: Array) -> Array:
    """A (K, D, K, D) map in the coordinates of orthogonal matrices of classes and columns."""
    classes, width = int(left.shape[0]), int(right.shape[0])
    for _ in range(2):  # one pair of axes, then the other
        blocks = xp.reshape(blocks, (classes, width, classes * width))
        blocks = xp.reshape(left.T @ xp.reshape(blocks, (classes, -1)), (classes, width, classes * width))
        blocks = right.T @ blocks
        blocks = xp.permute_dims(xp.reshape(blocks, (classes, width, classes, width)), (2, 3, 0, 1))
    return blocks + 0.0


def _by_conjugate_gradients(model: Model, part: SmoothPart, slope: Array) -> Array:
    """The Newton direction by conjugate gradients, for a curvature that is applied only."""
    xp, channels = model.xp, model.channels

    def project(matrix: Array) -> Array:
        return xp.concat([part.project(matrix[:, :channels]), matrix[:, channels:]], axis=1)

    def apply(matrix: Array) -> Array:
        result = model.curvature.apply(matrix)
        result[:, :channels] += model.decay * part.curvature(matrix[:, :channels])
        return project(result)

    residual = -project(slope)
    direction, search = residual * 0.0, residual
    square = first = float(xp.sum(residual * residual))
    for _ in range(CONJUGATE_STEPS):
        if square <= 1e-4 * first or square == 0:
            break
        image = apply(search)
        bend = float(xp.sum(search * image))
        if bend <= 0:
            break
        direction = direction + square / bend * search
        residual = residual - square / bend * image
        square, before = float(xp.sum(residual * residual)), square
        search = residual + square / before * search
    return direction
