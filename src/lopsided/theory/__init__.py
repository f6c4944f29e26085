"""Closed forms."""

from lopsided.theory.thresholds import Thresholds, thresholds

__all__ = ["Thresholds", "thresholds"]
