"""Whole data sets as they come: a training part, a test part, and what the classes are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Pixels(Protocol):
    """Inputs by their numbers: an array, or what reads them one by one when they are asked for."""

    def __getitem__(self, rows: NDArray[np.intp], /) -> NDArray[Any]:
        """Return the inputs (n, …) of n numbers."""


class Images(NamedTuple):
    """One part of a data set: inputs, (n, channels, height, width) where they are images, and labels (n,)."""

    pixels: Pixels
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class DataSet:
    """The parts of a data set, and the names of its classes."""

    class_names: tuple[str, ...]
    train: Images
    test: Images | None
    #: Whether inputs are pixels, to be shifted and scaled; others are taken as they come.
    standardise: bool = True


@dataclass(frozen=True)
class LazyInputs:
    """Inputs that are read one by one."""

    read: Callable[[int], NDArray[Any]]

    def __getitem__(self, rows: NDArray[np.intp], /) -> NDArray[Any]:
        """Read the inputs of some rows."""
        return np.stack([self.read(row) for row in rows.tolist()])
