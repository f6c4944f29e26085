"""Data sets made lopsided: the right counts, drawn from the training part alone, or a clear error."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lopsided.data import DATA_SETS, load_data, sample_indices

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", size) for size in array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def fashion(tmp_path):
    """The four files of a Fashion-MNIST with 6 + 2 random images a class."""
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for images, labels, each in ((IMAGES, LABELS, 6), (TEST_IMAGES, TEST_LABELS, 2)):
        write_idx(folder / labels, np.tile(np.arange(10), each))
        write_idx(folder / images, generator.integers(0, 256, (10 * each, 28, 28)))
    return folder


def rows(images):
    return {image.numpy().tobytes() for image in images}


def test_digits_in_the_counts_asked_for():
    data = load_data("digits", "150x5,30x5", seed=1)
    assert data.counts.tolist() == data.labels.bincount().tolist() == [150] * 5 + [30] * 5
    assert (data.num_classes, data.num_samples, data.input_shape) == (10, 900, (1, 8, 8))
    assert data.inputs.dtype == torch.float32
    assert data.labels.dtype == torch.int64
    assert data.class_names == tuple("0123456789")


def test_digits_are_the_real_ones_under_their_labels():
    data = load_data("digits", "3x10")
    embedded = load_digits()
    scaled = embedded.images.astype(np.float32)
    shift, scale = float(data.inputs.min()), float(data.inputs.max() - data.inputs.min()) / 16
    for image, label in zip(data.inputs, data.labels, strict=True):
        distances = np.abs(scaled - (image[0].numpy() - shift) / scale).max(axis=(1, 2))
        assert distances.min() < 1e-4
        assert embedded.target[distances.argmin()] == label


def test_the_test_part_is_kept_apart_and_never_drawn_from():
    held_out = load_data("digits", "10x10").test_inputs
    for seed in range(3):
        data = load_data("digits", "150x10", seed=seed)
        assert rows(data.test_inputs) == rows(held_out)
        assert not rows(data.inputs) & rows(held_out)
        assert data.test_labels.bincount().tolist() == [20] * 10


def test_the_seed_decides_which_samples_are_drawn():
    first, again, other = (load_data("digits", "30x10", seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first.inputs, again.inputs)
    assert rows(first.inputs) != rows(other.inputs)


def test_no_sample_is_drawn_twice():
    data = load_data("digits", "150x10")
    assert len(rows(data.inputs)) == 1500


def test_fewer_counts_take_the_first_classes():
    data = load_data("digits", "20,10,5")
    assert data.class_names == ("0", "1", "2")
    assert data.test_labels.unique().tolist() == [0, 1, 2]


def test_too_many_samples_are_refused_not_topped_up():
    available = int((load_digits().target == 8).sum()) - 20
    load_data("digits", [1] * 8 + [available, 1])
    with pytest.raises(ValueError, match=rf"digits has, {available} for class 8 \(8\); got {available + 1}"):
        load_data("digits", [1] * 8 + [available + 1, 1])


def test_too_many_classes_are_refused():
    with pytest.raises(ValueError, match="at most the 10 classes of digits; got 11"):
        load_data("digits", "5x11")


def test_an_unknown_data_set_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"digits, fashion-mnist, cifar10, cifar100; or .*; got 'mnist'"):
        load_data("mnist", "5x10")
    assert DATA_SETS == ("digits", "fashion-mnist", "cifar10", "cifar100")


@pytest.mark.parametrize("place", ["root", "parent", "environment", "cache"])
def test_fashion_mnist_is_found_in_its_places(fashion, monkeypatch, place):
    monkeypatch.delenv("LOPSIDED_DATA", raising=False)
    root = {"root": fashion, "parent": fashion.parent}.get(place)
    if place == "environment":
        monkeypatch.setenv("LOPSIDED_DATA", str(fashion.parent))
    if place == "cache":
        monkeypatch.setenv("XDG_CACHE_HOME", str(fashion.parent))
        (fashion.parent / "lopsided").mkdir()
        fashion.rename(fashion.parent / "lopsided" / "fashion-mnist")
    data = load_data("fashion-mnist", "6x5,2x5", root=root)
    assert data.labels.bincount().tolist() == [6] * 5 + [2] * 5
    assert data.input_shape == (1, 28, 28)
    assert data.test_inputs.shape == (20, 1, 28, 28)
    assert data.class_names[9] == "ankle boot"


def test_missing_files_are_answered_with_how_to_get_them(tmp_path):
    with pytest.raises(ValueError, match="apt-get install dataset-fashion-mnist") as error:
        load_data("fashion-mnist", "5x10", root=tmp_path)
    message = str(error.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert all(name in message for name in (IMAGES, LABELS, TEST_IMAGES, TEST_LABELS))


def test_one_missing_file_is_a_missing_data_set(fashion):
    (fashion / TEST_LABELS).unlink()
    with pytest.raises(ValueError, match="was not found in"):
        load_data("fashion-mnist", "5x10", root=fashion)


@pytest.mark.parametrize(
    ("file", "array"),
    [
        (IMAGES, np.zeros((60, 32, 32))),
        (LABELS, np.zeros(59)),
        (LABELS, np.full(60, 10)),
    ],
    ids=["other-images", "too-few-labels", "label-out-of-range"],
)
def test_files_that_do_not_fit_each_other_are_refused(fashion, file, array):
    write_idx(fashion / file, array)
    with pytest.raises(ValueError, match="must be Fashion-MNIST"):
        load_data("fashion-mnist", "2x10", root=fashion)


def test_a_truncated_file_is_refused(fashion):
    (fashion / IMAGES).write_bytes((fashion / IMAGES).read_bytes()[:1000])
    with pytest.raises(ValueError, match="whole gzip file"):
        load_data("fashion-mnist", "2x10", root=fashion)


def test_sample_indices_number_the_samples_class_by_class():
    data = sample_indices("3,1,2")
    assert data.inputs.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.labels.tolist() == [0, 0, 0, 1, 2, 2]
    assert data.test_inputs is None
