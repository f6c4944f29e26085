"""The layer-peeled model: the ratio of counts past which minority classes collapse under norm constraints."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, root

from lopsided.core.arguments import ArgumentError, check_number

Array = NDArray[np.float64]


def minority_collapse_ratio(
    majority_classes: int, minority_classes: int, feature_energy: float, classifier_energy: float = 1.0
) -> float:
    r"""The ratio R₀ of majority to minority count at and above which the minority classes merge.

    The model of Fang et al. (PNAS 2021) bounds norms instead of penalising them,

    .. math:: \min\ \frac1N\sum_k n_k\,\mathrm{CE}(Wh_k,k)\quad\text{with}\quad
              \frac1K\sum_k\|w_k\|^2\le E_W,\ \ \frac1K\sum_k\|h_k\|^2\le E_H,

    which for feature dimension d ≥ K is :math:`\|Z\|_*\le K\sqrt{E_WE_H}` on the mean logits Z. The counts enter the
    loss alone, not the norm.

    Parameters
    ----------
    majority_classes, minority_classes : int
        Classes m_A ≥ 1 of the larger count and m_B ≥ 2 of the smaller one.
    feature_energy, classifier_energy : float
        E_H and E_W, both above 0.

    Returns
    -------
    float
        R₀ > 1. Minority classes have distinct rows of the classifier for R < R₀ and equal ones for R ≥ R₀.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    Notes
    -----
    With a multiplier μ for the norm, in units of a minority class's loss, the same argument as for the penalised model
    gives p_own − p_same = max(0, 1 − μ) in the minority cluster: it collapses exactly for μ ≥ 1. At μ = 1 what is left
    are a logit gap α in the majority and one direction between the clusters: three stationarity equations, convex. That
    direction never vanishes there: the criterion of :func:`two_cluster_threshold` is
    :math:`\frac{m_A}K+\frac{m_B}K=1` at R = 1 and grows with R. The norm of that optimum as a function of R, zero at
    R = 1, equals the bound at R₀. It grew with R in every case tried, so that R₀ is the only root; this is not proved.

    Examples
    --------
    >>> from lopsided.theory import minority_collapse_ratio
    >>> round(minority_collapse_ratio(5, 5, feature_energy=5.0), 6)
    12.192447
    """
    for name, value, least in (("majority_classes", majority_classes, 1), ("minority_classes", minority_classes, 2)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise ArgumentError(name, f"must be a whole number of at least {least}", value)
    for name, energy in (("feature_energy", feature_energy), ("classifier_energy", classifier_energy)):
        check_number(name, energy, above=0)
    classes = majority_classes + minority_classes
    bound = classes * math.sqrt(feature_energy) * math.sqrt(classifier_energy)
    model = _AtCollapse(majority_classes, minority_classes)

    def excess(log_ratio: float) -> float:
        return model.norm(math.exp(log_ratio)) - bound

    high = 1.0
    while excess(high) < 0:
        high *= 2
    low = min(high / 2, 1e-2)
    while excess(low) > 0:
        low /= 10
    return math.exp(float(brentq(excess, low, high, xtol=1e-13, rtol=1e-13)))


class _AtCollapse:
    """The optimum of the penalised problem with multiplier 1 and minority weight 1: α, y_A and y_B.

    Row k of a majority class is α (e_k − 1/m_A) on its cluster plus y_A/m_A there and −y_A/m_B on the other one; of a
    minority class y_B/m_B on its cluster and −y_B/m_A on the other one.
    """

    def __init__(self, majority: int, minority: int) -> None:
        self.majority, self.minority = float(majority), float(minority)
        self.slope = 1 / self.majority + 1 / self.minority

    def norm(self, ratio: float) -> float:
        """Nuclear norm of the optimum."""
        start = np.array([math.log1p(ratio * self.majority), 1.0, 1.0]) * (1 - 1 / ratio)
        rough = minimize(self._value_and_slopes, start, args=(ratio,), jac=True, method="BFGS").x

        def slopes(variables: Array) -> Array:
            return self._value_and_slopes(variables, ratio)[1] / ratio

        exact = root(slopes, rough, tol=1e-14).x
        return self._norms(exact)[0]

    def _norms(self, variables: Array) -> tuple[float, float]:
        """Nuclear norm of Z, and of its part between the clusters."""
        gap, first, second = variables
        between = math.sqrt(self.slope * (self.majority * first**2 + self.minority * second**2))
        return (self.majority - 1) * float(gap) + between, between

    def _value_and_slopes(self, variables: Array, ratio: float) -> tuple[float, Array]:
        gap, first, second = variables
        majority, minority = self.majority, self.minority
        # majority: exponents of the other classes relative to the own one
        same = -gap + (math.log(majority - 1) if majority > 1 else -math.inf)
        other = -gap * (1 - 1 / majority) - first * self.slope + math.log(minority)
        log_total = float(np.logaddexp.reduce([0.0, same, other]))
        p_same, p_other = math.exp(same - log_total), math.exp(other - log_total)
        # minority: its own classes are alike
        leak = -second * self.slope + math.log(majority)
        log_minority = float(np.logaddexp(math.log(minority), leak))
        p_leak = math.exp(leak - log_minority)
        total, between = self._norms(variables)
        value = majority * ratio * log_total + minority * log_minority + total
        slopes = np.array(
            [
                (majority - 1) - majority * ratio * (p_same + (1 - 1 / majority) * p_other) if majority > 1 else gap,
                -majority * ratio * self.slope * p_other + self.slope * majority * first / between,
                -minority * self.slope * p_leak + self.slope * minority * second / between,
            ]
        )
        return value + (0.5 * float(gap) ** 2 if majority == 1 else 0.0), slopes
