"""Data sets of the user's own: folders of images, and torch data sets named MODULE:FACTORY."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lopsided.data import load_data
from lopsided.data.own import read_image_folder


def write_images(folder, number, *, size=(6, 5), seed=0, mode="RGB", ending="png"):
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    shape = size if mode == "L" else (*size, 3)
    written = [generator.integers(0, 256, shape, dtype=np.uint8) for _ in range(number)]
    for index, pixels in enumerate(written):
        Image.fromarray(pixels).save(folder / f"{index:02d}.{ending}")
    return written


@pytest.fixture
def folder(tmp_path):
    """Three classes in train, two of them in test."""
    for seed, (name, number) in enumerate((("ant", 4), ("bee", 6), ("cat", 2))):
        write_images(tmp_path / "train" / name, number, seed=seed)
    write_images(tmp_path / "test" / "bee", 3, seed=9)
    write_images(tmp_path / "test" / "ant", 1, seed=10)
    (tmp_path / "train" / "bee" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_of_class_folders(folder):
    data = load_data(f"folder:{folder}", "4,6,1")
    assert data.class_names == ("ant", "bee", "cat")
    assert data.input_shape == (3, 6, 5)
    assert data.labels.bincount().tolist() == [4, 6, 1]
    assert data.test_labels.tolist() == [0, 1, 1, 1]
    assert data.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert data.inputs.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_the_pixels_are_those_of_the_files(folder):
    written = np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "train" / "bee").glob("*.png"))])
    bees = read_image_folder(folder).train
    found = bees.pixels[np.flatnonzero(bees.labels == 1)]
    np.testing.assert_allclose(found, written.transpose(0, 3, 1, 2) / 255, atol=1e-7)


def test_without_parts_there_is_no_test_part(folder):
    data = load_data(f"folder:{folder}/train", "2,2")
    assert data.class_names == ("ant", "bee")
    assert data.test_inputs is None


def test_a_class_may_be_called_test(tmp_path):
    for name in ("test", "rest"):
        write_images(tmp_path / name, 2)
    data = load_data(f"folder:{tmp_path}", "2,2")
    assert data.class_names == ("rest", "test")
    assert data.test_inputs is None


def test_images_are_scaled_where_asked(folder):
    write_images(folder / "train" / "dog", 2, size=(9, 4))
    sizes = r"image_size must be given where images differ in size: .* has 6×5 pixels, .*dog.*0[01].png' 9×4"
    with pytest.raises(ValueError, match=sizes):
        load_data(f"folder:{folder}", "2x4")
    assert load_data(f"folder:{folder}", "2x4", image_size=8).input_shape == (3, 8, 8)


def test_grey_images_have_one_channel(tmp_path):
    for name in ("a", "b"):
        write_images(tmp_path / name, 2, mode="L", ending="pgm")
    assert load_data(f"folder:{tmp_path}", "2,2").input_shape == (1, 6, 5)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: (folder / "train" / "ant" / "00.png").write_bytes(b"nothing"), "00.png' must be a whole image"),
        (
            lambda folder: (folder / "train" / "ant" / "01.png").write_bytes(
                (folder / "train" / "ant" / "01.png").read_bytes()[:70]
            ),
            "01.png' must be a whole image",
        ),
        (lambda folder: (folder / "test" / "eel").mkdir(), "must have the classes of the training part; got 'eel'"),
        (lambda folder: (folder / "train" / "aa").mkdir(), "aa' must hold images, .jpg, .*; got none"),
    ],
    ids=["no-image", "half-an-image", "new-class", "empty-class"],
)
def test_folders_that_do_not_fit_are_refused(folder, prepare, message):
    prepare(folder)
    with pytest.raises(ValueError, match=message):
        load_data(f"folder:{folder}", "4,6,2")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("folder:/no/such", {}, "data folder '/no/such' must be a folder of class folders; there is none"),
        ("folder:/proc/self/fdinfo", {}, "must hold a folder for each class; got 0 folders"),
        ("digits", {"image_size": 8}, "image_size must be left out: it is for folder:PATH, not 'digits'"),
        ("folder:/tmp", {"image_size": 0}, "image_size must be a whole number of at least 1; got 0"),
        ("folder:/tmp", {"root": "/tmp"}, "root must be left out: 'folder:/tmp' says by itself where it is"),
        ("math:pi", {"download": True}, "download must be left out: 'math:pi' has no public address"),
        ("math:pi", {}, "data must be MODULE:FACTORY with a function or a class"),
        ("nosuch.module:data", {}, "data must be MODULE:FACTORY with a module that Python finds; there is no 'nosuch'"),
        ("builtins:object", {}, "must give a torch Dataset with a length, .*; got object"),
        ("builtins:dict", {}, "must have at least two classes; got 0"),
    ],
)
def test_bad_settings_are_named(name, settings, message):
    with pytest.raises(ValueError, match=message):
        load_data(name, "2,2", **settings)


OWN = '''
import torch
from torch.utils.data import Dataset, TensorDataset

class Numbers(Dataset):
    """Says of which samples it was asked."""
    asked = []
    def __init__(self, number, targets=True):
        self.labels_of = torch.arange(number) % 3
        if targets:
            self.targets = self.labels_of.tolist()
            self.classes = ["zero", "one", "two"]
    def __len__(self):
        return len(self.labels_of)
    def __getitem__(self, row):
        Numbers.asked.append(row)
        return torch.full((2, 4), float(row)), int(self.labels_of[row])

def pair():
    return Numbers(30), Numbers(6)

def plain():
    return Numbers(30, targets=False)

def tensors():
    return TensorDataset(torch.arange(8.0).reshape(8, 1), torch.tensor([0, 1] * 4))

def words():
    return [("a", 0), ("b", 1)]

def negative():
    return [(torch.zeros(1), -1), (torch.zeros(1), 1)]

def lonely():
    return [(torch.zeros(1), 0)]
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_data_sets.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own_data_sets", raising=False)


def test_a_pair_of_torch_data_sets(own):
    data = load_data("own_data_sets:pair", "5,3,2")
    assert data.class_names == ("zero", "one", "two")
    assert data.labels.bincount().tolist() == [5, 3, 2]
    rows = data.inputs[:, 0, 0].to(torch.int64)
    assert data.inputs.equal(rows[:, None, None].expand(10, 2, 4).float())  # as they come, neither shifted nor scaled
    assert (rows % 3).equal(data.labels)
    assert data.test_labels.tolist() == [0, 1, 2, 0, 1, 2]
    import own_data_sets

    assert sorted(own_data_sets.Numbers.asked) == sorted([*rows.tolist(), *range(6)])  # and no other sample was read


def test_labels_are_read_where_they_are_not_listed(own):
    data = load_data("own_data_sets:plain", "4,4")
    assert data.class_names == ("0", "1")
    assert data.test_inputs is None
    assert (data.inputs[:, 0, 0] % 3).tolist() == data.labels.tolist()


def test_a_tensor_data_set(own):
    data = load_data("own_data_sets:tensors", "4,1")
    assert sorted(data.inputs[:4, 0].tolist()) == [0, 2, 4, 6]
    assert data.input_shape == (1,)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("words", "must give inputs that are tensors or arrays of numbers; got str in row"),
        ("negative", "must have labels 0 … K − 1; got -1"),
        ("lonely", "must have at least two classes; got 1"),
        ("nothing", "the module 'own_data_sets' has no 'nothing'"),
    ],
)
def test_what_is_no_labelled_data_set_is_refused(own, name, message):
    with pytest.raises(ValueError, match=message):
        load_data(f"own_data_sets:{name}", "1,1")


def test_too_few_samples_are_an_error(own, folder):
    with pytest.raises(ValueError, match=r"own_data_sets:pair has, 10 for class 1 \(one\); got 11"):
        load_data("own_data_sets:pair", "10,11")
    with pytest.raises(ValueError, match=r"has, 4 for class 0 \(ant\); got 5"):
        load_data(f"folder:{folder}", "5,1")
