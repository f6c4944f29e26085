"""What the monitors' arguments may be."""

from __future__ import annotations

from collections.abc import Sequence

#: Of a long epoch each so-many-th batch is gathered, and so many are gathered at least of a short one.
LARGEST_STRIDE, FEWEST_BATCHES = 16, 32


def stride(batches: float) -> int:
    """Each so-many-th training batch to gather, of as many as pass between two measurements.

    Each sixteenth costs a step less than 5 % (``make bench``); but of a short epoch all are needed, or rare classes
    would hardly be seen.

    Examples
    --------
    >>> stride(5), stride(100), stride(391), stride(float("inf"))
    (1, 3, 12, 16)
    """
    return max(1, int(min(batches, LARGEST_STRIDE * FEWEST_BATCHES)) // FEWEST_BATCHES)


def check_whole(name: str, value: object, *, optional: bool = False) -> None:
    """Refuse what is no whole number of at least 1."""
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")
