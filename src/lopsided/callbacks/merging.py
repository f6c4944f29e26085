"""When classes are about to merge: what their distances did, and what theory says of the decay that acts on them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.counts import class_ranges
from lopsided.core.geometry import Geometry, class_separations

Array = NDArray[np.float64]

#: Classes this many times as far apart as merged ones may be were once told apart.
APART = 2.0
#: Measurements ahead for which a fall is extrapolated, and how many in a row must have fallen for that.
HORIZON = 3
#: The mean of fewer samples is too uncertain to say of a class, by itself, that it drew near another.
FEWEST = 5
#: A class that the theory gives up gets away while its distance grows by more than this share a measurement.
GROWTH = 0.05


@dataclass(frozen=True)
class Forecast:
    r"""What the theory says of a network, given the decay that acts on it.

    Attributes
    ----------
    lost : list of list of int
        Groups of classes that the optimum at this decay does not tell apart.
    ratio : float
        λ_z over the least threshold, at which the first classes merge.
    lambda_z : float
        The effective decay of the mean logits.
    mismatch : float
        How far classifier and features are from the balance that the estimate assumes, 0 to 1.
    """

    lost: list[list[int]]
    ratio: float
    lambda_z: float
    mismatch: float


@dataclass(frozen=True)
class MergeAlarm:
    """Classes that have ``merged`` already or are about to, and the ``reason`` to say so.

    Examples
    --------
    >>> print(MergeAlarm([5, 6, 7], False, "they drew near each other"))
    classes 5–7 are about to merge: they drew near each other; lower the weight decay, or weight these classes more
    """

    classes: list[int]
    merged: bool
    reason: str

    def __str__(self) -> str:
        if len(self.classes) > 1:
            state = f"es {class_ranges(self.classes)} {'have merged' if self.merged else 'are about to merge'}"
        else:
            state = f" {self.classes[0]} {'has merged' if self.merged else 'is about to merge'}"
        return f"class{state}: {self.reason}; lower the weight decay, or weight these classes more"


class MergeWatch:
    """Follows how far apart the classes are, and says when some are about to merge.

    A class's distance is that of its mean logits from the nearest other class's, over the distance up to which two
    classes count as merged (:func:`lopsided.core.geometry.class_separations`): at 1 or below it has merged. There are
    two grounds for an alarm, and each class is named once, until it is apart again:

    - **seen**, of classes of five samples or more: the class was apart (a distance of 2 or more) and has merged; or it
      has come nearer in three measurements in a row so fast that, going on like this, it merges within three more;
    - **foretold**: the optimum at the decay measured does not tell the class from another, the estimate of the decay is
      not still falling by more than a tenth a measurement, as it does while features grow, and the distance does not
      grow by more than 5 % a measurement.

    At the start of training all distances are small; neither ground mistakes that for a merge.
    """

    def __init__(self) -> None:
        self._distances: deque[list[float]] = deque(maxlen=HORIZON + 1)
        self._best: list[float] = []
        self._named: set[int] = set()
        self._ratio = math.inf

    def update(self, geometry: Geometry, forecast: Forecast | None = None) -> list[MergeAlarm]:
        """Take one measurement, with what the theory says where it says something; return the alarms that are new.

        Examples
        --------
        >>> watch = MergeWatch()
        >>> for gap in (4.0, 4.2, 3.0, 2.0, 1.1):
        ...     for alarm in watch.update(Geometry([9, 9, 6, 6], np.diag([9.0, 9.0, gap, gap]), np.eye(4))):
        ...         print(gap, alarm.classes, alarm.merged)
        1.1 [2, 3] False
        """
        distances = np.where(geometry.counts >= FEWEST, class_separations(geometry), np.nan)
        self._distances.append(distances.tolist())
        best = np.array(self._best) if self._best else np.zeros(len(distances))
        best = np.fmax(best, distances)
        self._named -= set(np.flatnonzero(distances >= APART).tolist()) - self._falling(best)
        alarms = self._seen(distances, best)
        if forecast is not None:
            alarms += self._foretold(distances, forecast, {k for alarm in alarms for k in alarm.classes})
        self._ratio = math.inf if forecast is None else forecast.ratio
        best[distances <= 1] = 0.0  # merged: to be told again, it must come apart again
        self._best = best.tolist()
        alarms = [alarm for alarm in alarms if not set(alarm.classes) <= self._named]
        self._named.update(k for alarm in alarms for k in alarm.classes)
        return alarms

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with: plain numbers and lists."""
        return {
            "distances": list(self._distances),
            "best": self._best,
            "named": sorted(self._named),
            "ratio": self._ratio,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._distances = deque(state["distances"], maxlen=HORIZON + 1)
        self._best, self._named, self._ratio = list(state["best"]), set(state["named"]), float(state["ratio"])

    def _falling(self, best: Array) -> set[int]:
        """Classes that were apart and, going on as in the last measurements, merge within the horizon."""
        if len(self._distances) <= HORIZON:
            return set()
        series = np.array(self._distances)
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.diff(np.log(series), axis=0)
            ahead = np.log(series[-1]) + HORIZON * steps.mean(axis=0)
            found = (steps < 0).all(axis=0) & (ahead <= 0) & (best >= APART)
        return set(np.flatnonzero(found).tolist())

    def _seen(self, distances: Array, best: Array) -> list[MergeAlarm]:
        alarms = []
        if merged := np.flatnonzero((distances <= 1) & (best >= APART)).tolist():
            reason = f"the distance from the nearest class had been {_times(best[merged].min())}"
            alarms.append(MergeAlarm(merged, True, reason))
        if falling := sorted(self._falling(best) - set(merged)):
            before, now = np.array(self._distances)[0][falling], distances[falling]
            drop = 100 * (1 - float(np.median(now / before)))
            fall = f"fell by {drop:.0f} % in {HORIZON} measurements, to {_times(now.min())}"
            reason = f"the distance from the nearest class {fall}"
            alarms.append(MergeAlarm(falling, False, reason))
        return alarms

    def _foretold(self, distances: Array, forecast: Forecast, already: set[int]) -> list[MergeAlarm]:
        if len(self._distances) < 2 or forecast.ratio < 0.9 * self._ratio or not math.isfinite(self._ratio):
            return []
        before = np.array(self._distances[-2])
        alarms = []
        for group in forecast.lost:
            held = [k for k in group if k not in already and not distances[k] > (1 + GROWTH) * before[k]]
            if len(held) < 2:
                continue
            merged = bool((distances[held] <= 1).all())
            past = f", {forecast.ratio:.3g} times the lowest at which classes merge," if forecast.ratio >= 1 else ""
            near = distances[held][np.isfinite(distances[held])]
            reason = (
                f"the optimum at the decay measured{past} does not tell these apart (classifier and features are out of"
                f" balance by {100 * forecast.mismatch:.0f} %)"
            )
            if len(near):
                reason += f"; the distance from the nearest class is {_times(near.min())}"
            alarms.append(MergeAlarm(held, merged, reason))
        return alarms


def _times(value: float) -> str:
    return f"{value:.2g} times the one at which classes count as merged"
