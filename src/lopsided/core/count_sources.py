"""Class counts from where people have them: a text, a column of labels, a folder of images, a named profile."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import parse_counts, profile_counts

#: Endings of what torchvision's ImageFolder takes for an image.
IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
#: Columns and arrays that are taken for the labels where none is named.
USUAL_NAMES = ("labels", "label", "targets", "target", "class", "y")
#: Folders of this name are parts of a data set and not its classes.
_PARTS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev"}
_LABEL_FILE = re.compile(r"(?P<path>.+\.(?P<kind>csv|tsv|npy|npz|parquet))(?::(?P<column>[^/]+))?", re.IGNORECASE)
_NUMBERS = re.compile(r"[\d\s.,x*+-]+", re.IGNORECASE)
_PROFILE = re.compile(r"(?P<name>[a-z][\w-]*)(?::(?P<ratio>[^:/\\]*))?", re.IGNORECASE)
#: A sample without a label, as a table that was read and written again has it.
_MISSING = ("", "nan", "<na>")


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Class counts, and what the classes are called where that is known.

    Attributes
    ----------
    counts : (K,) array of int64
        Samples in each class.
    names : tuple of K str, or None
        Names of the classes; None where they have none but their numbers 0 … K − 1.
    source : str
        Where the counts come from, in words.
    """

    counts: NDArray[np.int64] = field(repr=False)
    names: tuple[str, ...] | None
    source: str


def read_counts(counts: str | os.PathLike[str] | ArrayLike | ClassCounts) -> ClassCounts:
    """Class counts in every way in which a user writes them.

    Parameters
    ----------
    counts : str, path, (K,) array_like or ClassCounts
        - Counts themselves and all else that :func:`lopsided.parse_counts` takes: ``"500x5,100x5"``,
          ``"exp:5000x10:100"``, ``"@FILE"`` of counts, or a sequence of whole numbers.
        - A file with one label a sample: ``labels.csv`` or ``.tsv`` (with a line of column names), ``.parquet``,
          ``.npy`` or ``.npz``; a column or array is named after a colon, ``train.csv:species``, and may be left out
          where there is only one, or one of a usual name such as ``label``.
        - A folder with one folder of images a class, as torchvision's ``ImageFolder`` takes it.
        - A profile: ``cifar10-lt:RATIO`` and ``cifar100-lt:RATIO``, exponential from the full class down to
          1/RATIO of it; ``cifar10-step:RATIO`` and ``cifar100-step:RATIO``, the second half of the classes 1/RATIO of
          the first (Cao et al., NeurIPS 2019, rounded down as in their code).

    Returns
    -------
    ClassCounts
        Classes in the order of their numbers, or of their names' letters, as ``ImageFolder`` and ``numpy.unique`` have.

    Raises
    ------
    ValueError
        If the counts cannot be read; the message begins with ``counts``.
    OSError
        If a file cannot be opened.

    Examples
    --------
    >>> read_counts("cifar10-lt:100").counts
    array([5000, 2997, 1796, 1077,  645,  387,  232,  139,   83,   50])
    >>> read_counts("500x2,100").source
    'as given'
    """
    if isinstance(counts, ClassCounts):
        return counts
    if isinstance(counts, os.PathLike):
        counts = os.fspath(counts)
    if not isinstance(counts, str):
        return ClassCounts(parse_counts(counts), None, "as given")
    file = _LABEL_FILE.fullmatch(counts)
    if counts.strip() and _NUMBERS.fullmatch(counts) is None and Path(counts).is_dir():
        return _count_folder(Path(counts))
    if file is not None:
        return count_labels(_READERS[file["kind"].lower()](Path(file["path"]), file["column"]), counts)
    profile = _PROFILE.fullmatch(counts.strip())
    if profile is not None and profile["name"].lower() not in _GENERAL and counts.strip()[0] not in "xX":
        return _profile(counts.strip(), profile["name"].lower(), profile["ratio"])
    if not counts.startswith("@") and ("/" in counts or os.sep in counts):
        raise ArgumentError(
            "counts",
            "must name a folder of class folders, or a file that ends in .csv, .tsv, .npy, .npz or .parquet",
            got=f"{counts!r}, which is neither",
        )
    return ClassCounts(parse_counts(counts), None, "as given")


def count_labels(labels: Iterable[Any], source: str = "labels") -> ClassCounts:
    """Count one label a sample: whole numbers (as numbers or as text), or names.

    A number that no sample has is no class. Names are None where the labels are just 0 … K − 1. ``source`` says where
    the labels come from, for messages.

    Examples
    --------
    >>> found = count_labels(["dog", "cat", "dog"])
    >>> found.names, found.counts
    (('cat', 'dog'), array([1, 2]))
    """
    found: Counter[str] = Counter(_label(label) for label in labels)
    missing = sum(number for label, number in found.items() if label.lower() in _MISSING)
    if missing:
        raise ArgumentError(
            "counts",
            "must come from a label for every sample",
            got=f"{missing} without one in {source}",
            remedy="drop these samples or label them",
        )
    if len(found) < 2:
        raise ArgumentError("counts", "must name at least two classes", got=f"{len(found)} in {source}")
    whole = all(re.fullmatch(r"-?\d+", label) for label in found)
    names = sorted(found, key=int) if whole else sorted(found)
    counts = parse_counts([found[name] for name in names])
    numbered = names == [str(index) for index in range(len(names))]
    return ClassCounts(counts, None if numbered else tuple(names), source)


