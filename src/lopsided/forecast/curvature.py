r"""The loss's second derivative in the weights.

A softmax's second derivative is a sum over pairs of classes of one sign,

.. math:: \mathrm{diag}(p)-pp^\top=\sum_{k<l}p_kp_l(e_k-e_l)(e_k-e_l)^\top,

so that samples which hardly waver between two classes may be left out of that pair, and what remains is still positive
semidefinite. Of a trained classifier most samples waver between no pair: that is what makes whole second derivatives
affordable. Where they would not fit in memory they are applied and never formed.
"""

from __future__ import annotations

from copy import copy
from typing import Protocol

import numpy as np

from lopsided.forecast.program import Evaluation, Program
from lopsided.solver.arrays import Array

#: Most rows and columns of a second derivative that is formed.
LARGEST_DENSE = 2600
#: Rows of a pair of classes that weigh less than this many times the mean are drawn from: for a first step, and later.
COARSE, FINE = 0.1, 0.03
#: From this many samples on single precision is used.
MANY_SAMPLES = 4096
#: Rows that are scaled and multiplied at a time: what fits into the processor's cache.
CHUNK = 4096


class Curvature(Protocol):
    """A symmetric positive semidefinite map of (K, D) matrices."""

    matrix: Array | None

    def apply(self, direction: Array) -> Array:
        """The map."""

    def among(self, columns: Array) -> Curvature | None:
        """The same among fewer columns, where that costs nothing; else None."""


def curvature_of(
    program: Program, evaluation: Evaluation, columns: Array, ridge: float, coarseness: float = 0.0
) -> Curvature:
    """The smooth part's second derivative among some columns of the features, the bias's last where there is one.

    Parameters
    ----------
    program : Program
    evaluation : Evaluation
        Where.
    columns : (D,) array of int
    ridge : float
        Curvature of the penalty of the bias's column.
    coarseness : float
        Rows of a pair of classes that weigh less than this many times the mean are drawn from; 0: every sample counts,
        in double precision.
    """
    size = program.num_classes * int(columns.shape[0])
    if size <= LARGEST_DENSE:
        return DenseCurvature(program, evaluation, columns, ridge, coarseness)
    return AppliedCurvature(program, evaluation, columns, ridge)


class DenseCurvature:
    """The second derivative as one matrix."""

    def __init__(
        self, program: Program, evaluation: Evaluation, columns: Array, ridge: float, coarseness: float = 0.0
    ) -> None:
        xp, classes, width = program.xp, program.num_classes, int(columns.shape[0])
        single = program.num_samples >= MANY_SAMPLES and coarseness > 0
        features = program.single if single else program.features
        if width < features.shape[1]:
            features = xp.take(features, columns, axis=1)
        blocks = xp.zeros((classes, width, classes, width), dtype=program.features.dtype, device=program.backend.device)
        pull = program.pull if program.rows is None else program.pull * program.rows
        probabilities = evaluation.probabilities
        sides = [1.0] * classes if program.columns is None else [float(value) for value in program.columns[:, 0]]
        for k in range(classes):
            for other in range(k):
                weights = pull * probabilities[k, :] * probabilities[other, :]
                gram = _weighted_gram(program, features, weights, coarseness if single else 0.0)
                blocks[k, :, k, :] += sides[k] ** 2 * gram
                blocks[other, :, other, :] += sides[other] ** 2 * gram
                blocks[k, :, other, :] -= sides[k] * sides[other] * gram
                blocks[other, :, k, :] -= sides[k] * sides[other] * gram
        if ridge:
            every = xp.arange(classes)
            blocks[every, width - 1, every, width - 1] += ridge
        self.shape, self.columns = (classes, width), columns
        self.matrix = xp.reshape(blocks, (classes * width, classes * width))
        self.xp = xp

    def among(self, columns: Array) -> DenseCurvature | None:
        """The same among fewer columns; None where they are not among these."""
        xp, (classes, width) = self.xp, self.shape
        places = xp.searchsorted(self.columns, columns)
        places = xp.where(places < width, places, 0)
        if not bool(xp.all(xp.take(self.columns, places) == columns)):
            return None
        if int(columns.shape[0]) == width:
            return self
        chosen = xp.reshape(width * xp.arange(classes)[:, None] + places[None, :], (-1,))
        smaller = copy(self)
        smaller.matrix = xp.take(xp.take(self.matrix, chosen, axis=0), chosen, axis=1)
        smaller.shape, smaller.columns = (classes, int(columns.shape[0])), columns
        return smaller

    def apply(self, direction: Array) -> Array:
        """The matrix times a direction."""
        return self.xp.reshape(self.matrix @ self.xp.reshape(direction, (-1,)), self.shape)


def _weighted_gram(program: Program, features: Array, weights: Array, coarseness: float) -> Array:
    """Σ_n weights_n φ_n φ_nᵀ, in chunks that stay in the processor's cache.

    Of weights below ``coarseness`` times their mean a share is drawn, and stands for all of them: each row with the
    probability that makes its weight that threshold, so that the sum is right in the mean.
    """
    xp = program.xp
    threshold = coarseness * float(xp.mean(weights))
    rows = xp.nonzero(weights > threshold * program.draws)[0]
    roots = xp.astype(xp.sqrt(xp.maximum(xp.take(weights, rows), threshold)), features.dtype)
    width = features.shape[1]
    gram = xp.zeros((width, width), dtype=features.dtype, device=program.backend.device)
    whole = int(rows.shape[0]) == int(features.shape[0])
    step = CHUNK if program.backend.device is None else max(CHUNK, int(rows.shape[0]))
    for start in range(0, int(rows.shape[0]), step):
        part = slice(start, start + step)
        chunk = features[part] if whole else xp.take(features, rows[part], axis=0)
        chunk = chunk * roots[part, None]
        gram += chunk.T @ chunk
    return xp.astype(gram, program.features.dtype)


class AppliedCurvature:
    """The second derivative as two products with the features."""

    matrix = None

    def __init__(self, program: Program, evaluation: Evaluation, columns: Array, ridge: float) -> None:
        self.program, self.ridge = program, ridge
        self.probabilities = evaluation.probabilities
        whole = int(columns.shape[0]) == int(program.features.shape[1])
        self.features = program.features if whole else program.xp.take(program.features, columns, axis=1)
        self.pull = program.pull if program.rows is None else program.pull * program.rows

    def among(self, columns: Array) -> None:
        """A new one costs nothing."""

    def apply(self, direction: Array) -> Array:
        """The map: to logits, through every softmax, and back."""
        program, xp = self.program, self.program.xp
        logits = direction @ self.features.T
        if program.columns is not None:
            logits *= program.columns
        logits -= xp.sum(logits * self.probabilities, axis=0)
        logits *= self.probabilities
        logits *= self.pull
        if program.columns is not None:
            logits *= program.columns
        result = logits @ self.features
        if self.ridge:
            result[:, -1] += self.ridge * direction[:, -1]
        return result


def largest_eigenvalue(curvature: Curvature, start: Array, steps: int = 12) -> float:
    """About the largest eigenvalue, from below, by power iteration."""
    vector, value = start, 0.0
    for _ in range(steps):
        size = float((vector * vector).sum()) ** 0.5
        if size == 0 or not np.isfinite(size):
            return value
        vector = curvature.apply(vector / size)
        value = float((vector * vector).sum()) ** 0.5
    return value
