"""ReLU features with a penalised bias: the best of several local minimisations, with a bound on what it may miss."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import entr, logsumexp

from lopsided.geometry import Geometry
from lopsided.problem import UFM
from lopsided.theory.assembly import require_cross_entropy
from lopsided.theory.relu import orthant_norm

Array = NDArray[np.float64]

#: Singular values of the mean logits below this many nats, or this share of the largest, are what is left of zero.
RANK_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class ReluStationaryPoint:
    """The best of several local minimisations over H ≥ 0, and what is known about it.

    Attributes
    ----------
    geometry : Geometry
        Class means (K, d), all ≥ 0, classifier and bias.
    objective : float
        Its regularised loss, in nats: an upper bound on the optimum.
    gap : float
        Upper bound on ``objective`` minus the optimum over every feature dimension. It holds whatever the minimiser
        did; it is small where the point is a global optimum *and* the bound of :func:`orthant_norm` is tight, so that
        a large one proves nothing.
    kkt_residual : float
        Largest violation of stationarity, as a share of λ_z: |gradient|, or for a coordinate of H at zero the negative
        part of its gradient.
    objectives : (starts,) array
        What each start reached, in their order.
    """

    geometry: Geometry
    objective: float
    gap: float
    kkt_residual: float
    objectives: Array = field(repr=False)


def relu_stationary_point(
    problem: UFM, *, starts: int = 6, dimension: int | None = None, seed: int = 0
) -> ReluStationaryPoint:
    r"""Minimise the unconstrained feature model with H ≥ 0 over (W, H, b) in its factors.

    Guaranteed are a stationary point up to ``kkt_residual``, that it is the best of the starts, and the ``gap``. One
    feature vector a class suffices: for fixed W and b the objective is strictly convex in each sample's features on a
    convex set, so at a minimum all samples of a class share them.

    Parameters
    ----------
    problem : UFM
        With plain cross-entropy and no or a penalised bias; meant for at most some 30 classes.
    starts : int, default 6
        Local minimisations: one from orthogonal means, the others from random ones.
    dimension : int, optional
        Feature dimension d; 2K by default.
    seed : int, default 0
        Of the random starts.

    Returns
    -------
    ReluStationaryPoint

    Raises
    ------
    ValueError
        If the loss is not plain cross-entropy, the bias is free, or ``starts`` or ``dimension`` is below 1.

    Notes
    -----
    L-BFGS-B on the scaled means √n_k h̄_k ≥ 0. The dual point of the gap is the softmax of the mean predictions, mixed
    with the labels until :func:`orthant_norm` of its gradient is at most λ_z: the certificate of the unrestricted
    problem with another norm.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import relu_stationary_point
    >>> found = relu_stationary_point(lp.UFM("500x2,100x2", lambda_z=0.01, lambda_b=0.02), starts=2)
    >>> found.gap < 1e-6, bool((found.geometry.class_means >= 0).all())
    (True, True)
    """
    require_cross_entropy(problem)
    if problem.bias and problem.lambda_b == 0:
        raise ValueError("lambda_b must be above 0, or the bias left out by bias=False; got a free bias (lambda_b=0)")
    width = 2 * problem.num_classes if dimension is None else dimension
    for name, value in (("starts", starts), ("dimension", width)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
    objective = _Objective(problem, width)
    generator = np.random.default_rng(seed)
    results = []
    for start in range(starts):
        weight, means = generator.normal(size=(2, problem.num_classes, width))
        if start == 0:
            weight, means = (0.1 * array + 2 * np.eye(problem.num_classes, width) for array in (weight, means))
        results.append(objective.minimise(np.concatenate([weight.ravel(), np.abs(means).ravel()])))
    best = min(results, key=lambda packed: objective(packed)[0])
    return ReluStationaryPoint(
        geometry=objective.geometry(best),
        objective=objective(best)[0] * problem.lambda_z,
        gap=objective.gap(best),
        kkt_residual=objective.residual(best),
        objectives=np.array([objective(packed)[0] * problem.lambda_z for packed in results]),
    )


class _Objective:
    """The objective over λ_z as a function of (W, X, b) packed in one vector; row k of X is √n_k h̄_k, balanced."""

    def __init__(self, problem: UFM, width: int) -> None:
        self.problem, self.width, self.classes = problem, width, problem.num_classes
        self.root_counts = np.sqrt(problem.counts.astype(np.float64))[:, None]
        self.frequencies = problem.counts / problem.num_samples

    def _unpack(self, packed: Array) -> tuple[Array, Array, Array]:
        size = self.classes * self.width
        shape = (self.classes, self.width)
        bias = packed[2 * size :] if self.problem.bias else np.zeros(self.classes)
        return packed[:size].reshape(shape), packed[size : 2 * size].reshape(shape), bias

    def _log_probabilities(self, packed: Array) -> Array:
        weight, means, bias = self._unpack(packed)
        outputs = means @ weight.T / self.root_counts + bias
        result: Array = outputs - logsumexp(outputs, axis=1, keepdims=True)
        return result

    def __call__(self, packed: Array) -> tuple[float, Array]:
        weight, means, bias = self._unpack(packed)
        decay, decay_b = self.problem.lambda_z, self.problem.lambda_b
        logarithm = self._log_probabilities(packed)
        value = -float(self.frequencies @ np.diagonal(logarithm)) / decay
        value += 0.5 * float(np.sum(weight**2) + np.sum(means**2)) + 0.5 * decay_b / decay * float(bias @ bias)
        residual = self.frequencies[:, None] * (np.exp(logarithm) - np.eye(self.classes)) / decay
        scaled = residual / self.root_counts
        parts = [scaled.T @ means + weight, scaled @ weight + means]
        if self.problem.bias:
            parts.append(residual.sum(axis=0) + decay_b / decay * bias)
        return value, np.concatenate([part.ravel() for part in parts])

    def minimise(self, start: Array) -> Array:
        size = self.classes * self.width
        biases = self.classes if self.problem.bias else 0
        result = minimize(
            self,
            np.concatenate([start, np.zeros(biases)]),
            jac=True,
            method="L-BFGS-B",
            bounds=[(None, None)] * size + [(0, None)] * size + [(None, None)] * biases,
            options={"maxiter": 5000, "maxfun": 10000, "maxcor": 30, "ftol": 1e-15, "gtol": 1e-9},
        )
        found: Array = result.x
        return found

    def residual(self, packed: Array) -> float:
        gradient = self(packed)[1]
        size = self.classes * self.width
        pinned = np.zeros(len(packed), dtype=bool)
        pinned[size : 2 * size] = packed[size : 2 * size] <= 0
        return float(np.max(np.where(pinned, np.maximum(-gradient, 0.0), np.abs(gradient))))

    def gap(self, packed: Array) -> float:
        decay, decay_b = self.problem.lambda_z, self.problem.lambda_b
        shortfall = np.eye(self.classes) - np.exp(self._log_probabilities(packed))
        norm = orthant_norm((self.root_counts * shortfall).T).upper / self.problem.num_samples
        mixed = np.eye(self.classes) - min(1.0, decay / norm) * shortfall
        dual = float(self.frequencies @ entr(np.clip(mixed, 0.0, 1.0)).sum(axis=1))
        if self.problem.bias:
            imbalance = self.frequencies @ mixed - self.frequencies
            dual -= float(imbalance @ imbalance) / (2 * decay_b)
        return max(0.0, self(packed)[0] * decay - dual)

    def geometry(self, packed: Array) -> Geometry:
        weight, means, bias = self._unpack(packed)
        share = (self.problem.lambda_w / self.problem.lambda_h) ** 0.25
        logits = means @ weight.T / self.root_counts
        values = np.linalg.svd(logits, compute_uv=False)
        return Geometry(
            self.problem.counts,
            means * share / self.root_counts,
            weight / share,
            bias if self.problem.bias else None,
            rank=int(np.sum(values > RANK_TOLERANCE * max(1.0, values[0]))),
        )
