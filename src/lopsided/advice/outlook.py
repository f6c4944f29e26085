r"""What becomes of each class at given decays: kept, fading or lost, and how far from its threshold it is.

The *threshold* of a class is the decay at which two classes like it merge (:func:`lopsided.theory.class_strengths`),
or that at which everything does, where that is lower. In a cluster of two or more classes it is exact. A class alone in
its count has nothing to coincide with; for it the number is a yardstick, and what the solved optimum predicts for its
samples decides:

- **lost**: its mean coincides with another class's; or it is at or beyond its threshold and another class is predicted
  for its samples;
- **fading**: not lost, but its margin, threshold over λ_z, is below a named factor, or another class is predicted for
  its samples already;
- **kept**: neither.

The default factor is √2, since below 1/√2 of its threshold every class is predicted for its own samples, whatever the
other counts are (plain or weighted cross-entropy): the notes of ``class_strengths`` have the proof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.advice.predictions import predict_classes
from lopsided.core.arguments import check_number
from lopsided.core.solution import Solution
from lopsided.model import UFM
from lopsided.theory import Thresholds, class_strengths, thresholds

Array = NDArray[np.float64]

#: A class whose threshold is less than this many times λ_z is fading.
FADING = math.sqrt(2)
#: What a class may be.
STATES = ("kept", "fading", "lost", "unknown")


@dataclass(frozen=True, eq=False)
class Outlook:
    """What becomes of each class; ``lp.check`` returns it, and every remedy ends in one.

    Attributes
    ----------
    problem : UFM or None
        What was solved; None where λ_z is not known.
    solution : Solution or None
        Its optimum; None likewise.
    counts : (K,) array of int64
    names : tuple of K str, or None
        Names of the classes, where they have any.
    states : tuple of K str
        ``"kept"``, ``"fading"`` or ``"lost"``; ``"unknown"`` for all where λ_z is not known.
    thresholds : (K,) array
        The decay λ_z at which each class is lost, or for a class alone in its count its yardstick.
    exact : (K,) array of bool
        Whether that is the decay from which on the class coincides with another.
    margins : (K,) array
        Threshold over λ_z; NaN where that is not known.
    logit_gap, probability : (K,) array
        By how much the own logit leads at the optimum, in nats, and the probability of the own class; NaN where not
        known. A negative gap: another class is predicted.
    runner_up : (K,) array of int
        The class whose logit is the next, or the larger; −1 where not known.
    complete : float
        The λ_z from which on all classes are one.
    fading_margin : float
        The factor below which a class is fading.
    weight_decay : float or None
        λ_w, where it is all that is known of λ_z.
    assumptions : tuple of str
        What this rests on, one sentence each.
    """

    problem: UFM | None
    solution: Solution | None = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    names: tuple[str, ...] | None = field(repr=False)
    states: tuple[str, ...]
    thresholds: Array = field(repr=False)
    exact: NDArray[np.bool_] = field(repr=False)
    margins: Array = field(repr=False)
    logit_gap: Array = field(repr=False)
    probability: Array = field(repr=False)
    runner_up: NDArray[np.int64] = field(repr=False)
    complete: float
    fading_margin: float
    weight_decay: float | None
    assumptions: tuple[str, ...] = field(repr=False)

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
    def merged(self) -> list[list[int]]:
        """Groups of classes whose means coincide; empty where λ_z is not known."""
        return [] if self.solution is None else self.solution.geometry.merged

    @property
    def at_origin(self) -> list[int]:
        """The merged classes whose means are zero, so that only the bias is left to predict by."""
        if self.solution is None:
            return []
        own = {group[0]: cluster.own_logit for cluster in self.solution.clusters for group in [cluster.classes]}
        return sorted(k for group in self.merged for k in group if all(own.get(one, 0.0) == 0 for one in group))

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

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; what is not known is ``None``."""
        known = self.problem is not None
        value: dict[str, Any] = {
            "lambda_z": self.problem.lambda_z if self.problem is not None else None,
            "complete": self.complete,
            "fading_margin": self.fading_margin,
            "lost": self.lost,
            "fading": self.fading,
            "merged": self.merged,
            "at_origin": self.at_origin,
            "status": None if self.solution is None else self.solution.status,
            "gap": None if self.solution is None else self.solution.gap,
            "assumptions": list(self.assumptions),
            "classes": [
                {
                    "class": index,
                    "name": self.name(index),
                    "count": int(self.counts[index]),
                    "state": self.states[index],
                    "threshold": _number(self.thresholds[index]),
                    "exact": bool(self.exact[index]),
                    "margin": _number(self.margins[index]),
                    "logit_gap": _number(self.logit_gap[index]),
                    "probability": _number(self.probability[index]),
                    "runner_up": int(self.runner_up[index]) if known else None,
                }
                for index in range(len(self.counts))
            ],
        }
        if not known and self.weight_decay is not None:
            value["weight_decay"] = self.weight_decay
            for name, values in (
                ("critical_feature_decay", self.critical_feature_decays),
                ("critical_norm_ratio", self.critical_norm_ratios),
            ):
                for entry, number in zip(value["classes"], values, strict=True):
                    entry[name] = _number(number)
        return value


