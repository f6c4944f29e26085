r"""NC2 and NC3 against a predicted geometry: the optimum for *these* class counts takes the place of the simplex.

With imbalanced classes the optimum is no simplex and its classifier is not dual to its means, so distance from the
simplex says little about how far a network has come. These functions are 0 at the predicted optimum, wherever its
centre is and whatever its rotation and scale, and for equal counts they are the functions named ``_etf``. Only shape is
compared; :func:`lopsided.compare` compares sizes too.

The prediction must be of the same classes, such as ``lopsided.UFM(...).solve().geometry``: a ``ValueError`` says that
the numbers of classes differ, or that a classifier is needed and missing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.metrics.alignment import centred, distance_of_shapes


def nc2_predicted(geometry: Geometry, predicted: Geometry) -> float:
    r"""Distance of the class means from those predicted, :math:`\|G/\|G\|_F-G^*/\|G^*\|_F\|_F`.

    G and :math:`G^*` are the Gram matrices of the class means, each about its own mean, over the classes present in
    both. Between 0 and √2; NaN when the means of either all coincide.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.metrics import nc2_etf, nc2_predicted
    >>> predicted = lp.UFM(counts="500x3,100x3", lambda_z=3e-3, bias=False).solve().geometry
    >>> measured = lp.Geometry(predicted.counts, 7 * predicted.class_means[:, ::-1] + 2)  # mirrored, scaled, moved
    >>> round(nc2_predicted(measured, predicted), 9), round(nc2_etf(measured), 3)
    (0.0, 0.071)
    """
    both = _in_both(geometry, predicted)
    measured, expected = (centred(each.class_means[both]) for each in (geometry, predicted))
    return distance_of_shapes(measured @ measured.T, expected @ expected.T)


def nc2_predicted_classifier(geometry: Geometry, predicted: Geometry) -> float:
    r"""Distance of the classifier from that predicted: :func:`nc2_predicted` of :math:`WW^\top`, which is not centred.

    Between 0 and √2; NaN when either classifier is zero.
    """
    _in_both(geometry, predicted)
    return distance_of_shapes(geometry.gram_classifier, predicted.gram_classifier)


def nc3_predicted(geometry: Geometry, predicted: Geometry) -> float:
    r"""Distance of the classifier from the one that the prediction makes of the measured class means.

    .. math:: \Big\|\frac{W}{\|W\|_F}-\frac{TM}{\|TM\|_F}\Big\|_F,\qquad T=W^*(M^*)^+,

    M and :math:`M^*` the class means about their own mean, measured and predicted. At the optimum for imbalanced
    classes W is not proportional to M, but to a known combination of its rows. For equal counts T is the centring
    matrix and this is :func:`nc3_etf`. Between 0 and 2; NaN when W or T M is zero, or a class of the prediction has no
    sample.

    The predicted classifier must lie in the span of the predicted centred means for a network at the optimum to have
    distance 0; that of features behind a ReLU need not.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.metrics import nc3_etf, nc3_predicted
    >>> predicted = lp.UFM(counts="500x3,100x3", lambda_z=3e-3, bias=False).solve().geometry
    >>> round(nc3_predicted(predicted, predicted), 6), round(nc3_etf(predicted), 3)
    (0.0, 0.335)
    """
    both = _in_both(geometry, predicted)
    if both.sum() < np.sum(predicted.counts > 0):
        return float("nan")
    left, values, right = np.linalg.svd(centred(predicted.class_means[both]), full_matrices=False)
    # What is left beyond the predicted rank is the solver's rounding, and would be blown up.
    rank = min(predicted.rank, int(np.sum(values > 0)))
    combination = (predicted.classifier[both] @ right[:rank].T / values[:rank]) @ left[:, :rank].T
    return distance_of_shapes(geometry.classifier[both], combination @ centred(geometry.class_means[both]))


def require_same_classes(num_classes: int, predicted: Geometry) -> None:
    """Refuse a prediction for another number of classes than is measured."""
    if num_classes != predicted.num_classes:
        raise ArgumentError(
            "predicted", f"must have as many classes as are measured, {num_classes}", predicted.num_classes
        )


def _in_both(geometry: Geometry, predicted: Geometry) -> NDArray[np.bool_]:
    require_same_classes(geometry.num_classes, predicted)
    both: NDArray[np.bool_] = (geometry.counts > 0) & (predicted.counts > 0)
    return both
