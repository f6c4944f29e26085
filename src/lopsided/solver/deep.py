"""Several linear layers after the features: stationary points, the best of several starts, or where a ramp leads."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from lopsided.core.arguments import check_whole
from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem
from lopsided.core.solution import Solution
from lopsided.solver.algorithm import solve

Array = NDArray[np.float64]

#: Singular values of D^{1/2} Z below this share of the largest, or of 1 where that is more, count as zero.
RANK_TOLERANCE = 1e-4
#: Where a branch begins, as a share of the decays, and the number of steps in which they are raised from there.
BRANCH_START, BRANCH_STEPS = 1e-3, 24


def deep_stationary_point(problem: Problem, num_layers: int, *, starts: int = 8, seed: int = 0) -> Solution:
    r"""Minimise the model with L linear layers on free features, locally.

    .. math:: \frac1N\sum_kn_k\,\mathrm{CE}(W_L\cdots W_1h_k+b,k)+\frac{\lambda_w}2\sum_l\|W_l\|^2
              +\frac{\lambda_h}2\sum_kn_k\|h_k\|^2+\frac{\lambda_b}2\|b\|^2

    equals, minimised over factors with a given product, the loss plus
    :math:`\frac{L+1}2(\lambda_w^L\lambda_h)^{1/(L+1)}\|D^{1/2}Z\|_p^p` with the Schatten quasi-norm of
    :math:`p=2/(L+1)`. For L = 1 that is the convex problem; for L ≥ 2 it is not convex, favours low rank, and Z = 0 is
    always a strict local minimum.

    Parameters
    ----------
    problem : Problem
        With plain cross-entropy; ``lambda_w`` is the decay of every layer. Meant for at most some 20 classes.
    num_layers : int
        L ≥ 1, all of width K.
    starts : int, default 8
        Random starts, beside the certified optimum of one layer split evenly, and zero.
    seed : int, default 0
        Of the random starts.

    Returns
    -------
    Solution
        Of status ``"stationary"``, with a ``gap`` of NaN: no bound on the distance to the optimum is known. The
        geometry is of the last layer, its classifier and the features that enter it; ``objectives`` (starts + 2,) are
        what was reached from the optimum for one layer, from zero, and from each random start.

    Raises
    ------
    ValueError
        If the loss is not plain cross-entropy, features end in a ReLU, ``num_layers`` is below 1 or ``starts`` below 0.

    Notes
    -----
    The exponent follows from the inequality of means on the singular values of a product (Shang, Liu & Cheng, 2016);
    for imbalanced counts under squared error see Dang et al. (ICML 2023). One feature vector a class suffices: for
    fixed weights the objective is strictly convex in each. Minimised by L-BFGS in factors scaled to equal decays.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.solver import deep_stationary_point
    >>> model = lp.UFM("500x2,100x2", lambda_z=0.005, bias=False)
    >>> found = deep_stationary_point(model, num_layers=1, starts=2)
    >>> abs(found.objective - model.solve().objective) < 1e-9
    True
    """
    _check(problem, "deep_stationary_point()", num_layers, starts)
    objective = _Objective(problem, num_layers)
    best, values = objective.best(starts, seed)
    return objective.describe(best, values)


def deep_branch(problem: Problem, num_layers: int, *, starts: int = 16, seed: int = 0) -> Solution:
    """Follow a stationary point of L linear layers as the decays are raised, like those of a network in training.

    The best stationary point found at a thousandth of λ_w and λ_h, and from there, in small factors, the local minimum
    that descent reaches from the last one, up to the decays themselves (λ_b stays). A local minimum is not left before
    it ceases to be one: the branch may keep a rank above that of the best stationary point, and goes on for a while
    past the decay from which Z = 0 is better. Which way it takes where it splits depends on rounding.

    Parameters
    ----------
    problem, num_layers, starts, seed
        As for :func:`deep_stationary_point`.

    Returns
    -------
    Solution
        As :func:`deep_stationary_point`, with the ``objectives`` at the decays where the branch begins.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.solver import deep_branch, deep_stationary_point
    >>> model = lp.UFM("150x2,30x2", lambda_w=0.2, lambda_h=0.002, lambda_b=0.02)
    >>> deep_branch(model, 3).geometry.rank, deep_stationary_point(model, 3).geometry.rank
    (1, 0)
    """
    _check(problem, "deep_branch()", num_layers, starts)
    point, values = _Objective(problem, num_layers, BRANCH_START).best(starts, seed)
    for factor in np.geomspace(BRANCH_START, 1.0, BRANCH_STEPS + 1)[1:]:
        objective = _Objective(problem, num_layers, float(factor))
        point = objective.minimise(point)
    return objective.describe(point, values)


def _check(problem: Problem, purpose: str, num_layers: int, starts: int) -> None:
    problem.require_convex(purpose)
    problem.require_plain_loss()
    check_whole("num_layers", num_layers)
    check_whole("starts", starts, least=0)


class _Objective:
    """The objective over μ, the common decay of the L + 1 factors X, V_1, …, V_L of D^{1/2} Z = X V_1ᵀ ⋯ V_Lᵀ.

    Points are packed: the factors, then the biases if there are any. ``share`` is taken of λ_w and λ_h.
    """

    def __init__(self, problem: Problem, num_layers: int, share: float = 1.0) -> None:
        self.problem = problem if share == 1 else problem.replaced(lambda_z=share * problem.lambda_z)
        self.depth, self.classes = num_layers + 1, problem.num_classes
        self.decay = share * problem.lambda_w ** (num_layers / self.depth) * problem.lambda_h ** (1 / self.depth)
        self.root_counts = np.sqrt(problem.counts.astype(np.float64))[:, None]
        self.frequencies = problem.counts / problem.num_samples

    def shallow(self) -> Array:
        """The optimum of one layer as equal powers of its singular values."""
        left, values, right = np.linalg.svd(self.root_counts * solve(self.problem).geometry.mean_logits)
        root = np.diag(values ** (1 / self.depth))
        middle = [root] * (self.depth - 2)
        return np.stack([left @ root, *middle, root @ right])

    def best(self, starts: int, seed: int) -> tuple[Array, Array]:
        """The best point reached, and what was reached from each start."""
        generator = np.random.default_rng(seed)
        shape = (self.depth, self.classes, self.classes)
        guesses = [self.shallow(), np.zeros(shape), *(generator.normal(size=shape) for _ in range(starts))]
        biases = np.zeros(self.classes if self.problem.bias else 0)
        found = [self.minimise(np.concatenate([guess.ravel(), biases])) for guess in guesses]
        values = np.array([self(packed)[0] * self.decay for packed in found])
        return found[int(np.argmin(values))], values

    def describe(self, packed: Array, objectives: Array) -> Solution:
        """A point as what is returned."""
        value, slope = self(packed)
        residual = float(np.abs(slope).max())
        return Solution.of_geometry(
            self.problem,
            self.geometry(packed),
            objective=value * self.decay,
            gap=math.nan,
            status="stationary",
            message=(
                f"a stationary point of the model with {self.depth - 1} linear layers, gradient {residual:.1e}; it is"
                " not known to be the optimum, and classes of equal count may change places"
            ),
            iterations=0,
            residual=residual,
            objectives=objectives,
        )

    def _unpack(self, packed: Array) -> tuple[Array, Array]:
        size = self.depth * self.classes**2
        bias = packed[size:] if self.problem.bias else np.zeros(self.classes)
        return packed[:size].reshape(self.depth, self.classes, self.classes), bias

    def __call__(self, packed: Array) -> tuple[float, Array]:
        factors, bias = self._unpack(packed)
        before = [np.eye(self.classes)]
        for factor in factors:
            before.append(before[-1] @ factor)
        outputs = before[-1] / self.root_counts + bias
        logarithm = outputs - logsumexp(outputs, axis=1, keepdims=True)
        share = self.problem.lambda_b / self.decay
        value = -float(self.frequencies @ np.diagonal(logarithm)) / self.decay
        value += 0.5 * float(np.sum(factors**2)) + 0.5 * share * float(bias @ bias)
        residual = self.frequencies[:, None] * (np.exp(logarithm) - np.eye(self.classes)) / self.decay
        slopes = np.empty_like(factors)
        after = np.eye(self.classes)
        for index in reversed(range(self.depth)):
            slopes[index] = before[index].T @ (residual / self.root_counts) @ after.T + factors[index]
            after = factors[index] @ after
        parts = [slopes.ravel()]
        if self.problem.bias:
            parts.append(residual.sum(axis=0) + share * bias)
        return value, np.concatenate(parts)

    def minimise(self, start: Array) -> Array:
        result = minimize(
            self,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 10000, "maxcor": 30, "ftol": 1e-16, "gtol": 1e-9},
        )
        found: Array = result.x
        return found

    def geometry(self, packed: Array) -> Geometry:
        factors, bias = self._unpack(packed)
        product: Array = reduce(np.matmul, factors[:-1])
        values = np.linalg.svd(product @ factors[-1], compute_uv=False)
        # W = √(μ/λ_w) V, and the same share is missing from what enters the last layer
        share = np.sqrt(self.decay / self.problem.lambda_w)
        return Geometry(
            self.problem.counts,
            product / share / self.root_counts,
            factors[-1].T * share,
            bias - bias.mean() if self.problem.bias else None,
            rank=int(np.sum(values > RANK_TOLERANCE * max(1.0, values[0]))),
        )
