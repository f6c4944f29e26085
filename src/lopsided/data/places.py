"""Where data files may lie, and fetching those that have a public address."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from lopsided.core.arguments import ArgumentError

#: Seconds after which a silent server counts as out of reach.
_PATIENCE = 30


def data_folders(name: str, root: str | Path | None, *others: Path) -> list[Path]:
    """Folders that may hold the files of a data set, in the order in which they are looked at; never empty.

    Parameters
    ----------
    name : str
        The data set.
    root : str or Path, optional
        The user's own folder; else ``$LOPSIDED_DATA`` and the user's cache.
    *others : Path
        Where else the files are put by someone.
    """
    if root is not None:
        return [Path(root), Path(root) / name]
    environment = os.environ.get("LOPSIDED_DATA")
    named = [Path(environment), Path(environment) / name] if environment else []
    return [*named, cache_folder(name), *others]


def cache_folder(name: str) -> Path:
    """The user's cache for a data set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lopsided" / name


def fetch(name: str, address: str, checksums: Mapping[str, str], folder: Path) -> None:
    """Fetch files that are not there yet, each whole and as published, or not at all.

    Parameters
    ----------
    name : str
        The data set, for messages.
    address : str
        Where the files lie, up to their names.
    checksums : mapping of str to str
        MD5 of each file, by its name.
    folder : Path
        Where they go.

    Raises
    ------
    ValueError
        If a file cannot be reached, or is not what was published.
    OSError
        If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file, checksum in checksums.items():
        if (folder / file).is_file():
            continue
        descriptor, unfinished = tempfile.mkstemp(dir=folder, prefix=f".{file}.")
        try:
            with os.fdopen(descriptor, "wb") as target:
                _copy(name, address + file, target)
            found = hashlib.md5(Path(unfinished).read_bytes(), usedforsecurity=False).hexdigest()
            if found != checksum:
                raise ArgumentError(
                    "data",
                    f"{name!r}: {address}{file} must have the published MD5 {checksum}",
                    got=str(found),
                    remedy="try again later",
                )
            os.replace(unfinished, folder / file)
        finally:
            Path(unfinished).unlink(missing_ok=True)


def _copy(name: str, address: str, target: IO[bytes]) -> None:
    try:
        answer = urllib.request.urlopen(address, timeout=_PATIENCE)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ArgumentError("data", f"{name!r} could not be fetched from {address}: {reason}") from None
    with answer:
        shutil.copyfileobj(answer, target)
