"""Class k keeps as many training samples as it is told to.

Torch is imported once samples are there to be made tensors of: bad input is answered without it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.count_sources import read_counts
from lopsided.core.counts import merge_counts, merged_places, parse_counts
from lopsided.data.sources import find_source

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImbalancedData:
    """Training samples in the counts asked for, and a test part that training never sees.

    Attributes
    ----------
    name : str
        Name of the data set.
    inputs : (N, …) tensor
        Training inputs, class by class. Images are float32 of shape (N, channels, height, width), with mean 0 and
        variance 1 over all training pixels of the data set; over those drawn where images are read one by one. A torch
        ``Dataset`` scales its own.
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

    @property
    def fingerprint(self) -> str:
        """Beginning of the SHA-256 of the training samples and their labels, in order."""
        import torch

        digest = hashlib.sha256()
        for part in (self.inputs, self.labels):
            digest.update(part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]

    def merged(self, groups: Sequence[Sequence[int]]) -> ImbalancedData:
        """The same samples with each group of classes as one; all others stay by themselves, in their order.

        Examples
        --------
        >>> data = load_data("digits", "5x4").merged([[1, 3]])
        >>> data.counts, data.class_names
        (array([ 5, 10,  5]), ('0', '1+3', '2'))
        """
        import torch

        places = merged_places(groups, self.num_classes)
        moved = torch.from_numpy(places)
        names = tuple(
            "+".join(self.class_names[k] for k in np.flatnonzero(places == place)) for place in range(places.max() + 1)
        )
        return dataclasses.replace(
            self,
            labels=moved[self.labels],
            counts=merge_counts(self.counts, groups),
            class_names=names,
            test_labels=None if self.test_labels is None else moved[self.test_labels],
        )


def load_data(
    name: str,
    counts: str | ArrayLike,
    *,
    seed: int = 0,
    root: str | Path | None = None,
    download: bool = False,
    image_size: int | None = None,
) -> ImbalancedData:
    """Load a data set with ``counts[k]`` training samples of class k.

    Parameters
    ----------
    name : {"digits", "fashion-mnist", "cifar10", "cifar100"}, "folder:PATH" or "MODULE:FACTORY"
        ``"digits"``: 1797 handwritten digits of 8×8 pixels that ship inside scikit-learn; the last 20 of each class
        form the test part. ``"fashion-mnist"``: 60 000 + 10 000 images of 28×28 pixels, read from four files.
        ``"cifar10"``, ``"cifar100"``: 50 000 + 10 000 colour images of 32×32 pixels, read by Hugging Face's
        ``datasets`` from a folder of Parquet files, or else fetched by it once and kept in its cache.
        ``"folder:PATH"``: images in one folder a class, see :func:`lopsided.data.own.read_image_folder`.
        ``"MODULE:FACTORY"``: a torch ``Dataset`` that ``FACTORY()`` gives, see
        :func:`lopsided.data.own.read_torch_dataset`.
    counts : str or (K,) array_like
        Samples in each class, such as ``"150x5,30x5"``, ``"exp:5000x10:100"`` or ``"cifar10-lt:100"``; see
        :func:`lopsided.core.count_sources.read_counts`. With fewer counts than the data set has classes,
        the first K classes are used.
    seed : int, default 0
        Decides which samples of the training part are drawn.
    root : str or Path, optional
        Folder with the files. By default: ``$LOPSIDED_DATA``, the user's cache folder, and where Debian's package
        ``dataset-fashion-mnist`` puts them.
    download : bool, default False
        Whether Fashion-MNIST, where it is not there, is fetched from its public address, into ``root`` or the cache.
    image_size : int, optional
        Height and width to which the images of a folder are scaled.

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
    source = find_source(name, root, download, image_size)
    wanted = read_counts(counts).counts
    if source.class_names is not None:  # told before anything is read
        check_classes(wanted, len(source.class_names), name)
    found = source.read(root, download)
    check_classes(wanted, len(found.class_names), name)
    generator = np.random.default_rng(seed)
    chosen = []
    for index, count in enumerate(wanted):
        available = np.flatnonzero(found.train.labels == index)
        if count > len(available):
            here = f"{len(available)} for class {index} ({found.class_names[index]})"
            raise ArgumentError("counts", f"must be at most the training samples that {name} has, {here}", int(count))
        chosen.append(generator.permutation(available)[:count])
    rows = np.concatenate(chosen)
    drawn = found.train.pixels[rows]
    scale = (0.0, 1.0)
    if found.standardise:
        whole = found.train.pixels if isinstance(found.train.pixels, np.ndarray) else drawn
        scale = (float(whole.mean(dtype=np.float64)), float(whole.std(dtype=np.float64)) or 1.0)
    inputs, labels = _tensors(drawn, found.train.labels[rows], scale)
    test: tuple[Tensor, Tensor] | tuple[None, None] = None, None
    if found.test is not None:
        kept = np.flatnonzero(found.test.labels < len(wanted))
        if len(kept):
            test = _tensors(found.test.pixels[kept], found.test.labels[kept], scale)
    return ImbalancedData(name, inputs, labels, wanted, found.class_names[: len(wanted)], *test)


def check_classes(wanted: NDArray[np.int64], num_classes: int, name: str) -> None:
    """Refuse counts of more classes than a data set has."""
    if len(wanted) > num_classes:
        raise ArgumentError("counts", f"must name at most the {num_classes} classes of {name}", len(wanted))


def sample_indices(counts: str | ArrayLike) -> ImbalancedData:
    """The data of the unconstrained feature model itself, whose inputs are the numbers of the samples.

    That is ``inputs`` = 0 … N − 1 (int64), for :class:`lopsided.training.FreeFeatures`, in the given counts.

    Examples
    --------
    >>> data = sample_indices("2,1")
    >>> data.inputs, data.labels
    (tensor([0, 1, 2]), tensor([0, 0, 1]))
    """
    import torch

    wanted = parse_counts(counts)
    labels = torch.arange(len(wanted)).repeat_interleave(torch.from_numpy(wanted))
    names = tuple(f"class {index}" for index in range(len(wanted)))
    return ImbalancedData("free features", torch.arange(len(labels)), labels, wanted, names)


def _tensors(inputs: NDArray[Any], labels: NDArray[np.int64], scale: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """The inputs, shifted and scaled, and the labels of some samples."""
    import torch

    shift, length = map(np.float32, scale)
    return torch.from_numpy((inputs.astype(np.float32) - shift) / length), torch.from_numpy(labels.astype(np.int64))
