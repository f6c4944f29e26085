"""Levers on the loss: class weights, scales of the logits (CDT, VS, LDT), LDAM's margins, logit adjustment."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np

from lopsided.advice.request import (
    SLACK,
    Array,
    Lever,
    Obstacle,
    Proposal,
    Request,
    bisected,
    infeasible,
    least_raise,
    span,
)
from lopsided.core.losses import CrossEntropy

#: Of more clusters than this LDAM's margins take minutes, since each threshold is a search over optima.
MOST_LDAM_CLUSTERS = 30
#: LDAM's largest margin, in nats: e^-20 of the pull of a larger one is left.
LARGEST_MARGIN = 20.0


def class_weights(reduction: str, request: Request, target: float) -> Proposal | Obstacle:
    r"""The smallest class weights: w √n over the normaliser is a class's threshold.

    Divided by N, each weight is a matter of its own class: :math:`w_k\ge\text{margin}\cdot N\lambda/\sqrt{n_k}`.
    Divided by the sum of all weights, a raised weight lowers every threshold, and
    :math:`w_k\ge\text{margin}\cdot\lambda\sum_jw_jn_j/\sqrt{n_k}` has a solution only while
    :math:`\text{margin}\cdot\lambda\sum_k\sqrt{n_k}<1`, the sum over the classes to be kept. Its limit for all classes
    is :math:`w\propto n^{-1/2}`, where all thresholds are equal.
    """
    counts, weights = request.counts, request.problem.terms.weights
    if reduction == "samples":
        total = float(request.problem.num_samples)
        base = weights * total / request.problem.terms.normaliser
        needed = request.required(target, request.scales * np.sqrt(counts) / total)
        values = np.maximum(base, needed)
    else:
        slopes = request.required(target, request.scales * np.sqrt(counts))
        found = least_raise(weights, slopes, counts)
        if found is None:
            reach = target / float(slopes @ counts) * (1 - SLACK)
            why = (
                "PyTorch's weighted mean divides by the sum of the weights, so that raising them lowers all thresholds"
            )
            return infeasible(request, reach, why)
        base, values = weights, found
    after = _with_loss(request, weights=tuple(values.tolist()), reduction=reduction)
    raised = np.flatnonzero(values > base)
    how = "the sum of all weights, PyTorch's mean" if reduction == "mean" else "the number of samples"
    change = f"weigh {_ranged(request, raised, values)}, divided by {how}"
    return Proposal(after, {"weights": values.tolist(), "reduction": reduction}, change)


def scales(scale_by: str, request: Request, target: float) -> Proposal | Obstacle:
    """The smallest factors δ on the logits inside the loss: δ √n / N is a class's threshold.

    A logit's own class decides (CDT, VS) or the sample's label (LDT); the threshold is the same. What the network says
    without the loss is not: divided by its class's δ, a logit that CDT scales up comes out smaller.
    """
    loss = request.problem.loss
    if not isinstance(loss, CrossEntropy):
        return Obstacle(f"{loss.name} has no scales")
    if loss.scales is not None and loss.scale_by != scale_by:
        return Obstacle(f"the loss has scales already, by the {loss.scale_by}")
    terms = request.problem.terms
    strengths = (1 - terms.smoothing) * terms.weights * np.sqrt(request.counts) / terms.normaliser
    base = terms.row_scales * terms.column_scales
    values = np.maximum(base, request.required(target, strengths))
    after = _with_loss(request, scales=tuple(values.tolist()), scale_by=scale_by)
    raised = np.flatnonzero(values > base)
    whose = "the logits of that class (CDT, VS)" if scale_by == "logit" else "all logits of its samples (LDT)"
    change = f"scale {_ranged(request, raised, values)} inside the loss: {whose}"
    return Proposal(after, {"scales": values.tolist(), "scale_by": scale_by}, change)


def ldam(request: Request, target: float) -> Proposal | Obstacle:
    r"""The smallest C of LDAM's margins :math:`m_k=C\,n_k^{-1/4}` (Cao et al., NeurIPS 2019).

    A cluster's classes merge at :math:`\sqrt n(1-\varepsilon+p_\text{same}(1-e^{-m}))\le N\lambda`, p_same of the
    optimum: the gain is bounded, by a factor of two where the cluster has two classes and less where it has more.
    """
    problem, clusters = request.problem, request.problem.clusters
    if not isinstance(problem.loss, CrossEntropy) or problem.loss.margins is not None:
        return Obstacle("margins are cross-entropy's, and only where it has none yet")
    if clusters.num_clusters > MOST_LDAM_CLUSTERS:
        return Obstacle(f"not searched: for more than {MOST_LDAM_CLUSTERS} different counts it takes too long")
    if not request.before.exact[request.short].all():
        return Obstacle("no threshold under LDAM is known for a class alone in its count")
    wanted = np.unique(clusters.labels[request.keep])
    wanted = wanted[clusters.sizes[wanted] > 1]
    shape = request.counts**-0.25

    def margins(constant: float) -> tuple[float, ...]:
        return tuple((constant * shape).tolist())

    def apart(constant: float, margin: float) -> bool:
        after = _with_loss(request, margins=margins(constant)).replaced(lambda_z=margin * problem.lambda_z)
        return not any(after.solve().clusters[cluster].collapsed for cluster in wanted)

    high = LARGEST_MARGIN / float(shape[request.short].max(initial=shape.min()))
    edge = target * (1 + SLACK)
    if not apart(high, edge):
        low, _ = bisected(lambda margin: apart(high, margin), 0.0, edge, 1e-4)
        return infeasible(request, low, "however large, margins raise a threshold by a bounded factor")
    _, high = bisected(lambda constant: not apart(constant, edge), 0.0, high, 1e-7)
    values = margins(high)
    change = (
        f"LDAM with C = {high:.6g}: margins of {min(values):.4g} to {max(values):.4g} nats, C over the fourth root of"
        " the count"
    )
    return Proposal(_with_loss(request, margins=values), {"margins": list(values), "constant": high}, change)


def logit_adjustment(request: Request, target: float) -> Proposal | Obstacle:
    """One more τ of logit adjustment, which leaves every threshold within a count where it is: shown, not advised."""
    loss = request.problem.loss
    if not isinstance(loss, CrossEntropy):
        return Obstacle(f"{loss.name} has no logit adjustment")
    value = loss.logit_adjustment + 1.0
    change = f"adjust logits by τ = {value:g} times the log frequencies inside the loss"
    return Proposal(_with_loss(request, logit_adjustment=value), {"logit_adjustment": value}, change)


LEVERS = (
    *(Lever("class-weights", how, partial(class_weights, how)) for how in ("mean", "samples")),
    *(Lever("scales", how, partial(scales, how)) for how in ("logit", "label")),
    Lever("ldam", "", ldam),
    Lever("logit-adjustment", "", logit_adjustment),
)


def weighting_notes(request: Request) -> tuple[str, ...]:
    """What the two usual rules for weights do to the order in which classes are lost."""
    counts = request.counts
    if counts.min() == counts.max():
        return ()
    rare, common = int(np.argmin(counts)), int(np.argmax(counts))
    inverse = request.scales * counts**-0.5 / len(counts)
    root = request.scales / np.sqrt(counts).sum()
    return (
        f"Weights 1/n, divided by their sum over the samples, reverse the order: classes of {counts[common]:.0f}"
        f" samples are then lost at λ_z ≥ {inverse[common]:.6g}, before those of {counts[rare]:.0f}, at"
        f" {inverse[rare]:.6g}.",
        f"Weights 1/√n equalise it: every class at {root.min():.6g}"
        + (f" to {root.max():.6g}." if root.max() > root.min() * (1 + 1e-9) else "."),
    )


def scale_notes(request: Request) -> tuple[str, ...]:
    """CDT as published scales rare classes down, which works the other way here."""
    if request.counts.min() == request.counts.max():
        return ()
    return (
        "CDT as published, δ = (n/n_max)^γ, scales rare classes down and so lowers their threshold, δ√n/N: it moves"
        " decisions towards them and keeps none apart.",
    )


def _with_loss(request: Request, **changes: Any) -> Any:
    return request.problem.replaced(loss=dataclasses.replace(request.problem.loss, **changes))


def _ranged(request: Request, raised: Any, values: Array) -> str:
    if len(raised) == 0:
        return "no class more than now"
    return f"{request.called(raised)} by {span(values[raised])}"
