"""Class counts, every way a user writes them, turned into one validated vector; and classes as people write them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.core.arguments import ArgumentError

#: Counts are held as integers in float64 arithmetic, which is exact up to here.
LARGEST_COUNT = 2**53
#: Far past any data set; a slip of the keyboard such as ``500x5000000000`` must not fill the memory.
MOST_CLASSES = 10**7
#: Ranges of classes named before the rest is counted.
MOST_RANGES = 3

_TERM = re.compile(r"(?P<value>[^x*]+?)(?:[x*](?P<times>.+))?", re.IGNORECASE)
_PROFILE = re.compile(r"(?P<kind>[a-z]+):(?P<largest>\d+)[x*](?P<classes>\d+):(?P<numbers>[^x*]+)", re.IGNORECASE)
_FORMAT = "write COUNTxCLASSES terms separated by commas, such as 500x5,100x5"


def parse_counts(counts: str | ArrayLike) -> NDArray[np.int64]:
    """Validate class counts.

    Parameters
    ----------
    counts : str or (K,) array_like
        ``"500x5,100x5"`` (500 samples in each of 5 classes, then 100 in each of 5), ``"500,300,100"``, a sequence of
        whole numbers, one a class, or a profile that begins with LARGESTxCLASSES, as :func:`profile_counts` has it:
        ``"exp:5000x10:100"``, ``"step:500x10:5"`` or ``"pareto:500x100:2"``. ``"@FILE"`` is a text file of counts,
        separated by commas or white space.

    Returns
    -------
    (K,) array of int64
        Samples in each class, K ≥ 2.

    Raises
    ------
    ValueError
        If the counts cannot be parsed, or are empty, not finite, not whole, not positive, or of fewer than two classes.

    Examples
    --------
    >>> parse_counts("500x2,100")
    array([500, 500, 100])
    >>> parse_counts("exp:500x4:10")
    array([500, 232, 107,  50])
    """
    values = _parse_text(counts) if isinstance(counts, str) else as_array(counts)
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError("counts", "must be numbers, one a class", counts) from None
    if numbers.ndim != 1:
        raise ArgumentError(
            "counts", "must be one list of numbers, one a class", got=f"an array of shape {numbers.shape}"
        )
    if len(numbers) == 0:
        raise ArgumentError("counts", "must name at least two classes", got=f"{counts!r:.60}", remedy=_FORMAT)
    for rule, broken in (
        ("finite", ~np.isfinite(numbers)),
        ("whole numbers", numbers != np.round(numbers)),
        ("positive (leave an absent class out)", numbers <= 0),
        (f"at most 2**53 = {LARGEST_COUNT}", numbers > LARGEST_COUNT),
    ):
        if broken.any():
            index = int(np.argmax(broken))
            raise ArgumentError("counts", f"must be {rule}", got=f"{numbers[index]:.17g} for class {index}")
    if len(numbers) == 1:
        raise ArgumentError("counts", "must name at least two classes, else there is nothing to tell apart", counts)
    return numbers.astype(np.int64)


def profile_counts(kind: str, largest: int, classes: int, ratio: float, share: float = 0.5) -> list[int]:
    r"""Counts of a family that the literature uses, largest class :math:`n_0` first, rounded down.

    ``"exp"``: a long tail, :math:`n_k=n_0\,r^{-k/(K-1)}`, k = 0 … K − 1 (Cui et al., CVPR 2019); ``"step"``: the last
    classes, a ``share`` of all, have 1/r of the others (Buda et al., Neural Networks 2018); ``"pareto"``: the sizes of
    a Pareto distribution of shape r in order of rank, :math:`n_k=n_0\,(k+1)^{-1/r}`. r is ``ratio``, at least 1, or
    above 0 for ``"pareto"``.

    Examples
    --------
    >>> profile_counts("step", 500, 5, 10, share=0.4), profile_counts("pareto", 500, 5, 2)
    ([500, 500, 500, 50, 50], [500, 353, 288, 250, 223])
    """
    if kind not in ("exp", "step", "pareto"):
        raise ArgumentError("counts", "must have a profile that is exp, step or pareto", kind)
    if not 2 <= classes <= MOST_CLASSES:
        raise ArgumentError("counts", f"must have at least 2 and at most {MOST_CLASSES} classes in a profile", classes)
    if not (ratio > 0 if kind == "pareto" else ratio >= 1) or ratio == float("inf"):
        rule = "a shape above 0" if kind == "pareto" else "a ratio, largest class over smallest, of at least 1"
        raise ArgumentError("counts", f"must have {rule}, in {kind}", got=f"{ratio:g}")
    if not 0 < share < 1:
        raise ArgumentError("counts", "must have a share of rare classes in (0, 1), in step", got=f"{share:g}")
    index = np.arange(classes)
    factors: NDArray[np.floating[Any]]
    if kind == "exp":
        factors = (1 / ratio) ** (index / (classes - 1))
    elif kind == "pareto":
        factors = (index + 1.0) ** (-1 / ratio)
    else:
        factors = np.where(index < classes - round(share * classes), 1.0, 1 / ratio)
    # A product such as 500 · 0.1 that falls short of a whole number by rounding alone is that number.
    counts = np.floor(largest * factors * (1 + 1e-12)).astype(np.int64).tolist()
    if counts[-1] < 1:
        raise ArgumentError(
            "counts",
            "must keep a sample in every class of a profile",
            got=f"{counts[-1]} in the smallest, where the largest has {largest}",
            remedy="lower the ratio",
        )
    return list(counts)


def _parse_text(text: str) -> list[float]:
    """The numbers that a text stands for: terms, a profile, or a file."""
    if text.startswith("@"):
        try:
            content = Path(text[1:]).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ArgumentError("counts", "must be in a readable text file", got=f"{text!r}: {reason}") from None
        return list(parse_terms(",".join(re.split(r"[\s,;]+", content.strip())), "counts", _FORMAT))
    if ":" not in text:
        return list(parse_terms(text, "counts", _FORMAT))
    match = _PROFILE.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        numbers = [float(number) for number in match["numbers"].split(":")]
        kind = match["kind"].lower()
        if len(numbers) > (2 if kind == "step" else 1):
            raise ValueError
    except ValueError:
        raise ArgumentError(
            "counts",
            "must be exp:LARGESTxCLASSES:RATIO, step:LARGESTxCLASSES:RATIO or pareto:LARGESTxCLASSES:SHAPE",
            text,
            remedy="write such as exp:5000x10:100",
        ) from None
    return list(map(float, profile_counts(kind, int(match["largest"]), int(match["classes"]), *numbers)))


def parse_terms(text: str, name: str, remedy: str) -> Iterable[float]:
    """Yield one number a class from text such as ``"500x5,100x5"`` or ``"0.5,1.5"``.

    Errors begin with ``name``, the argument, and end with ``remedy``.

    Examples
    --------
    >>> list(parse_terms("0.5x2,3", "weights", "write numbers"))
    [0.5, 0.5, 3.0]
    """
    if not text.strip():
        return
    for term in text.split(","):
        match = _TERM.fullmatch(term.strip())
        try:
            if match is None:
                raise ValueError
            value = float(match["value"])
            times = 1 if match["times"] is None else int(match["times"])
        except ValueError:
            raise ArgumentError(name, "cannot be read", got=f"{term.strip()!r} in {text!r}", remedy=remedy) from None
        if not 1 <= times <= MOST_CLASSES:
            raise ArgumentError(
                name,
                f"must have at least 1 and at most {MOST_CLASSES} classes a term",
                got=f"{times} in {term.strip()!r}",
            )
        yield from [value] * times


def format_counts(counts: ArrayLike) -> str:
    """The shortest text that :func:`parse_counts` reads back.

    Examples
    --------
    >>> format_counts([500, 500, 100])
    '500x2,100'
    """
    values = np.asarray(counts).tolist()
    terms: list[str] = []
    start = 0
    for stop in range(1, len(values) + 1):
        if stop == len(values) or values[stop] != values[start]:
            terms.append(f"{values[start]}x{stop - start}" if stop - start > 1 else f"{values[start]}")
            start = stop
    return ",".join(terms)


def class_ranges(classes: Sequence[int], cut: bool = True) -> str:
    """Ascending class indices as people write them; a long list is cut short, unless all is needed.

    Examples
    --------
    >>> class_ranges([0, 1, 2, 5, 7, 8])
    '0–2, 5, 7–8'
    >>> class_ranges(range(0, 200, 2))
    '0, 2, 4, … (100)'
    """
    runs: list[list[int]] = []
    for index in classes:
        if runs and index == runs[-1][-1] + 1:
            runs[-1][1:] = [index]
        else:
            runs.append([index])
    cut = cut and len(runs) > MOST_RANGES
    shown = ["–".join(map(str, run)) for run in (runs[:MOST_RANGES] if cut else runs)]
    return ", ".join([*shown, f"… ({len(classes)})"] if cut else shown)


def is_tensor(value: object) -> TypeGuard[Any]:
    """Whether a value is PyTorch's; nothing is loaded to find out, and a PyTorch blocked by an import of None is none.

    Examples
    --------
    >>> is_tensor([500, 100])
    False
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_array(values: Any) -> Any:
    """A tensor's numbers as a NumPy array, whatever device they are on; anything else as it is."""
    return values.detach().cpu().numpy() if is_tensor(values) else values


