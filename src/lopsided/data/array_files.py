"""Arrays in files that are read a few rows at a time and can run no code: ``.npz`` and ``.safetensors``.

What a file is, its first bytes decide, not its name. A pickle is refused unread: to load it is to run it.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError

#: Kinds of NumPy dtypes that hold whole numbers, and real numbers.
WHOLE, REAL = "iu", "iuf"

_REMEDY = "write the arrays with numpy.savez or safetensors.torch.save_file"


class Header(NamedTuple):
    """What a file says of one of its arrays.

    ``kind`` is that of its NumPy dtype: "f" for floating point (bfloat16, too), "i" and "u" for integers, "b" for
    booleans; ``dtype`` says it in words.
    """

    shape: tuple[int, ...]
    kind: str
    dtype: str


class ArrayFile:
    """A file of named arrays with their ``headers`` in its order, open for reading rows: see :func:`open_arrays`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.headers: dict[str, Header] = {}
        self._open = contextlib.ExitStack()

    def check(self, name: str) -> None:
        """Refuse an array that cannot be read in parts: of objects, column by column, or not of its stated size."""

    def rows(self, name: str, step: int) -> Generator[NDArray[Any], None, None]:
        """Read an array in order, ``step`` rows at a time, the last part shorter; memory is that of one part.

        A file that turns out damaged is refused then.
        """
        raise NotImplementedError

    def read(self, name: str) -> NDArray[Any]:
        """Read a whole array."""
        length = self.headers[name].shape[0] if self.headers[name].shape else 1
        parts = list(self.rows(name, max(length, 1)))
        return parts[0] if parts else np.zeros(self.headers[name].shape)

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def refuse(self, rule: str, found: object, remedy: str = "") -> NoReturn:
        """Say what the file must do, and what was found in it."""
        raise ArgumentError("file", f"must {rule}", got=f"{found} in {self.path.name}", remedy=remedy) from None


def open_arrays(path: str | Path) -> ArrayFile:
    """Open a ``.npz`` or ``.safetensors`` file, whatever its name; close it, or use it as a context manager.

    A ``ValueError`` refuses one that is of another kind, damaged or of pickled objects, and tells where safetensors is
    needed and not installed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(folder + "/a.npz", features=np.ones((5, 2)), labels=np.arange(5))
    ...     with open_arrays(folder + "/a.npz") as arrays:
    ...         arrays.headers["features"], [part.tolist() for part in arrays.rows("labels", 2)]
    (Header(shape=(5, 2), kind='f', dtype='float64'), [[0, 1], [2, 3], [4]])
    """
    target = Path(path)
    with target.open("rb") as file:
        start = file.read(16)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _Npz(target)
    if start.startswith(b"\x93NUMPY"):
        raise _foreign(target, "one array without a name (.npy)")
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        raise _foreign(target, "a pickle, which is not opened, since that runs what it holds,")
    if len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] < 2**32:
        return _Safetensors(target)
    raise _foreign(target, "neither" if start else "an empty file")


def _foreign(path: Path, found: str) -> ValueError:
    return ArgumentError("file", "must be .npz or .safetensors", got=f"{found} in {path.name}", remedy=_REMEDY)


def _parts(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], step: int) -> Iterator[NDArray[Any]]:
    """An array whose numbers a stream goes on with, ``step`` rows at a time."""
    length, row = shape[0] if shape else 1, math.prod(shape[1:]) * dtype.itemsize
    for first in range(0, length, step):
        count = min(step, length - first)
        content = stream.read(count * row)
        if len(content) < count * row:
            raise EOFError
        yield np.frombuffer(content, dtype).reshape((count, *shape[1:]) if shape else ())


