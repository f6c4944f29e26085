"""TOML files that state many runs: settings that all share, and grids of those that vary."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lopsided.core.arguments import ArgumentError
from lopsided.runs.configuration import KEYS, Configuration, configure, known_key

#: The one key of a file that is not a setting.
GRID = "grid"


def read_configurations(path: str | Path, changes: Mapping[str, Any] | None = None) -> list[Configuration]:
    r"""Every run that a file states.

    Top-level keys are settings that all runs share. ``[grid]`` gives lists: every combination of them is a run. Several
    ``[[grid]]`` tables are one grid each, for settings that vary together. ``changes`` replace what the file says, in
    its grids too. The runs come in the order of the file, the last key of a grid varying fastest; equal ones once.

    An error begins with ``config`` and the file, or, where a change is to blame, with that setting.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w+", suffix=".toml") as file:
    ...     _ = file.write('data = "digits"\ncounts = "30x5,6x5"\n[grid]\nlambda_z = [0.003, 0.009]\nseed = [0, 1]')
    ...     file.flush()
    ...     [(run.lambda_z, run.seed) for run in read_configurations(file.name)]
    [(0.003, 0), (0.003, 1), (0.009, 0), (0.009, 1)]
    """
    changes = dict(changes or {})
    try:
        return expand(read_toml(path), changes)
    except ArgumentError as error:
        if error.argument in (*changes, "config"):
            raise
        raise ArgumentError("config", f"{str(path)!r} cannot be used: {error}") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file."""
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        reason = f"cannot read {str(path)!r} ({error.strerror or error})"
        raise ArgumentError("config", "must be a TOML file", remedy=reason) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError("config", f"{str(path)!r} is not a TOML file: {error}") from None


def expand(document: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> list[Configuration]:
    """Every run that a document states; see :func:`read_configurations`.

    Examples
    --------
    >>> common = {"data": "digits", "lambda_z": 0.003}
    >>> runs = expand({**common, "grid": [{"counts": ["20x2", "20x3"]}, {"counts": ["9x2"], "lambda_z": [0.1]}]})
    >>> [(run.counts, run.lambda_z) for run in runs]
    [('20x2', 0.003), ('20x3', 0.003), ('9x2', 0.1)]
    """
    changes = dict(changes or {})
    stated = {known_key(name, (*KEYS, GRID)): value for name, value in document.items()}
    grids = _grids(stated.pop(GRID, []))
    runs = [
        configure({**stated, **combination, **changes})
        for grid in grids
        for combination in _combinations(grid, changes)
    ]
    return list(dict.fromkeys(runs))


def _grids(stated: Any) -> list[Mapping[str, Any]]:
    grids = [stated] if isinstance(stated, Mapping) else stated
    if not isinstance(grids, list) or not all(isinstance(grid, Mapping) for grid in grids):
        raise ArgumentError("grid", "must be a table of lists, [grid], or several, [[grid]]", stated)
    return grids or [{}]


def _combinations(grid: Mapping[str, Any], changes: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    varied = {}
    for name, values in grid.items():
        key = known_key(name)
        if not isinstance(values, list) or not values:
            raise ArgumentError(f"grid.{name}", "must be a list of at least one value", values)
        if key not in changes:
            varied[key] = values
    for values in itertools.product(*varied.values()):
        yield dict(zip(varied, values, strict=True))
