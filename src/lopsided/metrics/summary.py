"""Every measure of neural collapse at once, each under a name that says its convention."""

from __future__ import annotations

import math
from typing import Any

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.metrics.alignment import minority_spread, nc2_etf, nc2_etf_classifier, nc3_etf, nc4, nc4_samples
from lopsided.metrics.moments import Moments, TensorLike
from lopsided.metrics.predicted import nc2_predicted, nc2_predicted_classifier, nc3_predicted
from lopsided.metrics.present import PresentClasses
from lopsided.metrics.variability import cdnv, nc1, nc1_rank_aware, nc1_trace_ratio, nc1_unweighted, nc1_weighted


def measure(
    moments: Moments,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    *,
    features: TensorLike | None = None,
    predicted: Geometry | None = None,
) -> dict[str, Any]:
    """Measure a last layer.

    Parameters
    ----------
    moments : Moments
        Of the features that enter the last layer.
    weight : (K, d) tensor or array, optional
        Weight of the last layer; without it the measures that need a classifier are left out.
    bias : (K,) tensor or array, optional
        Bias of the last layer; zeros if not given.
    features : (B, d) tensor or array, optional
        Samples on which to measure ``nc4_samples``, which moments alone cannot give.
    predicted : Geometry, optional
        What the theory predicts for these classes, to measure the distance from it.

    Returns
    -------
    dict
        Ready for strict JSON: numbers and lists, and ``None`` for a measure that has no finite value here (such as NC1
        when all class means coincide).

        - ``num_classes``, ``num_samples``, ``counts``
        - ``nc1`` (the paper's), ``nc1_unweighted``, ``nc1_weighted``, ``nc1_rank_aware``, all left out where the
          moments hold traces only; ``nc1_trace_ratio``
        - ``cdnv`` over all pairs of classes, and ``cdnv_unmerged`` without the pairs inside a merged group
        - ``nc1_corrected``, ``nc1_trace_ratio_corrected``, ``cdnv_corrected``: with the bias of few samples a class
          corrected, the first and the last only where the scatter is kept; far from the plain ones, neither is to be
          relied on
        - ``nc2_etf``, ``minority_spread``, ``rank`` and ``merged`` (lists of class indices)
        - with a classifier: ``nc2_etf_classifier``, ``nc3_etf``, ``nc4`` (on class means); rank and merged go by the
          mean logits then, by the class means otherwise
        - with features too: ``nc4_samples``
        - with a prediction: ``nc2_predicted`` and, with a classifier, ``nc2_predicted_classifier``, ``nc3_predicted``

        Each is documented at the function of its name.

    Raises
    ------
    ValueError
        If ``weight``, ``bias``, ``features`` or ``predicted`` does not fit the moments, or features or a bias are given
        without a weight.

    Examples
    --------
    >>> import torch
    >>> from lopsided.metrics import Moments, measure
    >>> moments = Moments(num_classes=2, dim=1)
    >>> moments.update(torch.tensor([[0.9], [1.1], [-0.9], [-1.1]]).double(), torch.tensor([0, 0, 1, 1]))
    >>> values = measure(moments, weight=torch.tensor([[3.0], [-3.0]]))
    >>> values["nc1"], values["nc2_etf"], values["nc3_etf"], values["rank"], values["merged"]
    (0.005, 0.0, 0.0, 1, [])
    """
    if features is not None and weight is None:
        raise ArgumentError("features", "must come with a weight: nc4_samples compares with the classifier")
    if bias is not None and weight is None:
        raise ArgumentError("bias", "must come with a weight, without which no logits are measured")
    return measure_geometry(moments, moments.geometry(weight, bias), features=features, predicted=predicted)


def measure_geometry(
    moments: Moments, geometry: Geometry, *, features: TensorLike | None = None, predicted: Geometry | None = None
) -> dict[str, Any]:
    """:func:`measure`, for who has the geometry of the moments already: its rank and groups are not found twice."""
    present = PresentClasses(moments)
    values: dict[str, Any] = {
        "num_classes": moments.num_classes,
        "num_samples": moments.num_samples,
        "counts": geometry.counts.tolist(),
    }
    if moments.has_scatter:
        values["nc1"] = nc1(present)
        values["nc1_unweighted"] = nc1_unweighted(present)
        values["nc1_weighted"] = nc1_weighted(present)
        values["nc1_rank_aware"] = nc1_rank_aware(present, geometry.rank)
        values["nc1_corrected"] = nc1(present, corrected=True)
        values["cdnv_corrected"] = cdnv(present, corrected=True)
    values |= {
        "nc1_trace_ratio": nc1_trace_ratio(present),
        "nc1_trace_ratio_corrected": nc1_trace_ratio(present, corrected=True),
        "cdnv": cdnv(present),
        "cdnv_unmerged": cdnv(present, geometry.merged),
        "nc2_etf": nc2_etf(geometry),
        "minority_spread": minority_spread(geometry),
        "rank": geometry.rank,
        "merged": geometry.merged,
    }
    if geometry.has_classifier:
        values["nc2_etf_classifier"] = nc2_etf_classifier(geometry)
        values["nc3_etf"] = nc3_etf(geometry)
        values["nc4"] = nc4(geometry)
        if features is not None:
            values["nc4_samples"] = nc4_samples(geometry, features)
    if predicted is not None:
        values["nc2_predicted"] = nc2_predicted(geometry, predicted)
        if geometry.has_classifier:
            values["nc2_predicted_classifier"] = nc2_predicted_classifier(geometry, predicted)
            values["nc3_predicted"] = nc3_predicted(geometry, predicted)
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
