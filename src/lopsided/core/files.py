"""Files that are either whole or absent, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lopsided.core.arguments import ArgumentError


def writable_folder(path: str | Path, argument: str = "output", verb: str = "be") -> Path:
    """Make a folder if need be, and make sure that files can be written into it before any work is spent.

    Errors say that ``argument`` must ``verb`` such a folder: be one, or lie in one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writable_folder(folder + "/a/b").is_dir()
    True
    """
    folder = Path(path)
    probe = folder / f".probe.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArgumentError(
            argument,
            f"must {verb} a folder that can be written",
            got=f"{str(folder)!r} ({reason})",
            remedy="choose another",
        ) from None
    return folder


def check_writable(path: str | Path, argument: str = "output", verb: str = "be") -> None:
    """As :func:`writable_folder`, but leaving everything as it was.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_writable(folder + "/a/b")
    ...     os.listdir(folder)
    []
    """
    folder = Path(path)
    missing = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
    try:
        writable_folder(folder, argument, verb)
    finally:
        for place in missing:
            with contextlib.suppress(OSError):  # not made, or in use by now
                place.rmdir()


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write a file so that a reader sees the old content or the new one, never a part; text is encoded as UTF-8.

    The content goes to a temporary file beside ``path``, is flushed to disk and takes its name in one step; an
    exception or Ctrl-C on the way leaves ``path`` as it was and no temporary file. The ``filename`` of an ``OSError``
    is ``path``, whatever step failed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(folder + "/note.txt", "whole").read_text()
    'whole'
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    return target
