"""The outlook of a problem: solved, and set beside its thresholds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import check_number
from lopsided.core.outlook import FADING, Outlook, states_of
from lopsided.core.problem import Problem
from lopsided.core.solution import Solution
from lopsided.model import solve
from lopsided.theory import Thresholds, class_thresholds, thresholds

#: Of more clusters than this an optimum takes seconds, and it is solved less far: the lead of a class needs few digits.
MANY_CLUSTERS = 200
TOLERANCE, TOLERANCE_OF_MANY = 1e-9, 1e-5


def outlook_of(
    problem: Problem,
    margin: float = FADING,
    names: tuple[str, ...] | None = None,
    assumptions: tuple[str, ...] = (),
    *,
    tol: float | None = None,
    known: Thresholds | None = None,
    solution: Solution | None = None,
) -> Outlook:
    """The outlook of a problem whose decay is known.

    Parameters
    ----------
    problem : Problem
    margin : float, default √2
        A class whose threshold is less than this many times λ_z is fading.
    names : tuple of K str, optional
    assumptions : tuple of str
        To be stated before what the problem itself assumes.
    tol : float, optional
        As for :func:`lopsided.solve`; 1e-9 by default, and 1e-5 for more than 200 clusters, where that is several
        times quicker.
    known : Thresholds, optional
        Of this problem, where they have been computed already.
    solution : Solution, optional
        Of this problem, likewise.

    Returns
    -------
    Outlook

    Examples
    --------
    >>> import lopsided as lp
    >>> outlook_of(lp.UFM("500x5,100x5", 3.5e-3)).lost
    [5, 6, 7, 8, 9]
    """
    found = thresholds(problem) if known is None else known
    values, exact = class_thresholds(problem, found)
    if solution is None:
        usual = TOLERANCE_OF_MANY if problem.clusters.num_clusters > MANY_CLUSTERS else TOLERANCE
        solution = solve(problem, tol=usual if tol is None else tol)
    predictions, margins = solution.predictions, values / problem.lambda_z
    merged = np.zeros(problem.num_classes, dtype=bool)
    for cluster in solution.clusters:
        merged[cluster.classes] = cluster.collapsed
    merged[[k for group in solution.geometry.merged for k in group]] = True
    return Outlook(
        counts=problem.counts,
        states=states_of(merged, predictions.lead <= 0, margins, margin),
        merged=solution.geometry.merged,
        logit_gap=predictions.lead,
        probability=predictions.probability,
        runner_up=predictions.runner_up,
        thresholds=values,
        exact=exact,
        margins=margins,
        complete=found.complete,
        fading_margin=float(margin),
        problem=problem,
        solution=solution,
        names=names,
        assumptions=assumptions + assumptions_of(problem, found, exact),
    )


def assumptions_of(problem: Problem, found: Thresholds, exact: NDArray[np.bool_]) -> tuple[str, ...]:
    """What an outlook rests on, one sentence each."""
    said = [
        "The network can place the features of each sample freely, has at least as many of them as classes, and is"
        " trained until nothing moves; that is the unconstrained feature model.",
        "Features are decayed by (λ_h/2)·Σ‖h‖² over all N samples, weights by (λ_w/2)·‖W‖², as PyTorch's weight_decay.",
    ]
    if not exact.all() and not found.note:
        said.append(
            "≈: a class alone in its count cannot coincide with another before the whole does. Its threshold is a"
            " yardstick, that of two classes of its count; it is lost where it is past that and the optimum predicts"
            " another class."
        )
    if found.note:
        said.append(f"Thresholds are {found.note}.")
    if problem.bias and problem.lambda_b == 0:
        said.append("The bias is not decayed.")
    return tuple(said)


def checked_margin(margin: object) -> float:
    """A margin, if it is one."""
    check_number("margin", margin, least=1, note=", threshold over `lambda_z`")
    return float(margin)  # type: ignore[arg-type]
