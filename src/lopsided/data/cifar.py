"""CIFAR-10 and CIFAR-100: the binary version of their archives, or Hugging Face's ``datasets`` with its cache.

The Python version of the archives is pickled, and reading a pickle runs what is in it: it is refused.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.data.images import DataSet, Images
from lopsided.data.places import data_folders

#: Bytes of one image: the red, the green and the blue plane of 32×32 pixels.
_PIXELS = 3 * 32 * 32

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
    """One of the two data sets: its files, and its name and label on Hugging Face."""

    name: str
    class_names: tuple[str, ...]
    archive: str
    folder: str
    train_files: tuple[str, ...]
    test_file: str
    label_bytes: int
    repository: str
    label: str

    def read(self, root: str | Path | None, download: bool) -> DataSet:
        """Read what is there: the binary archive, its folder, Parquet files, or the library's cache."""
        python_version = None
        for place in data_folders(self.name, root):
            if (place / self.archive).is_file():
                return self._data_set(_members(place / self.archive, {*self.train_files, self.test_file}))
            for folder in (place, place / self.folder):
                if (folder / self.test_file).is_file():
                    names = (*self.train_files, self.test_file)
                    return self._data_set({name: _content(folder / name) for name in names})
            if any(place.glob("**/*.parquet")):
                return self._from_library(str(place))
            old = (place / self.archive.replace("binary", "python"), place / self.folder.replace("-bin", "-py"))
            python_version = next((path for path in old if path.exists()), python_version)
        if python_version is not None:
            raise ArgumentError(
                "data",
                (
                    f"{self.name!r} must be the binary version of the archive, {self.archive}: the Python"
                    f" version, {str(python_version)!r}, is pickled and could run any code"
                ),
                remedy="put the binary version beside it",
            )
        if root is not None:
            raise ArgumentError(
                "data",
                f"{self.name!r} was not found in {root}",
                remedy=(
                    f"put {self.archive} (the binary version) or Parquet files into it, or leave the folder out"
                    " to fetch them with Hugging Face's datasets"
                ),
            )
        return self._from_library(self.repository)

    def _data_set(self, files: Mapping[str, bytes]) -> DataSet:
        missing = [name for name in (*self.train_files, self.test_file) if name not in files]
        if missing:
            raise ArgumentError(
                "data", f"{self.name!r}: {self.archive} must hold {missing[0]}", remedy="it does not; fetch it again"
            )
        train = self._part({name: files[name] for name in self.train_files})
        return DataSet(self.class_names, train, self._part({self.test_file: files[self.test_file]}))

    def _part(self, files: Mapping[str, bytes]) -> Images:
        record = self.label_bytes + _PIXELS
        for name, content in files.items():
            if not content or len(content) % record:
                raise ArgumentError(
                    "data",
                    f"{self.name!r}: {name} must be records of {record} bytes",
                    got=f"{len(content)} bytes",
                    remedy="fetch it again",
                )
        rows = np.frombuffer(b"".join(files.values()), np.uint8).reshape(-1, record)
        labels = rows[:, self.label_bytes - 1].astype(np.int64)  # of CIFAR-100's two the fine one, which comes last
        self._check(labels)
        return Images(rows[:, self.label_bytes :].reshape(-1, 3, 32, 32), labels)

    def _from_library(self, path: str) -> DataSet:
        try:
            import datasets  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise ArgumentError(
                "data",
                f"{self.name!r} is read by Hugging Face's datasets, which is missing",
                remedy=f"pip install 'lopsided[hub]', or put {self.archive} into {data_folders(self.name, None)[0]}",
            ) from None
        try:
            with _quiet(datasets):
                found = datasets.load_dataset(path)
                train, test = (self._library_part(found, split) for split in ("train", "test"))
                return DataSet(self.class_names, train, test)
        except (OSError, datasets.exceptions.DatasetsError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ArgumentError(
                "data",
                f"{self.name!r} could not be had from {path} ({reason})",
                remedy=f"once fetched it is cached; or put {self.archive} into {data_folders(self.name, None)[0]}",
            ) from None

    def _library_part(self, found: Any, split: str) -> Images:
        columns = {"img", self.label}
        if split not in found or not columns <= set(found[split].column_names):
            raise ArgumentError(
                "data", f"{self.name!r} must have a part {split!r} with columns img and {self.label}", got=str(found)
            )
        part = found[split]
        pixels = np.empty((len(part), 3, 32, 32), np.uint8)
        for row, image in enumerate(part["img"]):
            planes = np.asarray(image.convert("RGB"))
            if planes.shape != (32, 32, 3):
                raise ArgumentError(
                    "data", f"{self.name!r} must be images of 32×32 pixels", got=f"{image.size} in row {row}"
                )
            pixels[row] = planes.transpose(2, 0, 1)
        labels = np.asarray(part[self.label], dtype=np.int64)
        self._check(labels)
        return Images(pixels, labels)

    def _check(self, labels: NDArray[np.int64]) -> None:
        last = len(self.class_names) - 1
        if labels.size and not 0 <= labels.min() <= labels.max() <= last:
            raise ArgumentError(
                "data", f"{self.name!r} must have labels in 0 … {last}", got=f"{labels.min()} … {labels.max()}"
            )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArgumentError(
            "data", f"file {str(path)!r} must be readable", remedy=f"{error.strerror or error}"
        ) from None


def _members(archive: Path, names: set[str]) -> dict[str, bytes]:
    """Files of an archive by their bare names, read in memory: nothing is unpacked, wherever its paths lead."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            members = [member for member in tar if member.isfile() and Path(member.name).name in names]
            contents = {Path(member.name).name: file.read() for member in members if (file := tar.extractfile(member))}
            while tar.fileobj is not None and tar.fileobj.read(2**20):
                pass  # to the end, where the checksum of the whole stands
        return contents
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ArgumentError(
            "data", f"file {str(archive)!r} must be a whole archive", remedy=f"{error}; fetch it again"
        ) from None


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


CIFAR10 = Cifar(
    name="cifar10",
    class_names=CIFAR10_CLASSES,
    archive="cifar-10-binary.tar.gz",
    folder="cifar-10-batches-bin",
    train_files=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test_file="test_batch.bin",
    label_bytes=1,
    repository="uoft-cs/cifar10",
    label="label",
)
CIFAR100 = Cifar(
    name="cifar100",
    class_names=CIFAR100_CLASSES,
    archive="cifar-100-binary.tar.gz",
    folder="cifar-100-binary",
    train_files=("train.bin",),
    test_file="test.bin",
    label_bytes=2,
    repository="uoft-cs/cifar100",
    label="fine_label",
)
