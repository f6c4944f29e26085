"""Optima at many decays, each started from its neighbours'."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lopsided.core.problem import Problem
from lopsided.core.solution import Solution
from lopsided.solver.algorithm import check_settings, cold_start, optimum_of
from lopsided.solver.arrays import Array
from lopsided.solver.expansion import solution_of
from lopsided.solver.reduction import Point, ReducedProblem
from lopsided.solver.translation import reduce_problem


def solve_path(
    problem: Problem,
    decays: Iterable[float],
    *,
    tol: float = 1e-9,
    max_iterations: int = 200,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Solution]:
    """Solve a problem at many decays, from the largest down, each started from the optima before it.

    Parameters
    ----------
    problem : Problem
        What to solve; its own ``lambda_z`` plays no part, λ_w and λ_h keep their ratio.
    decays : iterable of float
        The values of ``lambda_z``, in any order.
    tol, max_iterations, device
        As in :func:`solve`.
    progress : callable, optional
        Called with how many decays are done, and how many there are.

    Returns
    -------
    list of Solution
        One a decay, in the order given, each with its own certificate.

    Examples
    --------
    >>> import lopsided as lp
    >>> model = lp.UFM("500x5,100x5", lambda_z=1.0, lambda_b=0.02)
    >>> [solution.geometry.rank for solution in lp.solve_path(model, [0.003, 0.0035, 0.005, 0.008])]
    [9, 5, 4, 0]
    """
    check_settings(tol, max_iterations)
    problems = [problem.replaced(lambda_z=decay) for decay in decays]
    solutions: dict[int, Solution] = {}
    trail = Trail()
    for index in sorted(range(len(problems)), key=lambda index: -problems[index].lambda_z):
        if progress is not None:
            progress(len(solutions), len(problems))
        reduced = reduce_problem(problems[index], device)
        outcome = optimum_of(reduced, tol, max_iterations, trail.start(reduced))
        trail.add(outcome.iterate.evaluation.point)
        solutions[index] = solution_of(problems[index], outcome, tol, max_iterations)
    if progress is not None:
        progress(len(solutions), len(problems))
    return [solutions[index] for index in range(len(problems))]


class Trail:
    """What a start lacked at the last decay, to be put right at the next one.

    A cold start is good already, being the optimum of a coarser problem or a closed form at the very same decay; what
    it lacks changes slowly with the decay.
    """

    def __init__(self) -> None:
        self._start: Point | None = None
        self._lacked: tuple[Array, Array, Array] | None = None

    def start(self, problem: ReducedProblem) -> Point:
        """A start for a problem at another decay."""
        cold = self._start = cold_start(problem)
        if self._lacked is None:
            return cold
        between, within, bias = self._lacked
        xp = problem.xp
        inside = xp.where(problem.separable, xp.maximum(cold.within + within, 0.1 * cold.within), 0.0)
        return Point(cold.between + between, inside, cold.bias + bias)

    def add(self, optimum: Point) -> None:
        """The optimum that the last start led to."""
        start = self._start
        assert start is not None
        self._lacked = (optimum.between - start.between, optimum.within - start.within, optimum.bias - start.bias)
