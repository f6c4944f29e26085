"""The penalties of a batch: unbiased, in the ½ convention, and those that training uses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lopsided.nn import classifier_penalty, feature_penalty
from lopsided.training import Decays


def test_every_batch_counts_its_samples_for_all():
    """Windows of a circular order hold each sample equally often: their mean is the expectation."""
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(11, 3)))
    windows = [np.take(np.arange(11), range(start, start + 4), mode="wrap") for start in range(11)]
    values = [feature_penalty(features[rows], 0.03, num_samples=11).item() for rows in windows]
    total = sum(value**2 for row in features.tolist() for value in row)
    assert np.mean(values) == pytest.approx(0.5 * 0.03 * total, rel=1e-12)
    assert feature_penalty(features, 0.03, num_samples=11).item() == pytest.approx(0.5 * 0.03 * total, rel=1e-12)


def test_it_pulls_each_feature_by_lambda_times_itself():
    features = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    feature_penalty(features, 0.2, num_samples=5).backward()
    torch.testing.assert_close(features.grad, 0.2 * features.detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squares_of_short_floats_do_not_overflow(dtype):
    features = torch.full((2, 4), 300.0, dtype=dtype, requires_grad=True)
    value = feature_penalty(features, 1e-3, num_samples=2)
    value.backward()
    assert value.item() == pytest.approx(0.5e-3 * 8 * 300.0**2, rel=1e-2)
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("bias", [True, False])
def test_the_parts_are_the_penalty_of_training(bias):
    head = torch.nn.Linear(4, 3, bias=bias).double()
    features = torch.randn(7, 4).double()
    whole = Decays(weight=0.1, features=0.02, bias=0.3).penalty(head.weight, head.bias, features.square().sum())
    parts = classifier_penalty(head.weight, head.bias, 0.1, 0.3) + feature_penalty(features, 0.02, num_samples=7)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-14)
    by_hand = 0.05 * sum(value**2 for row in head.weight.tolist() for value in row)
    by_hand += 0.15 * sum(value**2 for value in head.bias.tolist()) if bias else 0.0
    assert classifier_penalty(head.weight, head.bias, 0.1, 0.3).item() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: feature_penalty(torch.ones(2, 3), -1.0, num_samples=2), "lambda_h must be .* at least 0; got -1.0"),
        (lambda: feature_penalty(torch.ones(2, 3), math.nan, num_samples=2), "lambda_h must be .*; got nan"),
        (lambda: feature_penalty(torch.ones(2, 3), "1", num_samples=2), "lambda_h must be .*; got '1'"),
        (lambda: feature_penalty(torch.ones(2), 0.1, num_samples=2), r"features must have shape \(B, d\).*\(2,\)"),
        (lambda: feature_penalty(torch.ones(0, 3), 0.1, num_samples=2), r"features must have .*\(0, 3\)"),
        (lambda: feature_penalty(torch.ones(2, 3), 0.1, num_samples=0), "num_samples must be .*; got 0"),
        (lambda: classifier_penalty(torch.ones(2, 3), None, math.inf), "lambda_w must be .*; got inf"),
        (lambda: classifier_penalty(torch.ones(2, 3), None, 0.1, -0.1), "lambda_b must be .*; got -0.1"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
