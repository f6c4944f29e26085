"""The layer-peeled model: the ratio of counts past which minority classes collapse under norm constraints."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from lopsided.core.arguments import ArgumentError, check_number


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

    Notes
    -----
    With a multiplier μ for the norm, in units of a minority class's loss, the same argument as for the penalised model
    gives p_own − p_same = max(0, 1 − μ) in the minority cluster: it collapses exactly for μ ≥ 1. At μ = 1 what is left
    are a logit gap in the majority and one direction between the clusters. That direction never vanishes there: the
    criterion of :func:`two_cluster_threshold` is :math:`\frac{m_A}K+\frac{m_B}K=1` at R = 1 and grows with R. So
    stationarity says what each sample gives to the other cluster, :math:`(Rq_A,q_B)` being in the direction of the
    outputs :math:`(y_A,y_B)` and of a length of :math:`\sqrt{m_Am_B/K}` in the norm of the numbers of classes, and
    :math:`p_\text{own}-p_\text{same}=1-1/R` in the majority: one angle is left to be found. The norm of that optimum
    as a function of R, zero at R = 1, equals the bound at R₀. It grew with R in every case tried, so that R₀ is the
    only root; this is not proved.

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

    def excess(log_ratio: float) -> float:
        return norm_at_collapse(majority_classes, minority_classes, math.exp(log_ratio)) - bound

    high = 1.0
    while excess(high) < 0:
        high *= 2
    low = min(high / 2, 1e-2)
    while excess(low) > 0:
        low /= 10
    return math.exp(float(brentq(excess, low, high, xtol=1e-13, rtol=1e-13)))


def norm_at_collapse(majority: int, minority: int, ratio: float) -> float:
    """Nuclear norm of the optimum of the penalised problem with multiplier 1, weight ``ratio`` on the majority.

    Row k of a majority class is α (e_k − 1/m_A) on its cluster plus y_A/m_A there and −y_A/m_B on the other one; of a
    minority class y_B/m_B on its cluster and −y_B/m_A on the other one.
    """
    classes = majority + minority

    def outputs(angle: float) -> tuple[float, float, float]:
        """α, y_A and y_B where the direction between the clusters has this angle."""
        leak = math.sqrt(minority / classes) * math.cos(angle) / ratio
        back = math.sqrt(majority / classes) * math.sin(angle)
        same = (1 / ratio - leak) / majority
        gap = math.log1p((1 - 1 / ratio) / same) if majority > 1 else 0.0
        own = same + (1 - 1 / ratio)
        first = math.log(minority * own / leak) - gap * (1 - 1 / majority)
        second = math.log((1 - back) * majority / (minority * back))
        return gap, first * majority * minority / classes, second * majority * minority / classes

    def misalignment(angle: float) -> float:
        _, first, second = outputs(angle)
        return first * math.sqrt(majority) * math.sin(angle) - second * math.sqrt(minority) * math.cos(angle)

    gap, first, second = outputs(float(brentq(misalignment, 1e-12, math.pi / 2 - 1e-12, xtol=1e-15, rtol=1e-14)))
    between = math.sqrt((1 / majority + 1 / minority) * (majority * first**2 + minority * second**2))
    return (majority - 1) * gap + between
