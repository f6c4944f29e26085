"""A prediction and a measurement side by side: by how much they differ, and whether they agree.

How much is a number; whether classes merged as predicted is a verdict, and its rule is stated here once, in
:class:`Comparison`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Array, Geometry
from lopsided.core.plain_values import plain

#: The quantities that :func:`compare` looks at, in the order of its tables.
COMPARED = ("mean_logits", "bias", "gram_means", "gram_classifier", "cosines_means", "cosines_classifier")
#: The optimum has each class in one point, with an NC1 of zero. A measured one below this counts as the same.
COLLAPSED_NC1 = 1e-2


@dataclass(frozen=True, eq=False)
class Discrepancy:
    """One quantity, predicted and measured.

    Attributes
    ----------
    name : str
        Name of the quantity: an attribute of :class:`lopsided.Geometry`.
    predicted, measured : array
        The two values, of equal shape, restricted to the classes that are present.
    compared : array of bool
        The entries that count: those defined in both, and of cosines those off the diagonal.
    relative_error : float
        ``‖measured − predicted‖_F / ‖predicted‖_F``; NaN when the prediction is exactly zero, where only
        ``absolute_error`` has a meaning.
    absolute_error : float
        ``‖measured − predicted‖_F / √(number of entries)``, in the unit of the quantity; NaN when there is nothing to
        compare, as with the cosines of means that are all zero.
    """

    name: str
    predicted: Array = field(repr=False)
    measured: Array = field(repr=False)
    compared: NDArray[np.bool_] = field(repr=False)
    relative_error: float
    absolute_error: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What :func:`compare` found; ``comparison["mean_logits"].relative_error`` reads one entry.

    **When do they agree?** A prediction states its rank and its merged classes exactly, whereas a measurement sees them
    within the merge tolerances of :mod:`lopsided.core.geometry`: two classes just short of a merge look merged to it.
    So it may show the prediction as it is, or as a measurement of the prediction would show it, or anything in between:
    classes that merge in the prediction must have merged, others may have only if the prediction keeps them apart by
    less than the tolerances; the rank must lie between that of the prediction seen so and the exact one. Only classes
    present in both take part.

    Attributes
    ----------
    predicted, measured : Geometry
        What was compared.
    discrepancies : dict of str to Discrepancy
        By quantity: mean_logits, bias, gram_means, gram_classifier, cosines_means, cosines_classifier.
    """

    predicted: Geometry
    measured: Geometry
    discrepancies: dict[str, Discrepancy]

    def __getitem__(self, name: str) -> Discrepancy:
        return self.discrepancies[name]

    @cached_property
    def unexpected_merges(self) -> list[tuple[int, int]]:
        """Pairs of classes that are merged in the measurement, though the prediction keeps them apart, in order.

        Examples
        --------
        >>> import lopsided as lp
        >>> near = lp.Geometry([9, 8, 5], [[1.0], [1.01], [-2.0]], [[2.0], [-1.0], [-1.0]], merged=[])
        >>> lp.compare(near, lp.Geometry([9, 8, 5], [[1.0], [1.0], [-2.0]], near.classifier)).unexpected_merges
        []
        >>> lp.compare(near, lp.Geometry([9, 8, 5], [[1.0], [-2.0], [-2.0]], near.classifier)).unexpected_merges
        [(1, 2)]
        """
        expected = _together(self.predicted) | _together(self._as_if_measured)
        return self._pairs(_together(self.measured) & ~expected)

    @cached_property
    def missing_merges(self) -> list[tuple[int, int]]:
        """Pairs of classes that merge in the prediction, but are apart in the measurement, in order.

        Examples
        --------
        >>> import lopsided as lp
        >>> merged = lp.Geometry([9, 8, 5], [[1.0], [-2.0], [-2.0]], [[2.0], [-1.0], [-1.0]])
        >>> lp.compare(merged, lp.Geometry([9, 8, 5], [[1.0], [1.0], [-2.0]], merged.classifier)).missing_merges
        [(1, 2)]
        """
        return self._pairs(_together(self.predicted) & ~_together(self.measured))

    @property
    def same_merged(self) -> bool:
        """Whether the measurement has merged the classes predicted to merge, and no others, by the rule above."""
        return not self.missing_merges and not self.unexpected_merges

    @property
    def same_rank(self) -> bool:
        """Whether the measurement has the predicted rank, by the rule above.

        Examples
        --------
        >>> import lopsided as lp
        >>> weak = lp.Geometry([9, 8], [[1.0, 0.0], [0.0, 0.01]], [[9.0, 0.0], [0.0, 1.0]], rank=2)
        >>> lost = lp.Geometry([9, 8], [[1.0, 0.0], [0.0, 0.0]], [[9.0, 0.0], [0.0, 1.0]])
        >>> lost.rank, lp.compare(weak, lost).same_rank, lp.compare(lost, weak).same_rank
        (1, True, False)
        """
        return self._as_if_measured.rank <= self.measured.rank <= self.predicted.rank

    @cached_property
    def _as_if_measured(self) -> Geometry:
        """The prediction without its exact rank and groups, so that they are detected, of the classes in both."""
        counts = np.where(_present(self.predicted, self.measured), self.predicted.counts, 0)
        return Geometry(counts, self.predicted.class_means, self.predicted.classifier, self.predicted.bias)

    def _pairs(self, wrong: NDArray[np.bool_]) -> list[tuple[int, int]]:
        present = _present(self.predicted, self.measured)
        return [(int(low), int(high)) for low, high in np.argwhere(np.triu(wrong & np.outer(present, present), k=1))]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; NaN becomes ``None``."""
        errors = {
            name: {"relative_error": entry.relative_error, "absolute_error": entry.absolute_error}
            for name, entry in self.discrepancies.items()
        }
        return {
            "quantities": plain(errors),
            "rank": {
                "predicted": self.predicted.rank,
                "measured": self.measured.rank,
                "agrees": self.same_rank,
            },
            "merged": {
                "predicted": self.predicted.merged,
                "measured": self.measured.merged,
                "agrees": self.same_merged,
            },
        }


def compare(predicted: Geometry, measured: Geometry) -> Comparison:
    """Compare two geometries of the same classes, quantity by quantity.

    Grams are compared as they are, not up to scale: a prediction made with the network's own ``lambda_w`` and
    ``lambda_h`` fixes their scale. Cosines are compared where both are defined: a zero vector has no direction.

    Parameters
    ----------
    predicted, measured : Geometry
        Over the same classes, in the same order.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If the numbers of classes differ, or one of them has no classifier.

    Examples
    --------
    >>> import lopsided as lp
    >>> g = lp.UFM(counts="500x5,100x5", lambda_z=3e-3, lambda_b=0.02).solve().geometry
    >>> lp.compare(g, g)["mean_logits"].relative_error
    0.0
    """
    if predicted.num_classes != measured.num_classes:
        raise ArgumentError(
            "predicted",
            "and measured must have the same classes",
            got=f"{predicted.num_classes} and {measured.num_classes}",
        )
    present = _present(predicted, measured)
    entries = {}
    for name in COMPARED:
        pair = []
        for geometry in (predicted, measured):
            value = getattr(geometry, name)
            if name == "mean_logits":
                value = value[present]
            elif name in ("gram_means", "cosines_means"):
                value = value[np.ix_(present, present)]
            pair.append(value)
        entries[name] = _discrepancy(name, *pair)
    return Comparison(predicted, measured, entries)


def _discrepancy(name: str, predicted: Array, measured: Array) -> Discrepancy:
    compared = np.isfinite(predicted) & np.isfinite(measured)
    if name.startswith("cosines"):
        np.fill_diagonal(compared, False)  # always 1, so they would only flatter the error
    difference = float(np.linalg.norm(measured[compared] - predicted[compared]))
    scale = float(np.linalg.norm(predicted[compared]))
    return Discrepancy(
        name=name,
        predicted=predicted,
        measured=measured,
        compared=compared,
        relative_error=difference / scale if scale > 0 else float("nan"),
        absolute_error=difference / np.sqrt(compared.sum()) if compared.any() else float("nan"),
    )


def _present(predicted: Geometry, measured: Geometry) -> NDArray[np.bool_]:
    """(K,) which classes have samples in both."""
    present: NDArray[np.bool_] = (predicted.counts > 0) & (measured.counts > 0)
    return present


def _together(geometry: Geometry) -> NDArray[np.bool_]:
    """(K, K) which classes are merged with which."""
    group = np.arange(geometry.num_classes)
    for members in geometry.merged:
        group[members] = members[0]
    together: NDArray[np.bool_] = group[:, None] == group
    return together
