"""Closed forms, thresholds, paths and limits: what has a formula, or is read off solutions.

What is solved by iteration is in :mod:`lopsided.solver`; names of it that stood here stay importable from here.
"""

from lopsided.solver import (
    Bracket,
    deep_branch,
    deep_stationary_point,
    fixed_classifier_optimum,
    focal_convex_from,
    focal_tight_from,
    largest_cosine,
    orthant_norm,
    simplex_directions,
    simplex_gaps,
    stationary_point,
)
from lopsided.theory.asymptotics import CollapseSizes, collapse_sizes, small_decay_optimum
from lopsided.theory.balanced import balanced_optimum
from lopsided.theory.boundaries import Regime, TwoClusterBoundaries, two_cluster_boundaries
from lopsided.theory.closeness import NearCollapse, NearCollapseRate, near_collapse, near_collapse_rate
from lopsided.theory.layer_peeled import minority_collapse_ratio
from lopsided.theory.path import CriticalDecay, critical_path
from lopsided.theory.phase import PhaseDiagram, phase_diagram
from lopsided.theory.phase_axes import Axis
from lopsided.theory.relu import relu_complete_threshold, relu_optimum
from lopsided.theory.seli import seli_limit, seli_polar_factor
from lopsided.theory.spectrum import SingularPaths, singular_paths
from lopsided.theory.squared_error import squared_error_optimum
from lopsided.theory.thresholds import Thresholds, class_strengths, class_thresholds, thresholds
from lopsided.theory.two_classes import two_class_optimum
from lopsided.theory.two_clusters import two_cluster_optimum, two_cluster_threshold

__all__ = [
    "Axis",
    "Bracket",
    "CollapseSizes",
    "CriticalDecay",
    "NearCollapse",
    "NearCollapseRate",
    "PhaseDiagram",
    "Regime",
    "SingularPaths",
    "Thresholds",
    "TwoClusterBoundaries",
    "balanced_optimum",
    "class_strengths",
    "class_thresholds",
    "collapse_sizes",
    "critical_path",
    "deep_branch",
    "deep_stationary_point",
    "fixed_classifier_optimum",
    "focal_convex_from",
    "focal_tight_from",
    "largest_cosine",
    "minority_collapse_ratio",
    "near_collapse",
    "near_collapse_rate",
    "orthant_norm",
    "phase_diagram",
    "relu_complete_threshold",
    "relu_optimum",
    "seli_limit",
    "seli_polar_factor",
    "simplex_directions",
    "simplex_gaps",
    "singular_paths",
    "small_decay_optimum",
    "squared_error_optimum",
    "stationary_point",
    "thresholds",
    "two_class_optimum",
    "two_cluster_boundaries",
    "two_cluster_optimum",
    "two_cluster_threshold",
]
