"""A run with a remedy: the smallest change that keeps every class, worked out and put in place by its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from lopsided.advice import FADING, LEVERS, Remedy, advise
from lopsided.advice.resampling import parse_classes
from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import format_counts
from lopsided.core.losses import all_settings
from lopsided.runs.configuration import Configuration

#: What a run calls the arguments of ``advise``.
_ARGUMENTS = {"levers": "remedy", "keep": "remedy_keep"}


def advised(configuration: Configuration) -> Remedy | None:
    """The remedy that a run asks for by name, or None where it asks for none.

    Parameters
    ----------
    configuration : Configuration

    Returns
    -------
    Remedy or None
        The smallest change along that lever which gives every class the run's ``remedy_margin``; or what comes nearest.

    Raises
    ------
    ValueError
        If there is no such remedy, or it has nothing to propose for this run.

    Examples
    --------
    >>> run = Configuration(data="digits", counts="150x5,30x5", lambda_z=0.009, remedy="class-weights:samples")
    >>> remedy = advised(run)
    >>> remedy.works, round(remedy.settings["weights"][-1], 4)       # √2 · 900 · .009 / √30
    (True, 2.0914)
    """
    return None if configuration.remedy is None else _advised(configuration)


@lru_cache(maxsize=64)
def _advised(configuration: Configuration) -> Remedy:
    name, _, convention = str(configuration.remedy).partition(":")
    known = [f"{lever.name}:{lever.convention}" for lever in LEVERS if lever.name == name and lever.convention]
    if convention and configuration.remedy not in known and any(lever.name == name for lever in LEVERS):
        rule = f"be one of {name}, {', '.join(known)}" if known else f"be {name} alone, which has one convention"
        raise ArgumentError("remedy", f"must {rule}", configuration.remedy)
    margin = FADING if configuration.remedy_margin is None else configuration.remedy_margin
    try:
        model = _without(configuration).model
        keep = parse_classes(configuration.remedy_keep or "all", model.num_classes, None)
        advice = advise(model, keep, margin=margin, levers=[name])
        remedy = advice.remedy(name, convention or None)
    except ArgumentError as error:
        raise error.renamed(_ARGUMENTS) from None
    if not advice.short:
        raise ArgumentError(
            "remedy",
            f"must be left out: every class to be kept has a margin of {margin:.4g} already",
            configuration.remedy,
        )
    if remedy.problem is None:
        raise ArgumentError(
            "remedy", f"{configuration.remedy!r} cannot be applied: {remedy.reason}", remedy="choose another"
        )
    return remedy


def apply_remedy(configuration: Configuration) -> Configuration:
    """The run as it is carried out: the settings that its remedy leads to in place of the remedy's name.

    Parameters
    ----------
    configuration : Configuration

    Returns
    -------
    Configuration
        Without ``remedy``; itself where it asks for none.

    Raises
    ------
    ValueError
        As :func:`advised` does.

    Examples
    --------
    >>> run = Configuration(data="digits", counts="150x5,30x5", lambda_z=0.009, remedy="merging")
    >>> apply_remedy(run).merged_classes
    ((5, 6, 7, 8, 9),)
    """
    remedy = advised(configuration)
    if remedy is None:
        return configuration
    return _without(configuration).replace(**_changes(configuration, remedy))


def _without(configuration: Configuration) -> Configuration:
    return configuration.replace(remedy=None, remedy_margin=None, remedy_keep=None)


def _changes(configuration: Configuration, remedy: Remedy) -> dict[str, Any]:
    """Settings of a run from those of a remedy."""
    settings: Mapping[str, Any] = remedy.settings
    if remedy.name == "decay":
        factor = settings["factor"]
        names = [name for name in ("lambda_z", "lambda_w", "lambda_h") if getattr(configuration, name) is not None]
        return {name: factor * getattr(configuration, name) for name in names}
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
