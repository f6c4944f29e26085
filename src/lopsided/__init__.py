"""Predict, measure and prevent the collapse of rare classes in classifiers trained on lopsided data.

The three roads of the package end in one noun, the :class:`Geometry` of a last layer: :class:`UFM` predicts it,
``lopsided.metrics`` measures it (needs torch), and :func:`compare` puts the two side by side. Importing this package
loads neither torch nor Matplotlib.
"""

from lopsided.advice import Advice, Outlook, Remedy, advise, check
from lopsided.core.arguments import ArgumentError
from lopsided.core.comparison import Comparison, Discrepancy, compare
from lopsided.core.count_sources import ClassCounts, read_counts
from lopsided.core.counts import format_counts, parse_counts
from lopsided.core.geometry import Geometry
from lopsided.core.losses import CrossEntropy, FocalLoss, SquaredError
from lopsided.core.problem import Clusters
from lopsided.core.solution import ClusterSummary, Solution
from lopsided.forecast import Forecast, ForecastSolution, forecast
from lopsided.model import UFM, solve
from lopsided.solver import Certificate, certify_logits, solve_path
from lopsided.theory import CriticalDecay, Thresholds, critical_path, thresholds

__version__ = "0.1.0"

__all__ = [
    "UFM",
    "Advice",
    "ArgumentError",
    "Certificate",
    "ClassCounts",
    "ClusterSummary",
    "Clusters",
    "Comparison",
    "CriticalDecay",
    "CrossEntropy",
    "Discrepancy",
    "FocalLoss",
    "Forecast",
    "ForecastSolution",
    "Geometry",
    "Outlook",
    "Remedy",
    "Solution",
    "SquaredError",
    "Thresholds",
    "__version__",
    "advise",
    "certify_logits",
    "check",
    "compare",
    "critical_path",
    "forecast",
    "format_counts",
    "parse_counts",
    "read_counts",
    "solve",
    "solve_path",
    "thresholds",
]
