"""Second opinions on the program over frozen features: CVXPY, and proximal gradient from the definition."""

from __future__ import annotations

import numpy as np

from lopsided.core.losses import ClassTerms


def made_samples(counts, channels, seed=0, spread=1.0):
    """Features of overlapping clouds behind a ReLU, and labels."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = generator.normal(size=(len(counts), channels))
    return np.maximum(centres[labels] + spread * generator.normal(size=(len(labels), channels)), 0), labels


def loss_of(weights, bias, features, labels, sample_weights, terms: ClassTerms) -> float:
    """The loss, sample by sample."""
    total = 0.0
    for row, label, times in zip(features, labels, sample_weights, strict=True):
        inside = terms.row_scales[label] * terms.column_scales * (weights @ row + bias) + terms.offsets
        inside = inside - terms.margins[label] * np.eye(len(bias))[label]
        target = (1 - terms.smoothing) * np.eye(len(bias))[label] + terms.smoothing / len(bias)
        top = inside.max()
        value = top + np.log(np.exp(inside - top).sum()) - target @ inside
        total += times * terms.weights[label] * value / terms.normaliser
    return float(total)


def by_cvxpy(features, labels, costs, decay, lambda_b, terms: ClassTerms) -> float:
    """The least objective; ``costs`` None: trace norm; ``lambda_b`` None: no bias."""
    import cvxpy as cp

    classes = len(terms.weights)
    weights, bias = cp.Variable((classes, features.shape[1])), cp.Variable(classes)
    scales = terms.row_scales[labels][:, None] * terms.column_scales
    outputs = cp.multiply(
        scales, features @ weights.T + np.ones((len(labels), 1)) @ cp.reshape(bias, (1, classes), order="C")
    )
    outputs = (
        outputs
        + np.broadcast_to(terms.offsets, scales.shape)
        - terms.margins[labels][:, None] * np.eye(classes)[labels]
    )
    targets = (1 - terms.smoothing) * np.eye(classes)[labels] + terms.smoothing / classes
    losses = cp.log_sum_exp(outputs, axis=1) - cp.sum(cp.multiply(targets, outputs), axis=1)
    objective = terms.weights[labels] / terms.normaliser @ losses
    if costs is None:
        objective += decay * cp.normNuc(weights)
    else:
        objective += decay * cp.sum(cp.multiply(costs, cp.norm(weights, 2, axis=0)))
    if lambda_b:
        objective += lambda_b / 2 * cp.sum_squares(bias)
    program = cp.Problem(cp.Minimize(objective), [bias == 0] if lambda_b is None else [])
    program.solve(solver="CLARABEL")
    return float(program.value)


def whitened(features):
    """Centred, and turned and scaled so that ΦᵀΦ = N·I."""
    centred = features - features.mean(axis=0)
    left, _, _ = np.linalg.svd(centred, full_matrices=False)
    return np.sqrt(len(features)) * left