def outlook_of(
    problem: UFM,
    margin: float = FADING,
    names: tuple[str, ...] | None = None,
    assumptions: tuple[str, ...] = (),
    tol: float | None = None,
    known: Thresholds | None = None,
) -> Outlook:
    """The outlook of a problem whose decay is known.

    Parameters
    ----------
    problem : UFM
    margin : float, default √2
        A class whose threshold is less than this many times λ_z is fading.
    names : tuple of K str, optional
    assumptions : tuple of str
        To be stated before what the problem itself assumes.
    tol : float, optional
        As for :func:`predict_classes`.
    known : Thresholds, optional
        Of this problem, where they have been computed already.

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
    predictions = predict_classes(problem, tol)
    margins = values / problem.lambda_z
    merged = np.zeros(problem.num_classes, dtype=bool)
    for cluster in predictions.solution.clusters:
        merged[cluster.classes] = cluster.collapsed
    merged[[k for group in predictions.solution.geometry.merged for k in group]] = True
    misclassified = predictions.logit_gap <= 0
    lost = merged | (misclassified & (margins <= 1))
    fading = ~lost & (misclassified | (margins < margin))
    return Outlook(
        problem=problem,
        solution=predictions.solution,
        counts=problem.counts,
        names=names,
        states=tuple(np.where(lost, "lost", np.where(fading, "fading", "kept")).tolist()),
        thresholds=values,
        exact=exact,
        margins=margins,
        logit_gap=predictions.logit_gap,
        probability=predictions.probability,
        runner_up=predictions.runner_up,
        complete=found.complete,
        fading_margin=float(margin),
        weight_decay=None,
        assumptions=assumptions + assumptions_of(problem, found, exact),
    )


def class_thresholds(problem: UFM, found: Thresholds) -> tuple[Array, NDArray[np.bool_]]:
    """(K,) threshold of each class, and whether it is exact; the others are the yardstick of a class alone."""
    clusters = problem.clusters
    exact = ~np.isnan(found.within) & (not found.note)
    if problem.is_convex:
        values = np.where(np.isnan(found.within), class_strengths(problem), found.within)
    else:
        values = np.where(np.isnan(found.within), found.complete, found.within)
    values = np.minimum(values, found.complete)
    return values[clusters.labels], exact[clusters.labels]


def assumptions_of(problem: UFM, found: Thresholds, exact: NDArray[np.bool_]) -> tuple[str, ...]:
    """What an outlook rests on, one sentence each."""
    said = [
        "The network can place the features of each sample freely, has at least as many of them as classes, and is"
        " trained until nothing moves; that is the unconstrained feature model.",
        "Features are decayed by (λ_h/2)·Σ‖h‖² over all N samples, weights by (λ_w/2)·‖W‖², as PyTorch's weight_decay.",
    ]
    if not exact.all() and not found.note:
        said.append(
            "A class alone in its count cannot coincide with another before the whole does: its threshold is that of"
            " two classes of its count, and it is lost where it is past that and the optimum predicts another class."
        )
    if found.note:
        said.append(f"Thresholds are {found.note}.")
    if problem.bias and problem.lambda_b == 0:
        said.append("The bias is not decayed.")
    return tuple(said)


def checked_margin(margin: object) -> float:
    """A margin, if it is one.

    Raises
    ------
    ValueError
        If it is not a finite number of at least 1.
    """
    check_number("margin", margin, least=1, note=", threshold over lambda_z")
    return float(margin)  # type: ignore[arg-type]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
