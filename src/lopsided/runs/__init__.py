"""Runs: configured, swept, carried out and stored. Only what trains a network loads torch."""

from lopsided.runs.record import Run, installed_versions

__all__ = ["Run", "installed_versions"]
