"""Samples of few classes, metrics that have seen them, and what they are to say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lopsided as lp
from lopsided.metrics import Moments, measure

CLASSES, DIM = 5, 7
COUNTS = [60, 60, 30, 12, 12]
THEORY = lp.UFM(COUNTS, lambda_z=5e-3, lambda_b=0.02).solve().geometry


def samples(seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), COUNTS))
    features = 2 * rng.normal(size=(CLASSES, DIM))[labels] + rng.normal(size=(len(labels), DIM)) + 5
    return torch.from_numpy(features).to(dtype), torch.from_numpy(labels)


def gather(features, labels):
    moments = Moments(CLASSES, DIM)
    moments.update(features, labels)
    return moments


def fed(metric, features, labels, batch=32):
    for chunk, classes in zip(features.split(batch), labels.split(batch), strict=True):
        metric.update(chunk, classes)
    return metric


def assert_alike(found, expected, rel=1e-12):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value, rel=rel, abs=rel) if isinstance(value, float) else value), name


def expected(head, features, labels, **options):
    return measure(gather(features, labels), head.weight, head.bias, **options)
