"""The one noun of the package: the geometry of a classifier's last layer.

A certified optimum and a measured network both end in a :class:`Geometry`; comparing, plotting and reporting read
nothing else. A measurement is never exact, so what counts as the same is stated here too, as tolerances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from lopsided.core.arguments import ArgumentError

Array = NDArray[np.float64]

#: Two measured classes count as merged when their mean logits are closer than this share of the largest gap ...
MERGE_RELATIVE_TOLERANCE = 0.1
#: ... or closer than this many nats: a likelihood ratio of e^0.1 is no basis on which to tell two classes apart.
MERGE_ABSOLUTE_TOLERANCE = 0.1


class Geometry:
    r"""Class means, classifier, bias and counts of a last layer, and all that follows from them.

    Parameters
    ----------
    counts : (K,) array_like
        Samples in each class. A class with count 0 is absent: its mean must be NaN.
    class_means : (K, d) array_like
        Row ``k`` is the mean feature :math:`\bar h_k` of class ``k``.
    classifier : (K, d) array_like, optional
        Row ``k`` is the weight :math:`w_k` of class ``k`` in the last linear layer (the shape of
        ``torch.nn.Linear.weight``). Without it everything about logits raises ``ValueError``.
    bias : (K,) array_like, optional
        Bias of the last layer; zeros where it has none.
    rank : int, optional
        Rank of the mean logits, if it is known; detected from their singular values otherwise.
    merged : sequence of sequences of int, optional
        Groups of two or more classes whose means coincide, if known; detected by :func:`merged_classes` otherwise.

    Examples
    --------
    >>> import lopsided as lp
    >>> geometry = lp.Geometry(counts=[10, 10], class_means=[[1.0], [-1.0]], classifier=[[2.0], [-2.0]])
    >>> geometry.mean_logits
    array([[ 2., -2.],
           [-2.,  2.]])
    >>> geometry.rank, geometry.merged
    (1, [])
    """

    def __init__(
        self,
        counts: ArrayLike,
        class_means: ArrayLike,
        classifier: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        *,
        rank: int | None = None,
        merged: Sequence[Sequence[int]] | None = None,
    ) -> None:
        means = np.asarray(class_means, dtype=np.float64)
        weight = None if classifier is None else np.asarray(classifier, dtype=np.float64)
        self._set_common(counts, bias, rank, merged)
        if means.ndim != 2 or len(means) != self.num_classes:
            raise ArgumentError(
                "class_means", f"must have shape (K, d) with K = {self.num_classes}, one row a class", means.shape
            )
        if weight is not None and weight.shape != means.shape:
            raise ArgumentError(
                "classifier",
                f"must have the shape of `class_means`, {means.shape}, one row a class",
                weight.shape,
            )
        for name, value in (("class_means", means[self.counts > 0]), ("classifier", weight)):
            if value is not None and not np.isfinite(value).all():
                broken = value[~np.isfinite(value)][0].item()
                raise ArgumentError(name, "must be finite for every class with samples", broken)
        self._factors: Callable[[], tuple[Array, Array | None]] = lambda: (means, weight)

    @classmethod
    def from_factors(
        cls,
        counts: ArrayLike,
        factors: Callable[[], tuple[Array, Array]],
        bias: ArrayLike | None,
        *,
        rank: int,
        merged: Sequence[Sequence[int]],
    ) -> Geometry:
        """A geometry whose ``(class_means, classifier)`` are computed on first use.

        The optimum for thousands of classes is held as a few hundred clusters; whoever asks only for its rank must not
        pay for K × d matrices.
        """
        geometry = cls.__new__(cls)
        geometry._set_common(counts, bias, rank, merged)
        geometry._factors = factors
        return geometry

    def _set_common(
        self,
        counts: ArrayLike,
        bias: ArrayLike | None,
        rank: int | None,
        merged: Sequence[Sequence[int]] | None,
    ) -> None:
        self.counts: NDArray[Any] = np.asarray(counts)
        if self.counts.ndim != 1 or len(self.counts) == 0:
            raise ArgumentError(
                "counts", "must be a non-empty vector (K,)", got=f"an array of shape {self.counts.shape}"
            )
        self.bias: Array = np.zeros(len(self.counts)) if bias is None else np.asarray(bias, dtype=np.float64)
        if self.bias.shape != self.counts.shape:
            raise ArgumentError("bias", f"must have one entry a class, shape {self.counts.shape}", self.bias.shape)
        self._rank = rank
        self._merged = None if merged is None else [[int(k) for k in group] for group in merged]

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.counts)

    @cached_property
    def _resolved(self) -> tuple[Array, Array | None]:
        return self._factors()

    @property
    def class_means(self) -> Array:
        r"""(K, d) class-mean features :math:`\bar h_k`, in the units of the features."""
        return self._resolved[0]

    @property
    def classifier(self) -> Array:
        """(K, d) last-layer weights, one row a class."""
        weight = self._resolved[1]
        if weight is None:
            raise ArgumentError(
                "classifier", "is unknown: this Geometry was built from features alone", remedy="pass classifier="
            )
        return weight

    @property
    def has_classifier(self) -> bool:
        """Whether the last layer's weights are known."""
        return self._resolved[1] is not None

    @cached_property
    def mean_logits(self) -> Array:
        r"""(K, K) mean predictions without the bias: row ``k`` is :math:`W \bar h_k`, in nats."""
        return self.class_means @ self.classifier.T

    @cached_property
    def gram_means(self) -> Array:
        r"""(K, K) inner products :math:`\langle \bar h_k, \bar h_l \rangle`."""
        return self.class_means @ self.class_means.T

    @cached_property
    def gram_classifier(self) -> Array:
        r"""(K, K) inner products :math:`\langle w_k, w_l \rangle`."""
        return self.classifier @ self.classifier.T

    @cached_property
    def cosines_means(self) -> Array:
        """(K, K) cosines between class means; NaN where a mean is zero, since a zero vector has no direction."""
        return _cosines(self.gram_means)

    @cached_property
    def cosines_classifier(self) -> Array:
        """(K, K) cosines between rows of the classifier; NaN where a row is zero."""
        return _cosines(self.gram_classifier)

    @cached_property
    def cosines_logits(self) -> Array:
        """(K, K) cosines between the mean-logit vectors; NaN where a vector is zero."""
        return _cosines(self.mean_logits @ self.mean_logits.T)

    @cached_property
    def rank(self) -> int:
        """Rank of the mean logits of the classes present.

        Given by the theory for a prediction. For a measurement: the number of singular values above
        ``max(MERGE_RELATIVE_TOLERANCE * largest gap, MERGE_ABSOLUTE_TOLERANCE)``, the scale on which two classes are
        called merged, once the mean over the classes is removed: what all classes share acts as a bias.
        """
        if self._rank is not None:
            return self._rank
        values, _, threshold = self._separation
        if len(values) == 0:
            return 0
        return int(np.sum(np.linalg.svd(values - values.mean(axis=0), compute_uv=False) > threshold))

    @cached_property
    def merged(self) -> list[list[int]]:
        """Groups of two or more classes that coincide, each in ascending order, ordered by their first class."""
        if self._merged is not None:
            return self._merged
        _, distances, threshold = self._separation
        return _groups(np.flatnonzero(self.counts > 0), distances, threshold)

    @cached_property
    def _separation(self) -> tuple[Array, Array, float]:
        """Of the classes present: vectors, their distances, and the one up to which two count as merged."""
        vectors = (self.mean_logits if self.has_classifier else self.class_means)[self.counts > 0]
        return vectors, *_distances(vectors, absolute=self.has_classifier)

    def __getstate__(self) -> dict[str, Any]:
        # Workers are sent what the factors are; the function that would compute them cannot be.
        return {**self.__dict__, "_resolved": self._resolved, "_factors": None}

    def __repr__(self) -> str:
        return f"Geometry(num_classes={self.num_classes}, rank={self.rank}, merged={self.merged})"


