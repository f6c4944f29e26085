r"""The model with a classifier that is given and never moves: convex in features and bias, so solved to a certificate.

With W fixed, and so not decayed, what is left of the objective is

.. math:: F(H,b)=\sum_kc_k\ell_k(Wh_k+b)+\frac{\lambda_h}2\sum_kn_k\|h_k\|^2+\frac{\lambda_b}2\|b\|^2,

c_k the share of class k in the loss: strictly convex in H, so that one feature vector a class suffices, convex in b.
Newton's method minimises it. For fixed b the classes do not see each other; the biases couple them and are eliminated
first. Features that end in a ReLU, H ≥ 0, are the same with a projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, lstsq
from scipy.optimize import elementwise

from lopsided.core.arguments import ArgumentError, check_number
from lopsided.core.geometry import Geometry
from lopsided.core.losses import CrossEntropy, SquaredError
from lopsided.core.problem import Problem
from lopsided.core.solution import Solution
from lopsided.solver.algorithm import check_settings
from lopsided.solver.certificate import Certificate
from lopsided.solver.expansion import verdict
from lopsided.solver.logit_losses import ConvexLoss, convex_loss
from lopsided.solver.stationary import MOST_CLASSES, rank_and_merged

Array = NDArray[np.float64]

#: Mean logits closer than this, in nats or as a share of the largest, are equal up to rounding.
EQUAL = 1e-6
#: Share of the gap asked for below which no further step is taken: features are as exact as the root of the gap.
FURTHER = 1e-6
_EPS = float(np.finfo(float).eps)


def fixed_classifier_optimum(
    problem: Problem, classifier: ArrayLike, *, tol: float = 1e-9, max_iterations: int = 200
) -> Solution:
    r"""Solve the model for features and bias, the classifier being given.

    Parameters
    ----------
    problem : Problem
        Counts, loss (any convex one), λ_h, λ_b and whether there is a bias; λ_w plays no part. ``features="relu"`` has
        H ≥ 0, which the directions of the classifier in feature space then matter to.
    classifier : (K, d) array_like
        W, one row a class; d may be below K.
    tol, max_iterations
        As for :func:`lopsided.solve`, iterations being Newton steps.

    Returns
    -------
    Solution
        The certified optimum of features and bias, with the classifier that was given, which has no penalty.

    Raises
    ------
    ValueError
        If the classifier is not finite or not of K rows, the loss is not convex, a setting breaks its rule, or more
        than 300 classes leave no closed form.

    Notes
    -----
    The gap is Fenchel's, at the loss's own slopes g_k, which for a free bias are first made to sum to zero:

    .. math:: \sum_kc_kD_k+\sum_k\frac{\|\lambda_hn_kh_k+W^\top g_k\|^2}{2\lambda_hn_k}
              +\frac{\|\lambda_bb+\sum_kg_k\|^2}{2\lambda_b},

    with D_k what that costs (a Kullback–Leibler divergence for cross-entropy; zero unless the bias is free). No term is
    negative and nothing is lost to cancellation.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.solver import simplex_directions
    >>> model = lp.UFM("500x5,100x5", lambda_w=0.1, lambda_h=1e-3, bias=False)
    >>> model.solve().geometry.merged                     # a trained classifier loses all its classes here
    [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
    >>> optimum = fixed_classifier_optimum(model, simplex_directions(10, 9))
    >>> optimum.status, optimum.geometry.merged, optimum.geometry.rank
    ('optimal', [], 9)
    """
    check_settings(tol, max_iterations)
    weight = np.asarray(classifier, dtype=np.float64)
    if weight.ndim != 2 or len(weight) != problem.num_classes:
        raise ArgumentError(
            "classifier", f"must have shape (K, d) with K = {problem.num_classes}, one row a class", weight.shape
        )
    if not np.isfinite(weight).all():
        raise ArgumentError("classifier", "must be finite", weight[~np.isfinite(weight)][0].item())
    system = _System(problem, weight)
    best, steps = _descend(_Point(system, system.guess(), np.zeros(problem.num_classes)), tol, max_iterations)
    rank, merged = rank_and_merged(best.means @ weight.T, EQUAL)
    geometry = Geometry(
        problem.counts, best.means, weight, best.bias if problem.bias else None, rank=rank, merged=merged
    )
    certificate = Certificate(best.objective, best.gap, 1.0)
    status, message = verdict(certificate, tol, steps >= max_iterations, steps)
    return Solution.of_geometry(
        problem,
        geometry,
        objective=best.objective,
        gap=best.gap,
        status=status,
        message=message,
        iterations=steps,
    )


def simplex_gaps(problem: Problem, scale: float = 1.0) -> Array:
    r"""What each class's own logit has over the others when the classifier is a fixed simplex, without a bias.

    For rows of length s with equal angles the gap g of class k is the root of

    .. math:: g\,(e^g+K-1)=\frac{w_k}{\mathcal N\lambda_h}\frac{s^2K^2}{K-1},

    :math:`\mathcal N` the normaliser of the loss, N for plain cross-entropy: the count of the class does not enter, and
    the gap is above zero at every decay. The own logit is g(K − 1)/K.

    Parameters
    ----------
    problem : Problem
        Cross-entropy without other settings than weights, no bias, features of any sign.
    scale : float, default 1
        s.

    Returns
    -------
    (K,) array
        In nats.

    Examples
    --------
    >>> import lopsided as lp
    >>> simplex_gaps(lp.UFM("500x5,100x5", lambda_w=0.1, lambda_h=1e-3, bias=False)).round(3)[[0, 9]]
    array([0.355, 0.355])
    """
    loss = problem.loss
    plain = isinstance(loss, CrossEntropy) and loss == CrossEntropy(loss.weights, loss.reduction)
    if not plain or problem.bias or problem.features != "any":
        raise ArgumentError(
            "problem",
            "must be cross-entropy, weighted at most, without a bias and with features of any sign for the closed form",
            got=str(problem),
            remedy="fixed_classifier_optimum() takes it",
        )
    check_number("scale", scale, above=0)
    terms = problem.terms
    return _gaps(terms.weights / (terms.normaliser * problem.lambda_h), np.full(problem.num_classes, scale**2))


def _gaps(pull: Array, squares: Array) -> Array:
    """Roots of g (e^g + K − 1) = pull · s² K²/(K − 1)."""
    classes = len(pull)
    targets = pull * squares * classes**2 / max(classes - 1, 1)
    # g ≤ target / K since e^g ≥ 1, and g ≤ max(1, log target) since g e^g ≤ target
    high = np.minimum(targets / classes, np.maximum(1.0, np.log(np.maximum(targets, 1.0)))) * (1 + 4 * _EPS)

    def excess(gap: Array, target: Array) -> Array:
        difference: Array = gap * (np.exp(gap) + classes - 1) - target
        return difference

    roots: Array = elementwise.find_root(excess, (np.zeros(classes), high), args=(targets,)).x
    return roots


@dataclass(frozen=True, eq=False)
class _Block:
    """One class's part of Newton's system: B, G = BᵀW on the free coordinates, and I + GGᵀ/(λ_h n), factored."""

    root: Array
    moved: Array
    factor: tuple[Array, bool]
    decay: float

    def response(self, slope: Array) -> Array:
        """(λ_h n I + GᵀG)⁻¹ times a (d,) vector, by Woodbury's identity: K × K systems, however wide the features."""
        inner = cho_solve(self.factor, self.moved @ slope) / self.decay
        result: Array = (slope - self.moved.T @ inner) / self.decay
        return result


class _System:
    """The problem with its classifier."""

    def __init__(self, problem: Problem, weight: Array) -> None:
        self.problem, self.weight = problem, weight
        self.loss: ConvexLoss = convex_loss(problem, "a fixed classifier")
        self.relu = problem.features == "relu"
        self.decays = problem.lambda_h * problem.counts.astype(np.float64)
        self.free_bias = problem.bias and problem.lambda_b == 0

    def guess(self) -> Array:
        """(K, d) means: the optimum if the classifier is a simplex and there is no bias, and no bad start otherwise."""
        if isinstance(self.problem.loss, SquaredError):
            return np.zeros_like(self.weight)
        centred = self.weight - self.weight.mean(axis=0)
        squares = np.sum(centred**2, axis=1)
        classes = len(centred)
        gaps = _gaps(self.loss.weights / self.decays, squares)
        lengths = np.divide(gaps * (classes - 1), squares * classes, out=np.zeros_like(gaps), where=squares > 0)
        means: Array = lengths[:, None] * centred
        return np.maximum(means, 0.0) if self.relu else means

    def block(self, point: _Point, label: int) -> _Block:
        """Newton's system of one class."""
        root = np.sqrt(self.loss.weights[label]) * self.loss.root_curvature(point.predictions, label)
        moved = (root.T @ self.weight) * point.free[label]
        decay = float(self.decays[label])
        return _Block(root, moved, cho_factor(np.eye(len(root)) + moved @ moved.T / decay), decay)

    def direction(self, point: _Point) -> tuple[Array, Array]:
        """Newton's step in means and bias."""
        classes = len(self.weight)
        if classes > MOST_CLASSES:
            raise ArgumentError(
                "counts",
                f"must be of at most {MOST_CLASSES} classes where a fixed classifier leaves no closed form,"
                " as a simplex without a bias does",
                classes,
            )
        step = np.zeros(classes)
        if self.problem.bias:
            schur, right = self.problem.lambda_b * np.eye(classes), -point.bias_slope
            for label in range(classes):
                block = self.block(point, label)
                schur += block.root @ cho_solve(block.factor, block.root.T)
                inner = block.moved @ (point.slope[label] * point.free[label])
                right = right + block.root @ cho_solve(block.factor, inner) / block.decay
            step = lstsq(schur, right)[0]  # a free bias has one direction that the loss does not see
        means = np.zeros_like(self.weight)
        for label in range(classes):
            block = self.block(point, label)
            slope = point.slope[label] * point.free[label] + block.moved.T @ (block.root.T @ step)
            means[label] = -block.response(slope)
        return means, step


@dataclass(frozen=True, eq=False)
class _Point:
    """Means (K, d) and bias (K,), with what follows from them, once."""

    system: _System
    means: Array
    bias: Array

    @cached_property
    def logits(self) -> Array:
        result: Array = self.means @ self.system.weight.T + self.bias
        return result

    @cached_property
    def predictions(self) -> Array:
        return self.system.loss.predictions(self.logits)

    @cached_property
    def _loss(self) -> tuple[Array, Array]:
        return self.system.loss.evaluate(self.logits)

    @cached_property
    def objective(self) -> float:
        system = self.system
        penalty = float(system.decays @ np.sum(self.means**2, axis=1)) + system.problem.lambda_b * float(
            self.bias @ self.bias
        )
        return float(system.loss.weights @ self._loss[0]) + 0.5 * penalty

    @cached_property
    def slope(self) -> Array:
        """(K, d) derivative in the means."""
        system = self.system
        result: Array = (system.loss.weights[:, None] * self._loss[1]) @ system.weight
        return result + system.decays[:, None] * self.means

    @cached_property
    def bias_slope(self) -> Array:
        """(K,) derivative in the bias."""
        result: Array = self.system.loss.weights @ self._loss[1] + self.system.problem.lambda_b * self.bias
        return result

    @cached_property
    def free(self) -> NDArray[np.bool_]:
        """(K, d) coordinates of the means that no ReLU holds at zero."""
        if not self.system.relu:
            return np.ones(self.means.shape, dtype=bool)
        return ~((self.means <= 0) & (self.slope > 0))

    @cached_property
    def gap(self) -> float:
        """Fenchel's gap at slopes made feasible."""
        system, loss = self.system, self.system.loss
        total, slope = 0.0, self.slope
        if system.free_bias:
            even = loss.balanced(self.predictions)
            total += max(0.0, float(loss.weights @ loss.divergence(even, self.predictions)))
            scales = loss.weights[:, None] * np.outer(loss.row_scales, loss.column_scales)
            slope = (scales * (even - loss.targets)) @ system.weight + system.decays[:, None] * self.means
        elif system.problem.bias:
            total += float(self.bias_slope @ self.bias_slope) / (2 * system.problem.lambda_b)
        if system.relu:
            pull = system.decays[:, None] * self.means - slope  # −Wᵀg, of which a ReLU lets through what is positive
            total += float(np.sum(self.means * np.maximum(-pull, 0.0)))
            slope = system.decays[:, None] * self.means - np.maximum(pull, 0.0)
        total += float(np.sum(np.sum(slope**2, axis=1) / (2 * system.decays)))
        return max(
            total, _EPS * (self.objective + float(np.abs(self.logits).max()))
        )  # rounding leaves as much in doubt

    def moved(self, direction: tuple[Array, Array], length: float) -> _Point:
        """The point a step away, back in the orthant for a ReLU."""
        means = self.means + length * direction[0]
        return _Point(
            self.system, np.maximum(means, 0.0) if self.system.relu else means, self.bias + length * direction[1]
        )


def _descend(point: _Point, tol: float, max_iterations: int) -> tuple[_Point, int]:
    """Newton's method: each step halved until the objective falls; the point of the smallest gap is kept."""
    best = point
    enough = tol if len(point.means) > MOST_CLASSES else FURTHER * tol  # so many classes have no step to be better by
    for steps in range(max_iterations):
        if point.gap <= enough * max(1.0, abs(point.objective)):
            return best, steps
        direction = point.system.direction(point)
        doubt = 8 * _EPS * max(1.0, abs(point.objective))
        length = 1.0
        following = point.moved(direction, length)
        while not following.objective <= point.objective + doubt and length > 1e-12:
            length /= 2
            following = point.moved(direction, length)
        stalled = following.objective >= point.objective - doubt and following.gap >= 0.5 * point.gap
        point = following
        if point.gap < best.gap:
            best = point
        if stalled:
            return best, steps + 1
    return best, max_iterations
