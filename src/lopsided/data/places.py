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

    They are in the user's own folder ``root``; else in ``$LOPSIDED_DATA``, the user's cache, and the others given.
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
    """Fetch files that are not there yet from below an address, each whole and with its MD5, or not at all."""
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
                rule = f"{name!r}: {address}{file} must have the published MD5 {checksum}"
                raise ArgumentError("data", rule, got=found, remedy="try again later")
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
