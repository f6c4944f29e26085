"""Closed forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lopsided.problem import UFM


@dataclass(frozen=True, eq=False)
class Thresholds:
    within: NDArray[np.float64]
    complete: float


def thresholds(problem: UFM) -> Thresholds:
    raise RuntimeError("under construction")
