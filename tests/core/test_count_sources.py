"""Counts from files of labels, folders of images and profiles."""

from __future__ import annotations

import builtins

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import lopsided as lp
from lopsided.core.count_sources import PROFILES, count_labels

LABELS = ["dog", "cat", "dog", "eel", "dog", "cat"]
NAMES, COUNTS = ("cat", "dog", "eel"), [2, 3, 1]


def write(path, labels, column="species"):
    """The labels as a file of the kind that the path says."""
    kind = path.suffix
    if kind in (".csv", ".tsv"):
        gap = "," if kind == ".csv" else "\t"
        lines = [f"file{gap}{column}", *(f'"a, {index}"{gap}{label}' for index, label in enumerate(labels))]
        path.write_text("\n".join(lines) + "\n")
    elif kind == ".parquet":
        parquet.write_table(pyarrow.table({"file": list(range(len(labels))), column: labels}), path)
    elif kind == ".npz":
        np.savez(path, **{column: np.array(labels), "other": np.zeros(3)})
    else:
        np.save(path, np.array(labels))
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "npz", "parquet"])
@pytest.mark.parametrize(("column", "named"), [("species", ":species"), ("label", "")])
def test_a_column_of_labels_is_counted(tmp_path, kind, column, named):
    path = write(tmp_path / f"train.{kind}", LABELS, column)
    found = lp.read_counts(f"{path}{named}")
    assert found.names == NAMES
    np.testing.assert_array_equal(found.counts, COUNTS)


@pytest.mark.parametrize("labels", [[2, 0, 0, 1], [2.0, 0.0, 0.0, 1.0]])
def test_an_array_of_numbers_needs_no_names(tmp_path, labels):
    found = lp.read_counts(write(tmp_path / "labels.npy", labels))
    assert found.names is None
    np.testing.assert_array_equal(found.counts, [2, 1, 1])


def test_numbers_with_gaps_stay_known_by_their_numbers():
    found = count_labels(["10", "2", "10"])
    assert found.names == ("2", "10")  # by size, not by letter
    np.testing.assert_array_equal(found.counts, [1, 2])


def test_a_bare_list_of_numbers_has_no_line_of_names(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("0\n1\n1\n")
    np.testing.assert_array_equal(lp.read_counts(str(path)).counts, [1, 2])


@given(st.lists(st.sampled_from(["a", "b", "c", "7"]), min_size=2).filter(lambda labels: len(set(labels)) > 1))
def test_counting_is_numpy_s(labels):
    names, counts = np.unique(labels, return_counts=True)
    found = count_labels(labels)
    assert found.names == tuple(names)
    np.testing.assert_array_equal(found.counts, counts)


def test_a_folder_of_class_folders_is_counted(tmp_path):
    for name, files in {
        "wolf": ["a.jpg", "deep/b.PNG", "notes.txt"],
        "ant": ["c.webp"],
        "bee": ["d.jpeg", "e.ppm"],
    }.items():
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / "README.jpg").touch()
    found = lp.read_counts(str(tmp_path))
    assert found.names == ("ant", "bee", "wolf")
    np.testing.assert_array_equal(found.counts, [1, 2, 2])
    np.testing.assert_array_equal(lp.read_counts(tmp_path).counts, [1, 2, 2])


@pytest.mark.parametrize("ratio", [1, 10, 50, 100, 200])
@pytest.mark.parametrize("name", PROFILES)
def test_profiles_are_those_of_the_published_code(name, ratio):
    """The loop of Cao et al. written out, int() and all."""
    largest, classes = {"cifar10": (5000, 10), "cifar100": (500, 100)}[name.split("-")[0]]
    factor = 1 / ratio
    if name.endswith("lt"):
        expected = [int(largest * factor ** (k / (classes - 1.0))) for k in range(classes)]
    else:
        expected = [largest] * (classes // 2) + [int(largest * factor)] * (classes // 2)
    np.testing.assert_array_equal(lp.read_counts(f"{name}:{ratio}").counts, expected)


def test_what_parse_counts_reads_is_read():
    for text in ("500x5,100x5", "exp:500x4:10", "500, 300"):
        np.testing.assert_array_equal(lp.read_counts(text).counts, lp.parse_counts(text))


def test_counts_read_once_are_not_read_again():
    found = lp.read_counts("500x2")
    assert lp.read_counts(found) is found


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "at least two classes"),
        ("inaturalist2018", "one of the profiles cifar10-lt"),
        ("imagenet-lt:100", "none of these"),
        ("cifar10-lt", "write such as cifar10-lt:100"),
        ("cifar10-lt:many", "write such as cifar10-lt:100"),
        ("cifar10-lt:0.5", "at least 1"),
        ("cifar10-lt:1e9", "keep a sample"),
        ("exp:500x4", "exp:LARGESTxCLASSES:RATIO"),
        ("no/such/folder", "which is neither"),
        ("500y5", "COUNTxCLASSES"),
    ],
)
def test_a_text_that_is_nothing_known_is_refused(text, rule):
    with pytest.raises(ValueError, match=r"^counts\b") as caught:
        lp.read_counts(text)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        lp.read_counts(str(tmp_path / "none.csv"))


@pytest.mark.parametrize("kind", ["csv", "npz", "parquet"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path, kind):
    path = write(tmp_path / f"train.{kind}", LABELS)
    with pytest.raises(ValueError, match=r"^counts must name .*species.*; got 'genus'"):
        lp.read_counts(f"{path}:genus")
    with pytest.raises(ValueError, match=r"^counts must name the .* where it is not plain"):
        lp.read_counts(str(path))


def test_a_sample_without_a_label_is_refused(tmp_path):
    path = write(tmp_path / "train.csv", [*LABELS, ""])
    with pytest.raises(ValueError, match=r"^counts must come from a label for every sample; got 1 without one"):
        lp.read_counts(f"{path}:species")
    with pytest.raises(ValueError, match=r"got 2 without one"):
        count_labels([1.0, float("nan"), None, 2.0])


def test_labels_of_one_class_are_refused():
    with pytest.raises(ValueError, match=r"^counts must name at least two classes; got 1"):
        count_labels([3, 3, 3])


@pytest.mark.parametrize(
    ("content", "part"),
    [(np.array([{}, 1], dtype=object), "pickled objects"), (np.zeros((3, 2)), r"shape \(N,\); got \(3, 2\)")],
)
def test_an_array_that_holds_no_labels_is_refused(tmp_path, content, part):
    path = tmp_path / "labels.npy"
    np.save(path, content, allow_pickle=True)
    with pytest.raises(ValueError, match=rf"^counts must come from .*{part}"):
        lp.read_counts(str(path))


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / f"labels.{kind}"
    path.write_bytes(b"PK\x03\x04 nothing of the kind")
    with pytest.raises(ValueError, match=r"^counts must come from") as caught:
        lp.read_counts(str(path))
    assert "\n" not in str(caught.value)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "train.parquet"
    path.touch()
    real = builtins.__import__

    def missing(name, *arguments, **keywords):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ValueError, match=r"^counts from a Parquet file need pyarrow.*pip install pyarrow$"):
        lp.read_counts(str(path))


@pytest.mark.parametrize(
    ("folders", "rule"),
    [
        (["train", "val"], r"parts of a data set; write .*train"),
        (["ant"], "at least two classes"),
        (["ant", "bee"], "images in every class folder; got none in 'ant'"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, folders, rule):
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=rf"^counts must .*{rule}"):
        lp.read_counts(str(tmp_path))
