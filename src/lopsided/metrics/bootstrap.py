"""Bootstrap intervals for measures of spread: how sure a number from few samples a class can be."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch

from lopsided.core.arguments import ArgumentError
from lopsided.metrics.moments import Moments, TensorLike, as_tensor
from lopsided.metrics.variability import nc1

#: Samples added to the moments at a time.
_CHUNK = 8192


class Spread(Protocol):
    """A measure of spread that knows its correction, such as :func:`~lopsided.metrics.nc1`."""

    def __call__(self, moments: Moments, *, corrected: bool = False) -> float:
        """Measure."""


class Interval(NamedTuple):
    """An estimate, and the interval that covers the true value with the probability asked for."""

    low: float
    estimate: float
    high: float


def bootstrap_interval(
    features: TensorLike,
    labels: TensorLike,
    num_classes: int,
    statistic: Spread = nc1,
    *,
    level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> Interval:
    r"""Interval for a measure of spread, by drawing samples anew within every class.

    The estimate is the corrected measure :math:`\hat\theta`. Each resample is to the samples what the samples are to
    the network, so the quotients of its corrected measure and the samples' plain one follow, about, those of
    :math:`\hat\theta` and the truth: the basic bootstrap, on the logarithm (Davison & Hinkley, 1997, §5.2).
    Quantiles of plain NC1 would not do: a resample repeats samples, which makes it look more collapsed once again.

    Parameters
    ----------
    features, labels : (N, d) and (N,) tensor or array
        As for :meth:`Moments.update`.
    num_classes : int
        Number of classes K.
    statistic : callable, optional
        :func:`nc1` or another measure of :mod:`lopsided.metrics.variability` that takes ``corrected``.
    level : float, optional
        Probability, between 0 and 1, that the interval covers the true value, about; with two or three samples a class
        it covers less often.
    resamples : int, optional
        How many times to draw; each costs one pass over the features. At least 20.
    seed : int, optional
        Of the draws; the same seed gives the same interval.

    Returns
    -------
    Interval
        ``low`` is 0 or ``high`` infinite where a resample cannot tell the classes apart. NaN where the statistic has no
        finite value, and all 0 where the classes have collapsed to points.

    Examples
    --------
    >>> import numpy as np
    >>> from lopsided.metrics import bootstrap_interval
    >>> labels = np.repeat([0, 1, 2], 10)
    >>> features = 3 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(30, 3))
    >>> low, estimate, high = bootstrap_interval(features, labels, num_classes=3)
    >>> 0 < low < estimate < high
    True
    """
    if not 0 < level < 1:
        raise ArgumentError("level", "must be a probability between 0 and 1", level)
    if resamples < 20:
        raise ArgumentError("resamples", "must be at least 20 for quantiles to mean anything", resamples)
    samples, classes = as_tensor(features, "features").cpu(), as_tensor(labels, "labels").cpu()
    moments = _gather(samples, classes, num_classes)
    plain, estimate = statistic(moments), statistic(moments, corrected=True)
    if plain == 0:
        return Interval(0.0, 0.0, 0.0)
    if not (np.isfinite(plain) and np.isfinite(estimate)):
        return Interval(float("nan"), float("nan"), float("nan"))
    order, counts = torch.argsort(classes.long(), stable=True), moments.counts.cpu().numpy()
    samples, classes = samples[order], classes[order]
    sizes = np.repeat(counts, counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        chosen = torch.from_numpy(starts + rng.integers(sizes))
        drawn[i] = statistic(_gather(samples[chosen], classes, num_classes), corrected=True)
    # Classes that cannot be told apart are as far from collapse as can be.
    drawn[np.isnan(drawn)] = np.inf
    tail = (1 - level) / 2
    few, many = np.quantile(drawn, [tail, 1 - tail], method="closest_observation")
    return Interval(
        low=float(estimate * plain / many), estimate=estimate, high=float(estimate * plain / few) if few > 0 else np.inf
    )


def _gather(samples: torch.Tensor, classes: torch.Tensor, num_classes: int) -> Moments:
    moments = Moments(num_classes, samples.shape[1] if samples.ndim == 2 else 1, device="cpu")
    for start in range(0, max(len(samples), 1), _CHUNK):
        moments.update(samples[start : start + _CHUNK], classes[start : start + _CHUNK])
    return moments
