"""CIFAR: archives that the tests make in the published format, Parquet files, and what is refused."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch

from lopsided.data import load_data
from lopsided.data.cifar import CIFAR10, CIFAR100

TRAIN, TEST = 40, 20


def images(seed, number):
    return np.random.default_rng(seed).integers(0, 256, (number, 3, 32, 32), dtype=np.uint8)


def cifar10_files():
    """Records of a label and the three planes; as many samples of each class."""
    files = {}
    for seed, name in enumerate((*CIFAR10.train_files, CIFAR10.test_file)):
        number = TEST if name == CIFAR10.test_file else TRAIN
        labels = np.arange(number) % 10
        files[name] = b"".join(
            bytes([label]) + image.tobytes() for label, image in zip(labels, images(seed, number), strict=True)
        )
    return files


def cifar100_files():
    """Records of a coarse label, a fine one and the planes."""
    files = {}
    for seed, (name, number) in enumerate((("train.bin", 300), ("test.bin", 100))):
        labels = np.arange(number) % 100
        files[name] = b"".join(
            bytes([19 - label // 5, label]) + image.tobytes()
            for label, image in zip(labels, images(seed, number), strict=True)
        )
    return files


def write_archive(path, folder, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in {"readme.html": b"about", **files}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def archive(tmp_path):
    write_archive(tmp_path / CIFAR10.archive, CIFAR10.folder, cifar10_files())
    return tmp_path


def standardised(pixels, whole):
    return (pixels - whole.mean()) / whole.std()


def test_the_binary_archive(archive):
    data = load_data("cifar10", "20x10", root=archive)
    assert data.input_shape == (3, 32, 32)
    assert data.labels.bincount().tolist() == [20] * 10
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    whole = np.concatenate([images(seed, TRAIN) for seed in range(5)]).astype(float)
    expected = standardised(whole, whole)
    found = {image.numpy().round(3).tobytes() for image in data.inputs}
    assert found == {image.astype(np.float32).round(3).tobytes() for image in expected}
    test = standardised(images(5, TEST).astype(float), whole)
    np.testing.assert_allclose(data.test_inputs.numpy(), test, atol=1e-5)
    assert data.test_labels.tolist() == [row % 10 for row in range(TEST)]


def test_every_image_keeps_its_label(archive):
    data = load_data("cifar10", "1x2,20x8", root=archive)
    whole = np.concatenate([images(seed, TRAIN) for seed in range(5)]).astype(float)
    expected = standardised(whole, whole)
    for image, label in zip(data.inputs[::9], data.labels[::9], strict=True):
        row = int(np.abs(expected - image.numpy()).max(axis=(1, 2, 3)).argmin())
        assert row % TRAIN % 10 == label


def test_unpacked_is_as_good(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked") / CIFAR10.folder
    folder.mkdir()
    for name, content in cifar10_files().items():
        (folder / name).write_bytes(content)
    packed = load_data("cifar10", "5x10", root=archive)
    for root in (folder, folder.parent):
        assert torch.equal(load_data("cifar10", "5x10", root=root).inputs, packed.inputs)


def test_of_cifar_100_the_fine_labels_count(tmp_path):
    write_archive(tmp_path / CIFAR100.archive, CIFAR100.folder, cifar100_files())
    data = load_data("cifar100", "exp:3x100:3", root=tmp_path)
    assert data.num_classes == 100
    assert (data.counts[0], data.counts[-1]) == (3, 1)
    assert data.class_names[99] == "worm"
    assert data.test_labels.tolist() == list(range(100))


@pytest.mark.parametrize("packed", [True, False])
def test_the_pickled_version_is_refused_unread(tmp_path, packed):
    """What a pickle does when it is read would be done here, too: nothing."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    files = {"data_batch_1": pickle.dumps(Trap()), "test_batch": pickle.dumps(Trap())}
    if packed:
        write_archive(tmp_path / "cifar-10-python.tar.gz", "cifar-10-batches-py", files)
    else:
        (tmp_path / "cifar-10-batches-py").mkdir()
        for name, content in files.items():
            (tmp_path / "cifar-10-batches-py" / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"must be the binary version of the archive, cifar-10-binary.tar.gz.*pickled"):
        load_data("cifar10", "5x10", root=tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_nothing_is_unpacked(tmp_path):
    """Paths that lead out of the archive's folder, and links, lead nowhere."""
    root = tmp_path / "inner"
    root.mkdir()
    files = cifar10_files()
    with tarfile.open(root / CIFAR10.archive, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"../../{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    load_data("cifar10", "5x10", root=root)
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", CIFAR10.archive]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda files: files.update({"data_batch_2.bin": files["data_batch_2.bin"][:-1]}), "records of 3073 bytes"),
        (lambda files: files.update({"test_batch.bin": b""}), "test_batch.bin must be records of 3073 bytes; got 0"),
        (lambda files: files.pop("data_batch_3.bin"), r"must hold data_batch_3.bin; it does not"),
        (lambda files: files.update({"test_batch.bin": b"\x0a" + bytes(3072)}), "labels in 0 … 9; got 10"),
    ],
)
def test_other_contents_are_refused(tmp_path, damage, message):
    files = cifar10_files()
    damage(files)
    write_archive(tmp_path / CIFAR10.archive, CIFAR10.folder, files)
    with pytest.raises(ValueError, match=message):
        load_data("cifar10", "5x10", root=tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 5000, -9])
