"""What a trained network is compared with, whatever states it."""

from __future__ import annotations

from typing import Protocol

from lopsided.geometry import Geometry


class Prediction(Protocol):
    """A last layer stated in advance, and how sure that is.

    :class:`lopsided.solver.Solution` is one, for networks that the model is about.
    """

    @property
    def geometry(self) -> Geometry:
        """The last layer."""

    @property
    def objective(self) -> float:
        """Its regularised loss, in nats for cross-entropy."""

    @property
    def gap(self) -> float:
        """Upper bound on how far ``objective`` lies above the optimum; NaN where none is known."""

    @property
    def status(self) -> str:
        """``"optimal"`` where the gap is small enough, or what it is instead."""

    @property
    def message(self) -> str:
        """The same in a sentence."""
