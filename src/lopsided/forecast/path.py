"""The front door: a forecast at one decay, along a path of them, and where each class is lost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from lopsided.core.arguments import ArgumentError, check_number, check_whole
from lopsided.core.counts import is_tensor
from lopsided.core.losses import CrossEntropy
from lopsided.forecast.algorithm import Outcome, minimise
from lopsided.forecast.losing import losing_decays
from lopsided.forecast.penalties import ChannelNorms, TraceNorm
from lopsided.forecast.program import Program
from lopsided.forecast.result import ForecastSolution
from lopsided.forecast.statement import Samples, check_training, form_of, read_costs, read_samples
from lopsided.solver.arrays import Array, backend_on

#: The path on which lost classes are looked for: its smallest decay as a share of the largest, its steps, and how
#: close (as a quotient) the two decays come between which a class is lost.
SPAN, STEPS, CLOSENESS = 1e-4, 17, 1.01
#: How far beyond two known decays the line through their optima is followed, in multiples of their distance.
FARTHEST = 1.5
#: Decays around which the largest one with weights is looked for, as a quotient.
SCAN = 1.2


class Forecast:
    """What becomes of each class when the decay changes and the features' directions stay; see :func:`forecast`.

    Attributes
    ----------
    num_classes : int
        K.
    counts : (K,) array
        Training samples in each class.
    names : tuple of str or None
        Names of the classes.
    lambda_w, lambda_s, lambda_b : float
        As stated; other decays keep their ratios.
    loss : CrossEntropy
    kind : str
        ``"channels"`` or ``"mixing"``.
    """

    def __init__(
        self,
        features: ArrayLike,
        labels: ArrayLike,
        *,
        costs: ArrayLike | None,
        lambda_w: float,
        lambda_s: float,
        lambda_b: float,
        bias: bool,
        loss: CrossEntropy | None,
        held_out: tuple[ArrayLike, ArrayLike] | None,
        sample_weights: ArrayLike | None,
        names: Sequence[str] | None,
        tol: float,
        max_iterations: int,
        device: str | None,
    ) -> None:
        check_number("lambda_w", lambda_w, above=0)
        check_number("lambda_s", lambda_s, above=0)
        check_number("lambda_b", lambda_b, least=0, note=" (0: a free bias)")
        check_number("tol", tol, above=0)
        check_whole("max_iterations", max_iterations)
        if not isinstance(bias, (bool, np.bool_)):
            raise ArgumentError("bias", "must be True or False, whether there is one", bias)
        if not bias and lambda_b > 0:
            raise ArgumentError("lambda_b", "must be left out where bias=False: there is no bias to decay", lambda_b)
        if loss is not None and not isinstance(loss, CrossEntropy):
            raise ArgumentError("loss", "must be a CrossEntropy, the family that a forecast certifies", loss)
        samples = read_samples(features, labels, sample_weights, None if names is None else len(names))
        self.names = None if names is None else tuple(str(name) for name in names)
        self.num_classes = int(samples.labels.max()) + 1 if names is None else len(names)
        check_training(samples, self.num_classes)
        self.counts = samples.counts(self.num_classes)
        known_costs = read_costs(costs, samples.features.shape[1])
        self.held_out = None if held_out is None else _read_held_out(held_out, samples, self.num_classes)
        self.kind = "mixing" if known_costs is None else "channels"
        self.lambda_w, self.lambda_s, self.lambda_b = float(lambda_w), float(lambda_s), float(lambda_b)
        self.bias, self.tol, self.max_iterations = bool(bias), tol, max_iterations
        self.loss = CrossEntropy() if loss is None else loss
        self._samples = samples.merged()
        self._form = form_of(self._samples, known_costs)
        if device is None and is_tensor(features) and str(features.device) != "cpu":
            device = str(features.device)
        backend = backend_on(device)
        self.program = Program(
            backend.array(self._form.features(self._samples.features)),
            self._samples.labels,
            self._samples.weights,
            self.loss.terms(self.counts),
            TraceNorm() if known_costs is None else ChannelNorms(),
            self.bias,
            backend,
        )
        self._points: dict[float, Array] = {}
        self._solutions: dict[float, ForecastSolution] = {}

    def __repr__(self) -> str:
        rows, columns = self._samples.features.shape
        return (
            f"Forecast({self.kind}, {rows} rows x {columns}, K = {self.num_classes}, λ_w = {self.lambda_w:g}, "
            f"λ_s = {self.lambda_s:g}, " + (f"λ_b = {self.lambda_b:g})" if self.bias else "no bias)")
        )

    def at(self, decay: float) -> ForecastSolution:
        """The optimum at a decay λ_w; λ_s and λ_b keep their ratios to it.

        Answers are kept, and the nearest of them is where the next begins.

        Raises
        ------
        ArgumentError
            If the decay is not a finite number above 0.
        """
        check_number("decay", decay, above=0)
        decay = float(decay)
        if decay not in self._solutions:
            start = self._start(decay) if self._points and decay < self.largest_decay else None
            charge, bias_decay = self._charges(decay)
            outcome = minimise(self.program, charge, bias_decay, self.tol, self.max_iterations, start)
            self._points[decay] = outcome.point
            self._solutions[decay] = self._solution(decay, outcome)
        return self._solutions[decay]

    def path(self, decays: Iterable[float]) -> list[ForecastSolution]:
        """The optima at many decays, in the order given, each begun from its neighbour above."""
        wanted = list(decays)
        for decay in wanted:
            check_number("decays", decay, above=0)
        for decay in sorted(wanted, reverse=True):
            self.at(decay)
        return [self.at(decay) for decay in wanted]

    @cached_property
    def largest_decay(self) -> float:
        """The decay λ_w from which on all weights are zero: where the slopes at the best bias fit κ.

        In closed form without a bias and with a free one; with a decayed bias the root of one equation.
        """
        ratio = math.sqrt(self.lambda_s / self.lambda_w)
        program = self.program
        channels = program.num_channels

        def excess(decay: float) -> float:
            point = program.bias_only(self._charges(decay)[1])
            slopes = program.slopes_without_weights(point)[:, :channels]
            return program.penalty.dual(program.xp, slopes) / ratio - decay

        if not self.bias or self.lambda_b == 0:
            return excess(1.0) + 1.0
        top = 1.0 + excess(1.0)
        while excess(top) > 0 or excess(2 * top) > 0 or excess(8 * top) > 0:
            top *= 2
        while excess(top / SCAN) < 0:
            top /= SCAN
        return float(brentq(excess, top / SCAN, top, xtol=1e-300, rtol=1e-14))

    @cached_property
    def lost_between(self) -> NDArray[np.float64]:
        """(K, 2) the decays between which each class is lost: kept at the first, lost at the second.

        Computed on both sides, on a path from ``largest_decay`` down to a ten-thousandth of it, then by bisection until
        the two are within one per cent of each other. (0, 0): lost at the smallest decay tried already, so that it is
        these features and not the decay that lose it. (x, infinity): kept where all weights are zero, as the class that
        the bias predicts.
        """
        low = min(SPAN * self.largest_decay, self.lambda_w)
        grid = np.geomspace(self.largest_decay, low, STEPS)[::-1]
        self.path(grid)
        return np.stack(losing_decays(lambda decay: self.at(decay).recall, grid, CLOSENESS), axis=1)

    @property
    def lost_at(self) -> NDArray[np.float64]:
        """(K,) the decay λ_w from which on a class is lost: its recall on training samples is below one half.

        Infinite where no decay loses it, 0 where the smallest one tried does already: see ``lost_between``.
        """
        return self.lost_between[:, 1]

    def _start(self, decay: float) -> tuple[Array, Array]:
        """A point for a new decay, on the line through the two nearest known ones, and its logits."""
        near, *others = sorted(self._points, key=lambda known: abs(math.log(known / decay)))[:2]
        point, channels = self._points[near], self.program.num_channels
        if others:
            share = math.log(decay / near) / math.log(near / others[0])
            if abs(share) <= FARTHEST:
                moved = point + share * (point - self._points[others[0]])
                part = self.program.penalty.smooth_part(self.program.xp, point[:, :channels])
                weights = part.retract(part.project(moved[:, :channels]))
                point = self.program.xp.concat([weights, moved[:, channels:]], axis=1)
        return point, point @ self.program.features.T

    def _charges(self, decay: float) -> tuple[float, float]:
        """κ and λ_b at a decay."""
        return decay * math.sqrt(self.lambda_s / self.lambda_w), decay * (self.lambda_b / self.lambda_w)

    def _solution(self, decay: float, outcome: Outcome) -> ForecastSolution:
        program = self.program
        point = program.backend.host(outcome.point)
        channels = program.num_channels
        bias = point[:, -1] * program.constant if self.bias else np.zeros(self.num_classes)
        weights, bias = self._form.classifier(point[:, :channels], bias)
        certificate = outcome.certificate
        optimal = certificate.gap <= self.tol * max(1.0, certificate.objective)
        sizes = program.penalty.sizes(program.xp, outcome.point[:, :channels])
        least = 1e-10 * float(program.xp.max(sizes))
        if optimal:
            message = f"certified to {certificate.gap:.1e} in {outcome.iterations} steps"
        elif outcome.iterations >= self.max_iterations:
            message = (
                f"a gap of {certificate.gap:.1e} is left after {outcome.iterations} steps: raise max_iterations, or tol"
            )
        else:
            message = (
                f"a gap of {certificate.gap:.1e} is left and rounding lets no step lower the objective: raise tol, or "
                "scale the features to about 1"
            )
        return ForecastSolution(
            decay=decay,
            lambda_s=decay * (self.lambda_s / self.lambda_w),
            lambda_b=self._charges(decay)[1],
            objective=certificate.objective,
            gap=certificate.gap,
            status="optimal" if optimal else "not_certified",
            message=message,
            iterations=outcome.iterations,
            recall=self._samples.recall(weights, bias),
            held_out_recall=(
                np.full(self.num_classes, np.nan) if self.held_out is None else self.held_out.recall(weights, bias)
            ),
            weights=weights,
            bias=bias,
            active=int(program.xp.sum(sizes > least)),
        )


def _read_held_out(held_out: Any, samples: Samples, num_classes: int) -> Samples:
    if not isinstance(held_out, (tuple, list)) or len(held_out) != 2:
        raise ArgumentError("held_out", "must be a pair of features and labels", held_out)
    read = read_samples(held_out[0], held_out[1], None, num_classes, prefix="held_out ")
    if read.features.shape[1] != samples.features.shape[1]:
        rule = f"must have {samples.features.shape[1]} columns, like features"
        raise ArgumentError("held_out features", rule, got=str(read.features.shape[1]))
    return read


def forecast(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    costs: ArrayLike | None = None,
    lambda_w: float,
    lambda_s: float,
    lambda_b: float = 0.0,
    bias: bool = True,
    loss: CrossEntropy | None = None,
    held_out: tuple[ArrayLike, ArrayLike] | None = None,
    sample_weights: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    tol: float = 1e-6,
    max_iterations: int = 100,
    device: str | None = None,
) -> Forecast:
    r"""Forecast from one network's features which class is lost at which decay.

    The features are frozen, and only what carries scale moves: then the rest of training is the convex program

    .. math:: \min_{V,b}\ \sum_n\omega_n\,\ell(V\varphi_n+b,y_n)+\sqrt{\lambda_w\lambda_s}\sum_jc_j\|V_{:j}\|
              +\tfrac{\lambda_b}2\|b\|^2,

    with ``costs``: channels j that may be rescaled, at a cost of :math:`(\lambda_s/2)s_j^2c_j^2` for a scale s_j
    (behind a batch normalisation :math:`c_j^2=\gamma_j^2+\beta_j^2`). Without costs the layer before mixes channels,
    and the penalty is the trace norm :math:`\sqrt{\lambda_w\lambda_s}\|V\|_*` over features centred and whitened to
    :math:`\Phi^\top\Phi=N\cdot I`. It is an upper bound on the least objective of the network's training.

    Parameters
    ----------
    features : (N, d) array_like or tensor
        What enters the head (with mixing: what enters the map before the last normalisation), one row a sample.
    labels : (N,) array_like
        Classes 0, 1, …; every class must have samples.
    costs : (d,) array_like, optional
        c_j > 0.
    lambda_w, lambda_s : float
        Decay of the head, and of the scales.
    lambda_b : float, default 0
        Decay of the bias; 0: free.
    bias : bool, default True
        Whether there is one.
    loss : CrossEntropy, optional
        With weights, adjustment, smoothing, margins or scales; plain where left out.
    held_out : pair of arrays, optional
        Features and labels that were not trained on.
    sample_weights : (N,) array_like, optional
        How many samples each row stands for, above 0.
    names : sequence of K str, optional
    tol : float, default 1e-6
        The status is ``"optimal"`` only if gap ≤ tol · max(1, objective).
    max_iterations : int, default 100
        Of proximal Newton steps, a decay.
    device : str, optional
        Of PyTorch, such as ``"cuda"``, to compute on; that of ``features`` where they lie on one.

    Returns
    -------
    Forecast
        ``at(decay)``, ``path(decays)`` and ``lost_at``.

    Raises
    ------
    ArgumentError
        If an argument breaks its rule.

    Examples
    --------
    >>> import lopsided as lp
    >>> features = [[3, 0], [2, 1], [2, 0], [3, 1], [0, 2], [1, 3]]
    >>> f = lp.forecast(features, [0, 0, 0, 0, 1, 1], costs=[1, 1], lambda_w=1e-2, lambda_s=1e-2)
    >>> solution = f.at(1e-2)
    >>> solution.status, solution.recall
    ('optimal', array([1., 1.]))
    >>> f.lost_at.round(2)                      # the common class is what the bias predicts: no decay loses it
    array([ inf, 0.46])
    """
    return Forecast(
        features,
        labels,
        costs=costs,
        lambda_w=lambda_w,
        lambda_s=lambda_s,
        lambda_b=lambda_b,
        bias=bias,
        loss=loss,
        held_out=held_out,
        sample_weights=sample_weights,
        names=names,
        tol=tol,
        max_iterations=max_iterations,
        device=device,
    )
