r"""What few samples a class do to NC1, from moments alone.

A class mean of n samples is off by noise of covariance :math:`\Sigma_k/n`, and the spread about it is too small by
:math:`(n-1)/n`. The first makes :math:`\Sigma_B` too large, the second :math:`\Sigma_W` too small, and both make
features look more collapsed than they are. Traces can be corrected exactly, since the variance of every class is known.
:math:`\operatorname{tr}(\Sigma_W\Sigma_B^+)` is not linear in :math:`\Sigma_B`; its expectation is corrected to second
order in the noise (the delta method). For that the class covariances are taken to be multiples of the pooled one, and
its square is estimated as for normal samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class PooledCovariance(NamedTuple):
    """Covariance (d, d) of samples about their class mean, estimated without bias: the scatter over N − K.

    Its square is unbiased for normal samples, and at least as large as dimension d and trace imply.
    """

    covariance: Array
    square: Array


def unbiased_variances(counts: NDArray[np.integer], traces: Array) -> Array:
    """(K,) total variance of every class: its trace over n − 1, and for a class of one sample the pooled variance.

    NaN where no class has two samples.
    """
    degrees = counts - 1
    pooled = traces.sum() / degrees.sum() if degrees.sum() > 0 else np.nan
    return np.where(degrees > 0, traces / np.maximum(degrees, 1), pooled)


def pooled_covariance(scatter: Array, degrees: int) -> PooledCovariance:
    r"""Estimate the covariance behind a scatter matrix of ``degrees`` degrees of freedom, and its square.

    For normal samples :math:`\frac{\nu^2}{(\nu-1)(\nu+2)}(S^2-S\operatorname{tr}S/\nu)` has the expectation
    :math:`\Sigma^2`: from the second moments of the Wishart distribution.
    """
    covariance = scatter / degrees
    trace, dim = np.trace(covariance), len(covariance)
    least = covariance * (trace / dim)
    if degrees < 2:
        return PooledCovariance(covariance, least)
    square = degrees**2 / ((degrees - 1) * (degrees + 2)) * (covariance @ covariance - covariance * (trace / degrees))
    return PooledCovariance(covariance, square if np.trace(square) > np.trace(least) else least)


def pseudo_inverse_bias(
    eigenvalues: Array, basis: Array, noise: Array, excess: float, covariance: Array, square: Array
) -> float:
    r"""Relative bias of :math:`\operatorname{tr}(\Sigma (M^\top M)^+)`, to second order in noise on the rows of M.

    M has rank r, or is cut to its r leading singular vectors :math:`U^\top M=\Lambda^{1/2}Q`. The noise E on it has
    rows and columns that correlate as in :math:`\mathbb E\,E_{ai}E_{bj}=R_{ab}\Sigma_{ij}`.

    Given are the eigenvalues :math:`\Lambda` (r,), positive, with the basis Q (r, d); the noise :math:`U^\top R\,U`
    (r, r), and the excess :math:`\operatorname{tr}R-\operatorname{tr}U^\top R\,U`, noise on combinations of rows that
    M has no part in; and Σ and Σ² (d, d). Returned is the expectation of the second-order term, over the value at M.
    """
    inverse, root = 1 / eigenvalues, np.sqrt(eigenvalues)
    scale, lopsided = np.outer(inverse, inverse), np.outer(inverse**2, inverse)
    projected, squared = basis @ covariance @ basis.T, basis @ square @ basis.T
    first, second = projected * np.outer(root, root), squared * np.outer(root, root)  # M Σ Mᵀ and M Σ² Mᵀ

    def crossed(power: int, matrix: Array) -> Array:
        """E[(EMᵀ + MEᵀ) A^p (EMᵀ + MEᵀ)], A = (MMᵀ)⁻¹, from M Σ Mᵀ; from M Σ² Mᵀ, the same with Σ within the second."""
        weights = inverse**power
        mixed = noise @ (weights[:, None] * matrix)
        return mixed + mixed.T + noise * (weights @ np.diag(matrix)) + matrix * (weights @ np.diag(noise))

    # With G = MMᵀ and B = MΣMᵀ the value is tr(G⁻²B). Both change by a first- and a second-order part in E.
    value = float(inverse @ np.diag(projected))
    change = (
        np.trace(square) * (inverse**2 @ np.diag(noise))
        - inverse @ np.diag(crossed(2, second))
        - inverse**2 @ np.diag(crossed(1, second))
        - 2 * np.trace(covariance) * np.sum(lopsided * noise * first)
        + 2 * np.sum(lopsided * first * crossed(1, first))
        + np.sum(scale * first * crossed(2, first))
    )
    # Noise on rows in which M has no part adds to MᵀM all the same: inside its row space and by tilting that.
    tilt = inverse**2 @ (np.diag(squared) - np.diag(projected @ projected))
    change += excess * (2 * tilt - np.sum(scale * projected**2))
    return float(change) / value if value > 0 else 0.0
