"""Data sets made lopsided: class k keeps as many training samples as it is told to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lopsided.counts import parse_counts
from lopsided.training.idx import read_idx

Numbers = NDArray[np.uint8] | NDArray[np.float64] | NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImbalancedData:
    """Training samples in the counts asked for, and a test part that training never sees.

    Attributes
    ----------
    name : str
        Name of the data set.
    inputs : (N, …) tensor
        Training inputs, class by class. Images are float32 of shape (N, channels, height, width), with mean 0 and
        variance 1 over all training pixels of the data set.
    labels : (N,) int64 tensor
        Class of each training sample.
    counts : (K,) int64 array
        Training samples in each class.
    class_names : tuple of str
        Names of the K classes.
    test_inputs, test_labels : tensor or None
        The test part of the same K classes, on the scale of ``inputs``; None where there is none.
    """

    name: str
    inputs: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    counts: NDArray[np.int64]
    class_names: tuple[str, ...] = field(repr=False)
    test_inputs: Tensor | None = field(default=None, repr=False)
    test_labels: Tensor | None = field(default=None, repr=False)

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.counts)

    @property
    def num_samples(self) -> int:
        """Number of training samples N."""
        return len(self.labels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])


@dataclass(frozen=True, eq=False)
class _Source:
    """A whole data set as it comes: integer pixels (n, height, width), labels (n,), names."""

    train: tuple[Numbers, Numbers]
    test: tuple[Numbers, Numbers]
    class_names: tuple[str, ...]


def load_data(name: str, counts: str | ArrayLike, *, seed: int = 0, root: str | Path | None = None) -> ImbalancedData:
    """Load a data set with ``counts[k]`` training samples of class k.

    Parameters
    ----------
    name : {"digits", "fashion-mnist"}
        ``"digits"``: 1797 handwritten digits of 8×8 pixels that ship inside scikit-learn; the last 20 of each class
        form the test part. ``"fashion-mnist"``: 60 000 + 10 000 images of 28×28 pixels, read from four files.
    counts : str or (K,) array_like
        Samples in each class, such as ``"150x5,30x5"``. With fewer counts than the data set has classes, the first K
        classes are used.
    seed : int, default 0
        Decides which samples of the training part are drawn.
    root : str or Path, optional
        Folder with the files of Fashion-MNIST. By default: ``$LOPSIDED_DATA``, the user's cache folder, and where
        Debian's package ``dataset-fashion-mnist`` puts them.

    Returns
    -------
    ImbalancedData

    Raises
    ------
    ValueError
        If the data set is unknown or its files are missing or damaged, or a count is more than its training part
        holds. Samples are never topped up from the test part.

    Examples
    --------
    >>> data = load_data("digits", "150x5,30x5")
    >>> data.inputs.shape, data.labels.bincount()
    (torch.Size([900, 1, 8, 8]), tensor([150, 150, 150, 150, 150,  30,  30,  30,  30,  30]))
    """
    if name not in _SOURCES:
        raise ValueError(f"data must be one of the known data sets: {', '.join(_SOURCES)}; got {name!r}")
    wanted = parse_counts(counts)
    source = _SOURCES[name](root)
    num_known = len(source.class_names)
    if len(wanted) > num_known:
        raise ValueError(f"counts must name at most the {num_known} classes of {name}; got {len(wanted)}")
    pixels, labels = source.train
    generator = np.random.default_rng(seed)
    chosen = []
    for index, count in enumerate(wanted):
        available = np.flatnonzero(labels == index)
        if count > len(available):
            raise ValueError(
                f"counts must be at most the training samples that {name} has, {len(available)} for class {index}"
                f" ({source.class_names[index]}); got {count}"
            )
        chosen.append(generator.permutation(available)[:count])
    mean, deviation = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
    standardise = partial(_standardise, mean=mean, deviation=deviation)
    rows = np.concatenate(chosen)
    held_out = np.flatnonzero(source.test[1] < len(wanted))
    return ImbalancedData(
        name=name,
        inputs=standardise(pixels[rows]),
        labels=torch.from_numpy(labels[rows].astype(np.int64)),
        counts=wanted,
        class_names=source.class_names[: len(wanted)],
        test_inputs=standardise(source.test[0][held_out]),
        test_labels=torch.from_numpy(source.test[1][held_out].astype(np.int64)),
    )


def sample_indices(counts: str | ArrayLike) -> ImbalancedData:
    """The data of the unconstrained feature model itself, whose inputs are the numbers of the samples.

    Parameters
    ----------
    counts : str or (K,) array_like
        Samples in each class.

    Returns
    -------
    ImbalancedData
        With ``inputs`` = 0 … N − 1 (int64) for :class:`lopsided.training.FreeFeatures`.

    Examples
    --------
    >>> data = sample_indices("2,1")
    >>> data.inputs, data.labels
    (tensor([0, 1, 2]), tensor([0, 0, 1]))
    """
    wanted = parse_counts(counts)
    labels = torch.arange(len(wanted)).repeat_interleave(torch.from_numpy(wanted))
    names = tuple(f"class {index}" for index in range(len(wanted)))
    return ImbalancedData("free features", torch.arange(len(labels)), labels, wanted, names)


def _standardise(pixels: Numbers, *, mean: float, deviation: float) -> Tensor:
    scaled = (pixels.astype(np.float32) - np.float32(mean)) / np.float32(deviation)
    return torch.from_numpy(scaled).unsqueeze(1)


#: Digits of each class held out for testing. scikit-learn's file names no split of its own.
_DIGITS_HELD_OUT = 20


def _digits(root: str | Path | None) -> _Source:
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ValueError(
            "data 'digits' ships inside scikit-learn, which is missing; pip install lopsided[train]"
        ) from None
    embedded = load_digits()
    labels = embedded.target
    test = np.concatenate([np.flatnonzero(labels == index)[-_DIGITS_HELD_OUT:] for index in range(10)])
    train = np.setdiff1d(np.arange(len(labels)), test)
    images = embedded.images
    names = tuple(str(index) for index in range(10))
    return _Source((images[train], labels[train]), (images[test], labels[test]), names)


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


def _fashion_mnist(root: str | Path | None) -> _Source:
    folder = _find_files("fashion-mnist", _FASHION_MNIST_FILES, root, "apt-get install dataset-fashion-mnist, or ")
    parts = []
    for images_name, labels_name in (_FASHION_MNIST_FILES[:2], _FASHION_MNIST_FILES[2:]):
        images, labels = read_idx(folder / images_name, 3), read_idx(folder / labels_name, 1)
        if len(images) != len(labels) or images.shape[1:] != (28, 28) or labels.max(initial=0) > 9:
            raise ValueError(
                f"the files in {str(folder)!r} must be Fashion-MNIST: as many 28×28 images as labels in 0 … 9;"
                f" got images {images.shape}, labels {labels.shape} up to {labels.max(initial=0)}"
            )
        parts.append((images, labels))
    return _Source(parts[0], parts[1], _FASHION_MNIST_CLASSES)


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


_SOURCES: dict[str, Callable[[str | Path | None], _Source]] = {"digits": _digits, "fashion-mnist": _fashion_mnist}

#: Names that :func:`load_data` knows.
DATA_SETS = tuple(_SOURCES)
