"""The plane of a phase diagram: its axes, what is fixed, and the quantities at its points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import LARGEST_COUNT, MOST_CLASSES
from lopsided.core.problem import LARGEST_DECAY, SMALLEST_DECAY

Array = NDArray[np.float64]

COUNTS = ("n_a", "n_b")
CLASS_NUMBERS = ("m_a", "m_b")
#: What an axis may vary.
NAMES = ("lambda_z", "ratio", *COUNTS, *CLASS_NUMBERS)
#: Points of an axis where none are asked for, and at most.
POINTS, MOST_POINTS = 40, 5000

_LIMITS = {
    "lambda_z": (SMALLEST_DECAY, LARGEST_DECAY),
    "ratio": (1e-9, 1e9),
    **dict.fromkeys(COUNTS, (1, LARGEST_COUNT)),
    **dict.fromkeys(CLASS_NUMBERS, (1, MOST_CLASSES)),
}


@dataclass(frozen=True)
class Axis:
    """One axis of a phase diagram.

    Parameters
    ----------
    name : str
        What varies: ``"lambda_z"``, ``"ratio"`` (n_a / n_b), ``"n_a"``, ``"n_b"``, ``"m_a"`` or ``"m_b"``.
    start, stop : float
        The first and the last value.
    points : int, default 40
        How many values. Numbers of samples and of classes are rounded to whole ones, each kept once.
    log : bool, default False
        Whether the values are evenly spaced in their logarithm.

    Examples
    --------
    >>> Axis("m_a", 1, 4).values
    array([1., 2., 3., 4.])
    >>> Axis("lambda_z", 1e-3, 1e-1, 3, log=True).values
    array([0.001, 0.01 , 0.1  ])
    """

    name: str
    start: float
    stop: float
    points: int = POINTS
    log: bool = False

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ArgumentError("axis", f"must vary one of: {', '.join(NAMES)}", self.name)
        for value in (self.start, self.stop):
            low, high = _LIMITS[self.name]
            if not low <= value <= high:  # not a number is refused too
                raise ArgumentError("axis", f"must keep {self.name} between {low:g} and {high:g}", value)
        if self.start >= self.stop:
            raise ArgumentError(
                "axis", "must run upwards, from START to a larger STOP", got=f"{self.start!r} to {self.stop!r}"
            )
        if not isinstance(self.points, int) or not 2 <= self.points <= MOST_POINTS:
            raise ArgumentError("axis", f"must have a whole number of points from 2 to {MOST_POINTS}", self.points)

    @classmethod
    def parse(cls, text: str, *, log: bool = False, argument: str = "axis") -> Axis:
        """Read ``NAME:START:STOP`` or ``NAME:START:STOP:POINTS``; a hyphen in the name is as good as an underscore.

        Examples
        --------
        >>> Axis.parse("ratio:1:20:39")
        Axis(name='ratio', start=1.0, stop=20.0, points=39, log=False)
        """
        parts = [part.strip() for part in text.split(":")]
        try:
            if len(parts) not in (3, 4):
                raise ValueError
            start, stop = float(parts[1]), float(parts[2])
            points = int(parts[3]) if len(parts) == 4 else POINTS
        except ValueError:
            raise ArgumentError(
                argument, "must be NAME:START:STOP or NAME:START:STOP:POINTS, such as ratio:1:20:40", text
            ) from None
        name = parts[0].replace("-", "_")
        if name not in NAMES:
            known = ", ".join(NAMES).replace("_", "-")
            raise ArgumentError(argument, f"must vary one of: {known}", parts[0])
        try:
            return cls(name, start, stop, points, log)
        except ArgumentError as error:
            raise error.renamed(axis=argument) from None

    @staticmethod
    def checked(name: str, value: float) -> float:
        """A fixed value of a quantity, refused where it breaks its rule.

        Examples
        --------
        >>> Axis.checked("n_a", 500)
        500.0
        """
        low, high = _LIMITS[name]
        if not isinstance(value, (int, float, np.number)) or not math.isfinite(value) or not low <= value <= high:
            raise ArgumentError(name, f"must be a number between {low:g} and {high:g}", value)
        if name in (*COUNTS, *CLASS_NUMBERS) and value != round(value):
            raise ArgumentError(name, "must be a whole number", value, remedy="vary the ratio for what lies between")
        return float(value)

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return self.name in (*COUNTS, *CLASS_NUMBERS)

    @cached_property
    def values(self) -> Array:
        """The values, ascending."""
        values = self.between(self.points - 1)
        return np.unique(np.round(values)) if self.whole else values

    def between(self, pieces: int) -> Array:
        """The ends of equal pieces of the axis, nothing rounded."""
        if self.log:
            return np.geomspace(self.start, self.stop, pieces + 1)
        return np.linspace(self.start, self.stop, pieces + 1)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"name": self.name, "log": self.log, "values": self.values.tolist()}


def checked_fixed(x: Axis, y: Axis | None, given: dict[str, float | None]) -> dict[str, float]:
    """What is fixed, once nothing is missing and nothing is stated twice; errors begin with the name of a quantity."""
    axes = [axis.name for axis in (x, y) if axis is not None]
    if len(set(axes)) < len(axes):
        raise ArgumentError(
            "y", "must vary another quantity than `x`", got=f"{axes[0]} twice", remedy="leave `y` out for a section"
        )
    fixed: dict[str, float] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in axes:
            raise ArgumentError(name, "must be left out where it is an axis", value)
        fixed[name] = Axis.checked(name, value)
    known = {*axes, *fixed}
    for name in ("lambda_z", *CLASS_NUMBERS):
        if name not in known:
            raise ArgumentError(name, "must be given, as a number or as an axis", got="neither")
    sizes = [name for name in (*COUNTS, "ratio") if name in known]
    if len(sizes) > 2:
        name = next(name for name in reversed(sizes) if name in fixed)
        raise ArgumentError(
            name,
            f"must be left out: {' and '.join(f'`{size}`' for size in sizes if size != name)} determine it",
            got="all",
        )
    if len(sizes) < 2:
        missing = next(name for name in ("n_b", "n_a") if name not in known)
        raise ArgumentError(
            missing, "must be given: two of `n_a`, `n_b` and `ratio` are needed", got=str(sizes or "none")
        )
    return fixed


def quantities(
    x: Axis, y: Axis | None, fixed: dict[str, float], along_x: ArrayLike, along_y: ArrayLike | None
) -> dict[str, Array]:
    """The six quantities at points of the plane, broadcast, by name; of n_a, n_b and their ratio two make the third."""
    at: dict[str, Any] = {**fixed, x.name: along_x}
    if y is not None:
        at[y.name] = along_y
    at = {name: np.asarray(value, dtype=np.float64) for name, value in at.items()}
    if "ratio" not in at:
        at["ratio"] = at["n_a"] / at["n_b"]
    elif "n_a" not in at:
        at["n_a"] = at["ratio"] * at["n_b"]
    else:
        at["n_b"] = at["n_a"] / at["ratio"]
    values = np.broadcast_arrays(*(at[name] for name in NAMES))
    return dict(zip(NAMES, values, strict=True))


def grid(x: Axis, y: Axis | None, fixed: dict[str, float]) -> dict[str, Array]:
    """The quantities at every point, shape (Y, X)."""
    return quantities(x, y, fixed, x.values[None, :], None if y is None else y.values[:, None])
