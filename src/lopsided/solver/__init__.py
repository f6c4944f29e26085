"""The certified optimum of a problem."""

from lopsided.solver.algorithm import complete_threshold, solve
from lopsided.solver.certificate import Certificate, certify_logits
from lopsided.solver.solution import ClusterSummary, Solution

__all__ = ["Certificate", "ClusterSummary", "Solution", "certify_logits", "complete_threshold", "solve"]
