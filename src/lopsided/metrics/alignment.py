"""How class means and classifier are arranged: NC2 and NC3 against the simplex, NC4, and the spread of rare classes.

Every function reads a :class:`~lopsided.Geometry`, so it says the same of a measured network and of a predicted
optimum. Absent classes take no part. What needs a classifier raises a ``ValueError`` where the geometry has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.metrics.moments import TensorLike, as_tensor

Array = NDArray[np.float64]

#: Samples compared with the class means at a time.
_CHUNK = 8192


def nc2_etf(geometry: Geometry) -> float:
    r"""Distance of the class means from a simplex equiangular tight frame (ETF).

    .. math:: \Big\|\frac{G}{\|G\|_F}-\frac{C}{\sqrt{K-1}}\Big\|_F,\qquad C=I-\tfrac1K 11^\top,

    G the Gram matrix of the class means about *their own* mean. (About the mean of all samples even an exact simplex
    would fail on imbalanced classes.)

    Between 0 (an exact simplex) and √2; NaN when all means coincide or fewer than two classes are present.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.metrics import nc2_etf
    >>> nc2_etf(lp.Geometry(counts=[9, 1], class_means=[[3.0], [1.0]]))    # two points are always a simplex
    0.0
    """
    return _distance_from_simplex(centred(geometry.class_means[geometry.counts > 0]))


def nc2_etf_classifier(geometry: Geometry) -> float:
    r"""Distance of the classifier from a simplex ETF: :func:`nc2_etf` of :math:`WW^\top`, which is not centred.

    Between 0 and √2; NaN when the classifier is zero or there is only one class.
    """
    return _distance_from_simplex(geometry.classifier)


def nc3_etf(geometry: Geometry) -> float:
    r"""Distance from self-duality, :math:`\|W/\|W\|_F-M/\|M\|_F\|_F`, M the class means about their own mean.

    Between 0 (each class's weight points along its mean) and 2; NaN when W or M is zero.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.metrics import nc3_etf
    >>> nc3_etf(lp.Geometry(counts=[9, 1], class_means=[[3.0], [1.0]], classifier=[[5.0], [-5.0]]))
    0.0
    """
    present = geometry.counts > 0
    return distance_of_shapes(geometry.classifier[present], centred(geometry.class_means[present]))


def nc4(geometry: Geometry) -> float:
    r"""Share of the classes whose own mean the classifier, with its bias, gives to another class.

    This is what class means alone can say of NC4, the agreement of the classifier with the nearest class mean: class
    k's mean is nearest to itself, and the classifier agrees when k maximises :math:`\langle w_k,\bar h\rangle+b_k`. It
    is the limit of :func:`nc4_samples` in each class as the class collapses. Of m merged classes all but one are lost
    to the one whose logit, equal but for rounding, comes out largest.

    Between 0 (agreement everywhere) and 1; a tie counts as agreement. NaN when no class is present.
    """
    present = np.flatnonzero(geometry.counts > 0)
    if len(present) == 0:
        return float("nan")
    logits = geometry.mean_logits[present] + geometry.bias
    return float(np.mean(logits[np.arange(len(present)), present] < logits.max(axis=1)))


def nc4_samples(geometry: Geometry, features: TensorLike) -> float:
    r"""NC4 of Papyan, Han & Donoho (2020): share of samples on which classifier and nearest class mean disagree.

    Parameters
    ----------
    geometry : Geometry
        With a classifier, measured on these samples (or on others, to see how it carries over).
    features : (B, d) tensor or array
        One row a sample, of any real dtype.

    Returns
    -------
    float
        Between 0 and 1. The nearest mean is sought among the classes present; the classifier's choice among all, with
        the bias.

    Raises
    ------
    ValueError
        If no class has samples, or ``features`` has no sample or another width.
    """
    samples = as_tensor(features, "features").cpu()
    weight = torch.from_numpy(geometry.classifier)
    if samples.ndim != 2 or len(samples) == 0 or samples.shape[1] != weight.shape[1]:
        raise ArgumentError(
            "features", f"must have shape (B, d) with B ≥ 1 and d = {weight.shape[1]}", tuple(samples.shape)
        )
    present = np.flatnonzero(geometry.counts > 0)
    if len(present) == 0:
        raise ArgumentError("geometry", "must have at least one class with samples", got="counts that are all zero")
    means = geometry.class_means[present]
    # Distances from a centre amid the means: in the expanded square a common offset would drown their differences.
    centre = means.mean(axis=0)
    centred = torch.from_numpy(means - centre)
    halves = centred.square().sum(dim=1) / 2
    offset, classes, bias = torch.from_numpy(centre), torch.from_numpy(present), torch.from_numpy(geometry.bias)
    disagreements = 0
    for start in range(0, len(samples), _CHUNK):
        values = samples[start : start + _CHUNK].to(torch.float64)
        nearest = classes[((values - offset) @ centred.T - halves).argmax(dim=1)]
        disagreements += int((nearest != (values @ weight.T + bias).argmax(dim=1)).sum())
    return disagreements / len(samples)


def minority_spread(geometry: Geometry, minority: Sequence[int] | None = None) -> float:
    r"""How far apart the rare classes still are, in units of the common classes.

    The root-mean-square distance of the rare classes' means from their centre, over that of the common classes' means
    from the centre of all class means. 1 for equal counts; 0 when the rare classes have merged, wherever they merged:
    with the norm of the *rare* means in the denominator, a merge at the origin would be 0/0.

    Parameters
    ----------
    minority : sequence of int, optional
        The rare classes; those of the smallest count present if not given. The common ones are those of the largest.

    Returns
    -------
    float
        NaN with fewer than two rare classes present, which have no spread, and when all common classes' means are at
        the centre.

    Raises
    ------
    ValueError
        If ``minority`` names a class that is not there.

    Examples
    --------
    >>> import numpy as np
    >>> import lopsided as lp
    >>> from lopsided.metrics import minority_spread
    >>> minority_spread(lp.Geometry(counts=[9, 9, 1, 1], class_means=np.diag([2.0, 2.0, 0.0, 0.0])))
    0.0
    """
    counts = geometry.counts
    present = counts > 0
    if minority is None:
        rare = present & (counts == counts.min(where=present, initial=counts.max()))
    else:
        unknown = [k for k in minority if not 0 <= k < len(counts)]
        if unknown:
            raise ArgumentError("minority", f"must name classes from 0 to {len(counts) - 1}", unknown[0])
        rare = present & np.isin(np.arange(len(counts)), list(minority))
    if rare.sum() < 2:
        return float("nan")
    means = geometry.class_means
    scale = _root_mean_square(means[counts == counts.max()] - means[present].mean(axis=0))
    spread = _root_mean_square(means[rare] - means[rare].mean(axis=0))
    return spread / scale if scale > 0 else float("nan")


def centred(means: Array) -> Array:
    """Class means about their own mean."""
    return means - means.mean(axis=0) if len(means) else means


def distance_of_shapes(first: Array, second: Array) -> float:
    """Distance of two matrices, each of them scaled to norm 1; NaN where one is zero."""
    scales = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    if min(scales) == 0:
        return float("nan")
    return float(np.linalg.norm(first / scales[0] - second / scales[1]))


def _distance_from_simplex(vectors: Array) -> float:
    num_classes = len(vectors)
    gram = vectors @ vectors.T
    scale = float(np.linalg.norm(gram))
    if num_classes < 2 or scale == 0:
        return float("nan")
    simplex = (np.eye(num_classes) - 1 / num_classes) / np.sqrt(num_classes - 1)
    return float(np.linalg.norm(gram / scale - simplex))


def _root_mean_square(vectors: Array) -> float:
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=1))))
