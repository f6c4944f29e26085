r"""Classes of nearly equal counts: how close their means come, without ever coinciding.

Exact coincidence needs equal counts. For two clusters of counts :math:`n_k\approx n_l` compare with the *tied* problem,
in which both have their mean count :math:`\bar n` (so that N stays), and let :math:`\delta=\log(n_k/n_l)`. The optimum
depends smoothly on δ wherever the tied one is regular, and where the two clusters are equally many classes, swapping
them turns δ into −δ. (Where they are not, read :math:`O(\delta)` for what is called :math:`O(\delta^2)` here.)

**Below** :math:`N\lambda=\sqrt{\bar n}` **the tied classes are apart**, at the distance

.. math:: \|\bar h_k-\bar h_l\|^2=2\sqrt{\lambda_w/\lambda_h}\;\frac x{\sqrt{\bar n}},\qquad
          x=\log\frac{p_\text{own}}{p_\text{same}},\quad p_\text{own}-p_\text{same}=1-\frac{N\lambda}{\sqrt{\bar n}},

which vanishes like the square root of :math:`1-N\lambda/\sqrt{\bar n}`; as it is the same for δ and −δ, unequal counts
change it by :math:`O(\delta^2)` only.

**Above it the tied classes coincide**, in a mean h with a classifier row w, and the distance is proportional to δ.
Write p for their common prediction, :math:`p_j` for the probability that a sample of class j gives to either,
:math:`J=\operatorname{diag}(p)-pp^\top`. What is symmetric in the two classes changes by :math:`O(\delta^2)`, so that
the stationarity of W, H and b, less the same with the classes swapped, is to first order

.. math:: \Bigl(N\lambda_w+\sum_jn_jp_j\,h_jh_j^\top\Bigr)\Delta w+\Bigl(\sum_jn_jp_jh_j\Bigr)\Delta b&=
          \bar n\,\Delta h+\delta\,\bar n\,h,\\
          \bigl(N\lambda_h+W^\top JW\bigr)\Delta h&=\Delta w,\\
          \Bigl(N\lambda_b+\sum_jn_jp_j\Bigr)\Delta b+\Bigl(\sum_jn_jp_jh_j\Bigr)^{\!\top}\Delta w&=\delta\,\bar n,

one linear system of the size of the rank (without the last line and Δb where there is no bias). Both matrices on the
left exceed :math:`N\lambda_w` and :math:`N\lambda_h`, whose product is at least :math:`\bar n` here, by something
positive on the features' span: the slope stays finite down to the threshold. (A free bias takes one direction off the
first of them, in general not all of what is positive there.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.core.plain_values import plain
from lopsided.core.problem import Problem
from lopsided.solver import solve, solve_path
from lopsided.theory.assembly import require_cross_entropy
from lopsided.theory.thresholds import thresholds

Array = NDArray[np.float64]

#: Distances of nearly equal classes are differences: their optima are certified further than usual.
_TOLERANCE = 1e-11


@dataclass(frozen=True, eq=False)
class NearCollapse:
    r"""How close pairs of classes come at some decays.

    Attributes
    ----------
    problem : Problem
        Whose ``lambda_z`` plays no part.
    pairs : (P, 2) array of int
        The classes compared.
    decays : (L,) array
        Values of λ_z, ascending.
    cosine_means, cosine_classifier : (L, P) array
        Cosine between the two class means, and between the two rows of the classifier. NaN where one of them is zero,
        since a zero vector has no direction.
    distance_means, distance_classifier : (L, P) array
        Distance of the two over the root mean square of their norms: 0 where they coincide, √2 for orthogonal vectors
        of one norm, 2 for opposite ones. NaN where both are zero: the class means coincide, but there is no scale.
    thresholds : (P,) array
        :math:`\sqrt{\bar n}/N`, the decay at which the classes of a pair would merge had they their mean count each.
    """

    problem: Problem
    pairs: NDArray[np.int64]
    decays: Array
    cosine_means: Array
    distance_means: Array
    cosine_classifier: Array
    distance_classifier: Array
    thresholds: Array

    def merged_from(self, tolerance: float) -> Array:
        """The decay from which on the classes of each pair are merged to within a tolerance.

        Two classes are *merged to within τ* at a decay where the relative distance of their means is at most τ, or both
        means are zero. That can be lost again as the decay grows, so what is given is the smallest decay from which on
        it holds for all larger ones looked at.

        Parameters
        ----------
        tolerance : float
            τ, above 0 and below 2.

        Returns
        -------
        (P,) array
            Found by root-finding between two of ``decays``. The decay of complete collapse where the means do not come
            that close before it; the first of ``decays``, where they are that close from the start.
        """
        if not 0 < tolerance < 2:
            raise ArgumentError("tolerance", "must lie above 0 and below 2, the largest distance", tolerance)
        complete = thresholds(self.problem).complete
        return np.array([self._merged_from(index, tolerance, complete) for index in range(len(self.pairs))])

    def _merged_from(self, index: int, tolerance: float, complete: float) -> float:
        apart = np.flatnonzero(self.distance_means[:, index] > tolerance)  # not a number is not apart
        if len(apart) == 0:
            return float(self.decays[0])
        last = int(apart[-1])
        if last + 1 == len(self.decays) or np.isnan(self.distance_means[last + 1, index]):
            if last + 1 < len(self.decays):
                return complete
            if self.decays[-1] < complete:
                first, second = self.pairs[index]
                raise ArgumentError(
                    "tolerance",
                    "must be reached within the decays",
                    got=(
                        f"{tolerance!r}, and classes {first} and {second} are still further apart at"
                        f" {self.decays[-1]:g}"
                    ),
                    remedy=f"add decays up to {complete:g}",
                )
            return complete

        def excess(decay: float) -> float:
            return float(_compare(self.problem, [decay], self.pairs[[index]])["distance_means"][0, 0]) - tolerance

        root: float = brentq(excess, self.decays[last], self.decays[last + 1], rtol=1e-10)
        return root

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; what is undefined is ``None``."""
        value: dict[str, Any] = plain({name: found for name, found in vars(self).items() if name != "problem"})
        return value


