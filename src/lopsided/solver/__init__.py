"""Everything iterative: the certified optimum of the convex problem, and stationary points of those that are not."""

from lopsided.solver.algorithm import check_settings, complete_threshold, optimum_of, solve
from lopsided.solver.certificate import Certificate
from lopsided.solver.continuation import solve_path
from lopsided.solver.deep import deep_branch, deep_stationary_point
from lopsided.solver.directions import largest_cosine, simplex_directions
from lopsided.solver.fixed_classifier import fixed_classifier_optimum, simplex_gaps
from lopsided.solver.logit_losses import focal_convex_from, focal_tight_from
from lopsided.solver.orthant import Bracket, orthant_norm, orthant_norm_bound
from lopsided.solver.reduction import ReducedProblem
from lopsided.solver.stationary import complete_norm, factors_gap, local_solution, stationary_point
from lopsided.solver.translation import certify_logits, reduce_problem

__all__ = [
    "Bracket",
    "Certificate",
    "ReducedProblem",
    "certify_logits",
    "check_settings",
    "complete_norm",
    "complete_threshold",
    "deep_branch",
    "deep_stationary_point",
    "factors_gap",
    "fixed_classifier_optimum",
    "focal_convex_from",
    "focal_tight_from",
    "largest_cosine",
    "local_solution",
    "optimum_of",
    "orthant_norm",
    "orthant_norm_bound",
    "reduce_problem",
    "simplex_directions",
    "simplex_gaps",
    "solve",
    "solve_path",
    "stationary_point",
]
