"""What an argument may be: numbers, whole numbers, choices; refused in one line that begins with its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite real number, Python's or NumPy's; True and False are none.

    Examples
    --------
    >>> is_number(2), is_number(np.float32(0.5)), is_number(float("nan")), is_number(True), is_number("2")
    (True, True, False, False, False)
    """
    known = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return known and math.isfinite(value)  # type: ignore[arg-type]


def check_number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
    note: str = "",
) -> None:
    """Refuse what is no finite number between bounds.

    Parameters
    ----------
    name : str
        The argument's.
    value : object
        What was given.
    least, above : float, optional
        The lower bound, itself allowed or not; one of the two.
    below, most : float, optional
        The upper bound, itself refused or not; one of the two, and only beside a lower one.
    note : str, optional
        What the message adds to the rule.

    Raises
    ------
    ValueError
        If the value breaks the rule.

    Examples
    --------
    >>> check_number("momentum", 1, least=0, below=1)
    Traceback (most recent call last):
    ValueError: momentum must be a finite number in [0, 1); got 1
    >>> check_number("lambda_b", -1, least=0, note=" (0: a free bias)")
    Traceback (most recent call last):
    ValueError: lambda_b must be a finite number of at least 0 (0: a free bias); got -1
    """
    holds = (
        is_number(value)
        and (least is None or value >= least)
        and (above is None or value > above)
        and (below is None or value < below)
        and (most is None or value <= most)
    )
    if holds:
        return
    lower = f"[{least:g}" if least is not None else f"({above:g}" if above is not None else None
    upper = f"{below:g})" if below is not None else f"{most:g}]" if most is not None else None
    if upper is not None:
        rule = f" in {lower}, {upper}"
    elif lower is not None:
        rule = f" {'above' if least is None else 'of at least'} {lower[1:]}"
    else:
        rule = ""
    raise ValueError(f"{name} must be a finite number{rule}{note}; got {value!r}")


def check_whole(name: str, value: object, *, least: int = 1, optional: bool = False) -> None:
    """Refuse what is no ``int`` of at least ``least``; None passes where it is ``optional``.

    NumPy's whole numbers are refused, since arguments are stored (in checkpoints, in JSON) as they are given.

    Raises
    ------
    ValueError
        If the value breaks the rule.

    Examples
    --------
    >>> check_whole("epochs", 1.5)
    Traceback (most recent call last):
    ValueError: epochs must be a whole number of at least 1; got 1.5
    """
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of the choices, of which there are two at least.

    Raises
    ------
    ValueError
        If the value breaks the rule.

    Examples
    --------
    >>> check_choice("on_merge", "raise", ("warn", "stop", "ignore"))
    Traceback (most recent call last):
    ValueError: on_merge must be 'warn', 'stop' or 'ignore'; got 'raise'
    """
    if value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(others)} or {last}; got {value!r}")
