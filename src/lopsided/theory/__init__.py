"""Closed forms."""

from lopsided.theory.asymptotics import CollapseSizes, collapse_sizes, small_decay_optimum
from lopsided.theory.balanced import balanced_optimum
from lopsided.theory.boundaries import Regime, TwoClusterBoundaries, two_cluster_boundaries
from lopsided.theory.closeness import NearCollapse, NearCollapseRate, near_collapse, near_collapse_rate
from lopsided.theory.deep import DeepStationaryPoint, deep_branch, deep_stationary_point
from lopsided.theory.fixed_classifier import FixedClassifierOptimum, fixed_classifier_optimum, simplex_gaps
from lopsided.theory.layer_peeled import minority_collapse_ratio
from lopsided.theory.logit_losses import focal_convex_from, focal_tight_from
from lopsided.theory.path import CriticalDecay, critical_path
from lopsided.theory.phase import PhaseDiagram, phase_diagram
from lopsided.theory.phase_axes import Axis
from lopsided.theory.relu import Bracket, orthant_norm, relu_complete_threshold, relu_optimum
from lopsided.theory.seli import seli_limit, seli_polar_factor
from lopsided.theory.solving import solve
from lopsided.theory.spectrum import SingularPaths, singular_paths
from lopsided.theory.squared_error import squared_error_optimum
from lopsided.theory.stationary import StationaryPoint, stationary_point
from lopsided.theory.thresholds import Thresholds, class_strengths, thresholds
from lopsided.theory.two_classes import two_class_optimum
from lopsided.theory.two_clusters import two_cluster_optimum, two_cluster_threshold

__all__ = [
    "Axis",
    "Bracket",
    "CollapseSizes",
    "CriticalDecay",
    "DeepStationaryPoint",
    "FixedClassifierOptimum",
    "NearCollapse",
    "NearCollapseRate",
    "PhaseDiagram",
    "Regime",
    "SingularPaths",
    "StationaryPoint",
    "Thresholds",
    "TwoClusterBoundaries",
    "balanced_optimum",
    "class_strengths",
    "collapse_sizes",
    "critical_path",
    "deep_branch",
    "deep_stationary_point",
    "fixed_classifier_optimum",
    "focal_convex_from",
    "focal_tight_from",
    "minority_collapse_ratio",
    "near_collapse",
    "near_collapse_rate",
    "orthant_norm",
    "phase_diagram",
    "relu_complete_threshold",
    "relu_optimum",
    "seli_limit",
    "seli_polar_factor",
    "simplex_gaps",
    "singular_paths",
    "small_decay_optimum",
    "solve",
    "squared_error_optimum",
    "stationary_point",
    "thresholds",
    "two_class_optimum",
    "two_cluster_boundaries",
    "two_cluster_optimum",
    "two_cluster_threshold",
]
