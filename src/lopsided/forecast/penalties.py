r"""What scale costs: the norms of channels (a group lasso) or the trace norm, and where each of them is smooth.

Features come so scaled that every channel costs 1. Besides value, proximal map and dual norm, a penalty knows the
*smooth part* around a point: the channels that are on, or the matrices of the same rank. On it Newton's method works;
``frame`` gives coordinates in which its directions are a choice of entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from lopsided.solver.arrays import Array

#: Singular values below this share of the largest are rounding.
RANK_TOLERANCE = 1e-11


class SmoothPart(Protocol):
    """The penalty around one point, where it is smooth."""

    @property
    def slope(self) -> Array:
        """The penalty's gradient."""

    def frame(self) -> tuple[Array | None, Array | None]:
        """Orthogonal matrices of classes (K, K) and channels (d, d) that turn to the coordinates; None: no turn."""

    def free(self) -> Array:
        """(K, d) which coordinates may move."""

    def add_curvature(self, matrix: Array, factor: float) -> None:
        """Add the penalty's second derivative in these coordinates, times a factor, to (K, d, K, d)."""

    def project(self, direction: Array) -> Array:
        """The part of a direction along the smooth part."""

    def curvature(self, direction: Array) -> Array:
        """The penalty's second derivative along a direction."""

    def retract(self, moved: Array) -> Array:
        """The point of the smooth part (or of a smaller one) near a moved one."""


class Penalty(Protocol):
    """A norm of (K, d) matrices."""

    @property
    def name(self) -> str:
        """What it stands for: ``"channels"`` or ``"mixing"``."""

    def value(self, xp: Any, weights: Array) -> float:
        """The norm."""

    def shrink(self, xp: Any, weights: Array, amount: float) -> Array:
        """The proximal map."""

    def sizes(self, xp: Any, weights: Array) -> Array:
        """Norms of channels, or singular values: what the penalty sums."""

    def dual(self, xp: Any, slopes: Array) -> float:
        """The dual norm."""

    def smooth_part(self, xp: Any, weights: Array) -> SmoothPart:
        """The smooth part around a point."""


class ChannelNorms:
    """Σ_j ‖V_:j‖: scale sits in channels, and each channel is paid for."""

    name = "channels"

    def sizes(self, xp: Any, weights: Array) -> Array:
        """Norms of the channels."""
        return xp.sqrt(xp.sum(weights * weights, axis=0))

    def value(self, xp: Any, weights: Array) -> float:
        """The sum of the channels' norms."""
        return float(xp.sum(self.sizes(xp, weights)))

    def dual(self, xp: Any, slopes: Array) -> float:
        """The largest norm of a channel's slopes."""
        return float(xp.max(self.sizes(xp, slopes)))

    def shrink(self, xp: Any, weights: Array, amount: float) -> Array:
        """Every channel shorter by ``amount``, or off."""
        sizes = self.sizes(xp, weights)
        return weights * (xp.maximum(sizes - amount, 0.0) / xp.where(sizes > 0, sizes, 1.0))

    def smooth_part(self, xp: Any, weights: Array) -> ChannelsOn:
        """The channels that are on."""
        return ChannelsOn(xp, weights, self.sizes(xp, weights))


class ChannelsOn:
    """Matrices with the same channels on: V_:j ≠ 0 stays so, the others stay zero."""

    def __init__(self, xp: Any, weights: Array, sizes: Array) -> None:
        self.xp, self.weights, self.on = xp, weights, sizes > 0
        self.inverse = xp.where(self.on, 1.0 / xp.where(self.on, sizes, 1.0), 0.0)
        self.slope = weights * self.inverse

    def frame(self) -> tuple[None, None]:
        """No turn: entries are coordinates."""
        return None, None

    def free(self) -> Array:
        """All entries of channels that are on."""
        return (self.weights * 0 == 0) & self.on[None, :]

    def add_curvature(self, matrix: Array, factor: float) -> None:
        """Add (I − vvᵀ)/‖V_:j‖ of each channel, v its direction."""
        classes, channels = self.weights.shape
        every = self.xp.arange(channels)
        for k in range(classes):
            for other in range(classes):
                block = -self.slope[k, :] * self.slope[other, :] + float(k == other)
                matrix[k, every, other, every] += factor * block * self.inverse

    def project(self, direction: Array) -> Array:
        """Nothing for channels that are off."""
        return direction * self.on

    def curvature(self, direction: Array) -> Array:
        """What lies across each channel's direction, over its norm."""
        along = self.xp.sum(self.slope * direction, axis=0)
        return (direction - self.slope * along) * self.inverse

    def retract(self, moved: Array) -> Array:
        """A channel that turned against itself has crossed zero, and is off."""
        return moved * (self.xp.sum(moved * self.slope, axis=0) > 0)


