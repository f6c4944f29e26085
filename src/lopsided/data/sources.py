"""Every data set by its name, and those that come inside a package or in IDX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.factories import is_factory
from lopsided.data.cifar import CIFAR10, CIFAR100
from lopsided.data.idx import read_idx
from lopsided.data.images import DataSet, Images
from lopsided.data.own import read_image_folder, read_torch_dataset
from lopsided.data.places import cache_folder, data_folders, fetch


class Source(NamedTuple):
    """The names of a data set's classes, where they are known at once, and the way to read it.

    ``read`` is given the folder with the data set's files, or None for the ordinary places, and whether files may be
    fetched.
    """

    class_names: tuple[str, ...] | None
    read: Callable[[str | Path | None, bool], DataSet]


#: Digits of each class held out for testing. scikit-learn's file names no split of its own.
_DIGITS_HELD_OUT = 20


def _digits(root: str | Path | None, download: bool) -> DataSet:
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ArgumentError(
            "data", "'digits' ships inside scikit-learn, which is missing", remedy="pip install 'lopsided[train]'"
        ) from None
    embedded = load_digits()
    labels = embedded.target
    test = np.concatenate([np.flatnonzero(labels == index)[-_DIGITS_HELD_OUT:] for index in range(10)])
    train = np.setdiff1d(np.arange(len(labels)), test)
    images = embedded.images[:, None]
    return DataSet(tuple("0123456789"), Images(images[train], labels[train]), Images(images[test], labels[test]))


#: Where Debian's package dataset-fashion-mnist puts its files.
_DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
#: Where its authors publish it, and the MD5 of each file there.
FASHION_MNIST_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_FASHION_MNIST_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def _fashion_mnist(root: str | Path | None, download: bool) -> DataSet:
    folder = find_fashion_mnist(root, download)
    names = list(FASHION_MNIST_FILES)
    parts: list[Images] = []
    for images_name, labels_name in (names[:2], names[2:]):
        images, labels = read_idx(folder / images_name, 3), read_idx(folder / labels_name, 1)
        if len(images) != len(labels) or images.shape[1:] != (28, 28) or labels.max(initial=0) > 9:
            raise ArgumentError(
                "data",
                f"in {str(folder)!r} must be Fashion-MNIST: as many 28×28 images as labels in 0 … 9",
                got=f"images {images.shape}, labels {labels.shape} up to {labels.max(initial=0)}",
            )
        parts.append(Images(images[:, None], labels.astype(np.int64)))
    return DataSet(_FASHION_MNIST_CLASSES, parts[0], parts[1])


def find_fashion_mnist(root: str | Path | None = None, download: bool = False) -> Path:
    """The first folder that holds all files of Fashion-MNIST; none of them is read."""
    name = "fashion-mnist"
    folders = data_folders(name, root, _DEBIAN_FASHION_MNIST)
    for folder in folders:
        if all((folder / file).is_file() for file in FASHION_MNIST_FILES):
            return folder
    goal = cache_folder(name) if root is None else Path(root)
    if download:
        fetch(name, FASHION_MNIST_ADDRESS, FASHION_MNIST_FILES, goal)
        return goal
    raise ArgumentError(
        "data",
        f"{name!r} was not found in {', '.join(str(folder) for folder in folders)}",
        remedy=(
            "apt-get install dataset-fashion-mnist, or load it with download=True (--download of the command"
            f" line), or put {', '.join(FASHION_MNIST_FILES)} into {goal}"
        ),
    )


#: Every data set, by its name.
SOURCES = {
    "digits": Source(tuple("0123456789"), _digits),
    "fashion-mnist": Source(_FASHION_MNIST_CLASSES, _fashion_mnist),
    **{source.name: Source(source.class_names, source.read) for source in (CIFAR10, CIFAR100)},
}


def find_source(name: str, root: str | Path | None, download: bool, image_size: int | None) -> Source:
    """Return where a data set comes from; name and settings are :func:`~lopsided.data.load_data`'s, checked here."""
    known = name in SOURCES
    is_folder = name.startswith("folder:")
    if not known and not is_folder and not is_factory(name):
        raise ArgumentError(
            "data", f"must be one of the known data sets: {', '.join(SOURCES)}; or folder:PATH, or MODULE:FACTORY", name
        )
    if root is not None and not known:
        raise ArgumentError("root", f"must be left out: {name!r} says by itself where it is", str(root))
    if download and not known:
        raise ArgumentError("download", f"must be left out: {name!r} has no public address")
    if image_size is not None and not is_folder:
        raise ArgumentError("image_size", f"must be left out: it is for folder:PATH, not {name!r}", image_size)
    if image_size is not None and (not isinstance(image_size, int) or image_size < 1):
        raise ArgumentError("image_size", "must be a whole number of at least 1", image_size)
    if known:
        return SOURCES[name]
    if is_folder:
        return Source(None, lambda root, download: read_image_folder(name.removeprefix("folder:"), image_size))
    return Source(None, lambda root, download: read_torch_dataset(name))