def merged_places(groups: Sequence[Sequence[int]] | None, num_classes: int) -> NDArray[np.int64]:
    """(K,) where each class goes once groups of classes are one: a group to the place of its first, in the old order.

    Examples
    --------
    >>> merged_places([[0, 2], [3, 4]], 6)
    array([0, 1, 0, 2, 2, 3])
    """
    first = np.arange(num_classes)
    seen: set[int] = set()
    for group in groups or ():
        for index in group:
            if not 0 <= index < num_classes or index in seen:
                raise ArgumentError(
                    "merged_classes",
                    f"must name classes from 0 to {num_classes - 1}, each once",
                    got=f"{index} in {[list(group) for group in groups or ()]}",
                )
            seen.add(index)
        first[list(group)] = min(group)
    places: NDArray[np.int64] = np.unique(first, return_inverse=True)[1].astype(np.int64)
    return places


def merge_counts(counts: NDArray[np.int64], groups: Sequence[Sequence[int]] | None) -> NDArray[np.int64]:
    """Counts once groups of classes are one; see :func:`merged_places`.

    Examples
    --------
    >>> merge_counts(np.array([9, 5, 3, 1]), [[2, 3]])
    array([9, 5, 4])
    """
    places = merged_places(groups, len(counts))
    merged: NDArray[np.int64] = np.bincount(places, counts).astype(np.int64)
    return merged
