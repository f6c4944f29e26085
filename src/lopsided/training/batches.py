"""The samples in a new order every epoch, cut into batches, shared among processes, and moved about if asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lopsided.core.arguments import ArgumentError, check_whole
from lopsided.data import ImbalancedData
from lopsided.nn.sampling import ClassSampler, epoch_generator, place_among_processes


@dataclass(frozen=True)
class Augmentation:
    """Random shifts and mirror images, drawn anew whenever a sample is shown.

    The model knows one feature vector a sample, so what it predicts is for training without.

    Attributes
    ----------
    crop : int
        Each image is shifted by up to so many pixels up or down and left or right; what comes in is 0, the mean.
    flip : bool
        Each image is mirrored, left to right, with chance one half.
    """

    crop: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        check_whole("crop", self.crop, least=0)

    def check_inputs(self, shape: Sequence[int]) -> None:
        """Refuse inputs that are no images, where anything is to be done to them."""
        if (self.crop or self.flip) and len(shape) != 3:
            rule = f"must be left out: it is for images, and inputs here are of shape {shape}"
            raise ArgumentError("crop" if self.crop else "flip", rule)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return (B, channels, height, width) images shifted and mirrored.

        Examples
        --------
        >>> images = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> Augmentation(crop=1)(images, torch.Generator().manual_seed(1)).shape
        torch.Size([1, 1, 2, 2])
        """
        number, _, height, width = images.shape
        if self.crop:
            padded = functional.pad(images, (self.crop,) * 4)
            top, left = torch.randint(0, 2 * self.crop + 1, (2, number, 1), generator=generator)
            rows = (top + torch.arange(height))[:, None, :, None]
            columns = (left + torch.arange(width))[:, None, None, :]
            samples, channels = torch.arange(number)[:, None, None, None], torch.arange(images.shape[1])[:, None, None]
            images = padded[samples, channels, rows, columns]
        if self.flip:
            mirrored = torch.rand(number, generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images


class Batches:
    """All samples, or those that a sampler shows, in a new order every epoch, in batches of equal size within one.

    The tensors are in memory and a batch is one indexing operation, so a loader with workers would only add to it. A
    last batch of one sample, on which batch norm fails, cannot occur in batches of three or more. Of several processes
    each gets its part of the very batches that one process would get; ``batch_size`` bounds the whole of a batch.
    """

    def __init__(
        self,
        data: ImbalancedData,
        batch_size: int,
        seed: int,
        augmentation: Augmentation,
        sampler: ClassSampler | None = None,
    ) -> None:
        self._data = data
        self._sampler = sampler
        self._number = math.ceil((data.num_samples if sampler is None else sampler.counts.sum()) / batch_size)
        self._generator = torch.Generator().manual_seed(seed)
        self._seed = seed
        self._epoch = 0
        self._augmentation = augmentation

    def __len__(self) -> int:
        return self._number

    def skip(self, epochs: int) -> None:
        """Pass over epochs that were done before."""
        for _ in range(epochs):
            self._order()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = self._order()
        processes, rank = place_among_processes()
        generator = epoch_generator(self._seed, self._epoch)
        for rows in order.tensor_split(self._number):
            inputs = self._data.inputs[rows]
            if self._augmentation != Augmentation():
                inputs = self._augmentation(inputs, generator)
            own = torch.arange(len(rows)).tensor_split(processes)[rank]
            yield inputs[own], self._data.labels[rows[own]]

    def _order(self) -> Tensor:
        self._epoch += 1
        if self._sampler is not None:
            return self._sampler.order(self._epoch)
        return torch.randperm(self._data.num_samples, generator=self._generator)
