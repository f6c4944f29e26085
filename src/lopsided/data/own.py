"""Data sets of the user's own: a folder of class folders, and any ``torch.utils.data.Dataset``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.count_sources import IMAGES
from lopsided.core.factories import load_factory
from lopsided.data.images import DataSet, Images, LazyInputs

#: Folders that are the test part, where the classes lie in a folder ``train``.
_TEST_FOLDERS = ("test", "val", "validation")


def read_image_folder(path: str | Path, image_size: int | None = None) -> DataSet:
    """Images in one folder a class, or in such folders in ``train`` and ``test`` (or ``val``).

    Classes are the folders in the order of their names, as torchvision's ``ImageFolder`` has them. Images are read when
    they are asked for; grey if the first one is, else in colour, from 0 to 1, scaled to ``image_size`` in height and
    width. Where that is left out all must be of one size.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ArgumentError("data", f"folder {str(path)!r} must be a folder of class folders", remedy="there is none")
    train_folder = folder / "train" if (folder / "train").is_dir() else folder
    names = tuple(sorted(entry.name for entry in train_folder.iterdir() if entry.is_dir()))
    if len(names) < 2:
        raise ArgumentError(
            "data", f"folder {str(train_folder)!r} must hold a folder for each class", got=f"{len(names)} folders"
        )
    first = next(iter(_files(train_folder / names[0])), None)
    if first is None:
        raise ArgumentError(
            "data", f"folder {str(train_folder / names[0])!r} must hold images, {', '.join(IMAGES)}", got="none"
        )
    shape = _open(first, None, image_size).shape
    mode = "L" if shape[0] == 1 else "RGB"

    def part(place: Path) -> Images:
        unknown = {entry.name for entry in place.iterdir() if entry.is_dir()} - set(names)
        if unknown:
            rule = f"folder {str(place)!r} must have the classes of the training part"
            raise ArgumentError("data", rule, min(unknown))
        files = [(file, label) for label, name in enumerate(names) for file in _files(place / name)]

        def read(row: int) -> NDArray[Any]:
            image = _open(files[row][0], mode, image_size)
            if image.shape != shape:
                sizes = f"{str(first)!r} has {shape[1]}×{shape[2]} pixels, {str(files[row][0])!r} "
                sizes += f"{image.shape[1]}×{image.shape[2]}"
                raise ArgumentError("image_size", f"must be given where images differ in size: {sizes}")
            return image

        return Images(LazyInputs(read), np.array([label for _, label in files], dtype=np.int64))

    test_folder = next((folder / name for name in _TEST_FOLDERS if (folder / name).is_dir()), None)
    if train_folder == folder:
        test_folder = None  # a class may be called so
    return DataSet(names, part(train_folder), None if test_folder is None else part(test_folder))


def _files(folder: Path) -> list[Path]:
    """Every image below a folder, in the order of the names."""
    found = [Path(place, file) for place, _, files in os.walk(folder, followlinks=True) for file in files]
    return sorted(file for file in found if file.suffix.lower() in IMAGES)


def _open(path: Path, mode: str | None, image_size: int | None) -> NDArray[np.float32]:
    """An image (channels, height, width), from 0 to 1."""
    try:
        from PIL import Image
    except ImportError:
        raise ArgumentError(
            "data", f"file {str(path)!r} is read by Pillow, which is missing", remedy="pip install pillow"
        ) from None
    try:
        with Image.open(path) as image:
            wanted = mode or ("L" if image.mode in ("1", "L", "I;16") else "RGB")
            converted = image.convert(wanted)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ArgumentError("data", f"file {str(path)!r} must be a whole image", remedy=str(error)) from None
    if image_size is not None:
        converted = converted.resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels = np.asarray(converted, dtype=np.float32) / np.float32(255)
    return pixels[None] if wanted == "L" else pixels.transpose(2, 0, 1)


def read_torch_dataset(name: str) -> DataSet:
    """A torch ``Dataset`` of (input, label), or a pair of them for training and for testing, from MODULE:FACTORY.

    Inputs are taken as the data set gives them, tensors or arrays of one shape: scaling is its own affair. Labels are
    0 … K − 1; ``targets`` or ``labels``, where the data set has them, spare reading every sample for its label. Names
    of the classes are its ``classes``, if it has them.
    """
    made = load_factory(name, "data")()
    parts = made if isinstance(made, tuple) else (made,)
    if not 1 <= len(parts) <= 2 or not all(hasattr(part, "__getitem__") and hasattr(part, "__len__") for part in parts):
        rule = f"{name!r} must give a torch Dataset with a length, or a pair (train, test)"
        raise ArgumentError("data", rule, got=type(made).__name__)
    read = [_torch_part(name, part) for part in parts]
    number = int(read[0].labels.max(initial=-1)) + 1
    if number < 2:
        raise ArgumentError("data", f"{name!r} must have at least two classes", number)
    classes = getattr(parts[0], "classes", None)
    names = tuple(map(str, range(number) if classes is None else classes))
    if len(names) < number:
        rule = f"{name!r} must name each of its {number} classes in 'classes'"
        raise ArgumentError("data", rule, got=f"{len(names)} names")
    return DataSet(names, read[0], read[1] if len(read) == 2 else None, standardise=False)


def _torch_part(name: str, part: Any) -> Images:
    listed = next((found for key in ("targets", "labels") if (found := getattr(part, key, None)) is not None), None)
    if listed is None or len(listed) != len(part):
        listed = [part[row][1] for row in range(len(part))]
    labels = np.array([int(label) for label in listed], dtype=np.int64)
    if labels.min(initial=0) < 0:
        raise ArgumentError("data", f"{name!r} must have labels 0 … K − 1", int(labels.min()))

    def read(row: int) -> NDArray[Any]:
        value = np.asarray(part[row][0])
        if value.dtype.kind not in "fiub":
            raise ArgumentError(
                "data",
                f"{name!r} must give inputs that are tensors or arrays of numbers",
                got=f"{type(part[row][0]).__name__} in row {row}",
                remedy="give it a transform",
            )
        return value.astype(np.float32)

    return Images(LazyInputs(read), labels)
