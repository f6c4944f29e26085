"""CIFAR-10 and CIFAR-100 by Hugging Face's ``datasets``: from Parquet files, or from its cache, which it fills once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.data.images import DataSet, Images
from lopsided.data.places import data_folders

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets, and what it and its column of labels are called on Hugging Face."""

    name: str
    class_names: tuple[str, ...]
    repository: str
    label: str

    def read(self, root: str | Path | None, download: bool) -> DataSet:
        """Read the Parquet files of a folder, or else, where no folder was named, what the library has or fetches."""
        places = data_folders(self.name, root)
        found = next((place for place in places if any(place.glob("**/*.parquet"))), None)
        if found is None and root is not None:
            raise ArgumentError(
                "data",
                f"{self.name!r} was not found in {root}",
                remedy="put its Parquet files there, or leave the folder out to fetch them",
            )
        try:
            import datasets  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise ArgumentError(
                "data",
                f"{self.name!r} is read by Hugging Face's datasets, which is missing",
                remedy="pip install 'lopsided[hub]'",
            ) from None
        source = self.repository if found is None else str(found)
        try:
            with _quiet(datasets):
                parts = datasets.load_dataset(source)
                return DataSet(self.class_names, self._part(parts, "train"), self._part(parts, "test"))
        except (OSError, datasets.exceptions.DatasetsError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ArgumentError(
                "data",
                f"{self.name!r} could not be loaded from {source} ({reason})",
                remedy=f"once fetched it is cached; or put its Parquet files into {places[0]}",
            ) from None

    def _part(self, parts: Any, split: str) -> Images:
        columns = {"img", self.label}
        if split not in parts or not columns <= set(parts[split].column_names):
            raise ArgumentError(
                "data", f"{self.name!r} must have a part {split!r} with columns img and {self.label}", got=str(parts)
            )
        part = parts[split]
        pixels = np.empty((len(part), 3, 32, 32), np.uint8)
        for row, image in enumerate(part["img"]):
            planes = np.asarray(image.convert("RGB"))
            if planes.shape != (32, 32, 3):
                rule = f"{self.name!r} must be images of 32×32 pixels"
                raise ArgumentError("data", rule, got=f"{image.size} in row {row}")
            pixels[row] = planes.transpose(2, 0, 1)
        labels, last = np.asarray(part[self.label], dtype=np.int64), len(self.class_names) - 1
        if labels.size and not 0 <= labels.min() <= labels.max() <= last:
            found = f"{labels.min()} … {labels.max()}"
            raise ArgumentError("data", f"{self.name!r} must have labels in 0 … {last}", got=found)
        return Images(pixels, labels)


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """No progress bars of the library, which stays as it was otherwise."""
    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()


CIFAR10 = Cifar("cifar10", CIFAR10_CLASSES, repository="uoft-cs/cifar10", label="label")
CIFAR100 = Cifar("cifar100", CIFAR100_CLASSES, repository="uoft-cs/cifar100", label="fine_label")
