"""Resampled epochs for PyTorch's ``DataLoader``: each class as often as a ``sampling_strategy`` says.

What training on them solves is :func:`lopsided.advice.resampled`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import DistributedSampler

from lopsided.advice.resampling import target_counts
from lopsided.core.arguments import ArgumentError, check_whole
from lopsided.core.count_sources import ClassCounts, read_counts
from lopsided.core.counts import as_array, format_counts


class ClassSampler(DistributedSampler[int]):
    """Shows the samples of each class a fixed number of times an epoch, in one process or shared among several.

    Every epoch holds exactly ``counts[k]`` samples of class k. Where that is more than there are, each sample of the
    class appears ⌊counts[k]/n⌋ or ⌈counts[k]/n⌉ times; where it is less, at most once. Which samples appear once more,
    or at all, is drawn anew every epoch, so that in the long run all of a class appear equally often.

    It is a ``DistributedSampler``, and is used like one: Lightning leaves it as it is, ranks hold disjoint parts of the
    same order, and ``set_epoch`` must be called before every epoch (Lightning does) for a new draw. What differs: it
    may be made before the process group, or without one, and then asks for its place whenever it is used.

    Parameters
    ----------
    labels : (N,) tensor, array or sequence
        Class of each sample: whole numbers 0 … K − 1, or names.
    sampling_strategy : dict, str, float, callable or (K,) array_like, default "auto"
        How many samples an epoch shows, see :func:`lopsided.advice.target_counts`; fewer than there are may be asked
        for, too.
    counts : str, (K,) array_like or ClassCounts, optional
        What the labels are meant to have; checked. Its class names are those by which a strategy may call classes.
    num_replicas, rank : int, optional
        Processes, and which one this is; by default those of the process group, or one.
    shuffle : bool, default True
        Whether the order is random; otherwise samples come in their own order, repeated ones side by side.
    seed : int, default 0
        With the epoch decides everything; the global random state is neither read nor changed. The same in every
        process.
    drop_last : bool, default False
        Where the processes do not divide an epoch: whether its end is left out, or its beginning shown again there, so
        that all have equally many. Only then do the processes together show other than ``counts``.

    Attributes
    ----------
    counts : (K,) array of int64
        Samples of each class in an epoch.
    names : tuple of K str, or None
        Names of the classes; None where they are just numbered.

    Raises
    ------
    ValueError
        If the labels contradict ``counts``, or a class has no samples.

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([0, 0, 0, 0, 1])
    >>> sampler = ClassSampler(labels, {0: 2, 1: 3})
    >>> labels[list(sampler)].bincount(), len(sampler)
    (tensor([2, 3]), 5)
    >>> shares = [ClassSampler(labels, "all", num_replicas=2, rank=rank) for rank in (0, 1)]
    >>> torch.cat([labels[list(share)] for share in shares]).bincount()
    tensor([4, 4])
    """

    def __init__(
        self,
        labels: ArrayLike | Tensor | Sequence[str],
        sampling_strategy: Any = "auto",
        *,
        counts: str | ArrayLike | ClassCounts | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        _check_place(num_replicas, rank)
        check_whole("seed", seed, least=0)
        expected = None if counts is None else read_counts(counts)
        classes, found = _read_labels(labels, expected)
        self.names = found.names
        self.counts: NDArray[np.int64] = target_counts(found, sampling_strategy, undersample=True)
        self._given = None if num_replicas is None else (num_replicas, rank or 0)
        self._labels = torch.from_numpy(classes)
        present, shown = torch.from_numpy(found.counts), torch.from_numpy(self.counts)
        self._starts = present.cumsum(0) - present
        self._times, self._rest = shown // present, shown % present
        total = range(int(self.counts.sum()))  # the parent asks its data set for nothing but its length
        super().__init__(total, *self._place(), shuffle=shuffle, seed=seed, drop_last=drop_last)  # type: ignore[arg-type]

    def order(self, epoch: int | None = None) -> Tensor:
        """Return the numbers (Σ counts,) of the samples of an epoch, by default the present one, in order.

        They are those of all processes together, before anything is padded.

        Examples
        --------
        >>> ClassSampler([0, 0, 1], {1: 2}, shuffle=False).order()
        tensor([0, 1, 2, 2])
        """
        epoch = self.epoch if epoch is None else epoch
        generator = epoch_generator(self.seed, epoch)
        drawn = torch.randperm(len(self._labels), generator=generator)
        drawn = drawn[self._labels[drawn].argsort(stable=True)]  # class by class, each in random order
        labels = self._labels[drawn]
        place = torch.arange(len(drawn)) - self._starts[labels]
        shown = drawn.repeat_interleave(self._times[labels] + (place < self._rest[labels]))
        return shown[torch.randperm(len(shown), generator=generator)] if self.shuffle else shown.sort().values

    def __iter__(self) -> Iterator[int]:
        len(self)  # finds the place among the processes
        order = self.order()
        padded = order[torch.arange(self.total_size) % len(order)]  # cut where the end is dropped
        return iter(padded[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        self.num_replicas, self.rank = self._place()
        whole, over = divmod(int(self.counts.sum()), self.num_replicas)
        self.num_samples = whole + (over > 0 and not self.drop_last)
        self.total_size = self.num_samples * self.num_replicas
        return self.num_samples

    def _place(self) -> tuple[int, int]:
        """How many processes there are, and which one this is."""
        return place_among_processes() if self._given is None else self._given


def place_among_processes() -> tuple[int, int]:
    """Return how many processes the process group has, and which one this is; 1 and 0 where there is none."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    return 1, 0


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The random numbers of one epoch; seeds are set so far apart that no epoch of one is an epoch of the next."""
    return torch.Generator().manual_seed((1_000_003 * seed + epoch) % 2**63)


def _check_place(num_replicas: int | None, rank: int | None) -> None:
    if (num_replicas is None) != (rank is None):
        given = f"{rank!r} and num_replicas {num_replicas!r}"
        raise ArgumentError("rank", "must be given together with num_replicas, or neither", got=given)
    if num_replicas is None:
        return
    check_whole("num_replicas", num_replicas)
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < num_replicas:
        raise ArgumentError("rank", f"must be a whole number from 0 to {num_replicas - 1}", rank)


def _read_labels(
    labels: ArrayLike | Tensor | Sequence[str], expected: ClassCounts | None
) -> tuple[NDArray[np.int64], ClassCounts]:
    """The class number of each sample, and the counts, held against those expected."""
    values = np.asarray(as_array(labels))
    if values.ndim != 1 or len(values) == 0:
        raise ArgumentError("labels", "must be one list, one a sample", got=f"an array of shape {values.shape}")
    names = None if expected is None else expected.names
    if values.dtype.kind in "iub":
        classes = values.astype(np.int64)
        if classes.min() < 0:
            raise ArgumentError("labels", "must be whole numbers from 0", int(classes.min()))
    elif all(isinstance(value, str) for value in values.tolist()):
        names = tuple(np.unique(values).tolist()) if names is None else names
        unknown = sorted(set(values.tolist()) - set(names))
        if unknown:
            raise ArgumentError("labels", f"must be among the classes of counts, {', '.join(names[:6])}", unknown[0])
        classes = np.array([*map({name: index for index, name in enumerate(names)}.get, values.tolist())], np.int64)
    else:
        raise ArgumentError("labels", "must be whole numbers or names, one a sample", got=str(values.dtype))
    present = np.bincount(classes, minlength=0 if names is None else len(names))
    if expected is not None and present.tolist() != expected.counts.tolist():
        rule = f"must have the counts given, {format_counts(expected.counts)}"
        raise ArgumentError("labels", rule, got=format_counts(present))
    if len(present) < 2:
        raise ArgumentError("labels", "must be of at least two classes", got="one")
    if not present.all():
        rule, absent = f"must hold every class from 0 to {len(present) - 1}", f"none of class {present.argmin()}"
        raise ArgumentError("labels", rule, got=absent, remedy="number the classes anew without it")
    return classes, ClassCounts(present.astype(np.int64), names, "labels")
