"""CIFAR through Hugging Face's datasets: Parquet files that the tests make, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from lopsided.data import load_data


def images(seed, number):
    return np.random.default_rng(seed).integers(0, 256, (number, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Hugging Face's datasets with a cache of its own, and without a network."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return datasets


def write_parquet(datasets, folder, classes=10, **labels):
    """The layout on the hub: an image column and columns of labels, one file a part; each row is of the next class."""
    folder.mkdir()
    numbers = labels or {"label": datasets.ClassLabel(num_classes=classes)}
    features = datasets.Features({"img": datasets.Image(), **numbers})
    for seed, (split, number) in enumerate((("train", 4 * classes), ("test", 2 * classes))):
        columns = {name: [row % kind.num_classes for row in range(number)] for name, kind in numbers.items()}
        columns["img"] = list(images(seed, number).transpose(0, 2, 3, 1))
        table = datasets.Dataset.from_dict(columns, features=features)
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")


@pytest.mark.slow
def test_parquet_files_through_the_library(library, tmp_path, capfd):
    write_parquet(library, tmp_path / "hub")
    capfd.readouterr()
    data = load_data("cifar10", "4x10", root=tmp_path / "hub")
    assert capfd.readouterr() == ("", "")
    assert data.input_shape == (3, 32, 32)
    assert data.labels.bincount().tolist() == [4] * 10
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    whole = images(0, 40).astype(float)
    expected = (whole - whole.mean()) / whole.std()
    for image, label in zip(data.inputs, data.labels, strict=True):
        row = int(np.abs(expected - image.numpy()).max(axis=(1, 2, 3)).argmin())
        assert np.abs(expected[row] - image.numpy()).max() < 1e-5
        assert row % 10 == label
    test = (images(1, 20).astype(float) - whole.mean()) / whole.std()
    np.testing.assert_allclose(data.test_inputs.numpy(), test, atol=1e-5)
    assert data.test_labels.tolist() == [row % 10 for row in range(20)]
    assert (tmp_path / "cache").is_dir()


@pytest.mark.slow
def test_of_cifar_100_the_fine_labels_count(library, tmp_path):
    coarse, fine = library.ClassLabel(num_classes=20), library.ClassLabel(num_classes=100)
    write_parquet(library, tmp_path / "hub", 100, coarse_label=coarse, fine_label=fine)
    data = load_data("cifar100", "exp:3x100:3", root=tmp_path / "hub")
    assert data.num_classes == 100
    assert (data.counts[0], data.counts[-1]) == (3, 1)
    assert data.class_names[99] == "worm"
    assert data.test_labels.tolist() == [*range(100), *range(100)]


def test_too_many_samples_are_refused(library, tmp_path):
    write_parquet(library, tmp_path / "hub")
    with pytest.raises(ValueError, match=r"cifar10 has, 4 for class 3 \(cat\); got 5"):
        load_data("cifar10", [4, 4, 4, 5, 4], root=tmp_path / "hub")


def test_parquet_files_of_something_else_are_refused(library, tmp_path):
    write_parquet(library, tmp_path / "hub", kind=library.ClassLabel(num_classes=10))
    with pytest.raises(ValueError, match="must have a part 'train' with columns img and label"):
        load_data("cifar10", "4x10", root=tmp_path / "hub")


@pytest.mark.slow
def test_labels_of_no_class_are_refused(library, tmp_path):
    write_parquet(library, tmp_path / "hub", label=library.ClassLabel(num_classes=11))
    with pytest.raises(ValueError, match="labels in 0 … 9; got 0 … 10"):
        load_data("cifar10", "4x10", root=tmp_path / "hub")


def test_missing_files_are_answered_with_how_to_get_them(tmp_path):
    """The pickled version of the archives is none of them, and is left unread: to load it is to run it."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"not found in .*; put its Parquet files there, or leave the folder out"):
        load_data("cifar10", "5x10", root=tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_a_hub_out_of_reach_is_answered_with_what_to_do(library, tmp_path, monkeypatch):
    monkeypatch.delenv("LOPSIDED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"could not be loaded from uoft-cs/cifar10 .*; or put its Parquet files into"
    ) as error:
        load_data("cifar10", "5x10")
    assert "\n" not in str(error.value)
