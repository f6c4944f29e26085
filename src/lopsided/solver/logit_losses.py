r"""Losses one class at a time: value and slope of the logits for descent, a conjugate for bounds.

Both losses here see the logits of a sample of class k through probabilities P with the slope
:math:`\rho_k\gamma_j(P_{kj}-T_{kj})`, T the targets. So one certificate serves both: P mixed with T is a dual point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import entr, expit, kl_div, xlogy

from lopsided.core.arguments import ArgumentError
from lopsided.core.losses import FocalLoss, SquaredError
from lopsided.core.problem import Problem

Array = NDArray[np.float64]

#: A difference of logits beyond which one class is certain to the last digit of float64.
FAR = 700.0


def log_sum_exp(rows: Array) -> Array:
    """(K,) log of the sum of the exponentials of each row; SciPy's takes several times as long on so few numbers."""
    top = rows.max(axis=1)
    result: Array = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
    return result


class LogitLoss(ABC):
    """A loss of the (K, K) logits, row k those of a sample of class k.

    ``weights`` (K,) is the share of each class in the sum over samples, ``row_scales`` and ``column_scales`` (K,) what
    multiplies the logits, ``targets`` (K, K) the rows of T.
    """

    def __init__(self, problem: Problem) -> None:
        terms, classes = problem.terms, problem.num_classes
        self.weights: Array = terms.weights * problem.counts / terms.normaliser
        self.row_scales, self.column_scales = terms.row_scales, terms.column_scales
        self.targets: Array = (1 - terms.smoothing) * np.eye(classes) + terms.smoothing / classes

    @abstractmethod
    def evaluate(self, logits: Array) -> tuple[Array, Array]:
        """(K,) values and (K, K) slopes."""

    @abstractmethod
    def predictions(self, logits: Array) -> Array:
        """(K, K) the P of a dual point: of the loss itself, or of a convex function below it."""

    @abstractmethod
    def conjugate(self, predictions: Array) -> Array:
        """(K,) conjugate, at the slope that P stands for, of the convex function that ``predictions`` is of."""


class ConvexLoss(LogitLoss):
    """A convex one, with what Newton's method and a gap without cancellation need."""

    @abstractmethod
    def balanced(self, predictions: Array) -> Array:
        """(K, K) a dual point near P whose slopes sum to zero over all samples, as a free bias demands."""

    @abstractmethod
    def divergence(self, other: Array, predictions: Array) -> Array:
        """(K,) what the loss lies above its tangent of slope P' at the logits of P; never negative."""

    @abstractmethod
    def root_curvature(self, predictions: Array, label: int) -> Array:
        """(K, K) B with BBᵀ the second derivative of one class's loss in its logits."""


def logit_loss(problem: Problem) -> LogitLoss:
    """The loss of a problem."""
    if isinstance(problem.loss, FocalLoss):
        return Focal(problem, problem.loss.gamma)
    return Softmax(problem)


def convex_loss(problem: Problem, purpose: str) -> ConvexLoss:
    """The loss of a problem, which must be convex in the logits; the error names ``purpose``."""
    if isinstance(problem.loss, FocalLoss) and problem.loss.gamma > 0:
        raise ArgumentError(
            "loss", f"must be convex in the logits for {purpose}", problem.loss, remedy="set `gamma` to 0"
        )
    return Squared(problem) if isinstance(problem.loss, SquaredError) else Softmax(problem)


def balanced(loss: LogitLoss, predictions: Array) -> Array:
    """Predictions whose class totals are those of the targets, as the dual of a free bias demands.

    Each class predicted too often gives up the same share of its mass in every row, and each row passes what it freed
    to the classes predicted too seldom, in proportion to what they lack.
    """
    weights = loss.weights * loss.row_scales
    excess = weights @ (predictions - loss.targets)
    lacking = np.maximum(-excess, 0.0)
    if not lacking.any():
        return predictions
    share = np.clip(np.maximum(excess, 0.0) / (weights @ predictions), 0.0, 1.0)
    freed = predictions @ share
    result: Array = predictions * (1 - share) + freed[:, None] * (lacking / lacking.sum())
    return result


