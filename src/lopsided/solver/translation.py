"""From a problem as stated to the problem over clusters, by the kind of its loss; and the judgement of any logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import is_tensor
from lopsided.core.losses import ClassTerms, SquaredError
from lopsided.core.problem import Problem
from lopsided.solver.arrays import NUMPY, Array, Backend, backend_of, backend_on
from lopsided.solver.certificate import Certificate
from lopsided.solver.quadratic import QuadraticProblem
from lopsided.solver.reduction import Point, ReducedProblem
from lopsided.solver.softmax import SoftmaxProblem


def reduce_problem(problem: Problem, device: str | None = None) -> ReducedProblem:
    """The problem over clusters, on a device of PyTorch or (None) where the counts were given."""
    problem.require_convex("the certified solver")
    backend = backend_on(problem.device if device is None else device)
    with np.errstate(all="ignore"):  # what is not finite is refused by the solver
        return _over(problem, problem.clusters.counts, problem.clusters.sizes, problem.clusters.terms, backend)


def _over(
    problem: Problem,
    counts: NDArray[np.float64],
    sizes: NDArray[np.float64],
    terms: ClassTerms,
    backend: Backend = NUMPY,
) -> ReducedProblem:
    bias_decay = problem.lambda_b if problem.bias else None
    kind = QuadraticProblem if isinstance(problem.loss, SquaredError) else SoftmaxProblem
    return kind(counts, sizes, terms, problem.lambda_z, bias_decay, backend)


def certify_logits(problem: Problem, mean_logits: ArrayLike, bias: ArrayLike | None = None) -> Certificate:
    """Objective and duality gap of any mean logits, wherever they come from: another solver, or a trained network.

    Parameters
    ----------
    problem : Problem
        The problem they are to solve.
    mean_logits : (K, K) array_like or tensor
        Row ``k`` is the mean prediction of class ``k``, without the bias. A tensor is judged on its own device.
    bias : (K,) array_like or tensor, optional
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
    classes, backend = problem.num_classes, backend_of(mean_logits)
    logits = _float64(backend, mean_logits)
    biases = _float64(backend, np.zeros(classes) if bias is None else bias)
    for name, value, shape in (("mean_logits", logits, (classes, classes)), ("bias", biases, (classes,))):
        if tuple(value.shape) != shape:
            raise ArgumentError(name, f"must have shape {shape}, the problem's classes", tuple(value.shape))
        host = backend.host(value)
        if not np.isfinite(host).all():
            raise ArgumentError(name, "must be finite", host[~np.isfinite(host)][0].item())
    if not problem.bias and bool(backend.xp.any(biases != 0)):
        raise ArgumentError("bias", "must be left out or zero: the problem has `bias=False`")
    counts = problem.counts.astype(np.float64)
    each = _over(problem, counts, np.ones(classes), problem.terms, backend)
    between = each.root_counts[:, None] * logits
    nuclear_norm = float(backend.xp.sum(backend.xp.linalg.svdvals(between)))
    point = Point(between, backend.xp.zeros_like(biases), biases)
    certificate = each.certify(each.evaluate(point), nuclear_norm)
    lost = each.lost_to_bias(point)
    return Certificate(certificate.objective + lost, certificate.gap + lost, certificate.dual_norm)


def _float64(backend: Backend, values: Any) -> Array:
    if is_tensor(values):
        values = values.detach()  # a network's logits come with their history
    if backend.device is None:
        return np.asarray(values.cpu() if is_tensor(values) else values, dtype=np.float64)
    return backend.xp.asarray(values, dtype=backend.xp.float64, device=backend.device)
