r"""The duality gap: how far from the optimum any point can be at most.

For cross-entropy the dual variables are probabilities p' that keep ‖(I − P') D^{1/2}‖_op ≤ Nλ (and, with a free bias,
P'π = π). Any point gives such p' from its own softmax: mass is moved, where the bias is free, until the class totals
are right, and then everything is mixed with the labels, p' = t p + (1 − t) e, until the norm fits. Fenchel's inequality
then gives the gap as a sum of three terms that are never negative (e stands for the loss's targets),

    gap/λ = Σ_j w_j KL(p'_j ‖ p_j) + (‖A‖_* + ⟨G', A⟩) + ½‖√β b + g'/√β‖²,

with w the loss weights, G' the dual point's gradient, g' its bias part and β the curvature of the bias penalty. Nothing
is lost to cancellation between two large objectives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lopsided.problem import UFM
from lopsided.solver.reduction import Array, Evaluation, Point, ReducedProblem, diagonal, evaluate


@dataclass(frozen=True)
class Certificate:
    """How good a point is.

    Attributes
    ----------
    objective : float
        Value of the regularised loss at the point, in nats.
    gap : float
        Upper bound on how far that is above the optimum.
    dual_norm : float
        ‖∇f‖_op / λ_z: 1 at every optimum but Z = 0, where it is at most 1.
    """

    objective: float
    gap: float
    dual_norm: float


def certify_logits(problem: UFM, mean_logits: ArrayLike, bias: ArrayLike | None = None) -> Certificate:
    """Objective and duality gap of any mean logits, wherever they come from: another solver, or a trained network.

    Parameters
    ----------
    problem : UFM
        The problem they are to solve.
    mean_logits : (K, K) array_like
        Row ``k`` is the mean prediction of class ``k``, without the bias.
    bias : (K,) array_like, optional
        Bias of each class; zeros by default.

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        If a shape does not fit the problem's classes, a value is not finite, or a bias is given to a problem without.

    Examples
    --------
    >>> import numpy as np, lopsided as lp
    >>> model = lp.UFM(counts="500x5,100x5", lambda_z=0.008, bias=False)
    >>> lp.certify_logits(model, np.zeros((10, 10))).gap < 1e-14   # past complete collapse zero is the optimum
    True
    """
    problem.require_convex("certify_logits()")
    classes = problem.num_classes
    logits = np.asarray(mean_logits, dtype=np.float64)
    biases = np.zeros(classes) if bias is None else np.asarray(bias, dtype=np.float64)
    for name, value, shape in (("mean_logits", logits, (classes, classes)), ("bias", biases, (classes,))):
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, the problem's classes; got {value.shape}")
        if not np.isfinite(value).all():
            raise ValueError(f"{name} must be finite; got {value[~np.isfinite(value)][0]}")
    if not problem.bias and biases.any():
        raise ValueError("bias must be left out or zero: the problem has bias=False")
    each = ReducedProblem(
        problem.counts.astype(np.float64),
        np.ones(classes),
        problem.loss.terms(problem.counts),
        problem.lambda_z,
        problem.lambda_b if problem.bias else None,
    )
    between = each.root_counts[:, None] * logits
    nuclear_norm = float(np.linalg.svd(between, compute_uv=False).sum())
    return certify(evaluate(each, Point(between, np.zeros(classes), biases)), nuclear_norm)


def certify(evaluation: Evaluation, nuclear_norm: float) -> Certificate:
    """Certificate of an evaluated point.

    Parameters
    ----------
    evaluation : Evaluation
        The point, its probabilities and its gradient.
    nuclear_norm : float
        ‖A‖_* of the whole matrix.
    """
    problem, point = evaluation.problem, evaluation.point
    probabilities, gradient = evaluation.probabilities, evaluation.gradient
    if problem.bias_decay == 0:
        probabilities = _balanced(evaluation)
        gradient = problem.pull_back(problem.weights[:, None] * (probabilities - problem.targets))
    norm = dual_norm(problem, gradient)
    mix = min(1.0, 1.0 / norm) if norm > 0 else 1.0
    divergence = _divergence(mix * probabilities + (1 - mix) * problem.targets, evaluation)
    pairing = float(np.sum(gradient.between * point.between) + gradient.within @ point.within)
    gap = max(0.0, float(problem.weights @ divergence)) + max(0.0, nuclear_norm + mix * pairing)
    if problem.bias_decay:
        slack = problem.bias_weights * point.bias + mix * gradient.bias
        gap += float(np.sum(slack**2 / (2 * problem.bias_weights)))
    objective = evaluation.loss + evaluation.bias_penalty + nuclear_norm
    gap = max(gap, float(np.finfo(float).eps) * objective)  # rounding alone leaves as much in doubt
    return Certificate(problem.decay * objective, problem.decay * gap, norm)


def dual_norm(problem: ReducedProblem, gradient: Point) -> float:
    """‖G‖_op of the whole K × K gradient, from its between and within parts."""
    largest = float(np.linalg.eigvalsh(gradient.between @ gradient.between.T)[-1])
    repeated = problem.sizes > 1
    within = np.abs(gradient.within[repeated]) / (problem.sizes[repeated] - 1)
    return float(max(np.sqrt(max(largest, 0.0)), np.max(within, initial=0.0)))


def _divergence(mixed: Array, evaluation: Evaluation) -> Array:
    """(J,) KL(p' ‖ p), from the masses p' gives to other classes.

    A sum over classes of p' log(p'/p) − p' + p, no term of which is negative. The own class's part is written in the
    change of what it is short of 1: a nearly perfect classifier's own probability is 1 to the last digit, and its
    errors are in the others.
    """
    with np.errstate(divide="ignore", over="ignore"):  # mass where there was none: no finite gap is certified
        ratio = np.divide(mixed, evaluation.probabilities, out=np.ones_like(mixed), where=mixed > 0)
    others = np.sum(mixed * np.log(ratio) - mixed + evaluation.probabilities, axis=1)
    change = np.sum(evaluation.probabilities - mixed, axis=1) / evaluation.own
    # rounding may say that the own class loses all it has; its mass is then about zero, and x log x with it
    change = np.maximum(change, -1 + np.finfo(float).eps)
    result: Array = others + evaluation.own * ((1 + change) * np.log1p(change) - change)
    return result


def _balanced(evaluation: Evaluation) -> Array:
    """The masses on other classes once the class totals are those of the labels, as a free bias demands.

    Mass moves from classes predicted too often to classes predicted too seldom.

    A free bias makes the totals right at the optimum; on the way there the dual point must be made feasible. Each class
    predicted too often gives up the same share of its mass in every row, and each row passes what it freed to the
    classes predicted too seldom, in proportion to what they lack. Probabilities stay non-negative and rows keep sum 1.
    """
    problem = evaluation.problem
    weights = problem.weights * problem.terms.row_scales
    excess = evaluation.gradient.bias / problem.terms.column_scales
    probabilities = evaluation.probabilities
    lacking = np.maximum(-excess, 0.0)
    if not lacking.any():
        return probabilities
    totals = weights @ probabilities + weights * evaluation.own
    share = np.clip(np.maximum(excess, 0.0) / totals, 0.0, 1.0)
    freed = probabilities @ share + evaluation.own * share
    received = freed[:, None] * (lacking / lacking.sum())
    diagonal(received)[:] *= (problem.sizes - 1) / problem.sizes  # the rest is the own class's
    result: Array = probabilities * (1 - share) + received
    return result