@dataclass(frozen=True)
class NearCollapseRate:
    """How the distance of two classes vanishes with their log count ratio, where classes of equal counts coincide.

    Attributes
    ----------
    means, classifier : float
        The relative distance over ``|log(n_k / n_l)|``, in the limit of equal counts. NaN where all class means, or
        those of the pair, are zero.
    threshold : float
        The decay above which this holds.
    """

    means: float
    classifier: float
    threshold: float


def near_collapse(
    problem: Problem, decays: Iterable[float], pairs: Sequence[Sequence[int]] | None = None
) -> NearCollapse:
    """How close classes of nearly equal counts come, as functions of the decay.

    Parameters
    ----------
    problem : Problem
        Any counts and bias mode; its ``lambda_z`` plays no part.
    decays : iterable of float
        Values of λ_z.
    pairs : sequence of pairs of int, optional
        Classes to compare; by default, for each two neighbouring counts, the first class of each, from the commonest
        to the rarest.

    Returns
    -------
    NearCollapse

    Raises
    ------
    ArithmeticError
        If an optimum could not be certified.

    Examples
    --------
    >>> import lopsided as lp
    >>> near = near_collapse(lp.UFM("500,210,200", 1.0), [0.005, 0.01, 0.02, 0.05])
    >>> near.pairs.tolist(), near.thresholds.round(5)
    ([[0, 1], [1, 2]], array([0.0207 , 0.01573]))
    >>> near.cosine_means[:, 1].round(3)          # apart, then alike, then nothing is left
    array([-0.14 , -0.057,  1.   ,    nan])
    """
    values = np.unique(np.asarray(list(decays), dtype=np.float64))
    if len(values) == 0:
        raise ArgumentError("decays", "must hold at least one value of `lambda_z`", got="none")
    chosen = _neighbours(problem) if pairs is None else _checked_pairs(problem, pairs)
    counts = problem.counts.astype(np.float64)
    middle = np.array([_tie(problem, first, second)[0] for first, second in chosen])
    return NearCollapse(
        problem=problem,
        pairs=chosen,
        decays=values,
        **_compare(problem, values.tolist(), chosen),
        thresholds=np.sqrt(middle) / counts.sum(),
    )


def near_collapse_rate(problem: Problem, pair: Sequence[int]) -> NearCollapseRate:
    r"""How fast two classes approach each other as their counts do, above the decay at which equal ones coincide.

    Parameters
    ----------
    problem : Problem
        At its ``lambda_z``; with plain cross-entropy.
    pair : pair of int
        Two classes. They and all classes of their counts are tied at the mean count.

    Returns
    -------
    NearCollapseRate
        The relative distance is ``rate * |log(n_k / n_l)|``, up to a share of the order of that logarithm's square (of
        the logarithm itself, where the two counts have different numbers of classes).

    Raises
    ------
    ValueError
        If the pair breaks its rule, the loss is not plain cross-entropy, or ``lambda_z`` is below the threshold, where
        classes stay apart however equal their counts.

    Notes
    -----
    The linear system of this module, solved at the certified optimum of the tied problem.

    Examples
    --------
    >>> import lopsided as lp
    >>> model = lp.UFM("600,500,202,198,90", lambda_z=0.0125, lambda_b=0.02)
    >>> near = near_collapse(model, [0.0125], [(2, 3)])
    >>> bool(near.thresholds[0] < 0.0125)                   # equal counts would coincide
    True
    >>> round(float(near.distance_means[0, 0] / np.log(202 / 198)), 3)
    0.606
    >>> round(near_collapse_rate(model, (2, 3)).means, 3)   # the limit of that for equal counts
    0.606
    """
    require_cross_entropy(problem)
    ((first, second),) = _checked_pairs(problem, [pair])
    middle, factor, counts = _tie(problem, int(first), int(second))
    threshold = float(np.sqrt(middle) / problem.num_samples)
    if problem.lambda_z < threshold:
        raise ArgumentError(
            "lambda_z",
            f"must be at least {threshold:.10g}, above which classes {first} and {second} approach each other",
            got=f"{problem.lambda_z:g}",
        )
    # a fractional mean count is whole after scaling counts by c and the decay by 1/√c, which changes nothing
    tied = Problem(counts, problem.lambda_z / np.sqrt(factor), lambda_b=problem.lambda_b, bias=problem.bias)
    solution = solve(tied, tol=_TOLERANCE)
    geometry = solution.geometry
    own_mean, own_row = geometry.class_means[first], geometry.classifier[first]
    if geometry.rank == 0 or not own_mean.any():
        return NearCollapseRate(float("nan"), float("nan"), threshold)
    step_mean, step_row = _first_order(tied, geometry, solution.probabilities(), int(first))
    return NearCollapseRate(
        means=float(np.linalg.norm(step_mean) / np.linalg.norm(own_mean)),
        classifier=float(np.linalg.norm(step_row) / np.linalg.norm(own_row)),
        threshold=threshold,
    )


