"""The certified optimum of a problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lopsided.geometry import Geometry

if TYPE_CHECKING:
    from lopsided.problem import UFM


@dataclass(frozen=True, eq=False)
class Solution:
    objective: float
    gap: float
    status: str
    iterations: int
    message: str
    problem: UFM
    geometry: Geometry


def solve(problem: UFM, tol: float = 1e-9, max_iterations: int = 200) -> Solution:
    raise RuntimeError("under construction")