class Softmax(ConvexLoss):
    """The cross-entropy family: a softmax of affine functions of the logits."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        terms = problem.terms
        self._offsets = terms.offsets - np.diag(terms.margins)
        self._scales = np.outer(self.row_scales, self.column_scales)

    def _inside(self, logits: Array) -> tuple[Array, Array]:
        inside = self._scales * logits + self._offsets
        return inside, log_sum_exp(inside)

    def evaluate(self, logits: Array) -> tuple[Array, Array]:
        """(K,) values and (K, K) slopes."""
        inside, total = self._inside(logits)
        values = np.sum(self.targets * (total[:, None] - inside), axis=1)
        return values, self._scales * (np.exp(inside - total[:, None]) - self.targets)

    def predictions(self, logits: Array) -> Array:
        """(K, K) the softmax."""
        inside, total = self._inside(logits)
        result: Array = np.exp(inside - total[:, None])
        return result

    def conjugate(self, predictions: Array) -> Array:
        """(K,) minus the entropy of P, less what the offsets contribute."""
        result: Array = -np.sum(entr(predictions) + (predictions - self.targets) * self._offsets, axis=1)
        return result

    def balanced(self, predictions: Array) -> Array:
        """Predictions whose class totals are those of the targets; see :func:`balanced`."""
        return balanced(self, predictions)

    def divergence(self, other: Array, predictions: Array) -> Array:
        """(K,) what the loss lies above its tangent of slope P' at the logits of P: KL(P' ‖ P), no term negative."""
        result: Array = kl_div(other, predictions).sum(axis=1)
        return result

    def root_curvature(self, predictions: Array, label: int) -> Array:
        """(K, K) B with BBᵀ the second derivative of one class's loss: diag(q)(I − qqᵀ), q = √p, times the scales."""
        root = np.sqrt(predictions[label])
        root /= np.linalg.norm(root)
        projected = np.eye(len(root)) - np.outer(root, root)
        result: Array = (self._scales[label] * root)[:, None] * projected
        return result


class Squared(ConvexLoss):
    """Half the squared distance from the one-hot label; P is the logits themselves."""

    def evaluate(self, logits: Array) -> tuple[Array, Array]:
        """(K,) values and (K, K) slopes."""
        slopes = logits - self.targets
        return 0.5 * np.sum(slopes**2, axis=1), slopes

    def predictions(self, logits: Array) -> Array:
        """(K, K) the logits."""
        return logits

    def conjugate(self, predictions: Array) -> Array:
        """(K,) ½‖g‖² + g_k at the slope g = P − T."""
        slopes = predictions - self.targets
        result: Array = 0.5 * np.sum(slopes**2, axis=1) + np.diagonal(slopes)
        return result

    def balanced(self, predictions: Array) -> Array:
        """Predictions whose class totals are those of the targets: all moved by the same vector."""
        excess = self.weights @ (predictions - self.targets)
        result: Array = predictions - excess / self.weights.sum()
        return result

    def divergence(self, other: Array, predictions: Array) -> Array:
        """(K,) what the loss lies above its tangent of slope P' at the logits P."""
        result: Array = 0.5 * np.sum((other - predictions) ** 2, axis=1)
        return result

    def root_curvature(self, predictions: Array, label: int) -> Array:
        """(K, K) the identity, whose square is the second derivative."""
        return np.eye(len(predictions))


