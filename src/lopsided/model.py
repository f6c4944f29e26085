"""The front door: what a user states, with the verbs that answer it."""

from __future__ import annotations

from dataclasses import dataclass

from lopsided import solver
from lopsided.core.arguments import ArgumentError
from lopsided.core.losses import CrossEntropy
from lopsided.core.problem import Problem
from lopsided.core.solution import Solution
from lopsided.theory import CriticalDecay, Thresholds, critical_path, relu_optimum, thresholds


def solve(problem: Problem, tol: float = 1e-9, max_iterations: int = 200, *, device: str | None = None) -> Solution:
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
        closed form (:func:`lopsided.theory.relu_optimum`). With ReLU features otherwise, and with a focal loss, it is
        that of :func:`lopsided.solver.stationary_point`: ``status`` is ``"stationary"`` unless the gap proves it the
        optimum, and a cluster of ReLU features counts as collapsed, too, where its means are zero.

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
        raise ArgumentError("device", f"must be left out for {problem}, which is not the convex problem", device)
    if problem.loss == CrossEntropy() and not problem.bias:
        geometry = relu_optimum(problem)
        objective, gap = solver.factors_gap(problem, geometry)
        return solver.local_solution(problem, geometry, objective=objective, gap=gap, tol=tol)
    return solver.stationary_point(problem, tol=tol)


@dataclass(frozen=True, eq=False, init=False)
class UFM(Problem):
    r"""Unconstrained feature model of a classifier trained on imbalanced classes.

    Minimises over classifier W, free features H (one per sample) and bias b (Hong & Ling, JMLR 2024, eq. 1)

    .. math:: \frac1N\sum_k\sum_{i\le n_k}\ell(W h_{ki}+b,k)+\frac{\lambda_w}2\|W\|_F^2
              +\frac{\lambda_h}2\|H\|_F^2+\frac{\lambda_b}2\|b\|^2,

    whose geometry depends on the decays only through :math:`\lambda_z=\sqrt{\lambda_w\lambda_h}` (and
    :math:`\lambda_b`). The factor ½ is PyTorch's: ``weight_decay=w`` on a tensor is λ = w.

    Parameters
    ----------
    counts : str or (K,) array_like or tensor
        Samples in each class: ``"500x5,100x5"``, or one whole number a class. Where a tensor is given, its device is
        where ``solve`` computes.
    lambda_z : float, optional
        Decay of the mean logits. Give it, or ``lambda_w`` and ``lambda_h``, or one of those two beside it.
    lambda_w, lambda_h : float, optional
        Decay of the classifier and of the features (the sum over all N samples). With ``lambda_z`` alone both equal it.
    lambda_b : float, default 0
        Decay of the bias. 0 leaves the bias free.
    bias : bool, default True
        Whether the last layer has a bias.
    loss : CrossEntropy or another loss, optional
        The loss; cross-entropy by default.
    features : {"any", "relu"}, default "any"
        Whether features may have any sign, or end in a ReLU: H ≥ 0. Except in closed form (no bias, cross-entropy),
        ``solve`` then finds a stationary point, with a bound on its distance from the optimum.

    Examples
    --------
    >>> import lopsided as lp
    >>> model = lp.UFM(counts="500x5,100x5", lambda_z=3.5e-3, lambda_b=0.02)
    >>> model.solve().geometry.merged          # past 1/300 the rare classes are lost
    [[5, 6, 7, 8, 9]]
    """

    def solve(self, tol: float = 1e-9, max_iterations: int = 200, *, device: str | None = None) -> Solution:
        """The certified optimum, or a stationary point that says so; see :func:`lopsided.solve`."""
        return solve(self, tol=tol, max_iterations=max_iterations, device=device)

    def thresholds(self) -> Thresholds:
        """The decays at which classes merge; see :func:`lopsided.thresholds`."""
        return thresholds(self)

    def critical_path(self) -> list[CriticalDecay]:
        """The decays at which the rank drops, the largest first; see :func:`lopsided.critical_path`."""
        return critical_path(self)
