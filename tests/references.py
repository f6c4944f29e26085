"""Independent references for optima: objectives written out in float64, minimised by BFGS or CVXPY, nothing shared.

Nothing here is fast, and nothing here imports what it is a reference for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize

Array = NDArray[np.float64]


def factored_ufm(counts: list[int], decay: float, seed: int = 0) -> tuple[float, Array, Array]:
    """Minimise the unconstrained feature model without bias in its factors, one feature vector a class.

    (1/N) Σ n_k CE(W h_k, k) + (λ/2)‖W‖² + (λ/2) Σ n_k ‖h_k‖², from a random start, by BFGS.

    Returns the objective, the classifier W (K, K) and the class means (K, K), rows.
    """
    n = np.asarray(counts, dtype=np.float64)
    number = len(n)

    def objective(packed: Array) -> tuple[float, Array]:
        weight, means = packed.reshape(2, number, number)
        logits = means @ weight.T
        shifted = logits - logits.max(axis=1, keepdims=True)
        partition = np.log(np.exp(shifted).sum(axis=1))
        value = float(n / n.sum() @ (partition - np.diag(shifted)))
        value += decay / 2 * float(np.sum(weight**2) + n @ np.sum(means**2, axis=1))
        residual = (n / n.sum())[:, None] * (np.exp(shifted - partition[:, None]) - np.eye(number))
        gradient = np.stack([residual.T @ means + decay * weight, residual @ weight + decay * n[:, None] * means])
        return value, gradient.ravel()

    start = np.random.default_rng(seed).normal(size=2 * number * number)
    result = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-12, "maxiter": 5000})
    weight, means = result.x.reshape(2, number, number)
    return float(result.fun), weight, means


def ufm_objective(counts: Array, logits: Array, bias: Array, lambda_z: float, lambda_b: float = 0.0) -> float:
    """The convex objective over mean logits (row k: class k), sample weights and all, written out class by class."""
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum()
    value = 0.0
    for k, count in enumerate(counts):
        output = logits[k] + bias
        largest = output.max()
        value += count / total * (largest + math.log(sum(math.exp(x - largest) for x in output)) - output[k])
    singular = np.linalg.svd(np.sqrt(counts)[:, None] * logits, compute_uv=False)
    return value + lambda_z * float(singular.sum()) + 0.5 * lambda_b * float(bias @ bias)


def softmax_rows(outputs: Array) -> Array:
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def duality_gap(counts: Array, logits: Array, bias: Array, lambda_z: float, lambda_b: float | None) -> float:
    """Primal minus dual value, from the K × K matrices; ``lambda_b`` None without a bias. Not for a free bias."""
    counts = np.asarray(counts, dtype=np.float64)
    total, classes = counts.sum(), len(counts)
    probability = softmax_rows(logits + bias)
    residual = np.sqrt(counts)[:, None] * (np.eye(classes) - probability) / (total * lambda_z)
    mix = min(1.0, 1.0 / np.linalg.norm(residual, ord=2))
    mixed = mix * probability + (1 - mix) * np.eye(classes)
    dual = sum(
        -count / total * sum(p * math.log(p) for p in row if p > 0) for count, row in zip(counts, mixed, strict=True)
    )
    if lambda_b is not None:
        imbalance = (counts / total) @ mixed - counts / total
        dual -= float(imbalance @ imbalance) / (2 * lambda_b)
    return ufm_objective(counts, logits, bias, lambda_z, lambda_b or 0.0) - dual


def ufm_by_cvxpy(
    counts: Array,
    lambda_z: float,
    *,
    bias: bool = True,
    lambda_b: float = 0.0,
    solver: str = "CLARABEL",
    weights: Array | None = None,
    normaliser: float | None = None,
    smoothing: float = 0.0,
    offsets: Array | float = 0.0,
    margins: Array | float = 0.0,
    scales: Array | float = 1.0,
) -> tuple[float, Array, Array]:
    """Objective, mean logits and bias by a general convex solver on the K × K formulation.

    ``offsets`` (K,) are added to the logits inside the loss, ``margins`` (K,) taken off the own ones; ``scales`` (K, K)
    multiplies logit j of a sample of class k.
    """
    import cvxpy as cp

    counts = np.asarray(counts, dtype=np.float64)
    classes = len(counts)
    weight = np.ones(classes) if weights is None else np.asarray(weights)
    logits, offset = cp.Variable((classes, classes)), cp.Variable(classes)
    outputs = cp.multiply(
        np.broadcast_to(scales, (classes, classes)), logits + cp.reshape(offset, (1, classes), order="C")
    )
    outputs = outputs + np.broadcast_to(offsets, (classes, classes)) - np.diag(np.broadcast_to(margins, classes))
    targets = (1 - smoothing) * np.eye(classes) + smoothing / classes
    losses = cp.log_sum_exp(outputs, axis=1) - cp.sum(cp.multiply(targets, outputs), axis=1)
    share = weight * counts / (counts.sum() if normaliser is None else normaliser)
    objective = cp.sum(cp.multiply(share, losses)) + lambda_z * cp.normNuc(cp.diag(np.sqrt(counts)) @ logits)
    constraints = [] if bias else [offset == 0]
    if lambda_b:
        objective += lambda_b / 2 * cp.sum_squares(offset)
    program = cp.Problem(cp.Minimize(objective), constraints)
    program.solve(solver=solver)
    if program.status not in ("optimal", "optimal_inaccurate"):
        raise RuntimeError(f"CVXPY ended with status {program.status}")
    return float(program.value), np.asarray(logits.value), np.asarray(offset.value)


def relu_ufm(counts: list[int], decay: float, seed: int = 0, bias_decay: float | None = None) -> tuple[float, Array]:
    """Minimise the unconstrained feature model with features h = v² ≥ 0 in its factors, from a random start, by BFGS.

    Returns the objective and the (K, K) mean logits, row k class k's; without a bias if ``bias_decay`` is None.
    """
    n = np.asarray(counts, dtype=np.float64)
    number = len(n)
    size = number * 2 * number

    def objective(packed: Array) -> tuple[float, Array]:
        weight, root = packed[:size].reshape(number, -1), packed[size : 2 * size].reshape(number, -1)
        bias = packed[2 * size :]
        means = root**2
        outputs = means @ weight.T + bias
        probability = softmax_rows(outputs)
        value = -float(n / n.sum() @ np.log(np.diag(probability)))
        value += decay / 2 * float(np.sum(weight**2) + n @ np.sum(means**2, axis=1))
        value += (bias_decay or 0.0) / 2 * float(bias @ bias)
        residual = (n / n.sum())[:, None] * (probability - np.eye(number))
        slopes = [
            residual.T @ means + decay * weight,
            2 * root * (residual @ weight + decay * n[:, None] * means),
            residual.sum(axis=0) + bias_decay * bias if bias_decay else np.zeros(number),
        ]
        return value, np.concatenate([slope.ravel() for slope in slopes])

    start = np.random.default_rng(seed).normal(size=2 * size + number)
    start[2 * size :] = 0
    result = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 3000})
    weight, root = result.x[:size].reshape(number, -1), result.x[size : 2 * size].reshape(number, -1)
    return float(result.fun), root**2 @ weight.T


def squared_error_objective(
    counts: Array,
    logits: Array,
    bias: Array,
    lambda_z: float,
    lambda_b: float = 0.0,
    weights: Array | None = None,
    normaliser: float | None = None,
) -> float:
    """(1/2N) Σ w ‖z_k + b − e_k‖² and the two penalties, written out class by class."""
    counts = np.asarray(counts, dtype=np.float64)
    value = 0.0
    for k, count in enumerate(counts):
        weight = 1.0 if weights is None else float(weights[k])
        for j in range(len(counts)):
            value += weight * count / 2 * float(logits[k, j] + bias[j] - (j == k)) ** 2
    value /= counts.sum() if normaliser is None else normaliser
    singular = np.linalg.svd(np.sqrt(counts)[:, None] * logits, compute_uv=False)
    return value + lambda_z * float(singular.sum()) + 0.5 * lambda_b * float(bias @ bias)


def squared_error_by_cvxpy(
    counts: Array,
    lambda_z: float,
    *,
    bias: bool = True,
    lambda_b: float = 0.0,
    weights: Array | None = None,
    normaliser: float | None = None,
) -> tuple[float, Array]:
    """Objective and mean logits under (1/2N) Σ w ‖z_k + b − e_k‖² by a general convex solver."""
    import cvxpy as cp

    counts = np.asarray(counts, dtype=np.float64)
    classes = len(counts)
    logits, offset = cp.Variable((classes, classes)), cp.Variable((1, classes))
    weight = np.ones(classes) if weights is None else np.asarray(weights)
    root = np.diag(np.sqrt(counts))
    errors = np.diag(np.sqrt(weight * counts)) @ (logits + np.ones((classes, 1)) @ offset - np.eye(classes))
    total = counts.sum() if normaliser is None else normaliser
    objective = cp.sum_squares(errors) / (2 * total) + lambda_z * cp.normNuc(root @ logits)
    if lambda_b:
        objective += lambda_b / 2 * cp.sum_squares(offset)
    program = cp.Problem(cp.Minimize(objective), [] if bias else [offset == 0])
    program.solve(solver="CLARABEL")
    if program.status not in ("optimal", "optimal_inaccurate"):
        raise RuntimeError(f"CVXPY ended with status {program.status}")
    return float(program.value), np.asarray(logits.value)


def layer_peeled_by_cvxpy(counts: Array, bound: float) -> tuple[float, Array]:
    """Loss and mean logits of min (1/N) Σ n_k CE(z_k, k) with ‖Z‖_* ≤ bound, by a general convex solver."""
    import cvxpy as cp

    counts = np.asarray(counts, dtype=np.float64)
    logits = cp.Variable((len(counts), len(counts)))
    losses = cp.multiply(counts / counts.sum(), cp.log_sum_exp(logits, axis=1) - cp.diag(logits))
    program = cp.Problem(cp.Minimize(cp.sum(losses)), [cp.normNuc(logits) <= bound])
    program.solve(solver="CLARABEL")
    if program.status not in ("optimal", "optimal_inaccurate"):
        raise RuntimeError(f"CVXPY ended with status {program.status}")
    return float(program.value), np.asarray(logits.value)


def resampled_objective(
    counts: list[int], shown: list[int], *, penalised: str, lambda_w: float, lambda_h: float, lambda_b: float
) -> float:
    """The least objective found when each sample of class k is shown shown[k] times, by descent over W, H and b.

    Features belong to samples, however often these are shown; their decay counts appearances or samples.
    """
    labels = np.repeat(np.arange(len(counts)), counts)
    times = np.repeat(np.array(shown, dtype=float), counts)
    decayed = times if penalised == "appearance" else np.ones(len(labels))
    classes, total = len(counts), float(times.sum())

    def value_and_slope(packed: Array) -> tuple[float, Array]:
        weight = packed[: classes * classes].reshape(classes, classes)
        bias = packed[classes * classes : classes * (classes + 1)]
        features = packed[classes * (classes + 1) :].reshape(len(labels), classes)
        logits = features @ weight.T + bias
        logits = logits - logits.max(axis=1, keepdims=True)
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        value = -float(times @ np.log(chances[np.arange(len(labels)), labels])) / total
        value += lambda_w / 2 * float(np.sum(weight**2)) + lambda_b / 2 * float(np.sum(bias**2))
        value += lambda_h / 2 * float(decayed @ np.sum(features**2, axis=1))
        error = chances.copy()
        error[np.arange(len(labels)), labels] -= 1
        error *= times[:, None] / total
        slopes = [
            error.T @ features + lambda_w * weight,
            error.sum(axis=0) + lambda_b * bias,
            error @ weight + lambda_h * decayed[:, None] * features,
        ]
        return value, np.concatenate([slope.ravel() for slope in slopes])

    generator = np.random.default_rng(0)
    starts = [generator.normal(size=classes * (classes + 1 + len(labels))) for _ in range(4)]
    options = {"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-15, "gtol": 1e-10}
    found = [minimize(value_and_slope, start, jac=True, method="L-BFGS-B", options=options) for start in starts]
    return min(float(one.fun) for one in found)


def two_cluster_leaks(problem: Any, decay: float) -> Array:
    """(2,) log probability that a sample gives to the other cluster, where no logit depends on its own."""
    clusters = problem.clusters
    log_missing = np.log(clusters.num_samples * decay / np.sqrt(clusters.counts))
    log_masses = np.log(clusters.sizes * clusters.counts / clusters.num_samples)

    def at(difference: float) -> Array:
        return np.array(
            [
                _cluster_leak(clusters.sizes[i], clusters.sizes[1 - i], log_missing[i], sign * difference)
                for i, sign in ((0, -1.0), (1, 1.0))
            ]
        )

    def imbalance(difference: float) -> float:
        """Falls strictly with the bias of the first cluster minus that of the second."""
        log_flows = log_masses + at(difference)
        if problem.lambda_b == 0:
            return float(log_flows[0] - log_flows[1])
        curvature = problem.lambda_b * clusters.sizes.prod() / problem.num_classes
        return float(np.exp(log_flows[0]) - np.exp(log_flows[1]) - curvature * difference)

    difference = 0.0
    if problem.bias:
        reach = 1.0
        while imbalance(-reach) < 0 or imbalance(reach) > 0:
            reach *= 2
        difference = _root(imbalance, -reach, reach)
    return at(difference)


def _cluster_leak(size: float, others: float, log_missing: float, shift: float) -> float:
    """Log probability of the other cluster, whose bias is higher by ``shift``."""

    def log_leak_and_shortfall(gap: float) -> tuple[float, float]:
        outside = np.log(others) + shift + gap / size
        total = np.logaddexp(np.logaddexp(gap, outside), np.log(size - 1) if size > 1 else -np.inf)
        return float(outside - total), float(np.logaddexp(np.log(size), outside) - total)

    leak, shortfall = log_leak_and_shortfall(0.0)
    if size == 1 or log_missing >= min(shortfall, 0.0):
        return leak
    high = 1.0
    while log_leak_and_shortfall(high)[1] > log_missing:
        high *= 2
    gap = _root(lambda gap: log_leak_and_shortfall(gap)[1] - log_missing, 0.0, high)
    return log_leak_and_shortfall(gap)[0]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-14, rtol=1e-14, maxiter=1000))