class TraceNorm:
    """‖V‖_*: a linear map before the last normalisation mixes channels freely."""

    name = "mixing"

    def sizes(self, xp: Any, weights: Array) -> Array:
        """Singular values."""
        return xp.linalg.svdvals(weights)

    def value(self, xp: Any, weights: Array) -> float:
        """The sum of the singular values."""
        return float(xp.sum(self.sizes(xp, weights)))

    def dual(self, xp: Any, slopes: Array) -> float:
        """The largest singular value."""
        return float(xp.max(self.sizes(xp, slopes)))

    def shrink(self, xp: Any, weights: Array, amount: float) -> Array:
        """Every singular value smaller by ``amount``, or gone."""
        left, values, right = xp.linalg.svd(weights, full_matrices=False)
        rank = int(xp.sum(values > amount))
        return (left[:, :rank] * (values[:rank] - amount)) @ right[:rank, :]

    def smooth_part(self, xp: Any, weights: Array) -> SameRank:
        """The matrices of this rank."""
        left, values, right = xp.linalg.svd(weights, full_matrices=True)
        rank = int(xp.sum(values > RANK_TOLERANCE * xp.max(values)))
        return SameRank(xp, left, values[:rank], right)


@dataclass(frozen=True, eq=False)
class SameRank:
    """Matrices of one rank, around U diag(s) R: left (K, K), values (rank,), right (d, d)."""

    xp: Any
    left: Array
    values: Array
    right: Array

    @property
    def rank(self) -> int:
        """The rank."""
        return int(self.values.shape[0])

    @property
    def slope(self) -> Array:
        """The polar factor."""
        return self.left[:, : self.rank] @ self.right[: self.rank, :]

    def frame(self) -> tuple[Array, Array]:
        """The singular vectors."""
        return self.left, self.right.T

    def free(self) -> Array:
        """Entries in the first ``rank`` rows or columns."""
        xp, rank = self.xp, self.rank
        rows = xp.arange(self.left.shape[0]) < rank
        columns = xp.arange(self.right.shape[0]) < rank
        return rows[:, None] | columns[None, :]

    def add_curvature(self, matrix: Array, factor: float) -> None:
        """Add what turning the singular vectors costs."""
        xp, rank, values = self.xp, self.rank, self.values
        first, classes = xp.arange(rank), xp.arange(rank, self.left.shape[0])
        channels = xp.arange(rank, self.right.shape[0])
        pair = factor / (values[:, None] + values[None, :])
        i, j = first[:, None], first[None, :]
        matrix[i, j, i, j] += pair
        matrix[i, j, j, i] -= pair
        matrix[i, channels[None, :], i, channels[None, :]] += (factor / values)[:, None]
        matrix[classes[:, None], j, classes[:, None], j] += (factor / values)[None, :]

    def project(self, direction: Array) -> Array:
        """Less what lies in both null spaces."""
        left, right = self.left[:, self.rank :], self.right[self.rank :, :]
        return direction - left @ (left.T @ direction @ right.T) @ right

    def curvature(self, direction: Array) -> Array:
        """The second derivative along a direction: four products."""
        rank, values = self.rank, self.values
        turned = self.left.T @ direction @ self.right.T
        core = turned[:rank, :rank]
        result = self.xp.zeros_like(turned)
        result[:rank, :rank] = (core - core.T) / (values[:, None] + values[None, :])
        result[:rank, rank:] = turned[:rank, rank:] / values[:, None]
        result[rank:, :rank] = turned[rank:, :rank] / values[None, :]
        return self.left @ result @ self.right

    def retract(self, moved: Array) -> Array:
        """The nearest matrix of at most this rank."""
        left, values, right = self.xp.linalg.svd(moved, full_matrices=False)
        return (left[:, : self.rank] * values[: self.rank]) @ right[: self.rank, :]
