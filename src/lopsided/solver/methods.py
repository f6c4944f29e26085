"""What the algorithm asks of a problem by the kind of its loss: second derivative, best biases, where to start."""

from __future__ import annotations

from collections.abc import Callable

from lopsided.solver import softmax_start
from lopsided.solver.quadratic import QuadraticCurvature, QuadraticEvaluation, QuadraticProblem
from lopsided.solver.reduction import Curvature, Evaluation, Point, ReducedProblem
from lopsided.solver.softmax import SoftmaxEvaluation, SoftmaxProblem
from lopsided.solver.softmax_curvature import SoftmaxCurvature, settle_bias


def curvature_of(evaluation: Evaluation) -> Curvature:
    """Second derivative at an evaluated point."""
    if isinstance(evaluation, QuadraticEvaluation):
        return QuadraticCurvature(evaluation)
    assert isinstance(evaluation, SoftmaxEvaluation)
    return SoftmaxCurvature(evaluation)


def settled(problem: ReducedProblem, point: Point, accuracy: float = 0.1) -> Point:
    """The point with nearly the best biases for its logits: to so many nats, or exactly for squared error."""
    if isinstance(problem, SoftmaxProblem):
        return settle_bias(problem, point, accuracy)
    return problem.evaluate(point).point


def first_guesses(problem: ReducedProblem) -> list[Point]:
    """Points to start from, in closed form."""
    if isinstance(problem, SoftmaxProblem):
        return [settled(problem, guess) for guess in softmax_start.first_guesses(problem)]
    assert isinstance(problem, QuadraticProblem)
    return problem.first_guesses()


def coarser_problem(problem: ReducedProblem) -> tuple[ReducedProblem, Callable[[Point], Point]] | None:
    """A smaller problem of nearly the same optimum, and how to carry its optimum over; None where not needed."""
    found = softmax_start.coarsen(problem) if isinstance(problem, SoftmaxProblem) else None
    if found is None or not isinstance(problem, SoftmaxProblem):
        return None
    coarse, groups = found
    return coarse, lambda point: softmax_start.prolong(problem, coarse, groups, point)
