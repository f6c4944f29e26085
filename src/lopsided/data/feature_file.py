"""A file of features, labels and a classifier: checked before anything is measured, then read in parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.data.array_files import REAL, WHOLE, ArrayFile, Header, open_arrays

#: Numbers in a part: 8 MiB in float64, of which measuring needs a few copies.
PART = 2**20

_SHAPES = {"features": "(N, d)", "labels": "(N,)", "weight": "(K, d)", "bias": "(K,)"}


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """What stands in a file of features, with ``weight`` (K, d) and ``bias`` (K,) where the file has them.

    It stays open: use it as a context manager.
    """

    path: Path
    num_samples: int
    dim: int
    num_classes: int
    weight: NDArray[np.float64] | None = field(repr=False)
    bias: NDArray[np.float64] | None = field(repr=False)
    _arrays: ArrayFile = field(repr=False)

    def batches(self) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Read features (B, d) and labels (B,) from the beginning, part by part; all are finite, or it is an error."""
        step, first = _step(self.dim), 0
        with (
            closing(self._arrays.rows("features", step)) as features,
            closing(self._arrays.rows("labels", step)) as own,
        ):
            for samples, labels in zip(features, own, strict=True):
                _check_finite(self._arrays, samples, first)
                # Of what NumPy knows torch takes these for certain.
                usual = samples.dtype in (np.float16, np.float32, np.float64)
                yield samples if usual else samples.astype(np.float64), labels.astype(np.int64)
                first += len(samples)

    def __enter__(self) -> FeatureFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._arrays.close()


def open_features(path: str | Path, num_classes: int | None = None) -> FeatureFile:
    """Open a file of features and check all that can be told without reading the features.

    Parameters
    ----------
    path : str or Path
        ``.npz`` or ``.safetensors`` with ``features`` (N, d), ``labels`` (N,) and, if the classifier is to be measured
        too, ``weight`` (K, d) and ``bias`` (K,). Other arrays are left alone.
    num_classes : int, optional
        K, where there is no ``weight`` and the last classes have no samples; one more than the largest label otherwise.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(folder + "/a.npz", features=np.ones((5, 2)), labels=[0, 1, 2, 0, 1], weight=np.eye(3, 2))
    ...     with open_features(folder + "/a.npz") as file:
    ...         file.num_samples, file.dim, file.num_classes, [len(labels) for _, labels in file.batches()]
    (5, 2, 3, [5])
    """
    with ExitStack() as on_error:
        arrays = on_error.enter_context(open_arrays(path))
        features, labels = (_header(arrays, name) for name in ("features", "labels"))
        samples, dim = features.shape
        if samples == 0 or dim == 0:
            arrays.refuse("hold at least one sample of at least one feature", f"features of shape {features.shape}")
        if labels.shape != (samples,):
            arrays.refuse(f"hold one label a sample, {samples} of them", f"labels of shape {labels.shape}")
        weight = _parameter(arrays, "weight")
        if weight is not None:
            if weight.shape[1] != dim:
                arrays.refuse(f"hold a weight of shape (K, d) with d = {dim}, the features' width", weight.shape)
            if num_classes is not None and num_classes != len(weight):
                raise ArgumentError("num_classes", f"must be left out or be {len(weight)}, as the weight", num_classes)
            num_classes = len(weight)
        bias = _parameter(arrays, "bias")
        if bias is not None and (weight is None or len(bias) != len(weight)):
            rule = "hold a bias only beside a weight" if weight is None else f"hold a bias of shape ({len(weight)},)"
            arrays.refuse(rule, f"a bias of shape {bias.shape}")
        largest = _check_labels(arrays, _step(dim), num_classes)
        if num_classes is None:
            num_classes = largest + 1
            if num_classes > samples:
                found = f"a label of {largest} for {samples} samples"
                arrays.refuse("hold a weight, or labels of no more classes than samples", found, "give num_classes")
        on_error.pop_all()
    return FeatureFile(arrays.path, samples, dim, num_classes, weight, bias, arrays)


def _step(dim: int) -> int:
    return max(1, PART // dim)


def _header(arrays: ArrayFile, name: str) -> Header:
    if name not in arrays.headers:
        there = ", ".join(arrays.headers) or "nothing"
        arrays.refuse(f"hold an array {name!r} of shape {_SHAPES[name]}", there, f"store it under the name {name!r}")
    header = arrays.headers[name]
    dimensions = _SHAPES[name].count(",") + (not _SHAPES[name].endswith(",)"))
    if len(header.shape) != dimensions:
        arrays.refuse(f"hold {name} of shape {_SHAPES[name]}", header.shape)
    if header.kind not in (WHOLE if name == "labels" else REAL):
        wanted = "whole numbers" if name == "labels" else "real numbers"
        if header.kind != "O":  # of objects the file itself says more
            arrays.refuse(f"hold {name} that are {wanted}", header.dtype)
    arrays.check(name)
    return header


def _parameter(arrays: ArrayFile, name: str) -> NDArray[np.float64] | None:
    if name not in arrays.headers:
        return None
    _header(arrays, name)
    value = arrays.read(name).astype(np.float64)
    if not np.isfinite(value).all():
        broken = np.argwhere(~np.isfinite(value))[0]
        arrays.refuse(f"hold a finite {name}", f"{value[tuple(broken)]} for class {broken[0]}")
    return value


def _check_labels(arrays: ArrayFile, step: int, num_classes: int | None) -> int:
    """The largest label, all being in range: known before a feature is read."""
    first, largest = 0, -1
    with closing(arrays.rows("labels", step)) as parts:
        for labels in parts:
            outside = labels < 0
            if num_classes is not None:
                outside |= labels >= num_classes
            if outside.any():
                at = int(np.argmax(outside))
                end = "K − 1" if num_classes is None else num_classes - 1
                arrays.refuse(f"hold labels from 0 to {end}", f"{labels[at]} for sample {first + at}")
            first += len(labels)
            largest = max(largest, int(labels.max()))
    return largest


def _check_finite(arrays: ArrayFile, samples: NDArray[Any], first: int) -> None:
    # A sum is finite only if every term is; only where it is not are they searched, since it may also have overflown.
    if samples.dtype.kind != "f" or np.isfinite(samples.sum(dtype=np.float64)):
        return
    finite = np.isfinite(samples)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        found = f"{samples[row, column]} in sample {first + row}"
        arrays.refuse("hold finite features", found, "drop the sample or repair it")
