"""Claims that a run was to bear out, each with what was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One claim and its verdict.

    Attributes
    ----------
    run : str
        Name of the run it is about.
    claim : str
        What was to be seen.
    target : str
        The bound, in words.
    found : str
        What was seen, in words.
    holds : bool
        The verdict.

    Examples
    --------
    >>> check = Check("below", "mean logits as predicted", "at most 4 %", "2.1 %", holds=True)
    >>> all_hold([check])
    True
    """

    run: str
    claim: str
    target: str
    found: str
    holds: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes under their names, for JSON."""
        return asdict(self)


def all_hold(checks: Iterable[Check]) -> bool:
    """Whether every claim holds."""
    return all(check.holds for check in checks)