def test_a_damaged_archive_is_refused(archive, keep):
    path = archive / CIFAR10.archive
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="must be a whole archive"):
        load_data("cifar10", "5x10", root=archive)


def test_one_wrong_bit_is_noticed(archive):
    path = archive / CIFAR10.archive
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a whole archive"):
        load_data("cifar10", "5x10", root=archive)


def test_too_many_samples_are_refused(archive):
    load_data("cifar10", [20] * 10, root=archive)
    with pytest.raises(ValueError, match=r"cifar10 has, 20 for class 3 \(cat\); got 21"):
        load_data("cifar10", [20, 20, 20, 21, 20], root=archive)


def test_missing_files_are_answered_with_how_to_get_them(tmp_path):
    with pytest.raises(ValueError, match=r"not found in .*; put cifar-10-binary.tar.gz .* or leave the folder out"):
        load_data("cifar10", "5x10", root=tmp_path)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Hugging Face's datasets with a cache of its own, and without a network."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return datasets


def write_parquet(datasets, folder, label="label"):
    """The layout on the hub: an image column img and a column of labels, one file a part."""
    folder.mkdir()
    features = datasets.Features({"img": datasets.Image(), label: datasets.ClassLabel(names=list(CIFAR10.class_names))})
    for seed, (split, number) in enumerate((("train", TRAIN), ("test", TEST))):
        columns = {"img": list(images(seed, number).transpose(0, 2, 3, 1)), label: [row % 10 for row in range(number)]}
        table = datasets.Dataset.from_dict(columns, features=features)
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")


def test_parquet_files_through_the_library(library, tmp_path, capfd):
    write_parquet(library, tmp_path / "hub")
    capfd.readouterr()
    data = load_data("cifar10", "4x10", root=tmp_path / "hub")
    assert capfd.readouterr() == ("", "")
    whole = images(0, TRAIN).astype(float)
    expected = standardised(whole, whole)
    for image, label in zip(data.inputs, data.labels, strict=True):
        row = int(np.abs(expected - image.numpy()).max(axis=(1, 2, 3)).argmin())
        assert np.abs(expected[row] - image.numpy()).max() < 1e-5
        assert row % 10 == label
    assert data.test_labels.tolist() == [row % 10 for row in range(TEST)]
    assert (tmp_path / "cache").is_dir()


def test_parquet_files_of_something_else_are_refused(library, tmp_path):
    write_parquet(library, tmp_path / "hub", label="kind")
    with pytest.raises(ValueError, match="must have a part 'train' with columns img and label"):
        load_data("cifar10", "4x10", root=tmp_path / "hub")


def test_a_hub_out_of_reach_is_answered_with_what_to_do(library, tmp_path, monkeypatch):
    monkeypatch.delenv("LOPSIDED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"could not be had from uoft-cs/cifar10 .*; or put cifar-10-binary.tar.gz"
    ) as error:
        load_data("cifar10", "5x10")
    assert "\n" not in str(error.value)
