"""Bootstrap intervals: how often they cover the truth, and their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lopsided.metrics import Moments, bootstrap, bootstrap_interval, cdnv, nc1, nc1_trace_ratio
from metrics import twins


def draw(rng, counts=(10, 10, 6, 6), dim=8, sigma=0.4):
    labels = np.repeat(np.arange(len(counts)), counts)
    return twins.simplex(len(counts), dim)[labels] + sigma * rng.normal(size=(len(labels), dim)), labels


def truth(counts=(10, 10, 6, 6), dim=8, sigma=0.4):
    means = twins.simplex(len(counts), dim)
    return twins.ClassMoments(
        list(counts),
        list(means),
        [sigma**2 * dim] * len(counts),
        sigma**2 * np.eye(dim),
        np.array(counts) @ means / sum(counts),
    )


@pytest.mark.parametrize(
    ("statistic", "reference"),
    [
        (nc1, lambda twin: twins.nc1(twin, weighted_centre=True, weighted_scatter=False)),
        (nc1_trace_ratio, twins.nc1_trace_ratio),
        (cdnv, twins.cdnv),
    ],
)
@pytest.mark.slow
def test_intervals_cover_the_truth(statistic, reference):
    """Nine of ten are asked for; 20 sets of few samples, where the plain number would lie below every interval."""
    rng, value = np.random.default_rng(0), reference(truth())
    covered = 0
    for _ in range(20):
        features, labels = draw(rng)
        low, estimate, high = bootstrap_interval(features, labels, 4, statistic, level=0.9, resamples=40)
        assert 0 < low < estimate < high
        covered += low <= value <= high
    assert 0.8 <= covered / 20 <= 0.99


@pytest.mark.slow
def test_the_seed_decides_and_wider_levels_are_wider():
    features, labels = draw(np.random.default_rng(1))
    first = bootstrap_interval(features, labels, 4, resamples=50)
    assert first == bootstrap_interval(torch.as_tensor(features), torch.as_tensor(labels), 4, resamples=50)
    assert first != bootstrap_interval(features, labels, 4, resamples=50, seed=1)
    narrow = bootstrap_interval(features, labels, 4, resamples=50, level=0.5)
    assert first.low < narrow.low < narrow.estimate < narrow.high < first.high
    moments = Moments(4, 8)
    moments.update(features, labels)
    assert first.estimate == pytest.approx(nc1(moments, corrected=True), rel=1e-12)


@pytest.mark.slow
def test_resampling_stays_within_classes_whatever_their_order(monkeypatch):
    """A class of equal samples stays a point, and chunks change nothing."""
    features, labels = draw(np.random.default_rng(2))
    order = np.random.default_rng(3).permutation(len(labels))
    expected = bootstrap_interval(features, labels, 4, resamples=30)
    monkeypatch.setattr(bootstrap, "_CHUNK", 7)
    chunked = bootstrap_interval(features, labels, 4, resamples=30)
    np.testing.assert_allclose(chunked, expected, rtol=1e-10)
    monkeypatch.undo()
    shuffled = bootstrap_interval(features[order], labels[order], 4, level=0.5, resamples=150)
    ordered = bootstrap_interval(features, labels, 4, level=0.5, resamples=150)
    np.testing.assert_allclose(shuffled, ordered, rtol=0.1)
    points = twins.simplex(4, 8)[labels]
    assert bootstrap_interval(points, labels, 4, nc1_trace_ratio).high < 1e-25


@pytest.mark.slow
def test_classes_that_can_hardly_be_told_apart_leave_the_interval_open():
    labels = np.repeat([0, 1], 3)
    noise = np.random.default_rng(0).normal(size=(6, 1))
    low, estimate, high = bootstrap_interval(1.0 * labels[:, None] + noise, labels, 2, nc1_trace_ratio)
    assert low == 0 < estimate < high
    hopeless = np.array([[1.0], [-1.0], [0.0], [1.1], [-0.9], [0.1]])
    assert all(math.isnan(value) for value in bootstrap_interval(hopeless, labels, 2, nc1_trace_ratio))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 1.0}, "level must be a probability between 0 and 1; got 1.0"),
        ({"resamples": 19}, "resamples must be at least 20"),
        ({"num_classes": 3}, "labels must be class indices from 0 to 2; got 3"),
        ({"labels": np.zeros(3, int)}, "labels must have shape"),
        ({"features": np.zeros(3)}, "features must have shape"),
        ({"features": np.full((32, 8), np.nan)}, "features must be finite; got nan in sample 0"),
    ],
)
def test_bad_input(arguments, message):
    features, labels = draw(np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**{"features": features, "labels": labels, "num_classes": 4, **arguments})
