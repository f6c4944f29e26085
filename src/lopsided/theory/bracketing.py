"""Roots of many functions of one variable at once, each inside its own bracket."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: More than halving alone needs for any bracket of ordinary width.
_MOST_STEPS = 400


def roots_in_brackets(function: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """One root in each bracket, to the last digits of float64.

    Parameters
    ----------
    function : callable
        Maps an array of the shape of ``low`` to the values of as many functions, each continuous.
    low, high : array
        The ends of the brackets. Where the function has one sign at both, the end nearer to zero is returned.

    Returns
    -------
    array
        In the shape of ``low``.

    Notes
    -----
    Chandrupatla's method (Adv. Eng. Software 28, 1997): inverse quadratic interpolation through the last three points
    where these are placed so that it can be trusted, and halving otherwise; for all brackets together.

    Examples
    --------
    >>> roots_in_brackets(lambda x: x**2 - np.array([2.0, 9.0]), np.zeros(2), np.full(2, 10.0))
    array([1.41421356, 3.        ])
    """
    # a: the newest point, b: the other end of the bracket, c: the point before
    b, a = np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)
    value_b, value_a = function(b), function(a)
    c, value_c = b.copy(), value_b.copy()
    share = np.full(a.shape, 0.5)
    one_sided = np.sign(value_a) * np.sign(value_b) > 0
    for _ in range(_MOST_STEPS):
        best = np.where(np.abs(value_a) <= np.abs(value_b), a, b)
        width = np.abs(b - a)
        resolution = 4 * np.finfo(float).eps * np.abs(best) + 1e-300
        done = one_sided | (width <= resolution) | (value_a == 0) | (value_b == 0)
        if done.all():
            break
        smallest = np.divide(resolution, 2 * width, out=np.zeros_like(width), where=~done)
        share = np.clip(share, smallest, 1 - smallest)
        point = np.where(done, best, a + share * (b - a))
        value = function(point)
        same = done | (np.sign(value) == np.sign(value_a))  # a finished bracket keeps its ends
        c, value_c = np.where(same, a, b), np.where(same, value_a, value_b)
        b, value_b = np.where(same, b, a), np.where(same, value_b, value_a)
        a, value_a = np.where(done, a, point), np.where(done, value_a, value)
        share = _next_share((a, b, c), (value_a, value_b, value_c))
    return best


def _next_share(points: tuple[Array, Array, Array], values: tuple[Array, Array, Array]) -> Array:
    """Where between a and b to look next: by inverse quadratic interpolation if that is safe, else half way."""
    (a, b, c), (value_a, value_b, value_c) = points, values
    with np.errstate(all="ignore"):
        placed, valued = (a - b) / (c - b), (value_a - value_b) / (value_c - value_b)
        safe = (valued**2 < placed) & ((1 - valued) ** 2 < 1 - placed)
        first = value_a / (value_b - value_a) * value_c / (value_b - value_c)
        second = (c - a) / (b - a) * value_a / (value_c - value_a) * value_b / (value_c - value_b)
        share = first + second
    return np.where(safe & np.isfinite(share), share, 0.5)
