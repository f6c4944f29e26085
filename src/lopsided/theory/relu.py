r"""Features that end in a ReLU, H ≥ 0: the optimum without a bias, and complete collapse in every bias mode.

What replaces the spectral norm of the dual is its maximum over non-negative directions, :math:`\max_{v\ge0,\|v\|=1}
\|Gv\|`: the gradient's pull on a new non-negative feature coordinate v. For a feature dimension large enough the
problem is convex in the mean logits, and a point is optimal exactly where this maximum is at most λ and attained.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise
from scipy.special import wrightomega

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem
from lopsided.solver.orthant import Bracket, orthant_norm

Array = NDArray[np.float64]


def relu_optimum(problem: Problem) -> Geometry:
    r"""The optimum with H ≥ 0 and no bias, for feature dimension d ≥ K: orthogonal class means.

    With :math:`a_k=\log\bigl(\frac{\sqrt{K(K-1)n_k}}{N\lambda_z}-(K-1)\bigr)` where that is positive and 0 otherwise,
    class k's mean logits are :math:`a_k(e_k-\mathbf 1/K)`: every class stands alone, and class k is lost, with a mean
    of zero, exactly where :math:`\sqrt{n_k}\le N\lambda_z\sqrt{K/(K-1)}`.

    Parameters
    ----------
    problem : Problem
        With ``bias=False`` and plain cross-entropy; whatever its ``features``, they are taken to be ReLU features.

    Returns
    -------
    Geometry
        With class means (K, K) on the coordinate axes; classes of zero mean are merged, whatever their counts.

    Notes
    -----
    Dang et al., *Neural Collapse for Cross-entropy Class-Imbalanced Learning with Unconstrained ReLU Features Model*
    (2024). A short proof: class k's column of I − P is :math:`q_k(e_k-(\mathbf 1-e_k)/(K-1))`, two of them have a
    negative product, so over non-negative v the maximum of :math:`\|(I-P)D^{1/2}v\|` is the longest single column,
    :math:`\sqrt{n_k}\,q_k\sqrt{K/(K-1)}=N\lambda_z` for every class that is not lost.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import relu_optimum
    >>> geometry = relu_optimum(lp.UFM("500x5,100x5", lambda_z=3e-3, bias=False))
    >>> float(geometry.cosines_means[0, 5])
    0.0
    """
    problem.require_plain_loss()
    if problem.bias:
        raise ArgumentError(
            "problem",
            "must have `bias=False`, for which a closed form is known",
            got=f"lambda_b={problem.lambda_b:g}",
            remedy="use solve() of a model with features='relu'",
        )
    classes, counts = problem.num_classes, problem.counts.astype(np.float64)
    argument = np.sqrt(classes * (classes - 1) * counts) / (problem.num_samples * problem.lambda_z) - (classes - 1)
    gaps = np.log(np.maximum(argument, 1.0))
    # balance λ_w ‖column of W‖² = λ_h n_k ‖h̄_k‖², with a product of a_k
    ratio = problem.lambda_w * (1 - 1 / classes) / (problem.lambda_h * counts)
    means = np.diag(np.sqrt(gaps) * ratio**0.25)
    classifier = (np.eye(classes) - 1 / classes) * (np.sqrt(gaps) / ratio**0.25)
    lost = np.flatnonzero(gaps == 0).tolist()
    return Geometry(
        problem.counts,
        means,
        classifier,
        rank=min(classes - len(lost), classes - 1),
        merged=[lost] if len(lost) > 1 else [],
    )


def relu_complete_threshold(problem: Problem) -> Bracket:
    r"""The λ_z at and above which everything collapses with H ≥ 0, in every bias mode.

    .. math:: \lambda_{\max}=\frac1N\max_{v\ge0,\,\|v\|=1}\|(I-p\mathbf 1^\top)D^{1/2}v\|,

    with p the best constant prediction. It is never above the one of unrestricted features, where v may be any vector.

    Parameters
    ----------
    problem : Problem
        With plain cross-entropy. Counts, bias mode and bias decay are read.

    Returns
    -------
    Bracket
        The two ends coincide up to rounding for most counts; for when, see :func:`orthant_norm`.

    Notes
    -----
    At Z = 0 with its best bias, a feature coordinate v ≥ 0 with weights u changes the objective by ⟨u, Gv⟩ + λ‖u‖‖v‖ to
    first order: it pays exactly where ‖Gv‖ > λ‖v‖. The problem is convex in Z, so that nothing else can pay.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import relu_complete_threshold
    >>> round(relu_complete_threshold(lp.UFM("500x5,100x5", 1.0, lambda_b=0.02)).upper, 6)    # 0.007454 with any sign
    0.006753
    """
    problem.require_plain_loss()
    residual = np.eye(problem.num_classes) - _constant_prediction(problem)[:, None]
    norm = orthant_norm(residual * np.sqrt(problem.counts))
    return Bracket(norm.lower / problem.num_samples, norm.upper / problem.num_samples)


def _constant_prediction(problem: Problem) -> Array:
    """(K,) the best prediction that is the same for every sample: p − π + λ_b b = 0 with p = softmax(b)."""
    frequencies, decay = problem.counts / problem.num_samples, problem.lambda_b
    if not problem.bias:
        return np.full(problem.num_classes, 1 / problem.num_classes)
    if decay == 0:
        return frequencies

    def prediction(log_partition: ArrayLike) -> Array:
        """(..., K) the root of p + λ_b (log p + s) = π in each class, for given partitions e^s."""
        result: Array = decay * wrightomega(frequencies / decay - np.expand_dims(log_partition, -1) - np.log(decay))
        return result

    def excess(log_partition: Array) -> Array:
        total: Array = prediction(log_partition).sum(axis=-1)
        return total - 1

    centre = np.log(problem.num_classes)
    found = prediction(
        elementwise.find_root(excess, elementwise.bracket_root(excess, centre - 1, centre + 1).bracket).x
    )
    result: Array = found / found.sum()
    return result
