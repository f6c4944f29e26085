"""Optima at many decays, each found from its neighbour's."""

from __future__ import annotations

from collections.abc import Iterable

from lopsided.problem import UFM
from lopsided.solver.algorithm import solve
from lopsided.solver.solution import Solution


def solve_path(
    problem: UFM, decays: Iterable[float], *, tol: float = 1e-9, max_iterations: int = 200
) -> list[Solution]:
    """Solve a problem at many decays.

    Parameters
    ----------
    problem : UFM
        What to solve; its own ``lambda_z`` plays no part, λ_w and λ_h keep their ratio.
    decays : iterable of float
        The values of ``lambda_z``, in any order.
    tol, max_iterations
        As in :func:`solve`.

    Returns
    -------
    list of Solution
        One a decay, in the order given, each with its own certificate.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    Examples
    --------
    >>> import lopsided as lp
    >>> model = lp.UFM("500x5,100x5", lambda_z=1.0, lambda_b=0.02)
    >>> [solution.geometry.rank for solution in lp.solve_path(model, [0.003, 0.0035, 0.005, 0.008])]
    [9, 5, 4, 0]
    """
    return [solve(problem.with_lambda_z(decay), tol, max_iterations) for decay in decays]
