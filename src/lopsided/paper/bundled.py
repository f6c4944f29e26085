"""The package's own files of experiments, and the scales that these share."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from lopsided.data.sources import find_fashion_mnist

#: The settings of ``small`` where its data set is not on this machine.
EMBEDDED = "embedded"


def read_bundled(name: str) -> dict[str, Any]:
    """Read a file of ``figures/`` or ``next/``: ``fig1``, ``demo``, or ``scales``, which the others share.

    Examples
    --------
    >>> sorted(read_bundled("scales"))
    ['embedded', 'full', 'small']
    """
    places = [files("lopsided.paper") / folder / f"{name}.toml" for folder in ("figures", "next")]
    (found,) = (place for place in places if place.is_file())
    return tomllib.loads(found.read_text(encoding="utf-8"))


def small_scale(data: str | None = None, data_folder: str | Path | None = None) -> str:
    """Name the table of ``scales`` that trains in minutes, or less, on one core.

    It is that of ``data``; by default ``small``, or what is on this machine where the data set of ``small`` is not.

    Examples
    --------
    >>> small_scale("digits"), small_scale("fashion-mnist")
    ('embedded', 'small')
    """
    scales = read_bundled("scales")
    if data is not None:
        return EMBEDDED if data == scales[EMBEDDED]["data"] else "small"
    try:
        find_fashion_mnist(data_folder)
    except ValueError:
        return EMBEDDED
    return "small"
