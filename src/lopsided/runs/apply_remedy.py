"""A run with a remedy: the smallest change that keeps every class, worked out and put in place by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lopsided.advice import FADING, LEVERS, Remedy, advise
from lopsided.advice.resampling import parse_classes
from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import format_counts
from lopsided.core.losses import all_settings
from lopsided.runs.configuration import Configuration


@dataclass(frozen=True)
class PlannedRun:
    """A run as it was asked for, which names it, and as it is carried out, its remedy worked out."""

    asked: Configuration
    applied: Configuration
    #: Whether the remedy gives the margin asked for; None without one.
    remedy_works: bool | None


def plan_run(configuration: Configuration) -> PlannedRun:
    """Work out what a run's remedy changes."""
    remedy = advised(configuration)
    if remedy is None:
        return PlannedRun(configuration, configuration, None)
    applied = _without(configuration).replace(**_changes(configuration, remedy))
    return PlannedRun(configuration, applied, remedy.works)


def apply_remedy(configuration: Configuration) -> Configuration:
    """The run as it is carried out: the settings that its remedy leads to in place of the remedy's name.

    Examples
    --------
    >>> run = Configuration(data="digits", counts="150x5,30x5", lambda_z=0.009, remedy="merging")
    >>> apply_remedy(run).merged_classes
    ((5, 6, 7, 8, 9),)
    """
    return plan_run(configuration).applied


def advised(configuration: Configuration) -> Remedy | None:
    """The remedy that a run asks for by name, or None where it asks for none.

    That is the smallest change along its lever which gives every class the run's ``remedy_margin``, or what comes
    nearest.

    Examples
    --------
    >>> run = Configuration(data="digits", counts="150x5,30x5", lambda_z=0.009, remedy="class-weights:samples")
    >>> remedy = advised(run)
    >>> remedy.works, round(remedy.settings["weights"][-1], 4)       # √2 · 900 · .009 / √30
    (True, 2.0914)
    """
    return None if configuration.remedy is None else _advised(configuration.replace(seed=0))  # the same for all seeds


@lru_cache(maxsize=64)
def _advised(configuration: Configuration) -> Remedy:
    margin = FADING if configuration.remedy_margin is None else configuration.remedy_margin
    lever = _lever(str(configuration.remedy))
    try:
        model = _without(configuration).model
        keep = parse_classes(configuration.remedy_keep or "all", model.num_classes, None)
        advice = advise(model, keep, margin=margin, levers=[lever])
    except ArgumentError as error:
        raise error.renamed(levers="remedy", keep="remedy_keep") from None
    if not advice.short:
        rule = f"must be left out: every class to be kept has a margin of {margin:.4g} already"
        raise ArgumentError("remedy", rule, configuration.remedy)
    (remedy,) = advice.remedies
    if remedy.problem is None:
        rule = f"{configuration.remedy!r} cannot be applied: {remedy.reason}"
        raise ArgumentError("remedy", rule, remedy="choose another")
    return remedy


def _lever(remedy: str) -> str:
    """A remedy with its convention, the first where none is named; an unknown name is for ``advise`` to refuse."""
    name, _, convention = remedy.partition(":")
    conventions = [lever.convention for lever in LEVERS if lever.name == name]
    if convention and conventions and convention not in conventions:
        known = [f"{name}:{one}" for one in conventions if one]
        rule = f"be one of {name}, {', '.join(known)}" if known else f"be {name} alone, which has one convention"
        raise ArgumentError("remedy", f"must {rule}", remedy)
    chosen = convention or next(iter(conventions), "")
    return f"{name}:{chosen}" if conventions and chosen else name


def _without(configuration: Configuration) -> Configuration:
    return configuration.replace(remedy=None, remedy_margin=None, remedy_keep=None)


def _changes(configuration: Configuration, remedy: Remedy) -> dict[str, Any]:
    """Settings of a run from those of a remedy."""
    settings: Mapping[str, Any] = remedy.settings
    if remedy.name == "decay":
        return configuration.decays_times(settings["factor"])
    if remedy.name == "samples":
        return {"counts": format_counts(settings["counts"])}
    if remedy.name == "oversampling":
        return {
            "sampling_strategy": format_counts(settings["shown"]),
            "feature_penalty_per": settings["feature_penalty_per"],
        }
    if remedy.name == "merging":
        return {"merged_classes": settings["groups"]}
    return {name: value for name, value in settings.items() if name in all_settings()}  # of the loss
