import multiprocessing
import os
import resource
from concurrent.futures import ProcessPoolExecutor

import pytest

from lopsided.core.files import check_writable, writable_folder, write_atomically


def test_text_is_utf8(tmp_path):
    assert write_atomically(tmp_path / "a", "λ").read_bytes() == "λ".encode()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fault):
    path = write_atomically(tmp_path / "a", b"old")

    def interrupt(_):
        raise fault

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(fault):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_disk_that_refuses_leaves_the_old_file_and_names_it(tmp_path):
    path = write_atomically(tmp_path / "a", b"old")
    with pytest.raises(OSError, match="File too large") as refusal:
        write_in_a_process_limited_to(1000, path, bytes(1001))
    assert refusal.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def write_in_a_process_limited_to(size, path, content):
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), resource.setrlimit, (resource.RLIMIT_FSIZE, (size, size))
    ) as pool:
        pool.submit(write_atomically, path, content).result()


def test_a_folder_that_is_gone_is_named(tmp_path):
    path = tmp_path / "gone" / "a"
    with pytest.raises(FileNotFoundError) as refusal:
        write_atomically(path, b"new")
    assert refusal.value.filename == str(path)


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    assert write_atomically(tmp_path / "a", b"x").stat().st_mode == plain.stat().st_mode


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"^output must be a folder that can be written; got '[^\n]*$"):
            writable_folder(path)


def test_folder_that_takes_no_files():
    with pytest.raises(ValueError, match=r"^output must be a folder that can be written; got '/proc/self'[^\n]*$"):
        writable_folder("/proc/self")


def test_a_check_leaves_everything_as_it_was(tmp_path):
    (tmp_path / "there").mkdir()
    check_writable(tmp_path / "there")
    check_writable(tmp_path / "new" / "below")
    for hopeless in (tmp_path / "new" / ("x" * 300), tmp_path / ("x" * 300) / "below"):
        with pytest.raises(ValueError, match=r"^output must be a folder that can be written"):
            check_writable(hopeless)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_folder_is_left_empty(tmp_path):
    assert list(writable_folder(tmp_path / "new").iterdir()) == []
