"""What a remedy is: a change by a name, the problem it leads to, that problem solved, and what it costs the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.outlook import Outlook
from lopsided.core.problem import Problem
from lopsided.core.solution import Solution


@dataclass(frozen=True)
class Cost:
    """What a remedy does to the classes that it is not for.

    Attributes
    ----------
    classes : list of int
        The classes that did not need it.
    lowest_margin : pair of float, or None
        Their lowest margin before and after; None where there are no such classes.
    lowest_probability : pair of float, or None
        The lowest probability of the own class among them, before and after.
    newly_lost, newly_fading, newly_misclassified : list of int
        Those of them that the remedy makes so.
    """

    classes: list[int]
    lowest_margin: tuple[float, float] | None
    lowest_probability: tuple[float, float] | None
    newly_lost: list[int]
    newly_fading: list[int]
    newly_misclassified: list[int]


@dataclass(frozen=True, eq=False)
class Remedy:
    """A change that is to keep classes apart, solved again.

    Attributes
    ----------
    name : str
        By which it is chosen: ``"decay"``, ``"class-weights"``, ``"samples"``, ``"oversampling"``, ``"merging"``,
        ``"scales"``, ``"ldam"`` or ``"logit-adjustment"``.
    convention : str
        Which of two readings it follows, where there are two: a loss's reduction, what the feature decay counts, whose
        scale a logit gets. Empty otherwise.
    settings : dict
        The change in numbers, under the names that losses, samplers and :class:`lopsided.UFM` have for them.
    change : str
        The same in one sentence.
    works : bool
        Whether every class to be kept has the margin asked for, in the problem solved again.
    reason : str
        Why it does not, and what comes nearest; empty where it works.
    reachable : float or None
        The largest margin that this lever can give, where that is known and less than was asked for.
    outlook : Outlook or None
        Every class after the change; after the nearest possible one where it does not work, or None without such.
    classes : (K,) array of int
        What each class is in that outlook: itself, unless classes are merged.
    cost : Cost or None
        None without an outlook.
    train_options : dict
        What asks for it in a run: options of ``lopsided train``, keys of its files. Empty without an outlook.
    python : str
        The line that puts it in place in a training loop, in the names of :mod:`lopsided.nn`; ``counts`` and
        ``labels`` are those of the training set, ``model`` and ``lambda_w`` the network and its present weight decay,
        ``remedy`` this remedy, whose numbers are not written where they are many. Empty where no code does it.
    """

    name: str
    convention: str
    settings: dict[str, Any]
    change: str
    works: bool
    reason: str
    reachable: float | None
    outlook: Outlook | None = field(repr=False)
    classes: NDArray[np.int64] = field(repr=False)
    cost: Cost | None = field(repr=False)
    train_options: dict[str, str | float] = field(default_factory=dict, repr=False)
    python: str = field(default="", repr=False)

    @property
    def problem(self) -> Problem | None:
        """The problem after the change."""
        return None if self.outlook is None else self.outlook.problem

    @property
    def solution(self) -> Solution | None:
        """Its optimum."""
        return None if self.outlook is None else self.outlook.solution

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "convention": self.convention or None,
            "settings": self.settings,
            "change": self.change,
            "works": self.works,
            "reason": self.reason or None,
            "reachable": self.reachable,
            "train_options": self.train_options or None,
            "python": self.python or None,
            "cost": None if self.cost is None else dict(vars(self.cost)),
            "after": None if self.outlook is None else self.outlook.to_dict(),
        }


def cost_of(before: Outlook, after: Outlook, classes: NDArray[np.int64], others: NDArray[np.int64]) -> Cost:
    """Compare two outlooks for the ``others``, the classes of ``before`` that the remedy is not for.

    ``classes`` (K,) says what each class of ``before`` is in ``after``.
    """
    moved = classes[others]
    wrong_before, wrong_after = set(before.misclassified), set(after.misclassified)

    def lowest(name: str) -> tuple[float, float] | None:
        if len(others) == 0:
            return None
        first, second = getattr(before, name)[others], getattr(after, name)[moved]
        return None if np.isnan(first).any() else (float(first.min()), float(second.min()))

    def newly(state: str) -> list[int]:
        return [
            int(k)
            for k, there in zip(others, moved, strict=True)
            if after.states[there] == state and before.states[k] != state
        ]

    return Cost(
        classes=others.tolist(),
        lowest_margin=lowest("margins"),
        lowest_probability=lowest("probability"),
        newly_lost=newly("lost"),
        newly_fading=newly("fading"),
        newly_misclassified=[
            int(k) for k, there in zip(others, moved, strict=True) if there in wrong_after and k not in wrong_before
        ],
    )
