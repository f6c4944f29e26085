"""Problems whose answer is not the convex one: the best of several local minimisations, with a bound on what it misses.

One minimiser over the factors (W, H, b) serves features that end in a ReLU, H ≥ 0, and losses that are not convex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, minres
from scipy.spatial.distance import cdist

from lopsided.core.arguments import ArgumentError, check_whole
from lopsided.core.geometry import Geometry
from lopsided.core.losses import CrossEntropy, FocalLoss
from lopsided.core.problem import Problem
from lopsided.core.solution import NEARLY_ZERO, Solution
from lopsided.solver.algorithm import solve
from lopsided.solver.logit_losses import LogitLoss, balanced, logit_loss
from lopsided.solver.orthant import orthant_norm_bound

Array = NDArray[np.float64]

#: Singular values, and differences of mean logits, below this many nats or this share of the largest are what is left
#: of zero.
TOLERANCE = NEARLY_ZERO
#: Most classes of a problem that is solved in its factors, K × K and more.
MOST_CLASSES = 300
#: Objectives that differ by less, relatively, are the same; among them the smallest gap decides.
SAME = 1e-11
#: A gap, as a share of max(1, objective), at which a point is the optimum and no further start is needed.
CERTAIN = 1e-12


def stationary_point(
    problem: Problem, *, tol: float = 1e-9, starts: int = 6, dimension: int | None = None, seed: int = 0
) -> Solution:
    r"""Minimise the unconstrained feature model over (W, H, b), with H ≥ 0 for ReLU features.

    Guaranteed are a stationary point up to ``residual``, that it is the best of the starts, and the ``gap``. One
    feature vector a class suffices: for given W and b all samples of a class face the same minimisation, so that they
    may take the same minimiser.

    Parameters
    ----------
    problem : Problem
        With a loss of the cross-entropy family or a focal loss; meant for at most some 50 classes.
    tol : float, default 1e-9
        The status is ``"optimal"`` only if gap ≤ tol · max(1, |objective|), else ``"stationary"``.
    starts : int, default 6
        Local minimisations at most, beside complete collapse: the first from orthogonal means for ReLU features and
        from the optimum of cross-entropy otherwise, the others from random ones.
    dimension : int, optional
        Feature dimension d; by default K, and 2K for ReLU features.
    seed : int, default 0
        Of the random starts.

    Returns
    -------
    Solution
        With the ``objectives`` of complete collapse and of each start, until one had no gap left.

    Raises
    ------
    ValueError
        If ``starts`` or ``dimension`` is below 1, or there are more than 300 classes.

    Notes
    -----
    L-BFGS-B on the scaled means √n_k h̄_k, then Newton steps on the coordinates that are not held at zero. The dual
    point of the gap is the loss's probabilities at the mean predictions, balanced between classes where the bias is
    free, and mixed with the targets until the gradient fits the dual ball: the spectral norm at most λ_z, or for H ≥ 0
    :func:`orthant_norm_bound`. For a focal loss the dual is that of the convex function below it.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.solver import stationary_point
    >>> found = stationary_point(lp.UFM("500x2,100x2", lambda_z=0.01, lambda_b=0.02, features="relu"), starts=2)
    >>> found.gap < 1e-9, bool((found.geometry.class_means >= 0).all())
    (True, True)
    """
    relu = problem.features == "relu"
    width = (1 + relu) * problem.num_classes if dimension is None else dimension
    check_whole("starts", starts)
    check_whole("dimension", width)
    objective = _Objective(problem, width)
    generator = np.random.default_rng(seed)
    candidates = [objective.minimise(np.zeros(objective.size))]
    for start in range(starts):
        if min(one.gap for one in candidates) <= CERTAIN * max(1.0, min(one.value for one in candidates)):
            break
        weight, means = generator.normal(size=(2, problem.num_classes, width))
        if start == 0 and relu:
            weight, means = (0.1 * array + 2 * np.eye(problem.num_classes, width) for array in (weight, means))
        elif start == 0:
            weight, means = np.stack(_convex(problem, width)) + 0.01 * np.stack([weight, means])
        candidates.append(objective.minimise(objective.pack(weight, np.abs(means) if relu else means)))
    values = np.array([one.value for one in candidates])
    best = min((one for one in candidates if one.value <= values.min() * (1 + SAME)), key=lambda one: one.gap)
    return local_solution(
        problem,
        objective.geometry(best.packed),
        objective=best.value,
        gap=best.gap,
        tol=tol,
        iterations=best.iterations,
        residual=objective.residual(best.packed),
        objectives=values,
    )


def local_solution(
    problem: Problem,
    geometry: Geometry,
    *,
    objective: float,
    gap: float,
    tol: float,
    iterations: int = 0,
    residual: float = 0.0,
    objectives: Array | None = None,
) -> Solution:
    """A point that no certified method found: the optimum where its gap proves it, else a stationary point."""
    allowed = tol * max(1.0, abs(objective))
    reached = np.array([objective]) if objectives is None else objectives
    if gap <= allowed:
        how = f"after {iterations} iterations" if iterations else "in closed form"
        status, message = "optimal", f"Certified: at most {gap:.1e} above the optimum, {how}."
    else:
        status = "stationary"
        message = (
            f"A stationary point, the best of {len(reached)} found, not certified as the optimum: at most"
            f" {gap:.1e} above it, by a bound which may be loose, and {allowed:.1e} was asked for."
        )
    return Solution.of_geometry(
        problem,
        geometry,
        objective=objective,
        gap=gap,
        status=status,
        message=message,
        iterations=iterations,
        residual=residual,
        objectives=reached,
    )


def complete_norm(problem: Problem) -> float:
    """The dual norm of the loss's gradient at Z = 0 and its best bias: from this λ_z on Z = 0 is a local minimum."""
    objective = _Objective(problem, 1)
    collapsed = objective.minimise(np.zeros(objective.size)).packed
    slopes = objective.loss.evaluate(objective.logits(collapsed))[1]
    return objective.norm(slopes)


