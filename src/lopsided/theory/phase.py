"""Phase diagrams of two clusters: which classes merge, over any two of decay, sizes and numbers of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise

from lopsided.core.arguments import ArgumentError
from lopsided.core.losses import CrossEntropy, Loss, stated_settings
from lopsided.core.problem import Problem
from lopsided.theory.boundaries import BOUNDARIES, Regime, regimes_of, two_cluster_boundaries
from lopsided.theory.phase_axes import Axis, checked_fixed, grid, quantities

Array = NDArray[np.float64]

#: Points of a diagram computed at a time: enough to be fast, few enough to report progress.
_CHUNK = 20_000
#: Pieces into which an axis is cut to look for crossings, at least and at most, and points that this may take.
_PIECES, _SAMPLES = (60, 400), 12_000
#: Lines across the diagram on which crossings are sought at a time.
_LINES = 30
#: What the boundaries depend on.
_SIZES = ("m_a", "n_a", "m_b", "n_b")


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """Regimes of two clusters over one or two axes.

    Attributes
    ----------
    x, y : Axis
        The axes; ``y`` is None for a section, whose arrays have one row.
    fixed : dict
        The quantities that are no axis, by name.
    lambda_b, bias, logit_adjustment
        What else the problems share.
    regimes : (Y, X) array of int
        Members of :class:`Regime`; row i belongs to ``y.values[i]``.
    ranks : (Y, X) array of int
        Rank of the mean logits.
    """

    x: Axis
    y: Axis | None
    fixed: dict[str, float]
    lambda_b: float
    bias: bool
    logit_adjustment: float
    regimes: NDArray[np.int64]
    ranks: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.regimes.shape
        return rows, columns

    def quantities(self, x: ArrayLike, y: ArrayLike | None = None) -> dict[str, Array]:
        """The six quantities ``m_a``, ``n_a``, ``m_b``, ``n_b``, ``ratio``, ``lambda_z`` at points of the plane.

        Neither counts nor numbers of classes are rounded: the formulas know no whole numbers.
        """
        return quantities(self.x, self.y, self.fixed, x, y)

    def log_excess(self, x: ArrayLike, y: ArrayLike | None = None) -> Array:
        """(4, *S) the log of λ_z over each of ``BOUNDARIES``: zero on it, positive beyond, NaN where there is none.

        ``x`` and ``y`` are coordinates of points of the plane, broadcast to a shape S.
        """
        at = self.quantities(x, y)
        found = two_cluster_boundaries(
            *(at[name] for name in _SIZES),
            lambda_b=self.lambda_b,
            bias=self.bias,
            logit_adjustment=self.logit_adjustment,
        )
        result: Array = np.log(at["lambda_z"]) - np.log([getattr(found, name) for name in BOUNDARIES])
        return result

    def problem(self, row: int, column: int) -> Problem:
        """The problem at a point of the grid, classes of A first; its counts must be whole, which a ratio may break."""
        at = self._at(row, column)
        counts = np.repeat([float(at["n_a"]), float(at["n_b"])], [int(at["m_a"]), int(at["m_b"])])
        loss = CrossEntropy(logit_adjustment=self.logit_adjustment)
        return Problem(counts, float(at["lambda_z"]), lambda_b=self.lambda_b, bias=self.bias, loss=loss)

    def merged(self, row: int, column: int) -> list[list[int]]:
        """The classes that coincide at a point of the grid, as in ``Geometry.merged``; those of A come first."""
        at = self._at(row, column)
        groups = np.split(np.arange(int(at["m_a"] + at["m_b"])), [int(at["m_a"])])
        regime = self.regimes[row, column]
        if regime == Regime.ALL_MERGED:
            return [np.concatenate(groups).tolist()]
        if regime == Regime.BOTH_MERGED:
            return [group.tolist() for group in groups if len(group) > 1]
        rare = groups[0] if at["n_a"] < at["n_b"] else groups[1]
        return [rare.tolist()] if regime != Regime.ALL_APART and len(rare) > 1 else []

    def _at(self, row: int, column: int) -> dict[str, Array]:
        return self.quantities(self.x.values[column], None if self.y is None else self.y.values[row])

    @cached_property
    def solved_for(self) -> str:
        """The axis along which :attr:`crossings` are: the one of λ_z if there is one, otherwise y, otherwise x."""
        if self.y is None or self.x.name == "lambda_z":
            return "x"
        return "y"

    @cached_property
    def crossings(self) -> dict[str, list[Array]]:
        """:meth:`crossings_at` every value of the other axis."""
        return self._all_crossings(None)

    def _all_crossings(self, progress: Callable[[int, int], None] | None) -> dict[str, list[Array]]:
        other = self.y if self.solved_for == "x" else self.x
        return self.crossings_at(np.zeros(1) if other is None else other.values, progress)

    def crossings_at(
        self, across: ArrayLike, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, list[Array]]:
        """Where each boundary is crossed along the axis :attr:`solved_for`, at (P,) values of the other one.

        Nothing is read off the grid: along λ_z a crossing is the boundary itself; otherwise it is a root, sought in
        each of some pieces of the axis (60 to 400) at whose ends the boundary lies on either side. Numbers of samples
        and of classes are real numbers here, so that a crossing may lie between two whole ones. By boundary, the result
        has one array for each of the P values, ascending; for a section P is one, and the value is not read.
        ``progress`` is called with values done and values in all, now and then.
        """
        places = np.atleast_1d(np.asarray(across, dtype=np.float64))
        found: dict[str, list[Array]] = {name: [] for name in BOUNDARIES}
        for start in range(0, len(places), _LINES):
            for name, values in self._crossings(places[start : start + _LINES]).items():
                found[name] += values
            if progress is not None:
                progress(min(start + _LINES, len(places)), len(places))
        return found

    def _crossings(self, across: Array) -> dict[str, list[Array]]:
        axis = self.x if self.solved_for == "x" else self.y
        assert axis is not None

        def excess(along: Array, index: NDArray[np.intp]) -> Array:
            """(4, …) log λ_z over each boundary, ``along`` the axis, at these values of the other one."""
            x, y = (along, across[index]) if self.solved_for == "x" else (across[index], along)
            return self.log_excess(x, None if self.y is None else y)

        everywhere = np.arange(len(across))
        found: dict[str, list[Array]] = {}
        if axis.name == "lambda_z":
            start, stop = axis.values[0], axis.values[-1]
            roots = start * np.exp(-excess(np.full(len(across), start), everywhere))
            for name, row in zip(BOUNDARIES, roots, strict=True):
                found[name] = [row[[k]][(row[[k]] >= start) & (row[[k]] <= stop)] for k in everywhere]
            return found
        places = axis.between(int(np.clip(_SAMPLES // len(across), *_PIECES)))
        values = excess(np.repeat(places, len(across)), np.tile(everywhere, len(places)))
        values = values.reshape(len(BOUNDARIES), len(places), len(across))
        below, above = values[:, :-1], values[:, 1:]
        order, piece, index = np.nonzero(((below < 0) != (above < 0)) & ~np.isnan(below + above))

        def own_excess(along: Array, index: NDArray[np.intp], order: NDArray[np.intp]) -> Array:
            own: Array = excess(along, index)[order, np.arange(len(order))]
            return own

        roots = elementwise.find_root(own_excess, (places[piece], places[piece + 1]), args=(index, order)).x
        for number, name in enumerate(BOUNDARIES):
            found[name] = [np.sort(roots[(order == number) & (index == k)]) for k in everywhere]
        return found

    def to_dict(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """Plain values for JSON.

        ``merged`` has ``""``, ``"A"``, ``"B"``, ``"AB"`` (all) or ``"A,B"`` (each cluster's own) for each point: whose
        classes coincide. ``progress`` is that of :meth:`crossings_at`.
        """
        crossings = self._all_crossings(progress)
        axes = {"x": self.x.to_dict(), "y": None if self.y is None else self.y.to_dict()}
        return {
            **axes,
            "fixed": self.fixed,
            "lambda_b": self.lambda_b if self.bias else None,
            "logit_adjustment": self.logit_adjustment,
            "legend": {regime.name.lower(): regime.meaning for regime in Regime},
            "regimes": [[Regime(value).name.lower() for value in row] for row in self.regimes.tolist()],
            "ranks": self.ranks.tolist(),
            "merged": self._merged_names().tolist(),
            "boundaries": {
                "along": self.solved_for,
                **{name: [values.tolist() for values in found] for name, found in crossings.items()},
            },
        }

    def _merged_names(self) -> NDArray[np.str_]:
        """(Y, X) whose classes coincide; a cluster of a single class is not named, unless everything has merged."""
        at = grid(self.x, self.y, self.fixed)
        first, second = np.where(at["m_a"] > 1, "A", ""), np.where(at["m_b"] > 1, "B", "")
        both = np.where((first == "") | (second == ""), np.char.add(first, second), "A,B")
        rare = np.where(at["n_a"] < at["n_b"], first, second)
        kinds = [self.regimes == kind for kind in (Regime.ALL_APART, Regime.ALL_MERGED, Regime.BOTH_MERGED)]
        return np.select(kinds, ["", "AB", both], rare)


def phase_diagram(
    x: Axis,
    y: Axis | None = None,
    *,
    lambda_z: float | None = None,
    m_a: float | None = None,
    n_a: float | None = None,
    m_b: float | None = None,
    n_b: float | None = None,
    ratio: float | None = None,
    lambda_b: float = 0.0,
    bias: bool = True,
    loss: Loss | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PhaseDiagram:
    r"""Which classes of two clusters merge, over any one or two of decay, sizes and numbers of classes.

    There are m_A classes of n_A samples and m_B of n_B. Nothing is solved: the regime of a point follows from the
    boundaries of :func:`two_cluster_boundaries`, which are exact. Figures 5 to 8 of Hong & Ling (JMLR 2024) are
    sections.

    Parameters
    ----------
    x, y : Axis
        What varies; without ``y`` the diagram is a section.
    lambda_z, m_a, n_a, m_b, n_b, ratio
        What is fixed: each quantity that is no axis, where of ``n_a``, ``n_b`` and ``ratio`` = n_a / n_b two make the
        third.
    lambda_b, bias
        As in :class:`lopsided.UFM`.
    loss : CrossEntropy, optional
        With no setting but ``logit_adjustment``.
    progress : callable, optional
        Called with points done and points in all, now and then.

    Returns
    -------
    PhaseDiagram

    Raises
    ------
    ValueError
        If a quantity is missing, stated twice or breaks its rule; the message begins with its name.

    Notes
    -----
    Counts made of a ratio need not be whole. That is no approximation: multiplying all counts by c and λ_z by
    :math:`1/\sqrt c` changes nothing, so a fractional count stands for whole ones at another decay.

    Examples
    --------
    >>> section = phase_diagram(Axis("n_a", 100, 1400), lambda_z=0.005, m_a=5, m_b=5, n_b=100, lambda_b=0.02)
    >>> {name: values[0].round(2).tolist() for name, values in section.crossings.items()}     # the paper's Figure 7
    {'minority': [300.0], 'majority': [], 'between': [369.77], 'complete': [1392.82]}
    >>> Regime(section.regimes[0, -1]).name, int(section.ranks[0, -1])
    ('ALL_MERGED', 0)
    """
    given = {"lambda_z": lambda_z, "m_a": m_a, "n_a": n_a, "m_b": m_b, "n_b": n_b, "ratio": ratio}
    fixed = checked_fixed(x, y, given)
    Problem("1x2", 1.0, lambda_b=lambda_b, bias=bias)  # refuses a wrong bias in the words used everywhere
    adjustment = _adjustment(loss)
    at = grid(x, y, fixed)
    shape = at["lambda_z"].shape
    flat = {name: values.ravel() for name, values in at.items()}
    # decays share their thresholds: one computation for each set of sizes
    sizes = np.stack([flat[name] for name in _SIZES], axis=1)
    if "lambda_z" in (x.name, y.name if y else ""):
        sizes, position = np.unique(sizes, axis=0, return_inverse=True)
    else:
        position = np.arange(len(sizes))
    found = np.empty((len(BOUNDARIES), len(sizes)))
    for start in range(0, len(sizes), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        part = two_cluster_boundaries(*sizes[chunk].T, lambda_b=lambda_b, bias=bias, logit_adjustment=adjustment)
        found[:, chunk] = [getattr(part, name) for name in BOUNDARIES]
        if progress is not None:
            progress(min(start + _CHUNK, len(sizes)), len(sizes))
    regimes = regimes_of(np.log(flat["lambda_z"]) - np.log(found[:, position.ravel()]))
    common = np.where(flat["n_a"] >= flat["n_b"], flat["m_a"], flat["m_b"])
    everything = flat["m_a"] + flat["m_b"] - 1
    ranks = np.select(
        [regimes == kind for kind in Regime], [everything, common, common - 1, 0 * common, 0 * common + 1]
    )
    return PhaseDiagram(
        x, y, fixed, float(lambda_b), bool(bias), adjustment, regimes.reshape(shape), ranks.astype(int).reshape(shape)
    )


def _adjustment(loss: Loss | None) -> float:
    """τ of a loss that a phase diagram admits."""
    if loss is None:
        return 0.0
    if not isinstance(loss, CrossEntropy):
        raise ArgumentError(
            "loss", "must be cross-entropy in a phase diagram", got=loss.name, remedy="use thresholds or path"
        )
    for name, value in stated_settings(loss).items():
        if name != "logit_adjustment":
            raise ArgumentError(
                name,
                "must be left out of a phase diagram, whose boundaries are known without",
                value,
                remedy="state one problem, and ask for its critical path",
            )
    return float(loss.logit_adjustment)
