"""The certified optimum of a problem."""

from lopsided.solver.algorithm import check_settings, complete_threshold, optimum_of, solve
from lopsided.solver.certificate import Certificate
from lopsided.solver.continuation import solve_path
from lopsided.solver.reduction import ReducedProblem
from lopsided.solver.solution import ClusterSummary, Solution
from lopsided.solver.translation import certify_logits, reduce_problem

__all__ = [
    "Certificate",
    "ClusterSummary",
    "ReducedProblem",
    "Solution",
    "certify_logits",
    "check_settings",
    "complete_threshold",
    "optimum_of",
    "reduce_problem",
    "solve",
    "solve_path",
]
