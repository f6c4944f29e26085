"""Whole data sets as they come, from inside a package or from files on this machine; nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lopsided.data.idx import read_idx


class Images(NamedTuple):
    """One part of a data set: pixels (n, height, width) and labels (n,)."""

    pixels: NDArray[Any]
    labels: NDArray[Any]


class Source(NamedTuple):
    """The names of a data set's classes, known at once, and the way to read its training and its test part.

    ``read`` is given the folder with the data set's files, or None for the ordinary places.
    """

    class_names: tuple[str, ...]
    read: Callable[[str | Path | None], tuple[Images, Images]]


#: Digits of each class held out for testing. scikit-learn's file names no split of its own.
_DIGITS_HELD_OUT = 20


def _digits(root: str | Path | None) -> tuple[Images, Images]:
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ValueError(
            "data 'digits' ships inside scikit-learn, which is missing; pip install 'lopsided[train]'"
        ) from None
    embedded = load_digits()
    labels = embedded.target
    test = np.concatenate([np.flatnonzero(labels == index)[-_DIGITS_HELD_OUT:] for index in range(10)])
    train = np.setdiff1d(np.arange(len(labels)), test)
    images = embedded.images
    return Images(images[train], labels[train]), Images(images[test], labels[test])


#: Where Debian's package dataset-fashion-mnist puts its files.
_DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
_FASHION_MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_FASHION_MNIST_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def _fashion_mnist(root: str | Path | None) -> tuple[Images, Images]:
    folder = _find_files("fashion-mnist", _FASHION_MNIST_FILES, root, "apt-get install dataset-fashion-mnist, or ")
    parts: list[Images] = []
    for images_name, labels_name in (_FASHION_MNIST_FILES[:2], _FASHION_MNIST_FILES[2:]):
        images, labels = read_idx(folder / images_name, 3), read_idx(folder / labels_name, 1)
        if len(images) != len(labels) or images.shape[1:] != (28, 28) or labels.max(initial=0) > 9:
            raise ValueError(
                f"data in {str(folder)!r} must be Fashion-MNIST: as many 28×28 images as labels in 0 … 9;"
                f" got images {images.shape}, labels {labels.shape} up to {labels.max(initial=0)}"
            )
        parts.append(Images(images, labels))
    return parts[0], parts[1]


def _find_files(name: str, files: tuple[str, ...], root: str | Path | None, remedy: str) -> Path:
    """The first ordinary folder that holds all the files."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lopsided"
    if root is not None:
        folders = [Path(root), Path(root) / name]
    else:
        environment = os.environ.get("LOPSIDED_DATA")
        named = [Path(environment), Path(environment) / name] if environment else []
        folders = [*named, cache / name, _DEBIAN_FASHION_MNIST]
    for folder in folders:
        if all((folder / file).is_file() for file in files):
            return folder
    goal = folders[0] if root is not None else cache / name
    raise ValueError(
        f"data {name!r} was not found in {', '.join(str(folder) for folder in folders)}; {remedy}put"
        f" {', '.join(files)} into {goal}"
    )


#: Every data set, by its name.
SOURCES = {
    "digits": Source(tuple("0123456789"), _digits),
    "fashion-mnist": Source(_FASHION_MNIST_CLASSES, _fashion_mnist),
}
