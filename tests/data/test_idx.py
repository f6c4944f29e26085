"""The IDX format: whole files are read, and damaged ones named."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from lopsided.data.idx import read_idx


def encoded(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", size) for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("shape", [(7,), (5, 3, 2), (0, 28, 28)])
def test_what_was_written_is_read(tmp_path, shape):
    array = np.random.default_rng(0).integers(0, 256, shape)
    file = tmp_path / "array.gz"
    file.write_bytes(gzip.compress(encoded(array)))
    np.testing.assert_array_equal(read_idx(file, len(shape)), array)


WHOLE = encoded(np.arange(12).reshape(3, 2, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(WHOLE[:-1]), "truncated: its header needs 28 bytes; got 27"),
        (gzip.compress(WHOLE + b"x"), "followed by something else"),
        (gzip.compress(WHOLE[:9]), "truncated"),
        (gzip.compress(b""), "got an empty file"),
        (gzip.compress(encoded(np.arange(3))), "3 dimensions, starting 00 00 08 03; got 00 00 08 01"),
        (gzip.compress(bytes([0, 0, 13, 3]) + WHOLE[4:]), "got 00 00 0d 03"),
        (gzip.compress(WHOLE)[:-6], "whole gzip file"),
        (WHOLE, "whole gzip file"),
        (b"<html>not found</html>", "whole gzip file"),
    ],
    ids=["short", "long", "half-a-header", "empty", "labels-for-images", "floats", "cut-gzip", "no-gzip", "a-web-page"],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, content, message):
    file = tmp_path / "images.gz"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(file, 3)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_middle_is_found(tmp_path):
    content = bytearray(gzip.compress(WHOLE))
    content[len(content) // 2] ^= 0xFF
    file = tmp_path / "images.gz"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="fetch it again"):
        read_idx(file, 3)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="must be readable; No such file"):
        read_idx(tmp_path / "absent.gz", 3)
