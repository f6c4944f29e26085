r"""The limit λ → 0: simplex-encoded labels interpolation, for any counts and multiplicative logit scales.

As λ → 0 the optimum separates all classes, and its direction is that of the max-margin problem with free features

.. math:: \min\|D^{1/2}Z\|_*\quad\text{with}\quad\rho_k(\gamma_kz_{kk}-\gamma_jz_{kj})\ge1\text{ for all }j\ne k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem
from lopsided.theory.assembly import geometry_of_logits

Array = NDArray[np.float64]


def seli_limit(problem: Problem) -> Geometry:
    r"""Direction of the optimum as λ_z → 0, scaled so that every margin is 1.

    Without or with a penalised bias every margin is tight: row k of Z is

    .. math:: z_k=\frac1{\rho_k\gamma_k}\Bigl(e_k-\frac{w_k}{\|w\|^2}w\Bigr),\qquad w_j=1/\gamma_j,

    so that Z is the centring matrix under plain cross-entropy: an ETF. W and H, from the singular value decomposition
    of D^{1/2} Z, are not. With a free bias and plain cross-entropy it is Z = I − 1πᵀ, with π the class frequencies, and
    the bias π − 1/K carries the rest.

    Parameters
    ----------
    problem : Problem
        Counts, bias mode, the ratio of ``lambda_w`` to ``lambda_h`` and the loss's scales are read: γ for
        ``scale_by="logit"`` (CDT), ρ for ``scale_by="label"`` (LDT). Weights, margins and a logit adjustment move the
        logits by bounded amounts and have no effect on the limit.

    Returns
    -------
    Geometry
        Of rank K − 1; cosines and ratios of norms are the limits, the overall scale is a unit margin. The bias is on
        the same scale, and zero unless it is free.

    Raises
    ------
    ValueError
        If features end in a ReLU, the loss smooths labels, where logits stay bounded, or is not of the cross-entropy
        family, or scales logits while the bias is free.

    Notes
    -----
    Thrampoulidis et al. (NeurIPS 2022) for cross-entropy; Behnia et al. (AISTATS 2023) for CDT and LDT. One proof for
    all: write A = D^{1/2} Z = F (I − ŵŵᵀ) with F = diag(√n_k/(ρ_k γ_k)) and ŵ = w/‖w‖. Adding a multiple of ŵ to rows
    can only raise the nuclear norm, so A is best among the points with tight margins; a dual point that proves it
    optimal among all is its polar factor, if its off-diagonal entries are ≤ 0. That factor is
    :math:`F(\Pi F^2\Pi)^{+1/2}` with Π = I − ŵŵᵀ, and

    .. math:: (\Pi F^2\Pi)^{+1/2}=\frac1\pi\int_0^\infty t^{-1/2}\Bigl(R_t-\frac{R_tww^\top R_t}{w^\top R_tw}\Bigr)dt,
              \qquad R_t=(F^2+t)^{-1}\text{ diagonal,}

    whose off-diagonal entries are negative. With a free bias the same holds with rows and columns exchanged and
    w = √n.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import seli_limit
    >>> geometry = seli_limit(lp.UFM("200x5,100x5", 1.0, bias=False))
    >>> round(float(geometry.cosines_means[0, 1]), 4), round(float(geometry.cosines_means[5, 6]), 4)   # ETF: -0.1111
    (-0.0923, -0.1342)
    """
    logits, bias = _tight_margins(problem)
    return geometry_of_logits(problem, logits, bias, rank=problem.num_classes - 1, merged=[])


def seli_polar_factor(problem: Problem) -> Array:
    """(K, K) polar factor of D^{1/2} Z in the limit: the gradient of the nuclear norm there, negative off the diagonal.

    Parameters
    ----------
    problem : Problem
        As for :func:`seli_limit`.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.theory import seli_polar_factor
    >>> seli_polar_factor(lp.UFM("5x3", 1.0, bias=False))
    array([[ 0.66666667, -0.33333333, -0.33333333],
           [-0.33333333,  0.66666667, -0.33333333],
           [-0.33333333, -0.33333333,  0.66666667]])
    """
    logits, _ = _tight_margins(problem)
    left, _, right = np.linalg.svd(np.sqrt(problem.counts)[:, None] * logits)
    polar: Array = left[:, :-1] @ right[:-1]
    return polar


def _tight_margins(problem: Problem) -> tuple[Array, Array | None]:
    """Mean logits and bias with unit margins."""
    problem.require_convex("seli_limit()")
    classes = problem.num_classes
    terms = problem.terms
    if terms.smoothing > 0:
        raise ArgumentError(
            "label_smoothing",
            "must be 0: with smoothed labels logits stay bounded as λ_z → 0",
            got=f"{terms.smoothing:g}",
        )
    scaled = bool(np.any(terms.row_scales != 1) or np.any(terms.column_scales != 1))
    if problem.bias and problem.lambda_b == 0:
        if scaled:
            raise ArgumentError(
                "scales",
                "must be left out where the bias is free (`lambda_b` = 0)",
                problem.loss,
                remedy="leave the bias out or penalise it",
            )
        frequencies = problem.counts / problem.num_samples
        return np.eye(classes) - frequencies, frequencies - 1 / classes
    shift = 1 / terms.column_scales
    rows = np.eye(classes) - np.outer(shift, shift) / float(shift @ shift)
    return rows / (terms.row_scales * terms.column_scales)[:, None], None
