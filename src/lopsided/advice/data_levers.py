"""Levers on decay and data: less decay, more samples, samples shown more often, classes merged."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lopsided.advice.request import (
    SLACK,
    SLACK_ALONE,
    Array,
    Lever,
    Obstacle,
    Proposal,
    Request,
    infeasible,
    largest,
    least_raise,
    span,
)
from lopsided.advice.resampling import FEATURE_PENALTY_PER, resampled

#: Rounds of rounding up before whole numbers of samples are called impossible.
_ROUNDS = 10_000


def decay(request: Request, target: float) -> Proposal | Obstacle:
    """The largest decay: the lowest threshold over the target."""
    problem = request.problem
    value = float((request.before.thresholds / (1 + request.slack))[request.keep].min()) / target
    factor = value / problem.lambda_z
    change = (
        f"λ_z of at most {value:.6g}, {factor:.4g} times the present one: λ_w times {factor**2:.4g} alone, or λ_w and"
        f" λ_h times {factor:.4g} each"
    )
    settings = {"lambda_z": value, "factor": factor, "lambda_w_alone": problem.lambda_w * factor**2}
    return Proposal(problem.replaced(lambda_z=value), settings, change)


def samples(request: Request, target: float) -> Proposal | Obstacle:
    r"""The fewest samples: :math:`\sqrt{n_k}\ge\text{margin}\cdot N\lambda`, N growing with them.

    With :math:`a_k=(\text{margin}\cdot\lambda)^2` the counts :math:`n_k=a_kN^2` of the raised classes and the R samples
    of the others make :math:`N=R+\sum a_kN^2`, a quadratic equation: there is a solution only while
    :math:`4R\sum a_k\le1`, and then all N between its two roots are solutions, since features are decayed in sum. So a
    class can also have too many samples: for itself, and for the others to be kept.
    """
    wanted = _rates(request, target)
    found = _least_counts(request, wanted)
    if found is None:
        reach = largest(lambda margin: _least_counts(request, _rates(request, margin)) is not None, target)
        why = "more samples raise N, and with it what each class needs"
        return infeasible(request, reach, why)
    raised = np.flatnonzero(found > request.counts)
    upper = _upper_counts(request, wanted, raised)
    settings = {
        "counts": found.astype(np.int64).tolist(),
        "raised": raised.tolist(),
        "at_least": found[raised].astype(np.int64).tolist(),
        "at_most": upper.astype(np.int64).tolist(),
    }
    if len(raised) == 0:
        return Proposal(request.problem, settings, "no more samples than now")
    change = (
        f"{span(found[raised])} samples in each of {request.called(raised)}, and at most {span(upper)}: more raise N"
        " too far"
    )
    return Proposal(request.problem.replaced(counts=found.astype(np.int64)), settings, change)


def oversampling(feature_penalty_per: str, request: Request, target: float) -> Proposal | Obstacle:
    """The smallest factors by which to show samples more often; :mod:`lopsided.advice.resampling` has the conventions.

    Decayed per appearance, that is as many samples as :func:`samples` asks for. Decayed per sample, it is a class
    weight, divided by the sum of the weights.
    """
    if feature_penalty_per == "appearance":
        answer = samples(request, target)
        if isinstance(answer, Obstacle):
            return answer
        shown = np.array(answer.settings["counts"], dtype=np.float64)
        after = answer.problem
    else:
        terms = request.problem.terms
        slopes = request.required(target, request.scales * terms.weights * np.sqrt(request.counts))
        factors = least_raise(np.ones(len(slopes)), slopes, request.mass * request.counts)
        if factors is None:
            reach = target / float(slopes @ (request.mass * request.counts)) * (1 - SLACK)
            return infeasible(
                request, reach, "showing some samples more often makes those of all classes count for less"
            )
        shown = factors * request.counts
        after = resampled(request.problem, shown, "sample")
    factors = shown / request.counts
    raised = np.flatnonzero(factors > 1)
    whole = np.ceil(shown * (1 - 1e-12)).astype(np.int64)
    settings = {"factors": factors.tolist(), "shown": whole.tolist(), "feature_penalty_per": feature_penalty_per}
    if len(raised) == 0:
        return Proposal(after, settings, "no sample more often than now")
    where = "each time it appears" if feature_penalty_per == "appearance" else "once"
    change = f"show samples of {request.called(raised)} {span(factors[raised])} times, features decayed {where}"
    return Proposal(after, settings, change)


def merging(request: Request, target: float) -> Proposal | Obstacle:
    r"""Merge classes that lack the margin, the smallest first, into groups of just enough samples.

    N stays, so a group needs :math:`(\text{margin}\cdot N\lambda)^2` samples. How many groups are possible at most is a
    covering problem; this is the usual greedy answer to it. What is left over joins the smallest class with which it
    is enough.
    """
    loss = request.problem.loss
    if any(getattr(loss, name, None) is not None for name in ("weights", "margins", "scales")):
        return Obstacle("classes that the loss treats one by one cannot be merged without saying how")
    groups = _groups(request, target)
    if groups is None:
        reach = largest(lambda margin: _groups(request, margin) is not None, target)
        return infeasible(request, reach, "even two classes that hold all samples between them lack it")
    place = np.empty(request.problem.num_classes, dtype=np.int64)
    for index, group in enumerate(groups):
        place[group] = index
    counts = np.bincount(place, request.counts).astype(np.int64)
    joined = [group for group in groups if len(group) > 1]
    some = "; ".join(request.called(group).partition(" ")[2] for group in joined[:3])
    change = f"merge {some}{'; …' if len(joined) > 3 else ''}: {len(groups)} classes are left"
    if not joined:
        change = "merge no classes"
    after = request.problem.replaced(counts=counts)
    return Proposal(after, {"groups": joined, "counts": counts.tolist()}, change, place)


LEVERS = (
    Lever("decay", "", decay),
    Lever("samples", "", samples),
    *(Lever("oversampling", how, partial(oversampling, how)) for how in FEATURE_PENALTY_PER),
    Lever("merging", "", merging),
)


def data_notes(request: Request) -> tuple[str, ...]:
    """What more data of the same proportions does."""
    factor = (float(request.before.margins[request.keep].min()) / request.margin) ** 2
    return (
        "More data in the same proportions at the same λ_z lower every margin, as 1/√N: the margin asked for is there"
        f" up to {factor:.4g} times as many samples as now.",
    )


def _rates(request: Request, target: float) -> Array:
    """(K,) a: a class to be kept needs a M² samples, M the normaliser; 0 for the rest."""
    needed: Array = request.required(target, request.scales * request.problem.terms.weights) ** 2
    return needed


def _least_counts(request: Request, rates: Array) -> Array | None:
    """The smallest whole counts that satisfy n ≥ a M², or None."""
    counts, mass = request.counts, request.mass
    raised = np.zeros(len(counts), dtype=bool)
    least = float(mass @ counts)
    while True:
        slope = float(mass[raised] @ rates[raised])
        rest = float(mass[~raised] @ counts[~raised])
        root = _roots(slope, rest)
        if root is None or root[0] < least * (1 - 1e-12):  # both lie below the M there is: nothing is taken away
            return None
        least = root[0]
        more = raised | (rates * root[0] ** 2 > counts)
        if (more == raised).all():
            break
        raised = more
    found = np.where(raised, np.ceil(rates * root[0] ** 2), counts)
    for _ in range(_ROUNDS):  # rounding up raises N, which may ask for one more
        higher = np.maximum(found, np.ceil(rates * float(mass @ found) ** 2))
        if (higher == found).all():
            return found
        if float(mass @ higher) > 2 * root[1]:
            return None
        found = higher
    return None


def _upper_counts(request: Request, rates: Array, raised: NDArray[np.intp]) -> Array:
    """Up to which the raised classes may all grow together, in the proportion of their rates."""
    mass, counts = request.mass, request.counts
    rest = np.setdiff1d(np.arange(len(counts)), raised)
    slope, base = float(mass[raised] @ rates[raised]), float(mass[rest] @ counts[rest])
    root = _roots(slope, base)
    if root is None or slope == 0:
        return counts[raised]
    bound = rest[rates[rest] > 0]  # classes to be kept that have enough now, and will not once N is too large
    allowed = float(np.sqrt(counts[bound] / rates[bound]).min(initial=math.inf))
    return np.maximum(np.floor(rates[raised] * min(root[1] ** 2, (allowed - base) / slope)), counts[raised])


def _roots(slope: float, rest: float) -> tuple[float, float] | None:
    """Both M with M = rest + slope · M², the second infinite for a slope of 0; None where there is none."""
    inside = 1 - 4 * slope * rest
    if inside < 0:
        return None
    first = 2 * rest / (1 + math.sqrt(inside))
    return first, ((1 + math.sqrt(inside)) / (2 * slope) if slope > 0 else math.inf)


def _groups(request: Request, target: float) -> list[list[int]] | None:
    problem, counts = request.problem, request.counts
    needed = (target * (1 + SLACK_ALONE) * problem.lambda_z * problem.terms.normaliser / request.scales[0]) ** 2
    keep = request.keep[np.argsort(counts[request.keep], kind="stable")]
    short = [int(k) for k in keep if counts[k] < needed]
    groups: list[list[int]] = [[k] for k in range(len(counts)) if k not in set(short)]
    sizes = [float(counts[group[0]]) for group in groups]
    pending: list[int] = []
    for k in short:
        pending.append(k)
        if counts[pending].sum() >= needed:
            sizes.append(float(counts[pending].sum()))
            groups.append(pending)
            pending = []
    if pending:
        left = float(counts[pending].sum())
        enough = [index for index, size in enumerate(sizes) if size + left >= needed]
        if not enough:
            return None
        into = min(enough, key=lambda index: sizes[index])
        groups[into] = groups[into] + pending
    if len(groups) < 2:
        return None
    return sorted(sorted(group) for group in groups)
