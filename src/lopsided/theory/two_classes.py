"""Two classes without a bias: the optimum in closed form, the same for every imbalance."""

from __future__ import annotations

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem
from lopsided.theory.assembly import geometry_of_logits, require_cross_entropy


def two_class_optimum(problem: Problem) -> Geometry:
    r"""The optimum for two classes without a bias: the imbalance has no effect on the predictions.

    .. math:: Z=\begin{pmatrix}x&-x\\-x&x\end{pmatrix},\quad
              x=\tfrac12\log\Bigl(\frac1{\lambda_z\sqrt{N/2}}-1\Bigr)\text{ if }\lambda_z<\frac1{\sqrt{2N}},
              \quad x=0\text{ otherwise.}

    Parameters
    ----------
    problem : Problem
        With K = 2, ``bias=False`` and plain cross-entropy.

    Returns
    -------
    Geometry

    Notes
    -----
    Z has rank one, so its norm weighs the two classes' gaps x_k as :math:`2\sqrt{\sum n_kx_k^2/2}`: stationarity in
    each of them is the same equation.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import two_class_optimum
    >>> two_class_optimum(lp.UFM("300,100", lambda_z=0.01, bias=False)).mean_logits
    array([[ 0.90176725, -0.90176725],
           [-0.90176725,  0.90176725]])
    """
    require_cross_entropy(problem)
    if problem.num_classes != 2 or problem.bias:
        raise ArgumentError(
            "problem",
            "must have two classes and `bias=False`",
            got=f"{problem.num_classes} classes and bias={problem.bias}",
            remedy="use solve()",
        )
    missing = problem.lambda_z * float(np.sqrt(problem.num_samples / 2))
    half_gap = 0.5 * float(np.log(1 / missing - 1)) if missing < 0.5 else 0.0
    logits = half_gap * np.array([[1.0, -1.0], [-1.0, 1.0]])
    return geometry_of_logits(problem, logits, None, rank=int(half_gap > 0), merged=[] if half_gap else [[0, 1]])
