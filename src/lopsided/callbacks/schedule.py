"""Which batches of an epoch the monitors gather."""

from __future__ import annotations

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
