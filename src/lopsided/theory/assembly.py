"""What closed forms share: what they ask of a problem, and the step from mean logits to a Geometry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lopsided.core.geometry import Geometry
from lopsided.core.problem import Problem

Array = NDArray[np.float64]


def require_cross_entropy(problem: Problem) -> None:
    """Refuse a problem whose loss is not plain cross-entropy, or whose features end in a ReLU."""
    problem.require_plain_loss()
    problem.require_convex("this closed form")


def geometry_of_logits(
    problem: Problem,
    mean_logits: Array,
    bias: Array | None,
    *,
    rank: int,
    merged: Sequence[Sequence[int]],
) -> Geometry:
    r"""The balanced factors of given mean logits (K, K): the (W, H) of least norm with these predictions.

    With :math:`D^{1/2}Z=USV^\top` (row k of Z is class k's mean prediction) these are :math:`\bar
    H=(\lambda_w/\lambda_h)^{1/4}D^{-1/2}US^{1/2}` and :math:`W=(\lambda_h/\lambda_w)^{1/4}VS^{1/2}`, which attain
    :math:`\frac{\lambda_w}2\|W\|^2+\frac{\lambda_h}2\|H\|^2=\lambda_z\|D^{1/2}Z\|_*`.

    Rank and merged classes are known from theory; smaller singular values are rounding and are dropped.
    """

    def factors() -> tuple[Array, Array]:
        root_counts = np.sqrt(problem.counts.astype(np.float64))[:, None]
        left, values, right = np.linalg.svd(root_counts * mean_logits)
        width = max(rank, 1)
        share = (problem.lambda_w / problem.lambda_h) ** 0.25
        root = np.sqrt(values[:width]) * (rank > 0)
        return left[:, :width] * root * share / root_counts, right[:width].T * root / share

    return Geometry.from_factors(problem.counts, factors, bias, rank=rank, merged=merged)


def merged_clusters(problem: Problem, collapsed: NDArray[np.bool_]) -> list[list[int]]:
    """The classes of the clusters that collapse, ordered by their first class."""
    groups = zip(problem.clusters.classes, collapsed, strict=True)
    return sorted(group for group, lost in groups if lost and len(group) > 1)
