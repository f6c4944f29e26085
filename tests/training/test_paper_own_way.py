"""The model itself trained by SGD with momentum: the first three experiments of the paper, to the certified optimum."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lopsided as lp
from lopsided.data import sample_indices
from lopsided.training import FreeFeatures, train


def run(counts, lambda_z, *, lambda_b=0.02, seed=0):
    """Train free features, and hold the run against the bounds that every one of them must meet."""
    data = sample_indices(counts)
    result = train(
        FreeFeatures(data.num_samples, data.num_classes, seed=seed),
        data,
        lambda_w=lambda_z,
        lambda_h=lambda_z,
        lambda_b=lambda_b,
        epochs=250,
        learning_rate=8.0,
        optimizer="sgd",
        momentum=0.9,
        ramp=0.0,
        measure_every=200,
    )
    solution = result.model.solve()
    assert solution.status == "optimal"
    assert result.history[-1]["objective"] == pytest.approx(solution.objective, rel=1e-4)
    assert lp.compare(solution.geometry, result.geometry)["mean_logits"].relative_error < 0.01
    assert result.history[0]["nc1_rank_aware"] > 0.1
    assert result.history[-1]["nc1_rank_aware"] < 1e-6
    assert result.findings == ()
    return result


def probabilities(geometry):
    logits = geometry.mean_logits + geometry.bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_balanced_counts_give_the_simplex_etf(seed):
    geometry = run("10x4", 0.02, seed=seed).geometry
    apart = ~np.eye(4, dtype=bool)
    for cosines in (geometry.cosines_means, geometry.cosines_classifier, geometry.cosines_logits):
        np.testing.assert_allclose(cosines[apart], -1 / 3, atol=1e-3)
    norms = np.linalg.norm(geometry.class_means, axis=1)
    np.testing.assert_allclose(norms, norms.mean(), rtol=1e-3)
    np.testing.assert_allclose(geometry.bias, 0, atol=1e-4)
    # α of theory: log(1/(√n λ) − K + 1)
    alpha = math.log(1 / (math.sqrt(10) * 0.02) - 3)
    np.testing.assert_allclose(geometry.mean_logits, alpha * (np.eye(4) - 0.25), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [2, 3.8, 4.2, 6])
def test_the_minority_collapses_where_the_threshold_says_as_the_ratio_grows(ratio):
    """With 3 + 3 classes, 10 samples a rare class and λ = √10/150, √n = Nλ at ratio 4."""
    geometry = run(f"{round(10 * ratio)}x3,10x3", math.sqrt(10) / 150).geometry
    shares = probabilities(geometry)
    rare_gaps = [shares[k, k] - shares[k, other] for k in (3, 4, 5) for other in (3, 4, 5) if other != k]
    np.testing.assert_allclose(rare_gaps, max(0.0, 1 - (1 + ratio) / 5), atol=1e-3)
    if ratio > 4:
        assert geometry.merged == [[3, 4, 5]]
        assert np.ptp(geometry.class_means[3:], axis=0).max() < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("lambda_b", [0.0, 0.02])
def test_three_clusters_show_their_blocks(lambda_b):
    geometry = run("40x2,20x2,10x2", 0.01, lambda_b=lambda_b).geometry
    logits = geometry.mean_logits
    labels = np.repeat([0, 1, 2], 2)
    values = []
    for row in range(3):
        for column in range(3):
            block = logits[np.ix_(labels == row, labels == column)]
            off_diagonal = block[~np.eye(2, dtype=bool)] if row == column else block.ravel()
            np.testing.assert_allclose(off_diagonal, off_diagonal.mean(), atol=1e-3)
            values.append(off_diagonal.mean())
            if row == column:
                np.testing.assert_allclose(np.diagonal(block), block[0, 0], atol=1e-3)
                values.append(block[0, 0])
    # Twelve values, each of its own: the blocks are not those of balanced data.
    assert np.min(np.diff(np.sort(values))) > 1e-3


@pytest.mark.slow
def test_mini_batches_reach_the_same_optimum():
    data = sample_indices("20x2,10x2")
    result = train(
        FreeFeatures(60, 4),
        data,
        lambda_w=0.015,
        lambda_h=0.015,
        lambda_b=0.02,
        epochs=100,
        batch_size=20,
        learning_rate=1.0,
        optimizer="sgd",
        ramp=0.0,
    )
    solution = result.model.solve()
    assert result.history[-1]["objective"] == pytest.approx(solution.objective, rel=1e-4)
    assert lp.compare(solution.geometry, result.geometry)["mean_logits"].relative_error < 0.01
