"""What the solver returns: one frozen value with its certificate and, when something is wrong, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert

from lopsided.geometry import Geometry
from lopsided.losses import SquaredError
from lopsided.problem import UFM
from lopsided.solver.certificate import Certificate
from lopsided.solver.newton import Spectrum
from lopsided.solver.reduction import Point, ReducedProblem

Array = NDArray[np.float64]

#: A row of A this much shorter than the longest is zero up to rounding.
ORIGIN = 64 * float(np.finfo(float).eps)


@dataclass(frozen=True)
class ClusterSummary:
    """What the optimum does to the classes of one count.

    Attributes
    ----------
    count : int
        Samples in each class.
    classes : list of int
        The classes.
    own_logit : float
        Mean logit of each class for itself, bias left out, in nats.
    bias : float
        Bias of each class, in nats.
    collapsed : bool
        Whether their means coincide with each other's or with another cluster's, so that the network cannot tell these
        classes apart.
    """

    count: int
    classes: list[int]
    own_logit: float
    bias: float
    collapsed: bool


@dataclass(frozen=True, eq=False)
class Solution:
    """A certified optimum.

    Attributes
    ----------
    objective : float
        Value of the regularised loss, in nats.
    gap : float
        Upper bound on how far ``objective`` lies above the optimum: a duality gap, valid whatever the solver did.
    status : str
        ``"optimal"`` if gap ≤ tol · max(1, |objective|), else ``"not_certified"``.
    message : str
        One sentence for a person: what was certified, or the likely causes and what to do.
    iterations : int
        Points certified on the full problem; between two of them lies a Newton step.
    problem : UFM
        What was solved.
    geometry : Geometry
        The last layer at the optimum.
    clusters : list of ClusterSummary
        The same by cluster, in the order of ``problem.clusters``.
    singular_values : (rank,) array
        The positive singular values of :math:`D^{1/2}Z`, the largest first.
    """

    objective: float
    gap: float
    status: str
    message: str
    iterations: int
    problem: UFM
    geometry: Geometry = field(repr=False)
    clusters: list[ClusterSummary] = field(repr=False)
    singular_values: Array = field(repr=False)

    def probabilities(self, classes: Sequence[int] | None = None) -> Array:
        """Softmax inside the loss, with its scales, offsets and margins, of the mean logits of some classes.

        Returns
        -------
        (len(classes), K) array
            Row ``i`` is the prediction p for samples of ``classes[i]``.

        Raises
        ------
        ValueError
            If the loss is squared error.
        """
        if isinstance(self.problem.loss, SquaredError):
            raise ValueError("loss must have probabilities; got SquaredError(), whose predictions are scores")
        chosen = np.arange(self.problem.num_classes) if classes is None else np.asarray(classes)
        terms = self.problem.loss.terms(self.problem.counts)
        geometry = self.geometry
        logits = geometry.class_means[chosen] @ geometry.classifier.T + geometry.bias
        inside = terms.row_scales[chosen, None] * terms.column_scales * logits + terms.offsets
        inside[np.arange(len(chosen)), chosen] -= terms.margins[chosen]
        weights = np.exp(inside - inside.max(axis=1, keepdims=True))
        result: Array = weights / weights.sum(axis=1, keepdims=True)
        return result

    @classmethod
    def of(
        cls,
        problem: UFM,
        reduced: ReducedProblem,
        point: Point,
        spectrum: Spectrum,
        certificate: Certificate,
        *,
        tol: float,
        iterations: int,
        exhausted: bool,
    ) -> Solution:
        """Expand a point of the reduced problem."""
        host, sizes = reduced.backend.host, problem.clusters.sizes
        own, within, biases = host(reduced.own_logits(point)), host(point.within), host(point.bias)
        left, values, right = host(spectrum.left[:, : spectrum.rank]), host(spectrum.values), host(spectrum.right)
        active = within > 0
        repeated = np.repeat(within[active], (sizes[active] - 1).astype(np.int64))
        rank = len(values) + len(repeated)
        classes = problem.clusters.classes
        # a class whose row of A is zero has its mean at the origin, and meets there all others of which that is true
        lengths = np.linalg.norm(left * values, axis=1)
        empty = ~active & (lengths <= ORIGIN * np.max(lengths, initial=0.0))
        groups = [group for group, lost in zip(classes, (sizes > 1) & ~active & ~empty, strict=True) if lost]
        at_origin = sorted(k for group, zero in zip(classes, empty, strict=True) if zero for k in group)
        merged = sorted(groups + [at_origin] * (len(at_origin) > 1))
        collapsed = ~active & ((sizes > 1) | (empty & (len(at_origin) > 1)))
        clusters = [
            ClusterSummary(int(count), group, float(logit), float(bias), bool(lost))
            for count, group, logit, bias, lost in zip(
                problem.clusters.counts, classes, own, biases, collapsed, strict=True
            )
        ]
        geometry = Geometry.from_factors(
            problem.counts,
            lambda: _factors(problem, within, left, values, right[:, : len(values)]),
            biases[problem.clusters.labels],
            rank=rank,
            merged=merged,
        )
        status, message = verdict(certificate, tol, exhausted, iterations)
        return cls(
            objective=certificate.objective,
            gap=certificate.gap,
            status=status,
            message=message,
            iterations=iterations,
            problem=problem,
            geometry=geometry,
            clusters=clusters,
            singular_values=np.sort(np.concatenate([values, repeated]))[::-1],
        )


def verdict(certificate: Certificate, tol: float, exhausted: bool, iterations: int) -> tuple[str, str]:
    """Status and message of a point with this certificate, where a gap of tol · max(1, |objective|) was asked for."""
    allowed = tol * max(1.0, abs(certificate.objective))
    if certificate.gap <= allowed:
        return "optimal", f"Certified: at most {certificate.gap:.1e} above the optimum, after {iterations} iterations."
    cause = (
        f"the {iterations} iterations allowed did not suffice: raise max_iterations"
        if exhausted
        else "float64 gives no more on counts or decays this far apart: raise tol, or bring them closer together"
    )
    return "not_certified", f"Not certified: the gap {certificate.gap:.1e} exceeds {allowed:.1e}; {cause}."


def _factors(
    problem: UFM, within: Array, left_vectors: Array, values: Array, right_vectors: Array
) -> tuple[Array, Array]:
    """Class means and classifier, (K, max(rank, 1)) each, from A = L S Rᵀ of the whole matrix (theory §2)."""
    clusters = problem.clusters
    rank = len(values)
    active = np.flatnonzero(within > 0)
    width = rank + int(np.sum(clusters.sizes[active] - 1))
    left = np.zeros((problem.num_classes, max(width, 1)))
    right = np.zeros_like(left)
    lift = (1 / np.sqrt(clusters.sizes))[clusters.labels][:, None]
    root = np.sqrt(values)
    left[:, :rank] = lift * (left_vectors * root)[clusters.labels]
    right[:, :rank] = lift * (right_vectors * root)[clusters.labels]
    column = rank
    for cluster in active:
        members = clusters.classes[cluster]
        basis = helmert(len(members)).T * np.sqrt(within[cluster])
        left[members, column : column + len(members) - 1] = basis
        right[members, column : column + len(members) - 1] = basis
        column += len(members) - 1
    share = (problem.lambda_w / problem.lambda_h) ** 0.25
    return left * (share / np.sqrt(problem.counts))[:, None], right / share
