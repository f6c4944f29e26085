"""Naive twins of the measures: moments in two passes, definitions in loops, in NumPy float64.

Nothing here is fast, and nothing here imports what it is a reference for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class ClassMoments:
    """Two-pass class moments: means first, then deviations, with exactly rounded sums."""

    counts: list[int]
    means: list[Array | None]
    variances: list[float | None]
    within: Array
    global_mean: Array


def class_moments(features: Array, labels: NDArray[np.integer], num_classes: int) -> ClassMoments:
    features = np.asarray(features, dtype=np.float64)
    total, dim = features.shape
    counts, means, variances = [], [], []
    within = np.zeros((dim, dim))
    for k in range(num_classes):
        members = [features[i] for i in range(total) if labels[i] == k]
        counts.append(len(members))
        if not members:
            means.append(None)
            variances.append(None)
            continue
        mean = np.array([math.fsum(column) / len(members) for column in zip(*members, strict=True)])
        means.append(mean)
        for x in members:
            within += np.outer(x - mean, x - mean) / total
        squares = math.fsum(float((x[j] - mean[j]) ** 2) for x in members for j in range(dim))
        variances.append(squares / len(members) if len(members) > 1 else None)
    global_mean = np.array([math.fsum(column) / total for column in features.T])
    return ClassMoments(counts, means, variances, within, global_mean)


def between_class_scatter(moments: ClassMoments, *, weighted_centre: bool, weighted_scatter: bool) -> tuple[Array, int]:
    """Σ_B in one of its conventions, and the number of classes present."""
    present = [k for k, mean in enumerate(moments.means) if mean is not None]
    centre = moments.global_mean if weighted_centre else sum(moments.means[k] for k in present) / len(present)
    scatter = np.zeros((len(centre), len(centre)))
    for k in present:
        weight = moments.counts[k] / sum(moments.counts) if weighted_scatter else 1 / len(present)
        scatter += weight * np.outer(moments.means[k] - centre, moments.means[k] - centre)
    return scatter, len(present)


def nc1(moments: ClassMoments, *, weighted_centre: bool, weighted_scatter: bool) -> float:
    scatter, num_present = between_class_scatter(
        moments, weighted_centre=weighted_centre, weighted_scatter=weighted_scatter
    )
    return float(np.trace(moments.within @ np.linalg.pinv(scatter, hermitian=True))) / num_present


def nc1_of_rank(moments: ClassMoments, rank: int) -> float:
    """NC1 with the pseudo-inverse of Σ_B built from its ``rank`` leading eigenvectors."""
    scatter, num_present = between_class_scatter(moments, weighted_centre=True, weighted_scatter=False)
    values, vectors = np.linalg.eigh(scatter)
    inverse = np.zeros_like(scatter)
    for i in range(1, rank + 1):
        inverse += np.outer(vectors[:, -i], vectors[:, -i]) / values[-i]
    return float(np.trace(moments.within @ inverse)) / num_present


def nc1_trace_ratio(moments: ClassMoments) -> float:
    scatter, _ = between_class_scatter(moments, weighted_centre=True, weighted_scatter=False)
    return float(np.trace(moments.within) / np.trace(scatter))


def cdnv(moments: ClassMoments, groups: list[list[int]] | None = None) -> float:
    terms = []
    classes = [k for k, variance in enumerate(moments.variances) if variance is not None]
    for k in classes:
        for other in classes:
            if k == other or any(k in group and other in group for group in groups or []):
                continue
            gap = moments.means[k] - moments.means[other]
            terms.append((moments.variances[k] + moments.variances[other]) / (2 * float(gap @ gap)))
    return sum(terms) / len(terms)


def nc2_etf(vectors: Array, *, centred: bool) -> float:
    rows = [np.asarray(row, dtype=np.float64) for row in vectors]
    number = len(rows)
    if centred:
        middle = sum(rows) / number
        rows = [row - middle for row in rows]
    gram = np.array([[float(a @ b) for b in rows] for a in rows])
    target = np.array([[(i == j) - 1 / number for j in range(number)] for i in range(number)])
    gram = gram / math.sqrt(sum(entry**2 for entry in gram.ravel()))
    target = target / math.sqrt(sum(entry**2 for entry in target.ravel()))
    return math.sqrt(sum(entry**2 for entry in (gram - target).ravel()))


def nc3_etf(means: Array, weight: Array) -> float:
    middle = sum(means) / len(means)
    centred = np.array([mean - middle for mean in means])
    total = 0.0
    for a, b in zip(
        (weight / np.linalg.norm(weight)).ravel(), (centred / np.linalg.norm(centred)).ravel(), strict=True
    ):
        total += (a - b) ** 2
    return math.sqrt(total)


def nc4(means: Array, weight: Array, bias: Array, points: Array) -> float:
    """Share of ``points`` whose nearest mean and whose largest logit are of different classes."""
    disagreements = 0
    for x in points:
        nearest = min(range(len(means)), key=lambda k: float(np.sum((x - means[k]) ** 2)))
        chosen = max(range(len(weight)), key=lambda k: float(weight[k] @ x + bias[k]))
        disagreements += nearest != chosen
    return disagreements / len(points)


def minority_spread(means: Array, counts: list[int]) -> float:
    rare = [mean for mean, count in zip(means, counts, strict=True) if count == min(counts)]
    common = [mean for mean, count in zip(means, counts, strict=True) if count == max(counts)]
    rare_centre, centre = sum(rare) / len(rare), sum(means) / len(means)
    spread = sum(float(np.sum((mean - rare_centre) ** 2)) for mean in rare) / len(rare)
    scale = sum(float(np.sum((mean - centre) ** 2)) for mean in common) / len(common)
    return math.sqrt(spread / scale)


def nc2_predicted(vectors: Array, predicted: Array, *, centred: bool) -> float:
    grams = []
    for rows in (vectors, predicted):
        middle = sum(rows) / len(rows) if centred else 0 * rows[0]
        gram = [float((a - middle) @ (b - middle)) for a in rows for b in rows]
        size = math.sqrt(math.fsum(entry**2 for entry in gram))
        grams.append([entry / size for entry in gram])
    return math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(*grams, strict=True)))


def nc3_predicted(means: Array, weight: Array, predicted_means: Array, predicted_weight: Array) -> float:
    centred, target = (rows - sum(rows) / len(rows) for rows in (means, predicted_means))
    expected = predicted_weight @ np.linalg.pinv(target, rcond=1e-10) @ centred
    return float(np.linalg.norm(weight / np.linalg.norm(weight) - expected / np.linalg.norm(expected)))


def sample_variances(moments: ClassMoments) -> list[float]:
    """Unbiased variance of every class present; that of all classes together where there is one sample."""
    freedom = sum(count - 1 for count in moments.counts if count > 1)
    pooled = sum(c * v for c, v in zip(moments.counts, moments.variances, strict=True) if v is not None) / freedom
    return [
        pooled if variance is None else variance * count / (count - 1)
        for count, variance in zip(moments.counts, moments.variances, strict=True)
        if count > 0
    ]


def nc1_trace_ratio_corrected(moments: ClassMoments) -> float:
    """Traces of unbiased Σ_W and Σ_B: off Σ_B comes the variance of each mean's distance from the mean of all samples.

    That distance is ``(1 − p_k) h̄_k − Σ_{l≠k} p_l h̄_l``, a sum of independent means.
    """
    scatter, number = between_class_scatter(moments, weighted_centre=True, weighted_scatter=False)
    counts = [count for count in moments.counts if count > 0]
    variances, total = sample_variances(moments), sum(counts)
    between = float(np.trace(scatter))
    for k in range(number):
        for other in range(number):
            coefficient = (k == other) - counts[other] / total
            between -= coefficient**2 * variances[other] / counts[other] / number
    return sum(c / total * v for c, v in zip(counts, variances, strict=True)) / between


def cdnv_corrected(moments: ClassMoments) -> float:
    """Each 1/‖gap‖² over what noise in either mean does to it on average: half its Laplacian, along every direction."""
    terms = []
    classes = [k for k, variance in enumerate(moments.variances) if variance is not None]
    shape = moments.within / np.trace(moments.within)
    for k in classes:
        for other in classes:
            if k != other:
                gap = moments.means[k] - moments.means[other]
                squared = float(gap @ gap)
                unbiased = [moments.variances[j] * moments.counts[j] / (moments.counts[j] - 1) for j in (k, other)]
                size = sum(v / moments.counts[j] for v, j in zip(unbiased, (k, other), strict=True))
                hessian = 8 * np.outer(gap, gap) / squared**3 - 2 * np.eye(len(gap)) / squared**2
                change = float(np.trace(hessian @ shape)) * size / 2 * squared
                terms.append(sum(unbiased) / (2 * squared) * math.exp(-change))
    return sum(terms) / len(terms)


def second_order_bias(matrix: Array, rows: Array, covariance: Array, rank: int, step: float = 1e-4) -> float:
    """Second-order change of tr(Σ (MᵀM)⁺_rank) to expect, relative: second differences along every noise direction."""

    def value(perturbed: Array) -> float:
        eigenvalues, vectors = np.linalg.eigh(perturbed.T @ perturbed)
        return sum(float(vectors[:, -i] @ covariance @ vectors[:, -i]) / eigenvalues[-i] for i in range(1, rank + 1))

    def root(symmetric: Array) -> Array:
        eigenvalues, vectors = np.linalg.eigh(symmetric)
        return vectors * np.sqrt(np.clip(eigenvalues, 0, None))

    total, here = 0.0, value(matrix)
    for left in root(rows).T:
        for right in root(covariance).T:
            direction = np.outer(left, right)
            size = np.linalg.norm(direction)
            if size > 1e-12:
                there, back = value(matrix + step * direction / size), value(matrix - step * direction / size)
                total += (there - 2 * here + back) / step**2 * size**2 / 2
    return total / here


def simplex(num_classes: int, dim: int) -> Array:
    """Unit vectors of an exact simplex equiangular tight frame, (K, d), in an arbitrary orientation."""
    rng = np.random.default_rng(num_classes * 1000 + dim)
    frame = np.linalg.qr(rng.normal(size=(dim, num_classes)))[0].T
    return math.sqrt(num_classes / (num_classes - 1)) * (frame - frame.mean(axis=0))
