"""Claims about runs, each with what was expected and what was observed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: Largest relative error of mean logits that counts as agreement.
LARGEST_ERROR = 0.1
#: More classes than this are counted, not listed.
_LISTED = 12


@dataclass(frozen=True)
class Check:
    """One claim about a run: what was expected and what was observed, in words, and whether they agree.

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


@dataclass(frozen=True)
class Table:
    """Results as text, line by line."""

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    def to_markdown(self) -> str:
        """The table in Markdown.

        Examples
        --------
        >>> print(Table(("class", "kept"), (("0", "yes"),)).to_markdown())
        | class | kept |
        | --- | --- |
        | 0 | yes |
        """
        lines = (self.header, ("---",) * len(self.header), *self.lines)
        return "\n".join(f"| {' | '.join(text.replace('|', '/') for text in line)} |" for line in lines)


def name_groups(merged: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Put groups of merged classes in words.

    Examples
    --------
    >>> name_groups([[1, 2], [3, 4]], list("abcde")), name_groups([], list("ab")), name_groups([[0, 1]], list("ab"))
    ('b=c; d=e', 'none', 'all 2')
    """
    if not merged:
        return "none"
    if len(merged) == 1 and len(merged[0]) == len(names):
        return f"all {len(names)}"
    texts = []
    for group in merged:
        shown = [names[index] for index in group[:_LISTED]]
        more = f"=… ({len(group)} classes)" if len(group) > _LISTED else ""
        texts.append("=".join(shown) + more)
    return "; ".join(texts)


def share(flags: Iterable[bool]) -> str:
    """How many of some flags are set, in words.

    Examples
    --------
    >>> share([True, False, True])
    '2 of 3'
    """
    listed = list(flags)
    return f"{sum(listed)} of {len(listed)}"


def flags_check(name: str, claim: str, flags: Iterable[bool]) -> Check:
    """Whether something is so of every run.

    Examples
    --------
    >>> check = flags_check("fig5", "rank as predicted", [True, False])
    >>> check.target, check.found, check.holds
    ('2 of 2', '1 of 2', False)
    """
    listed = list(flags)
    return Check(name, claim, f"{len(listed)} of {len(listed)}", share(listed), all(listed))


def errors_check(name: str, words: str, errors: Sequence[float | None], bound: float) -> Check:
    """Whether relative errors are all within a bound; what could not be computed is not."""
    known = [math.inf if error is None else error for error in errors]
    found = f"{100 * max(known):.3g} % off at most, {100 * sorted(known)[len(known) // 2]:.3g} % in the middle"
    return Check(name, f"{words} as predicted", f"at most {100 * bound:g} % off", found, max(known) <= bound)


def all_hold(checks: Iterable[Check]) -> bool:
    """Whether every claim holds."""
    return all(check.holds for check in checks)