def _first_order(tied: Problem, geometry: Geometry, probabilities: Array, index: int) -> tuple[Array, Array]:
    """Δh and Δw over δ: the linear system in the docstring of this module."""
    means, classifier = geometry.class_means, geometry.classifier
    samples, identity = float(tied.num_samples), np.eye(means.shape[1])
    mass = tied.counts * probabilities[:, index]
    softmax = np.diag(probabilities[index]) - np.outer(probabilities[index], probabilities[index])
    for_rows = samples * tied.lambda_w * identity + means.T @ (mass[:, None] * means)
    for_means = samples * tied.lambda_h * identity + classifier.T @ softmax @ classifier
    count, leaning = float(tied.counts[index]), means.T @ mass
    system = for_rows @ for_means - count * identity
    forcing = count * means[index]
    if tied.bias:
        last = samples * tied.lambda_b + mass.sum()
        system = np.block([[system, leaning[:, None]], [(leaning @ for_means)[None, :], np.array([[last]])]])
        forcing = np.append(forcing, count)
    step_mean = np.linalg.solve(system, forcing)[: means.shape[1]]
    return step_mean, for_means @ step_mean


def _tie(problem: Problem, first: int, second: int) -> tuple[float, int, NDArray[np.int64]]:
    """The mean count of two clusters, by how much to scale counts to make it whole, and all counts so tied."""
    clusters = problem.clusters
    one, other = int(clusters.labels[first]), int(clusters.labels[second])
    tied = [one] if one == other else [one, other]
    factor = int(clusters.sizes[tied].sum())
    total = int(clusters.sizes[tied] @ clusters.counts[tied])
    counts = problem.counts * factor
    counts[np.isin(clusters.labels, tied)] = total
    return total / factor, factor, counts


def _neighbours(problem: Problem) -> NDArray[np.int64]:
    clusters = problem.clusters
    if clusters.num_clusters < 2:
        raise ArgumentError("pairs", "must be given where all classes are alike: no neighbouring counts", got="none")
    order = np.argsort(-clusters.counts, kind="stable")
    first = np.array([clusters.classes[cluster][0] for cluster in order])
    return np.stack([first[:-1], first[1:]], axis=1)


def _checked_pairs(problem: Problem, pairs: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    values = np.asarray(pairs)
    if values.ndim != 2 or values.shape[1] != 2 or len(values) == 0 or values.dtype.kind not in "iu":
        raise ArgumentError("pairs", "must be one or more pairs of class numbers", pairs)
    for first, second in values.tolist():
        if not (0 <= first < problem.num_classes and 0 <= second < problem.num_classes and first != second):
            raise ArgumentError(
                "pairs",
                f"must name two different classes from 0 to {problem.num_classes - 1}",
                (first, second),
            )
    return values.astype(np.int64)


def _compare(problem: Problem, decays: Sequence[float], pairs: NDArray[np.int64]) -> dict[str, Array]:
    result = {
        name: np.full((len(decays), len(pairs)), np.nan)
        for name in ("cosine_means", "distance_means", "cosine_classifier", "distance_classifier")
    }
    for row, solution in enumerate(solve_path(problem, decays, tol=_TOLERANCE)):
        # the last digits that are asked for here are not always to be had
        if solution.gap > 1e-8 * max(1.0, solution.objective):
            raise ArithmeticError(f"the optimum at lambda_z = {decays[row]!r} could not be certified; leave it out")
        for name, vectors in (("means", solution.geometry.class_means), ("classifier", solution.geometry.classifier)):
            one, other = vectors[pairs[:, 0]], vectors[pairs[:, 1]]
            norms = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
            product, scale = norms[0] * norms[1], np.hypot(*norms) / np.sqrt(2)
            cosine, distance = result[f"cosine_{name}"][row], result[f"distance_{name}"][row]
            np.divide(np.sum(one * other, axis=1), product, out=cosine, where=product > 0)
            np.divide(np.linalg.norm(one - other, axis=1), scale, out=distance, where=scale > 0)
    return result