def merged_classes(vectors: Array, present: NDArray[np.bool_], *, absolute: bool) -> list[list[int]]:
    """Groups of classes whose vectors coincide within the merge tolerances.

    Connected groups of two or more classes at distance ``‖v_k − v_l‖ / √2`` (the logit gap of a simplex) of at most
    ``max(MERGE_RELATIVE_TOLERANCE * largest distance, MERGE_ABSOLUTE_TOLERANCE)``, the second of them for logits only
    (``absolute``): their unit, the nat, is absolute. Classes that are not ``present`` are in no group.

    Examples
    --------
    >>> import numpy as np
    >>> merged_classes(np.diag([5.0, 5.0, 0.0, 0.0]), present=np.ones(4, bool), absolute=True)
    [[2, 3]]
    """
    return _groups(np.flatnonzero(present), *_distances(vectors[present], absolute=absolute))


def _groups(classes: NDArray[np.intp], distances: Array, threshold: float) -> list[list[int]]:
    if len(classes) < 2:
        return []
    _, label = connected_components(distances <= threshold, directed=False)
    groups = [classes[label == value].tolist() for value in np.unique(label)]
    return sorted(group for group in groups if len(group) > 1)


def class_separations(geometry: Geometry) -> Array:
    """(K,) how far each class is from the nearest other, in units of the distance up to which two count as merged.

    At most 1 exactly for the classes in ``geometry.merged`` as detected; NaN for an absent class and where all
    distances are zero, infinite for the only one present.

    Examples
    --------
    >>> class_separations(Geometry([9, 9, 3, 3], np.diag([10.0, 10.0, 1.0, 1.0]), np.eye(4))).round(3)
    array([7.106, 7.106, 1.   , 1.   ])
    """
    present = geometry.counts > 0
    separations = np.full(geometry.num_classes, np.nan)
    _, distances, threshold = geometry._separation
    if threshold > 0 and present.any():
        separations[present] = np.where(np.eye(len(distances)), np.inf, distances).min(axis=1) / threshold
    return separations


def _distances(vectors: Array, *, absolute: bool) -> tuple[Array, float]:
    """(K, K) distances ``‖v_k − v_l‖ / √2``, and up to which two classes count as merged."""
    distances = cdist(vectors, vectors) / np.sqrt(2.0)  # each from a difference: merged ones are not lost to rounding
    relative = MERGE_RELATIVE_TOLERANCE * float(np.max(distances, initial=0.0))
    return distances, max(relative, MERGE_ABSOLUTE_TOLERANCE) if absolute else relative


def _cosines(gram: Array) -> Array:
    norms = np.sqrt(np.clip(np.diagonal(gram), 0.0, None))
    outer = norms[:, None] * norms[None, :]
    cosines: Array = np.divide(gram, outer, out=np.full_like(gram, np.nan), where=outer > 0)
    return cosines