def _label(value: Any) -> str:
    """A label as text; 3.0 is 3, which a table with a missing label makes of it."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    return str(value).strip()


def _read_text(path: Path, column: str | None, delimiter: str) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    if not rows:
        raise ArgumentError(
            "counts", "must come from a label for every sample", got=f"none in {path.name}, which is empty"
        )
    header = [name.strip() for name in rows[0]]
    if column is None and len(header) == 1 and re.fullmatch(r"-?\d+", header[0]):
        return [row[0] for row in rows]  # a bare list of numbers has no line of names
    index = header.index(_chosen(header, column, path, "column"))
    return list(list(zip_longest(*rows[1:], fillvalue=""))[index]) if len(rows) > 1 else []


def _read_parquet(path: Path, column: str | None) -> list[Any]:
    try:
        from pyarrow import ArrowException, parquet  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ArgumentError(
            "counts", "from a Parquet file need pyarrow, which is missing", str(path), remedy="pip install pyarrow"
        ) from None
    with path.open("rb") as opened:
        try:
            file = parquet.ParquetFile(opened)
            chosen = _chosen(list(file.schema_arrow.names), column, path, "column")
            values = file.read(columns=[chosen]).column(0).to_pylist()
        except ArrowException as error:
            reason = str(error).splitlines()[0]
            raise ArgumentError("counts", "must come from a whole Parquet file", got=f"{path.name}: {reason}") from None
    result: list[Any] = values
    return result


def _read_array(path: Path, column: str | None) -> list[Any]:
    try:
        with path.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                if column is not None:
                    raise ArgumentError(
                        "counts",
                        "must come from an array of labels",
                        got=f"{path.name}: a single array, which has no {column!r}",
                    )
                values = loaded
            else:
                values = loaded[_chosen(list(loaded), column, path, "array")]
    except ArgumentError:
        raise
    except (ValueError, EOFError, BadZipFile) as error:
        reason = "pickled objects" if "pickle" in str(error).lower() else str(error).splitlines()[0]
        raise ArgumentError("counts", "must come from an array of labels", got=f"{path.name}: {reason}") from None
    if values.ndim != 1:
        raise ArgumentError(
            "counts", "must come from one label a sample, shape (N,)", got=f"{values.shape} in {path.name}"
        )
    result: list[Any] = values.tolist()
    return result


_READERS: dict[str, Callable[[Path, str | None], list[Any]]] = {
    "csv": lambda path, column: _read_text(path, column, ","),
    "tsv": lambda path, column: _read_text(path, column, "\t"),
    "parquet": _read_parquet,
    "npy": _read_array,
    "npz": _read_array,
}


def _chosen(names: list[str], wanted: str | None, path: Path, kind: str) -> str:
    if wanted is not None:
        if wanted not in names:
            raise ArgumentError("counts", f"must name a {kind} of {path.name}: {_listed(names)}", wanted)
        return wanted
    usual = [name for name in names if name.lower() in USUAL_NAMES]
    candidates = names if len(names) == 1 else usual
    if len(candidates) != 1:
        raise ArgumentError(
            "counts",
            f"must name the {kind} with the labels where it is not plain",
            got=f"{path.name} with {_listed(names)}",
            remedy=f"write {path.name}:{kind.upper()}",
        )
    return candidates[0]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _count_folder(path: Path) -> ClassCounts:
    classes = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    if len(classes) < 2:
        raise ArgumentError("counts", "must name at least two classes", got=f"{len(classes)} folders in {str(path)!r}")
    parts = [name for name in classes if name.lower() in _PARTS]
    if len(parts) == len(classes):
        raise ArgumentError(
            "counts",
            "must name the folder with the class folders",
            got=f"{str(path)!r}, whose folders {_listed(parts)} are parts of a data set",
            remedy=f"write {str(path / parts[0])!r} or the like",
        )
    counts = [
        sum(file.lower().endswith(IMAGES) for _, _, files in os.walk(path / name, followlinks=True) for file in files)
        for name in classes
    ]
    if 0 in counts:
        raise ArgumentError(
            "counts",
            "must find images in every class folder",
            got=f"none in {classes[counts.index(0)]!r}",
            remedy=f"images end in {', '.join(IMAGES)}",
        )
    return ClassCounts(parse_counts(counts), tuple(classes), str(path))


#: Profiles whose formula is public and exact, those of Cao et al. (NeurIPS 2019) for CIFAR: kind, full class, classes.
PROFILES = {
    "cifar10-lt": ("exp", 5000, 10),
    "cifar100-lt": ("exp", 500, 100),
    "cifar10-step": ("step", 5000, 10),
    "cifar100-step": ("step", 500, 100),
}
#: Profiles that state their own sizes: see :func:`lopsided.core.counts.profile_counts`.
_GENERAL = ("exp", "step", "pareto")


def _profile(text: str, name: str, ratio: str | None) -> ClassCounts:
    if name not in PROFILES:
        raise ArgumentError(
            "counts",
            (
                "must be counts such as 500x5,100x5, a file of labels, a folder of class folders, or one of the"
                f" profiles {', '.join(PROFILES)}"
            ),
            got=f"{text!r}, which is none of these",
        )
    kind, largest, classes = PROFILES[name]
    try:
        value = float(ratio or "")
    except ValueError:
        raise ArgumentError(
            "counts",
            "must have a number as the ratio of a profile, the largest class over the smallest",
            text,
            remedy=f"write such as {name}:100",
        ) from None
    return ClassCounts(parse_counts(profile_counts(kind, largest, classes, value)), None, text)
