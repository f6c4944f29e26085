"""The algorithm: coarse to fine; on each level a proximal step finds the rank and a Newton step uses it.

Where the Newton step is good an iteration costs one singular value decomposition: the proximal step of the last Newton
point gives the next rank, its singular vectors and, at the solution, the solution itself. The proximal step alone is a
descent method with a guarantee, to which the algorithm falls back whenever a Newton step does not lower the objective.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.problem import Problem
from lopsided.core.solution import Solution
from lopsided.solver.certificate import dual_norm
from lopsided.solver.expansion import Iterate, Outcome, solution_of
from lopsided.solver.methods import coarser_problem, first_guesses, settled
from lopsided.solver.newton import Spectrum, Step, newton_step
from lopsided.solver.reduction import Evaluation, Point, ReducedProblem
from lopsided.solver.translation import reduce_problem

#: How well a coarse problem is solved: better than the difference to the finer one.
COARSE_TOLERANCE = 1e-5
#: The gap aimed at, as a share of the tolerance: on a problem of so few clusters Newton's last step costs little, and
#: it makes the geometry sharp.
POLISHED_SHARE, MOST_CLUSTERS_POLISHED = 1e-3, 200
#: The smallest relative gap that float64 can show.
ROUNDING = 64 * float(np.finfo(float).eps)
#: Products with the Hessian in one Newton step.
MAX_PRODUCTS = 60
#: A singular value of A, over the root of the largest count, below which it is tried whether zero will do: a logit.
NEARLY_ZERO_LOGIT = 1e-3
#: Iterations without progress after which the solver gives up, or gives up polishing: that is, which neither halve the
#: gap nor, while the tolerance itself is not met, lower the objective.
PATIENCE = 4


def solve(problem: Problem, tol: float = 1e-9, max_iterations: int = 200, *, device: str | None = None) -> Solution:
    """Solve the convex problem over mean logits to a certified gap.

    Parameters
    ----------
    problem : Problem
        What to solve.
    tol, max_iterations
        As for :func:`lopsided.solve`. The first iteration is without a Newton step; 5 to 15 are usual.
    device : str, optional
        A device of PyTorch, such as ``"cuda"``, to compute on, in float64. By default that of ``problem.counts`` where
        they were given as a tensor, else NumPy's memory. The solution's arrays are NumPy's in any case.

    Notes
    -----
    The problem is eq. (8) of Hong & Ling (JMLR 2024): equivalent to the unconstrained feature model for feature
    dimension d ≥ K. The gap is a bound that holds whatever the solver did: see :mod:`lopsided.solver.certificate`.

    Examples
    --------
    >>> import lopsided as lp
    >>> solution = lp.solve(lp.UFM(counts="500x5,100x5", lambda_z=3e-3, lambda_b=0.02))
    >>> solution.status, solution.gap < 1e-9
    ('optimal', True)
    """
    check_settings(tol, max_iterations)
    reduced = reduce_problem(problem, device)
    return solution_of(problem, optimum_of(reduced, tol, max_iterations), tol, max_iterations)


def check_settings(tol: float, max_iterations: int) -> None:
    """Refuse a tolerance that float64 cannot certify, or no iteration."""
    if not isinstance(tol, (int, float, np.floating)) or not 1e-14 <= tol < 1:
        raise ArgumentError("tol", "must be a number from 1e-14 (what float64 can certify) to below 1", tol)
    whole = isinstance(max_iterations, (int, np.integer)) and not isinstance(max_iterations, bool)
    if not whole or max_iterations < 1:
        raise ArgumentError("max_iterations", "must be a whole number of at least 1", max_iterations)


def optimum_of(
    problem: ReducedProblem, tol: float = 1e-9, max_iterations: int = 200, start: Point | None = None
) -> Outcome:
    """The optimum of a reduced problem, with the decomposition and gradient it was certified by.

    Begins at a closed-form guess, or the optimum of a coarser problem, unless a start is given. Refuses counts and
    biases that are too far apart, at this decay, for float64.
    """
    polish = POLISHED_SHARE if problem.num_clusters <= MOST_CLUSTERS_POLISHED else 1.0
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused below
            return _solve_from(problem, cold_start(problem) if start is None else start, polish * tol, max_iterations)
    except problem.backend.decomposition_error:
        raise ArgumentError(
            "lambda_z",
            "must be of a size at which float64 can hold the losses of counts and biases this far apart",
            problem.decay,
            remedy="bring it nearer to the decays at which classes merge",
        ) from None


def complete_threshold(problem: Problem) -> float:
    """‖∇f‖_op at Z = 0 and the best biases for it: the λ_z from which on Z = 0 is the optimum."""
    problem.require_convex("complete_threshold()")
    reduced = reduce_problem(problem.replaced(lambda_z=1.0))
    gradient = reduced.evaluate(settled(reduced, reduced.origin(), accuracy=1e-8)).gradient
    return dual_norm(reduced, gradient.between, gradient.within)


def cold_start(problem: ReducedProblem) -> Point:
    """A point near the optimum: the prolonged optimum of a coarser problem, and of the coarsest one the first guess."""
    coarser = coarser_problem(problem)
    if coarser is None:
        guesses = first_guesses(problem)
        return min(guesses, key=lambda guess: _objective(problem, guess)) if len(guesses) > 1 else guesses[0]
    coarse, prolong = coarser
    outcome = _solve_from(coarse, cold_start(coarse), COARSE_TOLERANCE, max_iterations=50)
    return prolong(outcome.iterate.evaluation.point)


def _objective(problem: ReducedProblem, point: Point) -> float:
    evaluation = problem.evaluate(point)
    nuclear_norm = float(problem.xp.sum(problem.xp.linalg.svdvals(point.between))) + problem.nuclear_within(
        point.within
    )
    return evaluation.loss + evaluation.bias_penalty + nuclear_norm


def _solve_from(problem: ReducedProblem, start: Point, tolerance: float, max_iterations: int) -> Outcome:
    """Iterate until the gap is below ``tolerance`` of the objective, or float64 gives no more."""
    iterate = _proximal_step(problem.evaluate(start))
    best: Outcome | None = None
    lowest, previous, waited = float("inf"), 0.0, 0
    for iteration in range(1, max_iterations + 1):
        certificate = problem.certify(iterate.evaluation, iterate.nuclear_norm)
        progress = best is None or certificate.gap < 0.5 * best.certificate.gap
        if best is not None and best.certificate.gap > 1e-9 * certificate.objective:
            # a class of one sample among a billion moves the objective hardly at all, and yet it moves
            progress = progress or certificate.objective < lowest * (1 - ROUNDING)
        waited = 0 if progress else waited + 1
        lowest = min(lowest, certificate.objective)
        if best is None or certificate.gap < best.certificate.gap:
            best = Outcome(iterate, certificate, iteration)
        relative = certificate.gap / certificate.objective
        if relative <= max(tolerance, ROUNDING) or waited >= PATIENCE:
            break
        # Eisenstat and Walker's second choice: solve as well as Newton's model was lately right
        wanted = max((relative / previous) ** 2, 0.1 * tolerance / relative, 1e-6) if previous else 0.1
        accuracy = min(0.1, wanted)
        previous = relative
        with np.errstate(over="ignore", invalid="ignore"):  # as in _advance
            step = newton_step(iterate.evaluation, iterate.spectrum, accuracy, MAX_PRODUCTS)
        iterate = _advance(iterate, step)
    assert best is not None
    return replace(_trimmed(best), iterations=iteration)


def _trimmed(outcome: Outcome) -> Outcome:
    """Without what is nearly zero, wherever the gap is no larger without it.

    Iterations end before the last direction that an optimum loses has quite gone. Were the direction needed, the dual
    norm would exceed 1 without it; that is sharp once the biases are at their best.
    """
    while (candidate := _without_smallest(outcome.iterate)) is not None:
        kept, left = (_settled(iterate, outcome.iterations) for iterate in (outcome.iterate, candidate))
        before, after = kept.certificate, left.certificate
        needed = after.dual_norm > max(before.dual_norm, 1 + ROUNDING)
        if needed or not after.gap <= max(outcome.certificate.gap, ROUNDING * after.objective):
            break
        outcome = left
    return outcome


def _settled(iterate: Iterate, iterations: int) -> Outcome:
    problem = iterate.evaluation.problem
    evaluation = problem.evaluate(settled(problem, iterate.evaluation.point, accuracy=1e-6))
    return Outcome(
        replace(iterate, evaluation=evaluation), problem.certify(evaluation, iterate.nuclear_norm), iterations
    )


def _without_smallest(iterate: Iterate) -> Iterate | None:
    """The point without its smallest singular value, or smallest part within a cluster; None if that is not small."""
    problem, point, spectrum = iterate.evaluation.problem, iterate.evaluation.point, iterate.spectrum
    xp, limit = problem.xp, NEARLY_ZERO_LOGIT * float(problem.xp.max(problem.root_counts))
    inside = xp.where(xp.logical_not(problem.separate) & (point.within > 0), point.within, float("inf"))
    smallest = float(xp.min(inside))
    within, values = point.within, spectrum.values
    if smallest <= limit:
        within = xp.where(inside == smallest, 0.0, within)
    elif spectrum.rank and float(values[-1]) <= limit:
        spectrum = Spectrum(spectrum.left, values[:-1], spectrum.right)
    else:
        return None
    evaluation = problem.evaluate(Point(spectrum.matrix, within, point.bias))
    return Iterate(evaluation, spectrum, float(xp.sum(spectrum.values)) + problem.nuclear_within(within))


def _advance(iterate: Iterate, step: Step) -> Iterate:
    """The Newton step at the length that lowers the objective most; a plain proximal step if none lowers it."""

    def attempt(length: float) -> Iterate | None:
        moved = problem.evaluate(_move(problem, iterate.evaluation.point, step.direction, length))
        if not problem.xp.all(problem.xp.isfinite(moved.gradient.between)):
            return None
        return _proximal_step(moved)

    problem, length = iterate.evaluation.problem, step.length
    with np.errstate(over="ignore", invalid="ignore"):  # a step too far is not finite, and is not taken
        advanced = attempt(length)
        while length < 1 and advanced is not None and advanced.objective < iterate.objective:
            # the safe length looks at the worst margin alone; where counts lie far apart it is far too careful
            length = min(1.0, 4 * length)
            longer = attempt(length)
            if longer is None or not longer.objective < advanced.objective:
                return advanced
            advanced = longer
        for _ in range(5):
            if advanced is not None and advanced.objective <= iterate.objective * (1 + 1e-14):
                return advanced
            length *= 0.25
            advanced = attempt(length)
    return _proximal_step(iterate.evaluation)


def _move(problem: ReducedProblem, point: Point, direction: Point, length: float) -> Point:
    xp = problem.xp
    within = xp.maximum(point.within + length * direction.within, 0.05 * point.within)
    return Point(
        point.between + length * direction.between,
        xp.where(problem.separable, within, 0.0),
        point.bias + length * direction.bias,
    )


def _proximal_step(evaluation: Evaluation) -> Iterate:
    """Gradient step, then soft thresholding of the singular values: this is where the rank is decided."""
    problem, point, gradient = evaluation.problem, evaluation.point, evaluation.gradient
    xp, step_size = problem.xp, problem.step_size
    left, values, right = xp.linalg.svd(point.between - step_size * gradient.between)
    # what is left of a zero singular value after rounding must not count as rank where λ is tiny
    noise = 32 * problem.num_clusters * np.finfo(float).eps * float(values[0])
    values = values - step_size
    spectrum = Spectrum(left, values[values > noise], right.T)
    others = xp.maximum(problem.sizes - 1, 1.0)
    within = point.within - step_size * (gradient.within / others + 1)
    # clusters known to stay apart do so however close the call: keep them off zero, Newton does the rest
    floor = xp.where(problem.separate, 0.5 * point.within, 0.0)
    within = xp.where(problem.separable, xp.maximum(within, floor), 0.0)
    new = Point(spectrum.matrix, within, point.bias)
    return Iterate(problem.evaluate(new), spectrum, float(xp.sum(spectrum.values)) + problem.nuclear_within(within))