class _Layout(NamedTuple):
    """How an array lies in its member of an archive, which begins with a header of ``start`` bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    in_columns: bool
    start: int


class _Npz(ArrayFile):
    """Members of a zip archive, each an array in NumPy's format; compressed or not."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._damage():
            archive = zipfile.ZipFile(path)
        with contextlib.ExitStack() as on_error:
            self._archive = on_error.enter_context(archive)
            members = {member.filename: member for member in archive.infolist()}
            if any(name.endswith(".pkl") for name in members):  # what torch.save writes
                found = "a pickled PyTorch file, which is not opened, since that runs what it holds,"
                remedy = "write the tensors with safetensors.torch.save_file"
                self.refuse("be .npz or .safetensors", found, remedy)
            self._members = {name[:-4]: member for name, member in members.items() if name.endswith(".npy")}
            self._layouts = {name: self._layout(name, member) for name, member in self._members.items()}
            for name, layout in self._layouts.items():
                self.headers[name] = Header(layout.shape, layout.dtype.kind, layout.dtype.name)
            self._open = on_error.pop_all()

    def _layout(self, name: str, member: zipfile.ZipInfo) -> _Layout:
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        with self._damage(), self._archive.open(member) as stream:
            try:
                shape, in_columns, dtype = read[np.lib.format.read_magic(stream)](stream)
            except (ValueError, KeyError):
                self.refuse("hold arrays in NumPy's format", f"{name!r}, which is in another or a newer one,", _REMEDY)
            # Of arrays with one row or column NumPy says either.
            in_columns = in_columns and sum(side > 1 for side in shape) > 1
            return _Layout(shape, dtype, in_columns, stream.tell())

    def check(self, name: str) -> None:
        layout = self._layouts[name]
        if layout.dtype.hasobject:
            self.refuse("hold numbers", f"pickled objects, which are not opened, as {name!r}", "store it as numbers")
        if layout.in_columns:
            found = f"{name!r} column by column (Fortran order)"
            self.refuse("hold its arrays row by row, to be read in parts", found, "store numpy.ascontiguousarray of it")
        if layout.start + math.prod(layout.shape) * layout.dtype.itemsize != self._members[name].file_size:
            self.refuse("be whole", f"{name!r} of another size than its header says", "write it again")

    def rows(self, name: str, step: int) -> Generator[NDArray[Any], None, None]:
        self.check(name)
        shape, dtype, _, start = self._layouts[name]
        with self._damage(), self._archive.open(self._members[name]) as stream:
            stream.read(start)  # not seek, which would give up the checksum
            for part in _parts(stream, shape, dtype, step):
                yield part.astype(dtype.newbyteorder("="), copy=False)
            stream.read(1)  # the end: only there is the checksum compared

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        """What a damaged or unusual archive raises, in one line."""
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            found = f"a truncated or damaged archive ({error or 'it ends too early'})"
            self.refuse("be whole", found, "write it again")
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed by a method that is not known
            self.refuse("be an archive as NumPy writes it", str(error), _REMEDY)


#: What safetensors calls the dtypes that are read, with NumPy's kind and name.
_SAFETENSORS = {
    "F64": ("f", "float64"),
    "F32": ("f", "float32"),
    "F16": ("f", "float16"),
    "BF16": ("f", "bfloat16"),
    **{f"{letter}{bits}": (kind, f"{name}{bits}") for letter, kind, name in (("I", "i", "int"), ("U", "u", "uint"))
       for bits in (8, 16, 32, 64)},
    "BOOL": ("b", "bool"),
}  # fmt: skip


class _Safetensors(ArrayFile):
    """Tensors behind a JSON header.

    The safetensors package checks the file. It is not asked for the rows: it maps the file into memory, and without
    torch it does not know bfloat16.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            from safetensors import SafetensorError, safe_open
        except ImportError:
            rule = f"{path.name} cannot be read, since safetensors is not installed"
            raise ArgumentError("file", rule, remedy="pip install 'lopsided[measure]', or write .npz") from None
        try:
            with safe_open(path, framework="np"):  # the header and the size of the file are sound
                pass
        except SafetensorError as error:
            self.refuse("be whole", f"a truncated or damaged header or body ({error})", "write it again")
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            tensors = json.loads(file.read(length))
        tensors.pop("__metadata__", None)
        self._starts = {name: 8 + length + tensor["data_offsets"][0] for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            kind, dtype = _SAFETENSORS.get(tensor["dtype"], ("V", tensor["dtype"]))
            self.headers[name] = Header(tuple(tensor["shape"]), kind, dtype)

    def rows(self, name: str, step: int) -> Generator[NDArray[Any], None, None]:
        shape, _, dtype = self.headers[name]
        # NumPy lacks bfloat16, which is the upper half of a float32.
        stored = np.dtype("<u2" if dtype == "bfloat16" else dtype).newbyteorder("<")
        with self.path.open("rb") as file:
            file.seek(self._starts[name])
            try:
                for part in _parts(file, shape, stored, step):
                    yield (part.astype("<u4") << 16).view(np.float32) if dtype == "bfloat16" else part
            except EOFError:
                self.refuse("be whole", "a file that has become shorter", "write it again")
