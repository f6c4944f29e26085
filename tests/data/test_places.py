"""Fetching: whole files as published, or none; from a folder that stands for the public address."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest

from lopsided.cli import main
from lopsided.data import load_data, sources


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A Fashion-MNIST of 3 + 1 images a class under an address of its own, and an empty cache."""
    folder = tmp_path / "published"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in sources.FASHION_MNIST_FILES:
        number = 30 if name.startswith("train") else 10
        if "images" in name:
            header, content = [3, number, 28, 28], generator.integers(0, 256, number * 784, dtype=np.uint8)
        else:
            header, content = [1, number], np.arange(number, dtype=np.uint8) % 10
        sizes = b"".join(size.to_bytes(4, "big") for size in header[1:])
        (folder / name).write_bytes(gzip.compress(bytes([0, 0, 8, header[0]]) + sizes + content.tobytes()))
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(sources, "FASHION_MNIST_FILES", {name: sums[name] for name in sources.FASHION_MNIST_FILES})
    monkeypatch.setattr(sources, "FASHION_MNIST_ADDRESS", f"{folder.as_uri()}/")
    monkeypatch.setattr(sources, "_DEBIAN_FASHION_MNIST", tmp_path / "debian")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LOPSIDED_DATA", raising=False)
    return folder


def test_files_are_fetched_once_and_only_where_asked(published, tmp_path):
    with pytest.raises(ValueError, match="load it with download=True"):
        load_data("fashion-mnist", "3x10")
    first = load_data("fashion-mnist", "3x10", download=True)
    assert first.labels.bincount().tolist() == [3] * 10
    cache = tmp_path / "cache" / "lopsided" / "fashion-mnist"
    assert {path.name for path in cache.iterdir()} == set(sources.FASHION_MNIST_FILES)
    for path in published.iterdir():
        path.unlink()
    for download in (False, True):
        assert load_data("fashion-mnist", "3x10", download=download).inputs.equal(first.inputs)


def test_they_go_where_the_user_says(published, tmp_path):
    load_data("fashion-mnist", "3x10", download=True, root=tmp_path / "mine")
    assert len(list((tmp_path / "mine").iterdir())) == 4
    assert not (tmp_path / "cache").exists()


def test_another_content_than_published_is_not_kept(published, tmp_path):
    name = "t10k-labels-idx1-ubyte.gz"
    (published / name).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ValueError, match=f"{name} must have the published MD5 [0-9a-f]+; got"):
        load_data("fashion-mnist", "3x10", download=True, root=tmp_path / "mine")
    assert len(list((tmp_path / "mine").iterdir())) == 3


def test_an_address_out_of_reach_is_named(published, tmp_path):
    (published / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match=r"data 'fashion-mnist' could not be fetched from file:.*train-labels"):
        load_data("fashion-mnist", "3x10", download=True, root=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["train-images-idx3-ubyte.gz"]


@pytest.mark.slow
def test_commands_that_train_fetch_them_where_asked(published, tmp_path, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["train", "--counts", "3x3", "--lambda-z", "0.01", "--output", str(tmp_path / "out"), *arguments])
        return stop.value.code, capsys.readouterr().err

    tiny = ("--data", "fashion-mnist", "--epochs", "1", "--hidden", "4", "--dim", "3")
    tiny += ("--data-folder", str(tmp_path / "mine"))
    code, message = call(*tiny)
    assert code == 2
    assert "--download" in message
    assert call(*tiny, "--download")[0] in (0, 1)
    assert len(list((tmp_path / "mine").iterdir())) == 4
    code, message = call("--data", "math:pi", "--download")
    assert code == 2
    assert "'math:pi' has no public address" in message
