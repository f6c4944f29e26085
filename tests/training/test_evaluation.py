"""Measuring a network: its own numbers, and batch norm at the statistics of the training set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from lopsided.data import load_data, sample_indices
from lopsided.training import FreeFeatures, build_network, evaluate, evaluation, refresh_batch_norm


@pytest.fixture
def digits():
    return load_data("digits", "20x5,6x5")


@pytest.fixture
def network(digits):
    network = build_network("mlp", digits.input_shape, 10, hidden=(32, 16), dim=12)
    refresh_batch_norm(network, digits.inputs)
    return network


def test_every_number_is_that_of_the_samples(network, digits):
    result = evaluate(network, digits.inputs, digits.labels)
    network.eval()
    with torch.no_grad():
        features = network.features(digits.inputs)
        logits = network.head(features)
    assert result.loss == pytest.approx(functional.cross_entropy(logits, digits.labels).item(), rel=1e-5)
    assert result.squared_features == pytest.approx(features.square().sum().item(), rel=1e-5)
    right = (logits.argmax(dim=1) == digits.labels).numpy()
    assert result.accuracy == pytest.approx(right.mean())
    for index in range(10):
        own = (digits.labels == index).numpy()
        assert result.class_accuracy[index] == pytest.approx(right[own].mean())
        np.testing.assert_allclose(result.moments.means[index], features[own].double().mean(dim=0), rtol=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back(network, digits, training):
    network.train(training)
    evaluate(network, digits.inputs, digits.labels)
    assert network.training is training
    refresh_batch_norm(network, digits.inputs)
    assert network.training is training


def test_chunks_change_nothing(network, digits, monkeypatch):
    whole = evaluate(network, digits.inputs, digits.labels)
    monkeypatch.setattr(evaluation, "_CHUNK", 7)
    parts = evaluate(network, digits.inputs, digits.labels)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    torch.testing.assert_close(parts.moments.means, whole.moments.means, rtol=1e-5, atol=1e-6)


def test_refreshed_features_are_those_the_loss_sees(digits):
    """After steps that leave the running averages behind, evaluation mode gives the features of training mode."""
    network = build_network("mlp", digits.input_shape, 10, hidden=(32, 16), dim=12)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        functional.cross_entropy(network(digits.inputs), digits.labels).backward()
        optimizer.step()

    def gap():
        with torch.no_grad():
            seen = network.train().features(digits.inputs)
            return float((network.eval().features(digits.inputs) - seen).norm() / seen.norm())

    assert gap() > 0.1
    refresh_batch_norm(network, digits.inputs)
    # All that is left is the N/(N − 1) of the running variances.
    assert gap() < 2 / len(digits.labels)


def test_parts_of_a_large_set_each_hold_every_class(digits, monkeypatch):
    """The samples come class by class; statistics of parts cut along that order would be those of single classes."""
    network = build_network("mlp", digits.input_shape, 10, hidden=(32, 16), dim=12)

    @torch.no_grad()
    def refreshed():
        refresh_batch_norm(network, digits.inputs)
        return network.eval().features(digits.inputs)

    whole = refreshed()
    monkeypatch.setattr(evaluation, "_CHUNK", 65)
    # Cut along the order of the classes, the two parts leave an error of 0.029.
    assert float((refreshed() - whole).norm() / whole.norm()) < 0.015


def test_features_that_are_not_finite_are_refused():
    data = sample_indices("3,2")
    network = FreeFeatures(5, 2)
    with torch.no_grad():
        network.table[4, 0] = torch.nan
    with pytest.raises(ValueError, match="features must be finite; got nan in sample 4"):
        evaluate(network, data.inputs, data.labels)
    assert network.training
