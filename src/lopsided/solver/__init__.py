"""The certified optimum of a problem."""

from lopsided.solver.algorithm import complete_threshold, optimum_of, solve
from lopsided.solver.certificate import Certificate, certify_logits
from lopsided.solver.continuation import solve_path
from lopsided.solver.reduction import ReducedProblem
from lopsided.solver.solution import ClusterSummary, Solution

__all__ = [
    "Certificate",
    "ClusterSummary",
    "ReducedProblem",
    "Solution",
    "certify_logits",
    "complete_threshold",
    "optimum_of",
    "solve",
    "solve_path",
]
