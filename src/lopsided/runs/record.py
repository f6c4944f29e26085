"""A stored run: what was asked, predicted, trained and measured, in two files that can be opened without trust."""

from __future__ import annotations

import hashlib
import io
import json
import platform
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.comparison import Comparison, compare
from lopsided.core.files import writable_folder, write_atomically
from lopsided.core.geometry import Geometry
from lopsided.core.plain_values import plain

#: Name of the readable half of a stored run; it names the file that holds the arrays.
DOCUMENT = "run.json"
_FORMAT = "lopsided run 1"
_GEOMETRIES = ("predicted", "measured")
_ARRAYS = ("counts", "class_means", "classifier", "bias")
_RECORDED_PACKAGES = ("lopsided", "numpy", "scipy", "torch", "lightning", "scikit-learn")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers, those installed.

    Examples
    --------
    >>> sorted(installed_versions())[:3]
    ['lightning', 'lopsided', 'numpy']
    """
    versions = {"python": platform.python_version()}
    for name in _RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True, eq=False)
class Run:
    """One prediction and one measurement of the same classes, with all that is needed to judge and repeat them.

    Everything but the two geometries is plain: numbers, text, lists and dicts with text keys. Arrays given there become
    lists, and numbers that are not finite become ``None``, which JSON can hold.

    Attributes
    ----------
    name : str
        What the run is called, in tables and as a folder.
    settings : dict
        Counts, decays, data, seed, network and descent, class names: what to ask again to get the same run.
    predicted, measured : Geometry
        The certified optimum and the network.
    certificate : dict
        Of the prediction: objective, gap and status.
    measures : dict
        Metrics of the network, by the names of :mod:`lopsided.metrics`.
    history : list of dict
        Rows recorded during training.
    findings : list of str
        What looked wrong, one sentence each.
    versions : dict of str to str
        Software the run was made with; this interpreter's by default.

    Examples
    --------
    >>> import tempfile, lopsided as lp
    >>> geometry = lp.Geometry([10, 10], [[1.0], [-1.0]], [[2.0], [-2.0]])
    >>> run = Run("example", {"lambda_z": 0.01}, geometry, geometry)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Run.load(run.save(folder)) == run
    True
    """

    name: str
    settings: dict[str, Any]
    predicted: Geometry
    measured: Geometry
    certificate: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, Any] = field(default_factory=dict, repr=False)
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    findings: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=installed_versions, repr=False)

    def __post_init__(self) -> None:
        for entry in fields(self):
            if entry.name not in _GEOMETRIES:
                object.__setattr__(self, entry.name, plain(getattr(self, entry.name), entry.name))

    @cached_property
    def comparison(self) -> Comparison:
        """The two geometries side by side."""
        return compare(self.predicted, self.measured)

    def save(self, folder: str | Path) -> Path:
        """Write the run into a folder, whole or not at all.

        The arrays go to ``arrays-DIGEST.npz``, named after their content, and ``run.json`` takes its name last, so that
        an interruption leaves the run that was there before.

        Parameters
        ----------
        folder : str or Path
            Made if need be. A run already there is replaced.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ValueError
            If the folder cannot be written.
        """
        target = writable_folder(folder)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **self._arrays())
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        arrays = target / f"arrays-{digest[:12]}.npz"
        geometries = {
            name: {"rank": getattr(self, name).rank, "merged": getattr(self, name).merged} for name in _GEOMETRIES
        }
        document = {"format": _FORMAT, **self._plain_fields(), **geometries, "arrays": arrays.name, "sha256": digest}
        write_atomically(arrays, content)
        write_atomically(target / DOCUMENT, json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
        for stale in target.glob("arrays-*.npz"):
            if stale != arrays:
                stale.unlink()
        return target

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Read a run back.

        Parameters
        ----------
        folder : str or Path
            What :meth:`save` returned.

        Returns
        -------
        Run
            Equal to the one saved; ranks and merged groups are as judged then.

        Raises
        ------
        ValueError
            If there is no run in the folder, or one of its files is truncated, changed or foreign.
        """
        path = Path(folder) / DOCUMENT
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise _no_run(f"cannot read {str(path)!r} ({error.strerror or error})") from None
        except ValueError as error:  # broken JSON or broken UTF-8
            raise _no_run(f"{str(path)!r} is truncated or not JSON ({error}); run again") from None
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            found = document.get("format") if isinstance(document, dict) else type(document).__name__
            raise _no_run(f"{str(path)!r} is of format {found!r}, not {_FORMAT!r}")
        values: dict[str, Any] = {}
        try:
            arrays = _read_arrays(Path(folder) / Path(document["arrays"]).name, document["sha256"])
            for entry in fields(cls):
                stored = document[entry.name]
                if entry.name in _GEOMETRIES:
                    parts: dict[str, Any] = {key: arrays.get(f"{entry.name}_{key}") for key in _ARRAYS}
                    stored = Geometry(**parts, rank=stored["rank"], merged=stored["merged"])
                values[entry.name] = stored
        except (KeyError, TypeError) as error:
            raise _no_run(f"{str(path)!r} lacks {error}; run again") from None
        return cls(**values)

    def __eq__(self, other: object) -> bool:
        """Whether every number is the same, bit for bit."""
        if not isinstance(other, Run):
            return NotImplemented
        ours, theirs = self._arrays(), other._arrays()
        return (
            self._plain_fields() == other._plain_fields()
            and ours.keys() == theirs.keys()
            and all(np.array_equal(ours[key], theirs[key], equal_nan=True) for key in ours)
            and all(
                getattr(getattr(self, name), part) == getattr(getattr(other, name), part)
                for name in _GEOMETRIES
                for part in ("rank", "merged")
            )
        )

    __hash__ = None  # type: ignore[assignment]  # equal runs hold different arrays

    def _plain_fields(self) -> dict[str, Any]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in _GEOMETRIES}

    def _arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        arrays = {}
        for name in _GEOMETRIES:
            geometry: Geometry = getattr(self, name)
            for key in _ARRAYS:
                if key != "classifier" or geometry.has_classifier:
                    arrays[f"{name}_{key}"] = getattr(geometry, key)
        return arrays


def _read_arrays(path: Path, digest: str) -> dict[str, np.ndarray[Any, Any]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _no_run(f"it lacks its arrays: cannot read {str(path)!r} ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise _no_run(f"{str(path)!r} is truncated or changed: its checksum is not the one stored; run again")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a foreign file can break in zipfile, zlib or NumPy alike
        raise _no_run(f"{str(path)!r} is not a file of arrays ({error})") from None


def _no_run(reason: str) -> ArgumentError:
    return ArgumentError("folder", "must hold a stored run", remedy=reason)
