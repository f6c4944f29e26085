"""Class k keeps as many training samples as it is told to.

Torch is imported once samples are there to be made tensors of: bad input is answered without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.counts import parse_counts
from lopsided.data.sources import SOURCES, Images

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
    if name not in SOURCES:
        raise ValueError(f"data must be one of the known data sets: {', '.join(SOURCES)}; got {name!r}")
    wanted = parse_counts(counts)
    class_names, read = SOURCES[name]
    if len(wanted) > len(class_names):
        raise ValueError(f"counts must name at most the {len(class_names)} classes of {name}; got {len(wanted)}")
    train, test = read(root)
    generator = np.random.default_rng(seed)
    chosen = []
    for index, count in enumerate(wanted):
        available = np.flatnonzero(train.labels == index)
        if count > len(available):
            raise ValueError(
                f"counts must be at most the training samples that {name} has, {len(available)} for class {index}"
                f" ({class_names[index]}); got {count}"
            )
        chosen.append(generator.permutation(available)[:count])
    mean, deviation = train.pixels.mean(dtype=np.float64), train.pixels.std(dtype=np.float64)
    inputs, labels = _tensors(train, np.concatenate(chosen), mean, deviation)
    test_inputs, test_labels = _tensors(test, np.flatnonzero(test.labels < len(wanted)), mean, deviation)
    return ImbalancedData(name, inputs, labels, wanted, class_names[: len(wanted)], test_inputs, test_labels)


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
    import torch

    wanted = parse_counts(counts)
    labels = torch.arange(len(wanted)).repeat_interleave(torch.from_numpy(wanted))
    names = tuple(f"class {index}" for index in range(len(wanted)))
    return ImbalancedData("free features", torch.arange(len(labels)), labels, wanted, names)


def _tensors(images: Images, rows: NDArray[np.intp], mean: float, deviation: float) -> tuple[Tensor, Tensor]:
    """Return the standardised inputs and the labels of some samples."""
    import torch

    scaled = (images.pixels[rows].astype(np.float32) - np.float32(mean)) / np.float32(deviation)
    return torch.from_numpy(scaled).unsqueeze(1), torch.from_numpy(images.labels[rows].astype(np.int64))