def factors_gap(problem: Problem, geometry: Geometry) -> tuple[float, float]:
    """Objective and gap of given class means, classifier and bias."""
    objective = _Objective(problem, geometry.classifier.shape[1])
    share = (problem.lambda_w / problem.lambda_h) ** 0.25
    packed = objective.pack(geometry.classifier * share, geometry.class_means * objective.root_counts / share)
    packed[2 * objective.factor :] = geometry.bias[: objective.size - 2 * objective.factor]
    return objective.value(packed), objective.gap(packed)


def _convex(problem: Problem, width: int) -> tuple[Array, Array]:
    """The balanced factors of the optimum of cross-entropy with the same weights, W and √n_k h̄_k."""
    loss = problem.loss
    plain = CrossEntropy(loss.weights, loss.reduction) if isinstance(loss, FocalLoss) else loss
    convex = problem.replaced(loss=plain, features="any")
    geometry = solve(convex, tol=1e-4).geometry
    share = (problem.lambda_w / problem.lambda_h) ** 0.25
    columns = min(width, geometry.classifier.shape[1])
    weight, means = np.zeros((2, problem.num_classes, width))
    weight[:, :columns] = geometry.classifier[:, :columns] * share
    means[:, :columns] = geometry.class_means[:, :columns] * np.sqrt(problem.counts)[:, None] / share
    return weight, means


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Where a minimisation ended, with its objective and gap, and the steps it took."""

    packed: Array
    iterations: int
    value: float
    gap: float


class _Objective:
    """The objective over λ_z as a function of (W, X, b) packed in one vector; row k of X is √n_k h̄_k, balanced."""

    def __init__(self, problem: Problem, width: int) -> None:
        if problem.num_classes > MOST_CLASSES:
            raise ArgumentError(
                "counts",
                f"must be of at most {MOST_CLASSES} classes where features end in a ReLU or the loss is not convex:"
                " these are solved in their factors",
                problem.num_classes,
                remedy="group rare classes together",
            )
        self.problem, self.width, self.classes = problem, width, problem.num_classes
        self.loss: LogitLoss = logit_loss(problem)
        self.relu = problem.features == "relu"
        self.root_counts = np.sqrt(problem.counts.astype(np.float64))[:, None]
        self.factor = self.classes * width
        self.size = 2 * self.factor + (self.classes if problem.bias else 0)

    def pack(self, weight: Array, means: Array) -> Array:
        """A vector with these factors and no bias."""
        packed = np.zeros(self.size)
        packed[: 2 * self.factor] = np.concatenate([weight.ravel(), means.ravel()])
        return packed

    def _unpack(self, packed: Array) -> tuple[Array, Array, Array]:
        weight, means = packed[: 2 * self.factor].reshape(2, self.classes, self.width)
        return weight, means, packed[2 * self.factor :] if self.problem.bias else np.zeros(self.classes)

    def logits(self, packed: Array) -> Array:
        """(K, K) mean predictions, the bias included."""
        weight, means, bias = self._unpack(packed)
        result: Array = means @ weight.T / self.root_counts + bias
        return result

    def __call__(self, packed: Array) -> tuple[float, Array]:
        weight, means, bias = self._unpack(packed)
        decay, share = self.problem.lambda_z, self.problem.lambda_b / self.problem.lambda_z
        values, slopes = self.loss.evaluate(self.logits(packed))
        value = float(self.loss.weights @ values) / decay
        value += 0.5 * float(np.sum(weight**2) + np.sum(means**2)) + 0.5 * share * float(bias @ bias)
        slopes = self.loss.weights[:, None] * slopes / decay
        scaled = slopes / self.root_counts
        parts = [scaled.T @ means + weight, scaled @ weight + means]
        if self.problem.bias:
            parts.append(slopes.sum(axis=0) + share * bias)
        return value, np.concatenate([part.ravel() for part in parts])

    def value(self, packed: Array) -> float:
        """The objective in nats."""
        return self(packed)[0] * self.problem.lambda_z

    def minimise(self, start: Array) -> _Candidate:
        """A stationary point near ``start``."""
        lowest = np.full(self.size, -np.inf)
        if self.relu:
            lowest[self.factor : 2 * self.factor] = 0.0
        result = minimize(
            self,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(lowest, np.inf),
            options={"maxiter": 5000, "maxfun": 10000, "maxcor": 30, "ftol": 1e-15, "gtol": 1e-9},
        )
        packed, steps = self._polish(result.x)
        return _Candidate(packed, int(result.nit) + steps, self.value(packed), self.gap(packed))

    def _polish(self, packed: Array) -> tuple[Array, int]:
        """Newton steps: L-BFGS leaves a gradient of 1e-7 or so, to which the gap is proportional."""
        for step in range(5):
            free = ~self._held(packed)
            gradient = np.where(free, self(packed)[1], 0.0)
            length = float(np.linalg.norm(gradient))
            if length < 1e-11:
                return packed, step

            def curvature(direction: Array, here: Array = packed, free: NDArray[np.bool_] = free) -> Array:
                direction = np.where(free, direction.ravel(), 0.0)
                size = 1e-5 / max(float(np.linalg.norm(direction)), 1e-300)
                ahead, behind = self(here + size * direction)[1], self(here - size * direction)[1]
                return np.where(free, (ahead - behind) / (2 * size), direction)

            operator = LinearOperator((self.size, self.size), matvec=curvature, dtype=np.float64)
            direction = np.where(free, minres(operator, -gradient, rtol=1e-4, maxiter=200)[0], 0.0)
            moved = packed + direction
            if self.relu:
                means = slice(self.factor, 2 * self.factor)
                moved[means] = np.maximum(moved[means], 0.0)
            after = np.where(self._held(moved), 0.0, self(moved)[1])
            if not np.linalg.norm(after) < 0.5 * length:
                return packed, step
            packed = moved
        return packed, 5

    def _held(self, packed: Array) -> NDArray[np.bool_]:
        """The coordinates of H that a ReLU holds at zero: the gradient pushes them further down."""
        held = np.zeros(self.size, dtype=bool)
        if self.relu:
            means = slice(self.factor, 2 * self.factor)
            held[means] = (packed[means] <= 0) & (self(packed)[1][means] >= 0)
        return held

    def residual(self, packed: Array) -> float:
        """Largest violation of stationarity."""
        return float(np.max(np.abs(np.where(self._held(packed), 0.0, self(packed)[1]))))

    def norm(self, slopes: Array) -> float:
        """The dual norm of the loss's gradient, in the units of λ_z."""
        gradient = self.loss.weights[:, None] * slopes / self.root_counts
        return orthant_norm_bound(gradient.T) if self.relu else float(np.linalg.norm(gradient, ord=2))

    def gap(self, packed: Array) -> float:
        """The objective minus the value of a dual point."""
        loss, decay = self.loss, self.problem.lambda_z
        predictions = loss.predictions(self.logits(packed))
        free = self.problem.bias and self.problem.lambda_b == 0
        if free:
            predictions = balanced(loss, predictions)
        scales = np.outer(loss.row_scales, loss.column_scales)
        norm = self.norm(scales * (predictions - loss.targets))
        mixed = loss.targets + min(1.0, decay / max(norm, 1e-300)) * (predictions - loss.targets)
        dual = -float(loss.weights @ loss.conjugate(mixed))
        if self.problem.bias and not free:
            imbalance = loss.weights @ (scales * (mixed - loss.targets))
            dual -= float(imbalance @ imbalance) / (2 * self.problem.lambda_b)
        objective = self.value(packed)
        return max(objective - dual, 4 * float(np.finfo(float).eps) * objective)  # rounding leaves as much in doubt

    def geometry(self, packed: Array) -> Geometry:
        """The last layer, its rank and its merged classes up to :data:`TOLERANCE`."""
        weight, means, bias = self._unpack(packed)
        share = (self.problem.lambda_w / self.problem.lambda_h) ** 0.25
        logits = means @ weight.T / self.root_counts
        rank, merged = rank_and_merged(logits, TOLERANCE)
        return Geometry(
            self.problem.counts,
            means * share / self.root_counts,
            weight / share,
            bias if self.problem.bias else None,
            rank=rank,
            merged=merged,
        )


def rank_and_merged(logits: Array, tolerance: float) -> tuple[int, list[list[int]]]:
    """Rank of mean logits and groups of equal ones, up to so many nats or that share of the largest singular value."""
    values = np.linalg.svd(logits, compute_uv=False)
    limit = tolerance * max(1.0, float(values[0]))
    labels = connected_components(cdist(logits, logits) <= limit, directed=False)[1]
    groups = [np.flatnonzero(labels == label).tolist() for label in range(labels.max() + 1)]
    return int(np.sum(values > limit)), sorted(group for group in groups if len(group) > 1)
