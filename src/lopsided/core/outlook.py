"""What becomes of each class, predicted or measured: kept, fading or lost; decided once and worded once.

A class is

- **lost** where its mean coincides with another class's, so that no classifier can tell the two apart; or where another
  class is predicted for its samples and its decay is at or past its threshold, or the network is a measured one;
- **fading** where it is not lost, but its margin, threshold over decay, is below a named factor, or another class is
  predicted for its samples already;
- **kept** otherwise, and **unknown** where nothing can be said.

The *threshold* of a class is the decay from which on two classes like it coincide, or everything does, where that is
lower. In a cluster of two or more classes it is exact. A class alone in its count has no other to coincide with; for it
the number is a yardstick (``exact`` is False), and what is predicted for its samples decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.counts import class_ranges
from lopsided.core.ends import End
from lopsided.core.geometry import Geometry
from lopsided.core.plain_values import plain
from lopsided.core.predictions import leads_of
from lopsided.core.problem import Problem
from lopsided.core.solution import Solution

Array = NDArray[np.float64]

#: A class whose threshold is less than this many times λ_z is fading: below 1/√2 of its threshold every class is
#: predicted for its own samples, whatever the other counts are (plain or weighted cross-entropy), by the notes of
#: :func:`lopsided.theory.class_strengths`.
FADING = math.sqrt(2)
#: Letters of class names that a sentence or a cell has room for.
LONGEST_NAMES = 24


def states_of(
    merged: NDArray[np.bool_], misclassified: NDArray[np.bool_], margins: Array, factor: float
) -> tuple[str, ...]:
    """The state of each class; a margin of NaN is that of a measured network, where nothing is left to happen.

    Examples
    --------
    >>> states_of(np.array([False, False, True]), np.array([False, True, False]), np.array([1.2, 1.1, 1.0]), 1.5)
    ('fading', 'fading', 'lost')
    """
    lost = merged | (misclassified & ~(margins > 1))
    fading = ~lost & (misclassified | (margins < factor))
    return tuple(np.where(lost, "lost", np.where(fading, "fading", "kept")).tolist())


@dataclass(frozen=True, eq=False)
class Outlook:
    """What becomes of each class; ``lp.check`` returns it, and every remedy ends in one.

    Attributes
    ----------
    counts : (K,) array of int64
    states : tuple of K str
        ``"kept"``, ``"fading"`` or ``"lost"``; ``"unknown"`` for all where λ_z is not known.
    merged : list of list of int
        Groups of classes whose means coincide; empty where that is not known.
    logit_gap, probability : (K,) array
        By how much the own logit of a class's samples leads, in nats, and the probability of the own class; NaN where
        not known. A negative lead: another class is predicted.
    runner_up : (K,) array of int
        The class whose logit is the next, or the larger; −1 where not known.
    thresholds : (K,) array
        The decay λ_z at which each class is lost, or for a class alone in its count its yardstick; NaN for a measured
        network.
    exact : (K,) array of bool
        Whether that is the decay from which on the class coincides with another.
    margins : (K,) array
        Threshold over λ_z; NaN where that is not known.
    complete : float
        The λ_z from which on all classes are one; NaN for a measured network.
    fading_margin : float
        The factor below which a class is fading.
    problem : Problem or None
        What was solved; None where λ_z is not known, and for a measured network.
    solution : Solution or None
        Its optimum; None likewise.
    names : tuple of K str, or None
        Names of the classes, where they have any.
    weight_decay : float or None
        λ_w, where it is what was given; λ_z then follows from the network's end, or is not known.
    end : End or None
        How the network ends, where that is given.
    assumptions : tuple of str
        What this rests on, one sentence each.
    """

    counts: NDArray[np.int64] = field(repr=False)
    states: tuple[str, ...]
    merged: list[list[int]]
    logit_gap: Array = field(repr=False)
    probability: Array = field(repr=False)
    runner_up: NDArray[np.int64] = field(repr=False)
    thresholds: Array = field(repr=False)
    exact: NDArray[np.bool_] = field(repr=False)
    margins: Array = field(repr=False)
    complete: float
    fading_margin: float = FADING
    problem: Problem | None = None
    solution: Solution | None = field(default=None, repr=False)
    names: tuple[str, ...] | None = field(default=None, repr=False)
    weight_decay: float | None = None
    end: End | None = None
    assumptions: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def measured(cls, geometry: Geometry, names: tuple[str, ...] | None = None) -> Outlook:
        """What has become of the classes of a network, judged by its class means and its head.

        Examples
        --------
        >>> import lopsided as lp
        >>> Outlook.measured(lp.UFM("500x2,100x3", lambda_z=8e-3).solve().geometry).lost
        [2, 3, 4]
        """
        classes = geometry.num_classes
        unknown = np.full(classes, np.nan)
        lead, runner_up = unknown, np.full(classes, -1)
        if geometry.has_classifier and np.sum(geometry.counts > 0) > 1:
            lead, found = leads_of(geometry.mean_logits + geometry.bias)
            runner_up = np.where(geometry.counts > 0, found, -1)
        merged = np.zeros(classes, dtype=bool)
        merged[[k for group in geometry.merged for k in group]] = True
        states = np.array(states_of(merged, lead < 0, unknown, FADING), dtype=object)
        states[geometry.counts == 0] = "unknown"
        return cls.without_solution(
            geometry.counts,
            states=tuple(states.tolist()),
            merged=geometry.merged,
            logit_gap=lead,
            runner_up=runner_up,
            names=names,
        )

    @classmethod
    def without_solution(cls, counts: NDArray[np.int64], **known: Any) -> Outlook:
        """An outlook of which nothing is known but some of its attributes."""
        unknown = np.full(len(counts), np.nan)
        attributes: dict[str, Any] = {
            "states": ("unknown",) * len(counts),
            "merged": [],
            "runner_up": np.full(len(counts), -1),
            "exact": np.zeros(len(counts), dtype=bool),
            "complete": math.nan,
            **dict.fromkeys(("logit_gap", "probability", "thresholds", "margins"), unknown),
        }
        return cls(counts, **attributes | known)

    def _in_state(self, state: str) -> list[int]:
        return [index for index, found in enumerate(self.states) if found == state]

    @property
    def lost(self) -> list[int]:
        """Classes that are lost."""
        return self._in_state("lost")

    @property
    def fading(self) -> list[int]:
        """Classes that are fading."""
        return self._in_state("fading")

    @property
    def kept(self) -> list[int]:
        """Classes that are kept."""
        return self._in_state("kept")

    @property
    def misclassified(self) -> list[int]:
        """Classes for whose samples another class is predicted, or as much."""
        return [int(index) for index in np.flatnonzero(self.logit_gap <= 0)]

    @property
    def certified(self) -> bool:
        """Whether what is said rests on a certified optimum; True where nothing was solved."""
        return self.solution is None or self.solution.certified

    @property
    def at_origin(self) -> list[int]:
        """The merged classes whose means are zero, so that only the bias is left to predict by."""
        if self.solution is None:
            return []
        own = {cluster.classes[0]: cluster.own_logit for cluster in self.solution.clusters}
        return sorted(k for group in self.merged for k in group if all(own.get(one, 0.0) == 0 for one in group))

    @property
    def critical_weight_decays(self) -> Array:
        """(K,) weight decay at which each class is lost at the latest, all decays in proportion; NaN without an end.

        At the latest where features are as free as the model takes them to be, as in every network tried; a network
        whose features are not free loses classes earlier.
        """
        return self.margins * (math.nan if self.weight_decay is None or self.end is None else self.weight_decay)

    @property
    def critical_feature_decays(self) -> Array:
        """(K,) λ_h from which on each class is lost, threshold² / λ_w; NaN where no weight decay alone was given."""
        return self.thresholds**2 / (math.nan if self.weight_decay is None else self.weight_decay)

    @property
    def critical_norm_ratios(self) -> Array:
        """(K,) ‖W‖_F / ‖H‖_F from which on each class is lost, threshold / λ_w.

        At a stationary point λ_z is λ_w times that ratio. H holds the features of all N samples; in terms of their root
        mean square norm r its norm is √N r.
        """
        return self.thresholds / (math.nan if self.weight_decay is None else self.weight_decay)

    def name(self, index: int) -> str:
        """A class as people call it."""
        return str(index) if self.names is None else self.names[index]

    def called(self, classes: Iterable[int]) -> str:
        """Classes as people call them: by name where they have names, else by number; a long list cut short."""
        chosen = sorted(int(k) for k in classes)
        if self.names is None or self.names == tuple(map(str, range(len(self.names)))):
            return class_ranges(chosen)
        text = ", ".join(self.names[k] for k in chosen)
        if len(text) > LONGEST_NAMES:
            more = f", … ({len(chosen)})" if len(chosen) > 1 else "…"
            text = self.names[chosen[0]][: LONGEST_NAMES - len(more)] + more
        return text

    @property
    def verdict(self) -> str:
        """What becomes of the classes, in one sentence or two."""
        if self.problem is None and set(self.states) == {"unknown"} and self.weight_decay is None:
            return "Unknown: these decays say nothing about classes; measure the network, or forecast from it."
        if self.problem is None:
            return self._limits() if self.weight_decay is not None else self._found()
        if self.end is not None:
            return self._at_the_latest()
        said = self._expected(self.problem.lambda_z)
        return said if self.certified else f"Not certified, so only tentative. {said}"

    def _expected(self, decay: float) -> str:
        total = len(self.states)
        if len(self.lost) == total and len(self.merged) == 1 and len(self.merged[0]) == total:
            return (
                f"Everything is lost: every input gets the same prediction; classes separate below λ_z ="
                f" {self.complete:.6g}, {self.complete / decay:.3g} times this decay."
            )
        if self.lost:
            limit = float(self.thresholds[self.lost].min())
            zero = " Their means are zero: only the bias is left to predict by." if self.at_origin else ""
            at = f"λ_z = {limit:.6g}, {limit / decay:.3g} times this decay"
            if self.exact[self.lost].all():
                where = f"all of them are kept below {at}"
            else:  # a class alone in its count meets others at the origin, from a decay on that must be searched
                where = f"the lowest of their thresholds, a yardstick for those alone in their count, is {at}"
            return f"Lost: {len(self.lost)} of {total} classes ({self.called(self.lost)}); {where}.{zero}"
        lowest = float(np.nanmin(self.margins))
        if self.fading:
            wrong = len(self.misclassified)
            given = f"; samples of {wrong} of them are given to another class" if wrong else ""
            return (
                f"No class is lost, but {len(self.fading)} of {total} are fading ({self.called(self.fading)}): the"
                f" first threshold is {lowest:.3g} times this decay{given}."
            )
        return f"All {total} classes are kept: the first threshold is {lowest:.3g} times this decay."

    def _at_the_latest(self) -> str:
        """Of a network whose end is known."""
        assert self.end is not None
        decays = self.critical_weight_decays
        first = int(np.argmin(decays))
        latest = f"{decays[first]:.4g}, {self.margins[first]:.3g} times this one"
        if self.lost:
            said = (
                f"Lost at this weight decay: {len(self.lost)} of {len(self.states)} classes ({self.called(self.lost)});"
                f" the first is lost from {latest}, on at the latest."
            )
        elif self.end.exact:
            said = (
                f"No class is lost at the optimum of a network whose features are free: the first is from {latest}, on."
                " Features that are not free lose classes earlier."
            )
        else:
            said = (
                f"No class is certain to be lost: the first is from a weight decay of {latest}, on at the latest."
                " Whether it is kept before, only the network itself can tell."
            )
        return said if self.certified else f"Not certified, so only tentative. {said}"

    @property
    def summary(self) -> str:
        """Which classes are lost and how, in a clause; for titles and beside a prediction.

        Examples
        --------
        >>> import lopsided as lp
        >>> Outlook.measured(lp.UFM("500x5,100x5", lambda_z=4e-3).solve().geometry).summary
        'classes 5–9 cannot be told apart'
        """
        together = {k for group in self.merged for k in group}
        apart = [k for k in self.lost if k not in together]
        if len(self.merged) == 1 and len(together) == len(self.states):
            return "all classes have merged"
        parts = [f"classes {self.called(together)} cannot be told apart"] if together else []
        if apart:
            parts.append(f"another class is predicted for the mean of {self.called(apart)}")
        return "; ".join(parts) or "no class is lost"

    def _found(self) -> str:
        """Of a measured network."""
        return f"Lost: {self.summary}." if self.lost else "No class is lost."

    def _limits(self) -> str:
        """Of a weight decay alone."""
        assert self.weight_decay is not None
        low, high, decay = float(self.thresholds.min()), self.complete, self.weight_decay
        if low >= high * (1 - 1e-9):
            return f"Unknown: all classes are lost from a feature decay of {high**2 / decay:.4g} on, none before."
        return (
            f"Unknown: no class is lost below a feature decay of {low**2 / decay:.4g}, and all are from"
            f" {high**2 / decay:.4g} on; in a trained network, below and from ‖W‖/‖H‖ = {low / decay:.4g} and"
            f" {high / decay:.4g}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; what is not known is ``None``."""
        columns: dict[str, Any] = {
            "count": self.counts,
            "state": self.states,
            "threshold": self.thresholds,
            "exact": self.exact,
            "margin": self.margins,
            "logit_gap": self.logit_gap,
            "probability": self.probability,
            "runner_up": [index if index >= 0 else None for index in self.runner_up],
        }
        decay: dict[str, Any] = {}
        if self.end is not None:
            decay = {"weight_decay": self.weight_decay, "end": self.end.name, "exact": self.end.exact}
            columns["critical_weight_decay"] = self.critical_weight_decays
        elif self.problem is None and self.weight_decay is not None:
            decay["weight_decay"] = self.weight_decay
            columns["critical_feature_decay"] = self.critical_feature_decays
            columns["critical_norm_ratio"] = self.critical_norm_ratios
        value = {
            "lambda_z": self.problem.lambda_z if self.problem is not None else None,
            "complete": self.complete,
            "fading_margin": self.fading_margin,
            "lost": self.lost,
            "fading": self.fading,
            "merged": self.merged,
            "at_origin": self.at_origin,
            "status": None if self.solution is None else self.solution.status,
            "gap": None if self.solution is None else self.solution.gap,
            "assumptions": self.assumptions,
            "classes": [
                {"class": index, "name": self.name(index)} | {name: values[index] for name, values in columns.items()}
                for index in range(len(self.counts))
            ],
        }
        result: dict[str, Any] = plain(value | decay)
        return result
