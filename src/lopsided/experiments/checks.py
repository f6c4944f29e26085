"""Claims about runs, each with what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lopsided.experiments.record import Run
from lopsided.geometry import Geometry

#: More classes than this are counted, not listed.
_LISTED = 12


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


def merges_as_predicted(run: Run) -> bool:
    """Whether a network has merged just the classes that it was predicted to merge.

    Parameters
    ----------
    run : Run

    Returns
    -------
    bool
        A measurement needs a tolerance: classes of a prediction that are apart, but closer than it, may be measured
        as merged or as apart.

    Examples
    --------
    >>> import lopsided as lp
    >>> near, merged = ([[1.0], [1.01], [-2.0]], [[1.0], [1.0], [-2.0]])
    >>> def geometry(means, **known):
    ...     return lp.Geometry([9, 8, 5], means, [[2.0], [-1.0], [-1.0]], **known)
    >>> merges_as_predicted(Run("r", {}, geometry(near, merged=[]), geometry(merged)))
    True
    """
    exact, found = _pairs(run.predicted.merged), _pairs(run.measured.merged)
    return exact <= found <= exact | _pairs(_as_if_measured(run.predicted).merged)


def rank_as_predicted(run: Run) -> bool:
    """Whether a network's mean logits have the predicted rank, by the same leave as :func:`merges_as_predicted`.

    Parameters
    ----------
    run : Run

    Returns
    -------
    bool
        A direction of the prediction that is weaker than the tolerance may be measured as there or as lost.

    Examples
    --------
    >>> import lopsided as lp
    >>> weak = lp.Geometry([9, 8], [[1.0, 0.0], [0.0, 0.01]], [[1.0, 0.0], [0.0, 1.0]], rank=2)
    >>> lost = lp.Geometry([9, 8], [[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])
    >>> lost.rank, rank_as_predicted(Run("r", {}, weak, lost)), rank_as_predicted(Run("r", {}, lost, weak))
    (1, True, False)
    """
    return _as_if_measured(run.predicted).rank <= run.measured.rank <= run.predicted.rank


def _as_if_measured(geometry: Geometry) -> Geometry:
    """Forget the exact rank and groups, so that they are detected within the tolerance of a measurement."""
    return Geometry(geometry.counts, geometry.class_means, geometry.classifier, geometry.bias)


def _pairs(groups: Iterable[Iterable[int]]) -> set[tuple[int, int]]:
    return {(low, high) for group in groups for low in group for high in group if low < high}


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


def all_hold(checks: Iterable[Check]) -> bool:
    """Whether every claim holds."""
    return all(check.holds for check in checks)
