"""Measuring a network's last layer in one pass: mergeable moments, and neural-collapse measures in named conventions.

Needs torch, which ``pip install lopsided[measure]`` brings. The torchmetrics classes are loaded on first use.
"""

from typing import TYPE_CHECKING, Any

from lopsided.metrics.alignment import (
    minority_spread,
    nc2_etf,
    nc2_etf_classifier,
    nc3_etf,
    nc4,
    nc4_samples,
)
from lopsided.metrics.bootstrap import Interval, bootstrap_interval
from lopsided.metrics.capture import FeatureCapture
from lopsided.metrics.effective_decay import EffectiveDecay, effective_decay
from lopsided.metrics.gathering import Gathered, gather, gather_from_model
from lopsided.metrics.moments import Moments, MomentState, empty_moments, merge_moments, update_moments
from lopsided.metrics.optimizer_decay import DecayWarning, OptimizerDecays, optimizer_decays
from lopsided.metrics.predicted import nc2_predicted, nc2_predicted_classifier, nc3_predicted
from lopsided.metrics.summary import measure
from lopsided.metrics.variability import (
    cdnv,
    cdnv_pairs,
    cdnv_per_class,
    nc1,
    nc1_rank_aware,
    nc1_trace_ratio,
    nc1_trace_ratio_per_class,
    nc1_unweighted,
    nc1_weighted,
)

if TYPE_CHECKING:
    from lopsided.metrics.classes import (
        CDNV,
        NC1,
        NC2,
        NC3,
        NC4,
        ClassVariability,
        MeanLogitRank,
        MeanLogits,
        MinoritySpread,
        NeuralCollapse,
    )
    from lopsided.metrics.moment_metric import MomentMetric

_TORCHMETRICS = (
    "CDNV",
    "NC1",
    "NC2",
    "NC3",
    "NC4",
    "ClassVariability",
    "MeanLogitRank",
    "MeanLogits",
    "MinoritySpread",
    "MomentMetric",
    "NeuralCollapse",
)

__all__ = [
    "CDNV",
    "NC1",
    "NC2",
    "NC3",
    "NC4",
    "ClassVariability",
    "DecayWarning",
    "EffectiveDecay",
    "FeatureCapture",
    "Gathered",
    "Interval",
    "MeanLogitRank",
    "MeanLogits",
    "MinoritySpread",
    "MomentMetric",
    "MomentState",
    "Moments",
    "NeuralCollapse",
    "OptimizerDecays",
    "bootstrap_interval",
    "cdnv",
    "cdnv_pairs",
    "cdnv_per_class",
    "effective_decay",
    "empty_moments",
    "gather",
    "gather_from_model",
    "measure",
    "merge_moments",
    "minority_spread",
    "nc1",
    "nc1_rank_aware",
    "nc1_trace_ratio",
    "nc1_trace_ratio_per_class",
    "nc1_unweighted",
    "nc1_weighted",
    "nc2_etf",
    "nc2_etf_classifier",
    "nc2_predicted",
    "nc2_predicted_classifier",
    "nc3_etf",
    "nc3_predicted",
    "nc4",
    "nc4_samples",
    "optimizer_decays",
    "update_moments",
]


def __getattr__(name: str) -> Any:
    # torchmetrics takes as long to import as torch, and functions do without it.
    if name in _TORCHMETRICS:
        from lopsided.metrics import classes

        return getattr(classes, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
