"""Measuring a network's last layer in one pass: mergeable moments, and neural-collapse measures in named conventions.

Needs torch, which ``pip install lopsided[measure]`` brings. The torchmetrics classes are loaded on first use.
"""

from typing import TYPE_CHECKING

from lopsided.core.exports import lazy_exports
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
    from lopsided.metrics.modular import CDNV as CDNV
    from lopsided.metrics.modular import NC1 as NC1
    from lopsided.metrics.modular import NC2 as NC2
    from lopsided.metrics.modular import NC3 as NC3
    from lopsided.metrics.modular import NC4 as NC4
    from lopsided.metrics.modular import MinoritySpread as MinoritySpread
    from lopsided.metrics.modular import NeuralCollapse as NeuralCollapse
    from lopsided.metrics.moment_metric import MomentMetric as MomentMetric

__getattr__, __dir__, _lazy = lazy_exports(
    __name__,
    modular="CDNV NC1 NC2 NC3 NC4 MinoritySpread NeuralCollapse",
    moment_metric="MomentMetric",
)

__all__ = [
    *_lazy,
    "EffectiveDecay",
    "FeatureCapture",
    "Gathered",
    "Interval",
    "MomentState",
    "Moments",
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
    "update_moments",
]
