"""Proximal Newton steps with a working set of channels, each answer with its certificate.

A step minimises a quadratic model of the loss plus the penalty (``model_minimum.py``) over the channels that are on or
may come on, and a line search takes as much of it as lowers the objective. Channels that the duality gap proves to be
off (Ndiaye et al., JMLR 2017) leave for good; the others are looked at again after every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lopsided.forecast.certificate import Certificate, certify
from lopsided.forecast.curvature import COARSE, FINE, MANY_SAMPLES, Curvature, curvature_of
from lopsided.forecast.model_minimum import Model, minimise_model
from lopsided.forecast.program import Evaluation, Program
from lopsided.solver.arrays import Array

#: A channel that is off may come on where its slopes' norm is at least this share of κ.
NEARLY_ON = 0.85
#: Of the objective, this share is noise.
ROUNDING = 1e-14
#: Channels that may come on are at most this many times those that are, and so many more.
FACTOR, MORE = 1.5, 8
#: A step went well that left this share of the gap.
GOOD_STEP = 0.1


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the algorithm ended with.

    Attributes
    ----------
    point : (K, D) array
        Weights, and biases in the last column.
    logits : (K, N) array
        What they give.
    certificate : Certificate
    iterations : int
        Proximal Newton steps.
    """

    point: Array
    logits: Array
    certificate: Certificate
    iterations: int


def minimise(
    program: Program,
    decay: float,
    bias_decay: float,
    tol: float,
    max_iterations: int,
    start: tuple[Array, Array] | None = None,
) -> Outcome:
    """Minimise the program at one decay.

    Parameters
    ----------
    program : Program
    decay, bias_decay : float
        κ and λ_b.
    tol : float
        Where to stop: gap ≤ tol · max(1, objective).
    max_iterations : int
        Of proximal Newton steps.
    start : pair of arrays, optional
        A point and its logits; zero weights and the best bias where left out.
    """
    xp, penalty, channels = program.xp, program.penalty, program.num_channels
    ridge = program.ridge(bias_decay)
    if start is None:
        point = program.bias_only(bias_decay)
        logits = point @ program.features.T
    else:
        point, logits = start
    evaluation = program.evaluate(logits)
    off = xp.zeros((channels,), dtype=xp.bool, device=program.backend.device)
    exact, iterations, gap = False, 0, math.inf
    curvature: Curvature | None = None
    best: Certificate | None = None
    while True:
        gradient = program.slopes(evaluation.probabilities)
        certificate = certify(program, point, evaluation, gradient, decay, bias_decay)
        best = certificate if best is None or certificate.gap < best.gap else best
        if certificate.gap <= tol * max(1.0, certificate.objective) or iterations >= max_iterations:
            break
        if penalty.name == "channels":
            off |= _proved_off(program, certificate, decay)
        columns = _working_columns(program, point, gradient, decay, off)
        part = xp.take(point, columns, axis=1)
        slope = xp.take(gradient, columns, axis=1)
        if ridge:
            slope[:, -1] += ridge * part[:, -1]
        # where the last step went well its curvature serves once more, at a tenth of the price
        rough = program.num_samples >= MANY_SAMPLES and not exact
        well = rough and certificate.gap <= GOOD_STEP * gap
        curvature = curvature.among(columns) if well and curvature is not None else None
        if curvature is None:
            coarseness = 0.0 if exact else FINE if iterations else COARSE
            curvature = curvature_of(program, evaluation, columns, ridge, coarseness)
        gap = certificate.gap
        model = Model(program, part, slope, curvature, decay)
        moved = minimise_model(model, tol=1e-4)
        iterations += 1
        step = _line_search(program, evaluation, point, logits, part, moved, slope, columns, decay, ridge)
        # below rounding the objective cannot tell good steps from bad ones; the gap can, and ends it
        if step is None or (step.below_rounding and certificate.gap > 0.5 * best.gap and best is not certificate):
            if exact:
                break
            exact = True  # a rough curvature may promise what is not there
        if step is not None:
            point, logits, evaluation = step.point, step.logits, step.evaluation
    return Outcome(point, logits, certificate, iterations)


def _proved_off(program: Program, certificate: Certificate, decay: float) -> Array:
    """Channels off at every optimum: no dual point within the gap's distance brings their slopes to κ."""
    xp, terms = program.xp, program.terms
    sizes = program.penalty.sizes(xp, certificate.slopes)
    reach = float(terms.column_scales.max()) * (2 * certificate.gap) ** 0.5
    return sizes + reach * xp.sqrt(program.energies) < decay


def _working_columns(program: Program, point: Array, gradient: Array, decay: float, off: Array) -> Array:
    """Columns that the next step may change: channels on or nearly so, and the bias's."""
    xp, channels = program.xp, program.num_channels
    if program.penalty.name != "channels":
        return xp.arange(int(point.shape[1]), device=program.backend.device)
    on = program.penalty.sizes(xp, point[:, :channels]) > 0
    sizes = xp.where(on | off, 0.0, program.penalty.sizes(xp, gradient[:, :channels]))
    most = int(FACTOR * int(xp.sum(on))) + MORE
    least = NEARLY_ON * decay
    if most < channels:
        least = max(least, float(xp.sort(sizes)[-most]))
    chosen = on | (sizes >= least)
    if program.bias:
        chosen = xp.concat([chosen, xp.ones((1,), dtype=xp.bool, device=program.backend.device)])
    return xp.nonzero(chosen)[0]


@dataclass(frozen=True, eq=False)
class Step:
    """What a line search found, and whether the objective can still tell how good it is."""

    point: Array
    logits: Array
    evaluation: Evaluation
    below_rounding: bool


def _line_search(
    program: Program,
    evaluation: Evaluation,
    point: Array,
    logits: Array,
    part: Array,
    moved: Array,
    slope: Array,
    columns: Array,
    decay: float,
    ridge: float,
) -> Step | None:
    """As much of a step as lowers the objective enough; None where none of it does."""
    xp, penalty = program.xp, program.penalty
    width = int(part.shape[1]) - program.bias
    change = moved - part
    whole = int(columns.shape[0]) == int(point.shape[1])
    features = program.features if whole else xp.take(program.features, columns, axis=1)
    logit_change = change @ features.T

    def charged(candidate: Array) -> float:
        charge = decay * penalty.value(xp, candidate[:, :width])
        return charge + (0.5 * ridge * float(xp.sum(candidate[:, -1] ** 2)) if ridge else 0.0)

    before = charged(part)
    promise = float(xp.sum(slope * change)) + decay * (
        penalty.value(xp, moved[:, :width]) - penalty.value(xp, part[:, :width])
    )
    size, now = 1.0, evaluation.loss + before
    slack = ROUNDING * abs(now)
    if promise > slack:
        return None
    while size > 1e-6:
        candidate = moved if size == 1 else part + size * change
        trial_logits = logits + size * logit_change
        trial = program.evaluate(trial_logits)
        if trial.loss + charged(candidate) <= now + 1e-4 * size * promise + slack:
            result = point + 0.0
            result[:, columns] = candidate
            return Step(result, trial_logits, trial, -promise <= 10 * slack)
        size /= 2
    return None
