"""The IDX format of the MNIST family: a big-endian header, then unsigned bytes, usually gzipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError

#: Third byte of the header for unsigned bytes, the only element type of the MNIST family.
_UNSIGNED_BYTE = 0x08


def read_idx(path: str | Path, dimensions: int) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes: images where it has three dimensions, labels where it has one.

    The header is two zero bytes, the element type, the number of dimensions, and each size as a big-endian 32-bit
    integer; the elements follow in row-major order and nothing comes after them. The array is read-only.

    Examples
    --------
    >>> import gzip, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "labels.gz")
    ...     _ = file.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1])))
    ...     read_idx(file, dimensions=1)
    array([7, 2, 1], dtype=uint8)
    """
    named = f"file {str(path)!r}"  # of the argument `data`
    try:
        with gzip.open(path, "rb") as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        damage = f"a damaged one ({error})"
        raise ArgumentError("data", f"{named} must be a whole gzip file", got=damage, remedy="fetch it again") from None
    except OSError as error:
        raise ArgumentError("data", f"{named} must be readable", remedy=f"{error.strerror or error}") from None
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        rule = f"{named} must be an IDX file of bytes in {dimensions} dimensions, starting {magic.hex(' ')}"
        raise ArgumentError("data", rule, got=content[:4].hex(" ") or "an empty file")
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    expected = start + int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        state = "truncated" if len(content) < expected else "followed by something else"
        rule = f"{named} is {state}: its header needs {expected} bytes"
        raise ArgumentError("data", rule, len(content), remedy="fetch it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
