"""The certified optimum of a problem."""

from lopsided.solver.algorithm import solve
from lopsided.solver.solution import ClusterSummary, Solution

__all__ = ["ClusterSummary", "Solution", "solve"]
