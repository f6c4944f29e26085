r"""Growing data: what the optimum tends to as N → ∞, by how the decay shrinks with N.

The optimum depends on the counts' proportions, on :math:`\varepsilon=\lambda_z\sqrt N` and on λ_b alone. So
λ ∝ N^{-1/2} keeps the geometry, a fixed λ ends in complete collapse, and λ = c/N lets ε vanish: the outputs Z + b tend
to a simplex, W and H to :func:`lopsided.theory.seli_limit`, both at the rate 1/log N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem
from lopsided.theory.assembly import geometry_of_logits, require_cross_entropy
from lopsided.theory.seli import seli_polar_factor
from lopsided.theory.thresholds import thresholds

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CollapseSizes:
    """Numbers of samples at which classes merge, for fixed proportions and decay.

    Attributes
    ----------
    within : (J,) array
        For each cluster, in the order of ``problem.clusters``: its classes merge where N is at or above this. NaN for a
        single class.
    complete : float
        Everything merges where N is at or above this.
    """

    within: Array
    complete: float


def collapse_sizes(problem: Problem) -> CollapseSizes:
    r"""The N at which classes merge when data grow at fixed proportions and fixed λ_z, λ_b.

    Thresholds of λ_z scale as N^{-1/2}, so :math:`N_\text{collapse}=N(\lambda_\text{threshold}/\lambda_z)^2`: more data
    at the same decay per sample means *more* collapse, since the norm of all N features is penalised.

    Parameters
    ----------
    problem : Problem
        With plain cross-entropy.

    Returns
    -------
    CollapseSizes

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import collapse_sizes
    >>> collapse_sizes(lp.UFM("500x5,100x5", 1e-3)).within        # π/λ² with π = 1/6 and 1/30
    array([166666.66666667,  33333.33333333])
    """
    require_cross_entropy(problem)
    found = thresholds(problem)
    return CollapseSizes(
        within=problem.num_samples * (found.within / problem.lambda_z) ** 2,
        complete=problem.num_samples * (found.complete / problem.lambda_z) ** 2,
    )


def small_decay_optimum(problem: Problem) -> Geometry:
    r"""The optimum for λ_z → 0 up to terms of order 1/log(1/ε), ε = λ_z √N.

    With M the polar factor of :func:`lopsided.theory.seli_limit`, negative off the diagonal,

    .. math:: z_{kj}-z_{kk}=\log\frac{N\lambda_z}{\sqrt{n_k}}+\log(-M_{kj}),\qquad j\ne k,

    rows centred, and, where the bias is free, their average over the samples moved into the bias. The first term is a
    simplex growing as log(1/ε), the second one bounded: cosines of the mean logits approach −1/(K−1), or with a free
    bias those of I − 1πᵀ, at the rate 1/log(1/ε) and with a known factor.

    Parameters
    ----------
    problem : Problem
        With plain cross-entropy.

    Returns
    -------
    Geometry
        Mean logits with an error of order 1/log(1/ε), against entries of order log(1/ε).

    Raises
    ------
    ValueError
        If the loss is not plain cross-entropy, or ``lambda_z`` is not small: some logit would exceed its own class's.

    Notes
    -----
    Optimality says (I − P)_kj = Nλ M_kj / √n_k with M the polar factor of D^{1/2} Z. Along Z = log(1/ε) C + O(1) that
    factor is the limit's up to O(1/log(1/ε)); taking logarithms of P gives the formula. A penalised bias vanishes like
    ε.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import small_decay_optimum
    >>> model = lp.UFM("200x5,100x5", 1e-12, bias=False)
    >>> error = small_decay_optimum(model).mean_logits - model.solve().geometry.mean_logits
    >>> bool(abs(error).max() < 0.1)                  # of logits near 25
    True
    """
    require_cross_entropy(problem)
    classes = problem.num_classes
    shares = -seli_polar_factor(problem) * problem.num_samples * problem.lambda_z
    shares /= np.sqrt(problem.counts)[:, None]
    np.fill_diagonal(shares, 1.0)
    largest = float(shares[~np.eye(classes, dtype=bool)].max())
    if largest >= 1:
        raise ArgumentError(
            "lambda_z",
            f"must be small, below {problem.lambda_z / largest:.3g} for these counts",
            got=f"{problem.lambda_z:g}",
            remedy="use solve()",
        )
    logits = np.log(shares)
    logits -= logits.mean(axis=1, keepdims=True)
    bias = None
    if problem.bias and problem.lambda_b == 0:
        bias = problem.counts @ logits / problem.num_samples
        logits = logits - bias
    return geometry_of_logits(problem, logits, bias, rank=classes - 1, merged=[])
