"""From the optimum over clusters to a :class:`Solution` over classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert

from lopsided.core.geometry import Geometry
from lopsided.core.predictions import Predictions, predictions_of_clusters
from lopsided.core.problem import Problem
from lopsided.core.solution import ClusterSummary, Solution
from lopsided.solver.certificate import Certificate
from lopsided.solver.newton import Spectrum
from lopsided.solver.reduction import Evaluation

Array = NDArray[np.float64]

#: A row of A this much shorter than the longest is zero up to rounding.
ORIGIN = 64 * float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Iterate:
    """A point that a proximal step returned, with all that the next step needs."""

    evaluation: Evaluation
    spectrum: Spectrum
    nuclear_norm: float

    @property
    def objective(self) -> float:
        """The objective over λ."""
        return self.evaluation.loss + self.evaluation.bias_penalty + self.nuclear_norm


@dataclass(frozen=True, eq=False)
class Outcome:
    """The best iterate, its certificate and the number of iterations."""

    iterate: Iterate
    certificate: Certificate
    iterations: int


def solution_of(problem: Problem, outcome: Outcome, tol: float, max_iterations: int) -> Solution:
    """An outcome, expanded to the classes."""
    certificate, iterations, spectrum = outcome.certificate, outcome.iterations, outcome.iterate.spectrum
    reduced, point = outcome.iterate.evaluation.problem, outcome.iterate.evaluation.point
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
    status, message = verdict(certificate, tol, iterations >= max_iterations, iterations)
    return Solution(
        objective=certificate.objective,
        gap=certificate.gap,
        status=status,
        message=message,
        iterations=iterations,
        problem=problem,
        geometry=geometry,
        clusters=clusters,
        singular_values=np.sort(np.concatenate([values, repeated]))[::-1],
        predictions=_predictions(problem, host(point.between), within, biases),
        objectives=np.array([certificate.objective]),
    )


def _predictions(problem: Problem, between: Array, within: Array, bias: Array) -> Predictions:
    sizes, root = problem.clusters.sizes, np.sqrt(problem.clusters.counts)
    others = between / np.sqrt(np.outer(sizes, sizes)) / root[:, None] + bias
    shared = np.diagonal(others)
    own = shared + within * (1 - 1 / sizes) / root
    mate = np.where(sizes > 1, shared - within / sizes / root, -np.inf)
    return predictions_of_clusters(problem, own, mate, others)


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
    problem: Problem, within: Array, left_vectors: Array, values: Array, right_vectors: Array
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
