"""Runs: stored, and started. Only what trains a network loads torch."""

from lopsided.experiments.record import Run, installed_versions

__all__ = ["Run", "installed_versions"]
