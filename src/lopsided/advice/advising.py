"""``advise``: the smallest change along each lever that keeps the classes asked for, each solved again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lopsided.advice import data_levers, loss_levers
from lopsided.advice.instructions import python_line, train_options
from lopsided.advice.outlook import checked_margin, outlook_of
from lopsided.advice.remedy import Remedy, cost_of
from lopsided.advice.request import Array, Lever, Obstacle, Proposal, Request
from lopsided.advice.resampling import class_indices
from lopsided.core.arguments import ArgumentError
from lopsided.core.losses import CrossEntropy, FocalLoss
from lopsided.core.outlook import FADING, Outlook
from lopsided.core.problem import Problem
from lopsided.theory import Thresholds, class_thresholds, thresholds

#: Every lever, in the order in which they are shown.
LEVERS: tuple[Lever, ...] = (*data_levers.LEVERS, *loss_levers.LEVERS)
#: How far below its reach a lever is shown that cannot do what is asked: at its reach weights are infinite.
NEAREST = 1 - 1e-3
#: Levers fit thresholds within a count; a class alone in its count may need a little more, to stay clear of complete
#: collapse. So often a lever is pulled further ...
_PULLS = 20
#: ... unless it gains no more than this share by it.
LITTLE = 1e-6


@dataclass(frozen=True, eq=False)
class Advice:
    """What can be done to keep classes.

    Attributes
    ----------
    before : Outlook
        Every class as it is.
    keep : list of int
        Classes to be kept.
    margin : float
        Threshold over λ_z that each is to have.
    short : list of int
        Those of them that lack it.
    remedies : tuple of Remedy
        The smallest change along each lever; with nothing to mend, how far the decay may grow.
    notes : tuple of str
        What to know about the levers for these counts.
    """

    before: Outlook
    keep: list[int]
    margin: float
    short: list[int]
    remedies: tuple[Remedy, ...] = field(repr=False)
    notes: tuple[str, ...] = field(repr=False)

    def remedy(self, name: str, convention: str | None = None) -> Remedy:
        """The remedy of a name, of the first convention unless one is named."""
        for one in self.remedies:
            if one.name == name and convention in (None, one.convention):
                return one
        known = ", ".join(dict.fromkeys(one.name for one in self.remedies))
        wanted = name if convention is None else f"{name} ({convention})"
        raise ArgumentError("remedy", f"must be one of: {known}", wanted)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "margin": self.margin,
            "keep": self.keep,
            "short": self.short,
            "before": self.before.to_dict(),
            "remedies": [remedy.to_dict() for remedy in self.remedies],
            "notes": list(self.notes),
        }


def advise(
    problem: Problem,
    keep: str | Iterable[int | str] = "all",
    *,
    margin: float = FADING,
    levers: Sequence[str] | None = None,
    names: tuple[str, ...] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Advice:
    """Find the smallest change along each lever that keeps classes with a margin, and solve each again.

    Parameters
    ----------
    problem : Problem
        As training would be now; with features of any sign and a convex loss.
    keep : "all" or iterable of int or str, default "all"
        The classes to be kept, by number or by name.
    margin : float, default √2
        What threshold over λ_z each of them is to have, at least 1. From √2 on every class is predicted for its own
        samples, under (weighted) cross-entropy.
    levers : sequence of str, optional
        Names of remedies, all by default; ``"class-weights"`` for every convention it has, ``"class-weights:samples"``
        for one.
    names : tuple of K str, optional
        Names of the classes.
    progress : callable, optional
        Called with how many levers are done, and how many there are.

    Returns
    -------
    Advice

    Raises
    ------
    ValueError
        If a class or lever is unknown, the margin breaks its rule, or the problem is not convex. A request that a lever
        cannot meet is no error: its remedy says why, and what comes nearest.

    Examples
    --------
    >>> import lopsided as lp
    >>> advice = lp.advise(lp.UFM("500x5,100x5", 0.0035, lambda_b=0.02), margin=1.2)
    >>> advice.short
    [5, 6, 7, 8, 9]
    >>> decay = advice.remedy("decay")
    >>> decay.works, round(decay.settings["lambda_z"], 6)                     # 1/300 over the margin
    (True, 0.002778)
    >>> advice.remedy("logit-adjustment").works
    False
    """
    problem.require_convex("advise()")
    if isinstance(problem.loss, FocalLoss):  # of γ = 0
        problem = problem.replaced(loss=CrossEntropy(problem.loss.weights, problem.loss.reduction))
    wanted = checked_margin(margin)
    if names is not None and len(names) != problem.num_classes:
        raise ArgumentError("names", f"must be one a class, {problem.num_classes} like counts", len(names))
    classes = np.unique(_classes(problem, keep, names))
    chosen = _levers(levers)
    before = outlook_of(problem, wanted, names)
    request = Request(problem, before, classes, wanted)
    if len(request.short) == 0:
        chosen = [lever for lever in chosen if lever.name == "decay"]
    remedies = []
    for done, lever in enumerate(chosen):
        if progress is not None:
            progress(done, len(chosen))
        remedies.append(_remedy(request, lever))
    if progress is not None:
        progress(len(chosen), len(chosen))
    notes = data_levers.data_notes(request) + loss_levers.weighting_notes(request) + loss_levers.scale_notes(request)
    return Advice(before, classes.tolist(), wanted, request.short.tolist(), tuple(remedies), notes)


def _classes(problem: Problem, keep: str | Iterable[int | str], names: tuple[str, ...] | None) -> list[int]:
    if isinstance(keep, str):
        if keep != "all":
            raise ArgumentError("keep", "must be 'all' or a list of classes", keep)
        return list(range(problem.num_classes))
    try:
        listed = list(keep)
    except TypeError:
        raise ArgumentError("keep", "must be 'all' or a list of classes", keep) from None
    if not listed:
        raise ArgumentError("keep", "must name at least one class", got="none")
    return class_indices(listed, problem.num_classes, names, "keep")


def _levers(wanted: Sequence[str] | None) -> list[Lever]:
    if wanted is None:
        return list(LEVERS)
    known = list(dict.fromkeys(name for lever in LEVERS for name in (lever.name, *lever.full_name)))
    for name in wanted:
        if name not in known:
            raise ArgumentError("levers", f"must be of: {', '.join(known)}", name)
    return [lever for lever in LEVERS if {lever.name, *lever.full_name} & set(wanted)]


def _remedy(request: Request, lever: Lever) -> Remedy:
    answer = lever.pull(request, request.margin)
    reason, reachable = "", None
    if isinstance(answer, Obstacle):
        reason, reachable = answer.reason, answer.reachable
        if reachable is not None and reachable > 0:
            nearest = lever.pull(request, NEAREST * reachable)
            answer = nearest if isinstance(nearest, Proposal) else answer
    elif lever.name != "logit-adjustment":
        answer = _pulled_further(request, lever, answer)
    identity = np.arange(request.problem.num_classes)
    if isinstance(answer, Obstacle):
        return Remedy(lever.name, lever.convention, {}, "none", False, reason, reachable, None, identity, None)
    known, margins = _margins(request, answer)
    place = identity if answer.classes is None else answer.classes
    names = request.before.names if answer.classes is None else None
    outlook = outlook_of(answer.problem, request.margin, names, known=known)
    lost = [int(k) for k in request.keep if outlook.states[place[k]] == "lost"]
    assert outlook.solution is not None
    certified = outlook.solution.status == "optimal"
    works = bool(margins.min() >= request.margin) and not lost and certified
    if works:
        reason, reachable = "", None
    elif not certified:
        reason = outlook.solution.message
    if not works and not reason:
        still = f", and {request.called(lost)} would still be lost" if lost else ""
        reason = f"is not enough: the lowest margin stays at {margins.min():.6g}{still}"
        if lever.name == "logit-adjustment":
            reason = (
                "does not move the threshold, since it shifts all logits of a class alike: it moves decisions, not"
                f" features; the lowest margin stays at {margins.min():.6g}"
            )
    return Remedy(
        name=lever.name,
        convention=lever.convention,
        settings=answer.settings,
        change=answer.change,
        works=works,
        reason=reason,
        reachable=reachable,
        outlook=outlook,
        classes=place,
        cost=cost_of(request.before, outlook, place, request.others),
        train_options=train_options(
            lever.name,
            lever.convention,
            request.margin,
            None if len(request.keep) == request.problem.num_classes else request.keep.tolist(),
        ),
        python=python_line(
            lever.name,
            answer.settings,
            place.tolist(),
            answer.problem.loss,
            request.problem.lambda_b if request.problem.bias else 0.0,
        ),
    )


def _pulled_further(request: Request, lever: Lever, answer: Proposal) -> Proposal:
    """The proposal that reaches the margin, or else the one that comes nearest.

    A lever fits the thresholds within counts. That of complete collapse may lie lower, for a class alone in its count.
    """
    best, reached = answer, float(_margins(request, answer)[1].min())
    target = request.margin
    for _ in range(_PULLS):
        if reached >= request.margin:
            break
        target *= request.margin / reached * (1 + 1e-9)
        further = lever.pull(request, target)
        if isinstance(further, Obstacle):
            break
        margin = float(_margins(request, further)[1].min())
        if margin <= reached * (1 + LITTLE):
            break
        best, reached = further, margin
    return best


def _margins(request: Request, answer: Proposal) -> tuple[Thresholds, Array]:
    """The margins of the classes to be kept after a change, from thresholds alone."""
    known = thresholds(answer.problem)
    values, _ = class_thresholds(answer.problem, known)
    kept = request.keep if answer.classes is None else answer.classes[request.keep]
    return known, values[kept] / answer.problem.lambda_z
