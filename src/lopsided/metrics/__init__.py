"""Measuring a network's last layer in one pass: mergeable moments, and neural-collapse measures in named conventions.

Needs torch, which ``pip install lopsided[measure]`` brings.
"""

from lopsided.metrics.alignment import (
    minority_spread,
    nc2_etf,
    nc2_etf_classifier,
    nc3_etf,
    nc4,
    nc4_samples,
)
from lopsided.metrics.moments import Moments, MomentState, empty_moments, merge_moments, update_moments
from lopsided.metrics.summary import measure
from lopsided.metrics.variability import (
    cdnv,
    nc1,
    nc1_rank_aware,
    nc1_trace_ratio,
    nc1_unweighted,
    nc1_weighted,
)

__all__ = [
    "MomentState",
    "Moments",
    "cdnv",
    "empty_moments",
    "measure",
    "merge_moments",
    "minority_spread",
    "nc1",
    "nc1_rank_aware",
    "nc1_trace_ratio",
    "nc1_unweighted",
    "nc1_weighted",
    "nc2_etf",
    "nc2_etf_classifier",
    "nc3_etf",
    "nc4",
    "nc4_samples",
    "update_moments",
]
