"""Closed forms."""

from lopsided.theory.thresholds import Thresholds, constant_prediction, thresholds

__all__ = ["Thresholds", "constant_prediction", "thresholds"]
