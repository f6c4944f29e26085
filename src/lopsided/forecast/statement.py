"""What a forecast is made from: features, labels and costs, checked, and brought to the form that the program takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import is_tensor

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Directions whose variance is below this share of the largest are rounding, and are left out of mixing.
SMALLEST_VARIANCE = 1e-12
#: An own logit must lead by this share of the largest logit: what leads by less is a tie.
TIE = 1e-9


@dataclass(frozen=True, eq=False)
class Samples:
    """Features of samples and their labels.

    Attributes
    ----------
    features : (N, d) array
    labels : (N,) array of int
    weights : (N,) array
        How many samples each row stands for.
    """

    features: Array
    labels: Labels
    weights: Array

    def counts(self, num_classes: int) -> Array:
        """(K,) samples in each class."""
        return np.bincount(self.labels, self.weights, num_classes).astype(np.float64)

    def recall(self, weights: Array, bias: Array) -> Array:
        """(K,) share of each class's samples that a linear classifier predicts; NaN for a class without samples.

        A tie is no prediction: where all logits are zero nothing is recalled.
        """
        classes = len(bias)
        logits = weights @ self.features.T + bias[:, None]
        samples = np.arange(len(self.labels))
        own = logits[self.labels, samples]
        tie = TIE * np.abs(logits).max(axis=0, initial=0.0)
        logits[self.labels, samples] = -np.inf
        right = own > logits.max(axis=0) + tie
        counts = self.counts(classes)
        hits = np.bincount(self.labels, self.weights * right, classes)
        return np.where(counts > 0, hits / np.where(counts > 0, counts, 1.0), np.nan)

    def merged(self) -> Samples:
        """The same, rows of equal features and label taken together."""
        # whole-number sums of the bit patterns: the same for equal rows, which floating-point products need not be
        bits = np.ascontiguousarray(self.features + 0.0).view(np.uint64)
        multipliers = np.random.default_rng(0).integers(0, 2**63, bits.shape[1], dtype=np.uint64) * 2 + 1
        keys = (bits * multipliers).sum(axis=1, dtype=np.uint64) + self.labels.astype(np.uint64)
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        same = self.features[first[inverse]] == self.features
        if len(first) == len(keys) or not (same.all() and (self.labels[first[inverse]] == self.labels).all()):
            return self
        return Samples(self.features[first], self.labels[first], np.bincount(inverse, self.weights).astype(np.float64))


@dataclass(frozen=True, eq=False)
class Form:
    """How features become the program's, and its weights those of the features as given: φ ↦ (φ − centre) · map.

    Attributes
    ----------
    centre : (d,) array or None
    map : (d, d') array, or (d,) array for a scale of each channel
    """

    centre: Array | None
    map: Array

    def features(self, features: Array) -> Array:
        """The program's features."""
        value = features if self.centre is None else features - self.centre
        return value * self.map if self.map.ndim == 1 else value @ self.map

    def classifier(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """Weights and bias for the features as given."""
        value = weights * self.map if self.map.ndim == 1 else weights @ self.map.T
        return value, (bias if self.centre is None else bias - value @ self.centre)


def form_of(samples: Samples, costs: Array | None) -> Form:
    """Channels divided by their costs; without costs, features centred and whitened to ΦᵀΦ = N·I."""
    if costs is not None:
        return Form(None, 1 / costs)
    total = samples.weights.sum()
    centre = samples.weights @ samples.features / total
    centred = samples.features - centre
    scatter = (centred * (samples.weights / total)[:, None]).T @ centred
    values, vectors = np.linalg.eigh(scatter)
    kept = values > SMALLEST_VARIANCE * values[-1]
    return Form(centre, vectors[:, kept] / np.sqrt(values[kept]))


def read_samples(
    features: ArrayLike, labels: ArrayLike, sample_weights: ArrayLike | None, num_classes: int | None, prefix: str = ""
) -> Samples:
    """Features, labels and weights, checked.

    Parameters
    ----------
    features, labels, sample_weights
        As :func:`lopsided.forecast` takes them.
    num_classes : int, optional
        K, where it is known.
    prefix : str
        What the names of the arguments begin with in errors.

    Raises
    ------
    ArgumentError
        If one of them breaks its rule.
    """
    values = _numbers(prefix + "features", features, 2, "(N, d), one row a sample")
    if 0 in values.shape:
        raise ArgumentError(prefix + "features", "must have rows and columns", got=f"shape {values.shape}")
    known = _host(labels)
    if known.ndim != 1 or len(known) != len(values):
        rule = f"must be one class number a row of features, {len(values)}"
        raise ArgumentError(prefix + "labels", rule, got=f"shape {known.shape}")
    if known.dtype.kind not in "iuf" or not (np.isfinite(known) & (known == np.floor(known))).all():
        raise ArgumentError(prefix + "labels", "must be whole numbers, class 0, 1, … of each sample", known)
    wrong = (known < 0) | (known >= (np.inf if num_classes is None else num_classes))
    if wrong.any():
        rule = "must be at least 0" if num_classes is None else f"must be from 0 to {num_classes - 1}"
        row = int(np.argmax(wrong))
        raise ArgumentError(prefix + "labels", rule, got=f"{int(known[row])} in row {row}")
    weights = np.ones(len(values))
    if sample_weights is not None:
        weights = _numbers("sample_weights", sample_weights, 1, f"one a row of features, {len(values)}")
        if len(weights) != len(values):
            rule = f"must be one number a row of features, {len(values)}"
            raise ArgumentError("sample_weights", rule, got=str(len(weights)))
        if (weights <= 0).any():
            row = int(np.argmax(weights <= 0))
            raise ArgumentError("sample_weights", "must be above 0", got=f"{weights[row]:g} in row {row}")
    return Samples(values, known.astype(np.int64), weights)


def check_training(samples: Samples, num_classes: int) -> None:
    """Refuse training samples from which nothing can be forecast.

    Raises
    ------
    ArgumentError
        If there is one class, a class has no samples, or all features are equal.
    """
    if num_classes < 2:
        raise ArgumentError("labels", "must hold two classes at least", got=str(num_classes))
    if len(samples.labels) < num_classes:
        rule = f"must have a row for each of the {num_classes} classes at least"
        raise ArgumentError("features", rule, got=f"{len(samples.labels)} rows")
    empty = np.flatnonzero(samples.counts(num_classes) == 0)
    if len(empty):
        remedy = "leave the class out and number the others anew"
        raise ArgumentError(
            "labels", "must hold samples of every class", got=f"none of class {empty[0]}", remedy=remedy
        )
    if (samples.features == samples.features[0]).all():
        rule = "must differ between samples"
        raise ArgumentError("features", rule, got="constant columns only", remedy="take them from a trained network")


def read_costs(costs: ArrayLike | None, num_channels: int) -> Array | None:
    """What each channel's scale costs, checked.

    Raises
    ------
    ArgumentError
        If there is not one positive number a channel.
    """
    if costs is None:
        return None
    values = _numbers("costs", costs, 1, f"one a column of features, {num_channels}")
    if len(values) != num_channels:
        raise ArgumentError("costs", f"must be one number a column of features, {num_channels}", got=str(len(values)))
    if (values <= 0).any():
        column = int(np.argmax(values <= 0))
        raise ArgumentError(
            "costs",
            "must be above 0",
            got=f"{values[column]:g} for channel {column}",
            remedy="an undecayed channel has no penalty at all, and no decay loses a class that it serves",
        )
    return values


def _host(values: Any) -> NDArray[Any]:
    return np.asarray(values.detach().cpu().numpy() if is_tensor(values) else values)


def _numbers(name: str, values: ArrayLike, dimensions: int, what: str) -> Array:
    try:
        numbers = np.asarray(_host(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(name, f"must be finite numbers, {what}", values) from None
    if numbers.ndim != dimensions:
        raise ArgumentError(name, f"must be finite numbers, {what}", got=f"an array of shape {numbers.shape}")
    broken = ~np.isfinite(numbers)
    if broken.any():
        place = np.unravel_index(int(np.argmax(broken)), numbers.shape)
        where = f"row {place[0]}" + (f", column {place[1]}" if dimensions == 2 else "")
        raise ArgumentError(name, f"must be finite numbers, {what}", got=f"{numbers[place]} in {where}")
    return numbers