class Focal(LogitLoss):
    r"""The focal loss (1 − s)^γ (−log s), s the probability of the own class.

    With u = (own logit) − log Σ exp(other logits), so that s = σ(u), it is a function f(u) alone, and u is concave in
    the logits. Its slope :math:`-a(u)=-q^\gamma(q-\gamma s\log s)`, q = 1 − s, is negative, so it is convex in the
    logits exactly where f is convex in u: see :func:`focal_convex_from`. Where a > 1, the line of slope −1 that touches
    f lies below it; with that line it is convex everywhere, and a bound on the one is a bound on the other:
    :func:`focal_tight_from`.
    """

    def __init__(self, problem: Problem, gamma: float) -> None:
        super().__init__(problem)
        self.gamma = gamma
        tight = focal_tight_from(gamma)
        self._lowest = float(np.log(tight) - np.log1p(-tight)) if tight > 0 else -FAR

    def _advantage(self, logits: Array) -> tuple[Array, Array]:
        """(K,) u, and (K, K) how the mass on other classes is shared among them."""
        others = np.where(self.targets > 0, -np.inf, logits)
        total = log_sum_exp(others)
        return np.diagonal(logits) - total, np.exp(others - total[:, None])

    def _value(self, advantage: Array) -> Array:
        result: Array = expit(-advantage) ** self.gamma * np.logaddexp(0.0, -advantage)
        return result

    def _steepness(self, advantage: Array) -> Array:
        own, other = expit(advantage), expit(-advantage)
        result: Array = other**self.gamma * (other + self.gamma * own * np.logaddexp(0.0, -advantage))
        return result

    def _rows(self, steepness: Array, shares: Array) -> Array:
        result: Array = steepness[:, None] * shares + np.diag(1 - steepness)
        return result

    def evaluate(self, logits: Array) -> tuple[Array, Array]:
        """(K,) values and (K, K) slopes of the focal loss itself."""
        advantage, shares = self._advantage(logits)
        return self._value(advantage), self._rows(self._steepness(advantage), shares) - self.targets

    def predictions(self, logits: Array) -> Array:
        """(K, K) rows with the slope of the convex function below as the mass on other classes."""
        advantage, shares = self._advantage(logits)
        steepness = self._steepness(np.maximum(advantage, self._lowest))
        return self._rows(np.minimum(steepness, 1.0), shares)

    def conjugate(self, predictions: Array) -> Array:
        """(K,) sup over u of −a u − f(u), a the mass on other classes, plus what their shares contribute."""
        steepness = np.sum(np.where(self.targets > 0, 0.0, predictions), axis=1)
        low, high = np.full_like(steepness, self._lowest), np.full_like(steepness, FAR)
        for _ in range(80):  # a falls from 1 to 0 from the touching point on
            middle = (low + high) / 2
            steeper = self._steepness(middle) > steepness
            low, high = np.where(steeper, middle, low), np.where(steeper, high, middle)
        shares = np.sum(np.where(self.targets > 0, 0.0, -entr(predictions)), axis=1) - xlogy(steepness, steepness)
        result: Array = -steepness * low - self._value(low) + shares
        return result


def focal_convex_from(gamma: float) -> float:
    r"""The own class's probability from which on the focal loss of γ ≥ 0 is convex in the logits.

    It is the root s of :math:`(1-s)(2\gamma+1+\gamma\log s)=\gamma^2s\log s`: the second derivative of f in u is
    :math:`s(1-s)^\gamma` times the difference of the two sides. Below it the Hessian has a negative eigenvalue. It is 0
    for γ = 0, where the loss is cross-entropy.

    Examples
    --------
    >>> round(focal_convex_from(2.0), 4)
    0.0578
    """

    def curvature(logarithm: float) -> float:
        rest = -np.expm1(logarithm)
        return float(rest * (2 * gamma + 1 + gamma * logarithm) - gamma**2 * np.exp(logarithm) * logarithm)

    return _root_in_logarithm(curvature, gamma)


def focal_tight_from(gamma: float) -> float:
    r"""The own class's probability from which on the focal loss equals the convex function that bounds it from below.

    It is the root s of :math:`(1-s)^\gamma(1-s-\gamma s\log s)=1`, where the slope in u is −1, its limit for u → −∞; 0
    for γ = 0. A stationary point that gives every class at least this probability of its own is a global optimum if its
    gap is zero, and below it the gap cannot be zero.

    Examples
    --------
    >>> round(focal_tight_from(2.0), 4)
    0.1633
    """

    def excess(logarithm: float) -> float:
        """(1 − a)/s, which keeps its sign where s is too small for 1 − s."""
        own = np.exp(logarithm)
        damping = gamma * np.log1p(-own)
        return float(-np.expm1(damping) / own + np.exp(damping) * (1 + gamma * logarithm))

    return _root_in_logarithm(excess, gamma)


def _root_in_logarithm(function: Callable[[float], float], gamma: float) -> float:
    """The s in (0, 1) at which an increasing function of log s changes sign; 0 where s is below all of float64."""
    if gamma == 0 or function(-FAR) >= 0:
        return 0.0
    return float(np.exp(brentq(function, -FAR, -1e-12, xtol=1e-14)))
