"""What a lever is asked for, and the two things it can answer: a change, or why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.outlook import Outlook
from lopsided.core.problem import Problem

Array = NDArray[np.float64]

#: A threshold is where a class is lost: levers stop this share short of it, so that what they promise is kept.
SLACK = 1e-8
#: That of a class alone in its count, whose threshold is a yardstick: next to complete collapse the directions that are
#: left are worth the square of the distance to it, which no certificate resolves any nearer.
SLACK_ALONE = 1e-4


@dataclass(frozen=True, eq=False)
class Request:
    """The classes ``keep`` (S,) of a problem, to be kept with a margin; ``before`` is the problem's outlook."""

    problem: Problem
    before: Outlook
    keep: NDArray[np.int64]
    margin: float

    @cached_property
    def short(self) -> NDArray[np.int64]:
        """Classes to be kept that lack the margin."""
        return self.keep[self.before.margins[self.keep] < self.margin]

    @cached_property
    def others(self) -> NDArray[np.int64]:
        """All classes that do not lack it."""
        return np.setdiff1d(np.arange(self.problem.num_classes), self.short)

    @cached_property
    def counts(self) -> Array:
        """(K,) counts, in float64."""
        return self.problem.counts.astype(np.float64)

    @cached_property
    def scales(self) -> Array:
        """(K,) (1 − ε) δ: a class's threshold is this times w √n, over the normaliser."""
        return (1 - self.problem.terms.smoothing) * self.problem.terms.row_scales * self.problem.terms.column_scales

    @cached_property
    def mass(self) -> Array:
        """(K,) what one sample of a class adds to the normaliser."""
        return self.problem.terms.weights if self.problem.loss.reduction == "mean" else np.ones(len(self.counts))

    @cached_property
    def slack(self) -> Array:
        """(K,) by which share levers stop short of each class's threshold."""
        slack: Array = np.where(self.before.exact, SLACK, SLACK_ALONE)
        return slack

    def required(self, target: float, factor: Array) -> Array:
        """(K,) what must be at least target · λ / factor for the classes to be kept; 0 for the rest."""
        needed = np.zeros(len(self.counts))
        needed[self.keep] = (target * (1 + self.slack) * self.problem.lambda_z / factor)[self.keep]
        return needed

    def called(self, classes: NDArray[np.int64] | list[int]) -> str:
        """Classes as people call them, a long list cut short."""
        chosen = sorted(int(k) for k in classes)
        if len(chosen) == self.problem.num_classes:
            return "all classes"
        return f"{'class' if len(chosen) == 1 else 'classes'} {self.before.called(chosen)}"


@dataclass(frozen=True, eq=False)
class Proposal:
    """A change that a lever proposes: see :class:`lopsided.advice.Remedy`."""

    problem: Problem
    settings: dict[str, Any]
    change: str
    classes: NDArray[np.int64] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Obstacle:
    """Why a lever has nothing to propose, and the largest margin it could give where that is known."""

    reason: str
    reachable: float | None = None


@dataclass(frozen=True)
class Lever:
    """One way to keep classes: ``pull`` gives the smallest change that reaches a target, or why there is none."""

    name: str
    convention: str
    pull: Callable[[Request, float], Proposal | Obstacle]

    @property
    def full_name(self) -> tuple[str, ...]:
        """``NAME:CONVENTION`` where there is one."""
        return (f"{self.name}:{self.convention}",) if self.convention else ()


def least_raise(base: Array, slopes: Array, mass: Array) -> Array | None:
    r"""The smallest x ≥ base with :math:`x_k\ge\text{slope}_k\sum_j\text{mass}_jx_j` for every k, or None.

    The right-hand sides grow with x, so the set of solutions has a smallest element (Tarski), which is reached by
    raising, from ``base`` on, whatever is too small. Once a set R is raised the sum is
    :math:`\sum_{j\notin R}\text{mass}_j\text{base}_j/(1-\sum_R\text{slope}_j\text{mass}_j)`, so there is none where the
    second sum is 1 or more.

    Examples
    --------
    >>> import numpy as np
    >>> least_raise(np.ones(2), np.array([0.0, 0.5]), np.ones(2))          # x = (1, 1): half of the sum already
    array([1., 1.])
    >>> least_raise(np.ones(2), np.array([0.0, 0.75]), np.ones(2))
    array([1., 3.])
    """
    raised = np.zeros(len(base), dtype=bool)
    while True:
        left = 1 - float(slopes[raised] @ mass[raised])
        if left <= 0:
            return None
        total = float(mass[~raised] @ base[~raised]) / left
        more = raised | (slopes * total > base)
        if (more == raised).all():
            result: Array = np.where(raised, slopes * total, base)
            return result
        raised = more


def largest(holds: Callable[[float], bool], high: float) -> float:
    """The largest target up to ``high`` for which something holds that holds for all small ones; 0 where for none."""
    low = high
    while not holds(low):
        low /= 2
        if low < 1e-12 * high:
            return 0.0
    return bisected(holds, low, min(2 * low, high), 1e-12)[0]


def bisected(holds: Callable[[float], bool], low: float, high: float, accuracy: float) -> tuple[float, float]:
    """The ends of a relatively narrow bracket, of which something holds at the lower one, and not at the upper one."""
    while high - low > accuracy * high:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high


def infeasible(request: Request, reachable: float, why: str) -> Obstacle:
    """The obstacle of a lever whose reach is known."""
    return Obstacle(
        f"{why}; the largest margin it can give to {request.called(request.keep)} is {reachable:.6g}", reachable
    )


def span(values: Array) -> str:
    """The smallest and the largest number, or the one."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.6g}" if high - low <= 1e-9 * high else f"{low:.6g} to {high:.6g}"
