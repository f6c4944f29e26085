"""Closed forms."""

from lopsided.theory.asymptotics import CollapseSizes, collapse_sizes, small_decay_optimum
from lopsided.theory.balanced import balanced_optimum
from lopsided.theory.deep import DeepStationaryPoint, deep_stationary_point
from lopsided.theory.layer_peeled import minority_collapse_ratio
from lopsided.theory.path import CriticalDecay, critical_path
from lopsided.theory.relu import Bracket, orthant_norm, relu_complete_threshold, relu_optimum
from lopsided.theory.relu_numerical import ReluStationaryPoint, relu_stationary_point
from lopsided.theory.seli import seli_limit, seli_polar_factor
from lopsided.theory.squared_error import squared_error_optimum
from lopsided.theory.thresholds import Thresholds, thresholds
from lopsided.theory.two_classes import two_class_optimum
from lopsided.theory.two_clusters import two_cluster_optimum, two_cluster_threshold

__all__ = [
    "Bracket",
    "CollapseSizes",
    "CriticalDecay",
    "DeepStationaryPoint",
    "ReluStationaryPoint",
    "Thresholds",
    "balanced_optimum",
    "collapse_sizes",
    "critical_path",
    "deep_stationary_point",
    "minority_collapse_ratio",
    "orthant_norm",
    "relu_complete_threshold",
    "relu_optimum",
    "relu_stationary_point",
    "seli_limit",
    "seli_polar_factor",
    "small_decay_optimum",
    "squared_error_optimum",
    "thresholds",
    "two_class_optimum",
    "two_cluster_optimum",
    "two_cluster_threshold",
]
