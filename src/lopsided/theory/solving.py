"""The one verb for every problem: certified where it is convex, a stationary point with a bound where it is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lopsided import solver
from lopsided.geometry import Geometry
from lopsided.losses import CrossEntropy
from lopsided.problem import UFM
from lopsided.solver import ClusterSummary, Solution
from lopsided.theory.relu import relu_optimum
from lopsided.theory.stationary import TOLERANCE, StationaryPoint, factors_gap, stationary_point

Array = NDArray[np.float64]


def solve(problem: UFM, tol: float = 1e-9, max_iterations: int = 200, *, device: str | None = None) -> Solution:
    """Solve a problem: the convex one to a certified gap, any other one as well as can be said.

    Parameters
    ----------
    problem : UFM
        What to solve.
    tol : float, default 1e-9
        The status is ``"optimal"`` only if gap ≤ tol · max(1, |objective|).
    max_iterations : int, default 200
        Of the convex solver; the local minimisations of the others end by themselves.
    device : str, optional
        Of PyTorch, such as ``"cuda"``; for the convex problem only. See :func:`lopsided.solver.solve`.

    Returns
    -------
    Solution
        The convex problem's, see :func:`lopsided.solver.solve`. ReLU features without a bias under cross-entropy have a
        closed form (:func:`relu_optimum`). With ReLU features otherwise, and with a focal loss, it is that of
        :func:`stationary_point`: ``status`` is ``"stationary"`` unless the gap proves it the optimum, and a cluster of
        ReLU features counts as collapsed, too, where its means are zero.

    Raises
    ------
    ValueError
        If ``tol``, ``max_iterations`` or ``device`` breaks its rule.

    Examples
    --------
    >>> import lopsided as lp
    >>> solution = lp.solve(lp.UFM(counts="500x5,100x5", lambda_z=5e-3, lambda_b=0.02, features="relu"))
    >>> solution.status, solution.geometry.merged
    ('optimal', [[5, 6, 7, 8, 9]])
    """
    if problem.is_convex:
        return solver.solve(problem, tol=tol, max_iterations=max_iterations, device=device)
    solver.check_settings(tol, max_iterations)
    if device is not None:
        raise ValueError(f"device must be left out for {problem}, which is not the convex problem; got {device!r}")
    if problem.loss == CrossEntropy() and not problem.bias:
        geometry = relu_optimum(problem)
        objective, gap = factors_gap(problem, geometry)
        found = StationaryPoint(geometry, objective, gap, 0.0, 0, np.array([objective]))
    else:
        found = stationary_point(problem)
    return _solution(problem, found, tol)


def _solution(problem: UFM, found: StationaryPoint, tol: float) -> Solution:
    allowed = tol * max(1.0, abs(found.objective))
    if found.gap <= allowed:
        how = f"after {found.iterations} iterations" if found.iterations else "in closed form"
        status, message = "optimal", f"Certified: at most {found.gap:.1e} above the optimum, {how}."
    else:
        status = "stationary"
        message = (
            f"A stationary point, the best of {len(found.objectives)} found, not certified as the optimum: at most"
            f" {found.gap:.1e} above it, by a bound which may be loose, and {allowed:.1e} was asked for."
        )
    scaled = np.sqrt(problem.counts)[:, None] * found.geometry.mean_logits
    values: Array = np.linalg.svd(scaled.astype(np.float64), compute_uv=False)
    return Solution(
        objective=found.objective,
        gap=found.gap,
        status=status,
        message=message,
        iterations=found.iterations,
        problem=problem,
        geometry=found.geometry,
        clusters=_summaries(problem, found.geometry),
        singular_values=values[: found.geometry.rank],
    )


def _summaries(problem: UFM, geometry: Geometry) -> list[ClusterSummary]:
    own = np.diagonal(geometry.mean_logits)
    empty = np.abs(geometry.mean_logits).max(axis=1) <= TOLERANCE * (problem.features == "relu")
    summaries = []
    for count, group in zip(problem.clusters.counts, problem.clusters.classes, strict=True):
        together = len(group) > 1 and any(set(group) <= set(merged) for merged in geometry.merged)
        summaries.append(
            ClusterSummary(
                count=int(count),
                classes=group,
                own_logit=float(own[group].mean()),
                bias=float(geometry.bias[group].mean()),
                collapsed=geometry.rank == 0 or together or bool(empty[group].all()),
            )
        )
    return summaries
