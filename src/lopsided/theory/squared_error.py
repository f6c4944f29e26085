"""Squared error: the optimum for any counts, in closed form."""

from __future__ import annotations

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem
from lopsided.theory.assembly import geometry_of_logits, merged_clusters


def squared_error_optimum(problem: Problem) -> Geometry:
    r"""The optimum under :math:`\frac1{2N}\sum\|Wh_{ki}+b-e_k\|^2`, without a bias or with a free one.

    With row k of Z the mean prediction of class k and s = (√n_k),

    .. math:: D^{1/2}Z=\mathrm{diag}\bigl((\sqrt{n_k}-N\lambda_z)_+\bigr)\text{ without a bias, }\qquad
              D^{1/2}Z=\mathrm{SVT}_{N\lambda_z}\bigl((I-ss^\top/N)D^{1/2}\bigr),\ b=n/N\text{ with a free one,}

    SVT being the soft thresholding of the singular values.

    Parameters
    ----------
    problem : Problem
        Counts, decays and the bias mode are read; the loss is squared error whatever ``problem.loss`` is.

    Returns
    -------
    Geometry
        Without a bias class k is lost, with a mean of zero, exactly where √n_k ≤ N λ_z, and classes keep orthogonal
        means. With a free bias two or more classes of one count merge exactly there.

    Raises
    ------
    ValueError
        If features end in a ReLU, or the bias is penalised: then it cannot be projected out, and no closed form is
        known.

    Notes
    -----
    Without a bias this is the proximal step of the nuclear norm at D^{1/2}, which is diagonal. A free bias removes from
    the residual its component along s; the projection lowers the nuclear norm, so that the optimum is its own
    projection and the proximal step is taken at the projected target.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import squared_error_optimum
    >>> squared_error_optimum(lp.UFM("400,100", lambda_z=0.02, bias=False)).mean_logits      # 1 − Nλ/√n, or nothing
    array([[0.5, 0. ],
           [0. , 0. ]])
    """
    if problem.features != "any":
        problem.require_convex("squared_error_optimum()")
    if problem.bias and problem.lambda_b > 0:
        raise ArgumentError(
            "lambda_b", "must be 0 (a free bias), or the bias left out, for a closed form", got=f"{problem.lambda_b:g}"
        )
    root_counts = np.sqrt(problem.counts.astype(np.float64))
    shrinkage = problem.num_samples * problem.lambda_z
    if not problem.bias:
        stretch = np.maximum(root_counts - shrinkage, 0.0)
        lost = np.flatnonzero(stretch == 0).tolist()
        return geometry_of_logits(
            problem,
            np.diag(stretch / root_counts),
            None,
            rank=problem.num_classes - len(lost),
            merged=[lost] if len(lost) > 1 else [],
        )
    target = np.diag(root_counts) - np.outer(root_counts, problem.counts) / problem.num_samples
    left, values, right = np.linalg.svd(target)
    kept = np.maximum(values - shrinkage, 0.0)
    rank = int(np.sum(kept > problem.num_classes * np.finfo(float).eps * values[0]))
    kept[rank:] = 0.0
    if rank == 0:
        merged = [list(range(problem.num_classes))]
    else:
        merged = merged_clusters(problem, np.sqrt(problem.clusters.counts) <= shrinkage)
    return geometry_of_logits(
        problem,
        (left * kept) @ right / root_counts[:, None],
        problem.counts / problem.num_samples,
        rank=rank,
        merged=merged,
    )
