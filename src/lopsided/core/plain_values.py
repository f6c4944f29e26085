"""Values as JSON can hold them: numbers, text, lists and dicts with text keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lopsided.core.arguments import ArgumentError


def plain(value: Any, name: str = "value") -> Any:
    """Numbers, text, lists and dicts with text keys, from those and arrays; what JSON can hold.

    NumPy and torch arrays and scalars become lists and numbers, tuples lists, keys text. A number that is not finite
    becomes ``None``. Errors call the value ``name``.

    Examples
    --------
    >>> import numpy as np
    >>> plain({"counts": np.array([3, 2]), "nc1": float("nan")})
    {'counts': [3, 2], 'nc1': None}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(entry, f"{name}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry, f"{name}[{index}]") for index, entry in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # arrays and scalars of NumPy and torch
        return plain(value.tolist(), name)
    raise ArgumentError(name, "must be numbers, text, lists or dicts", got=type(value).__name__)
