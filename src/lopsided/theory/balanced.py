"""Equal counts: the optimum is a simplex equiangular tight frame, in closed form."""

from __future__ import annotations

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem
from lopsided.theory.assembly import geometry_of_logits, require_cross_entropy


def balanced_optimum(problem: Problem) -> Geometry:
    r"""The optimum for K classes of n samples each, in every bias mode.

    .. math:: Z=\alpha\,(I-\tfrac1K\mathbf 1\mathbf 1^\top),\qquad
              \alpha=\log\Bigl(\frac1{\lambda_z\sqrt n}-K+1\Bigr)\text{ if }\lambda_z<\frac1{K\sqrt n},\quad
              \alpha=0\text{ otherwise,}\qquad b=0.

    Parameters
    ----------
    problem : Problem
        With equal counts and plain cross-entropy.

    Returns
    -------
    Geometry
        Of rank K − 1, or of rank 0 with all classes merged at and above the threshold.

    Notes
    -----
    By permutations and convexity the optimum is a multiple of the centring matrix with b = 0, whose nuclear norm is
    :math:`\sqrt n\,\alpha(K-1)`. What is left is a convex function of α, and its derivative vanishes where
    :math:`1-p_\text{own}+p_\text{other}=N\lambda_z/\sqrt n=K\sqrt n\lambda_z`. Zhu et al. (NeurIPS 2021) have the same
    geometry; the scale is in Hong & Ling (JMLR 2024), Theorem 1.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import balanced_optimum
    >>> balanced_optimum(lp.UFM("100x3", lambda_z=0.01)).mean_logits / np.log(8)    # α = log(10 − 2)
    array([[ 0.66666667, -0.33333333, -0.33333333],
           [-0.33333333,  0.66666667, -0.33333333],
           [-0.33333333, -0.33333333,  0.66666667]])
    """
    require_cross_entropy(problem)
    clusters = problem.clusters
    if clusters.num_clusters > 1:
        smallest, largest = clusters.counts.min(), clusters.counts.max()
        raise ArgumentError(
            "problem",
            "must have equal counts",
            got=f"counts from {smallest:.0f} to {largest:.0f}",
            remedy="use solve()",
        )
    classes = problem.num_classes
    missing = problem.lambda_z * float(np.sqrt(clusters.counts[0]))
    scale = float(np.log(1 / missing - classes + 1)) if missing * classes < 1 else 0.0
    return geometry_of_logits(
        problem,
        scale * (np.eye(classes) - 1 / classes),
        None,
        rank=classes - 1 if scale else 0,
        merged=[] if scale else [list(range(classes))],
    )
