"""The regularised objective: its value, and that nothing else pulls on the network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import lopsided as lp
from lopsided.data import sample_indices
from lopsided.nn import loss_module
from lopsided.training import Decays, FreeFeatures, OptimizerConfig, RegularisedObjective, build_network

DECAYS = Decays(weight=0.3, features=0.2, bias=0.1)


def naive_objective(network, labels, *, decay_w, decay_h, decay_b):
    """The objective, written out sample by sample."""
    weight, features = network.head.weight.detach().double().numpy(), network.table.detach().double().numpy()
    bias = network.head.bias.detach().double().numpy()
    total = 0.0
    for feature, label in zip(features, labels.tolist(), strict=True):
        logits = [
            sum(w * h for w, h in zip(row, feature, strict=True)) + b for row, b in zip(weight, bias, strict=True)
        ]
        total += (math.log(sum(math.exp(value) for value in logits)) - logits[label]) / len(labels)
    for decay, values in ((decay_w, weight), (decay_h, features), (decay_b, bias)):
        total += decay / 2 * sum(float(value) ** 2 for value in np.ravel(values))
    return total


@pytest.fixture
def setting():
    data = sample_indices("4,5,3")
    network = FreeFeatures(12, 3, seed=3)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.3, -0.2, 0.5]))
    objective = RegularisedObjective(
        network, num_samples=12, decays=DECAYS, descent=OptimizerConfig(learning_rate=0.1, ramp=0.0)
    )
    return data, network, objective


def test_the_loss_of_all_samples_is_the_objective(setting):
    data, network, objective = setting
    loss = objective.training_step((data.inputs, data.labels), 0).item()
    assert loss == pytest.approx(naive_objective(network, data.labels, decay_w=0.3, decay_h=0.2, decay_b=0.1), rel=1e-5)


@pytest.mark.parametrize("size", [1, 3, 6])
def test_the_losses_of_equal_batches_average_to_the_objective(setting, size):
    data, network, objective = setting
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0)).split(size)
    losses = [objective.training_step((data.inputs[rows], data.labels[rows]), 0).item() for rows in order]
    expected = naive_objective(network, data.labels, decay_w=0.3, decay_h=0.2, decay_b=0.1)
    assert np.mean(losses) == pytest.approx(expected, rel=1e-5)


def test_a_free_bias_is_not_decayed(setting):
    data, network, objective = setting
    objective.decays = Decays(weight=0.3, features=0.2, bias=0.0)
    loss = objective.training_step((data.inputs, data.labels), 0).item()
    assert loss == pytest.approx(naive_objective(network, data.labels, decay_w=0.3, decay_h=0.2, decay_b=0.0), rel=1e-5)


def test_a_head_without_bias_is_fine():
    penalty = DECAYS.penalty((torch.ones(2, 3),), None, 10.0)
    assert penalty.item() == pytest.approx(0.5 * (0.3 * 6 + 0.2 * 10))


def test_the_ramp_raises_classifier_and_feature_decay_but_not_the_bias_decay(setting):
    data, network, objective = setting
    objective.descent = OptimizerConfig(learning_rate=0.1, ramp=0.5, ramp_start=0.01)
    objective.total_steps = 100
    loss = objective.training_step((data.inputs, data.labels), 0).item()
    expected = naive_objective(network, data.labels, decay_w=0.003, decay_h=0.002, decay_b=0.1)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_the_ramp_is_geometric_and_ends_at_one():
    descent = OptimizerConfig(learning_rate=0.1, ramp=0.4, ramp_start=0.03)
    factors = [descent.decay_factor(step / 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.03)
    np.testing.assert_allclose(np.diff(np.log(factors[:41])), math.log(1 / 0.03) / 40)
    assert factors[40:] == [1.0] * 61


def test_without_a_ramp_the_decays_are_constant():
    descent = OptimizerConfig(learning_rate=0.1, ramp=0.0)
    assert [descent.decay_factor(progress) for progress in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


class _Trainer:
    estimated_stepping_batches = 100


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_the_optimiser_adds_no_decay_of_its_own_and_follows_a_cosine(monkeypatch, name):
    network = build_network("mlp", (4,), 3, hidden=(8,))
    objective = RegularisedObjective(
        network, num_samples=12, decays=DECAYS, descent=OptimizerConfig(learning_rate=0.1, optimizer=name, momentum=0.7)
    )
    monkeypatch.setattr(RegularisedObjective, "trainer", _Trainer())
    configured = objective.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0]
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in network.parameters()}
    if name == "sgd":
        assert optimizer.param_groups[0]["momentum"] == 0.7
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(101) / 100)), atol=1e-12)


def test_the_papers_schedule():
    """λ divided by ten for the first sixth; rates .1, .01 from a third and .001 from two thirds."""
    descent = OptimizerConfig(learning_rate=0.1, optimizer="sgd", ramp=1 / 6, ramp_start=0.1, schedule="steps")
    progress = [0.0, 0.16, 0.17, 0.33, 0.34, 0.66, 0.67, 1.0]
    assert [descent.decay_factor(share) for share in progress] == [0.1, 0.1, 1, 1, 1, 1, 1, 1]
    assert [descent.learning_rate * descent.rate_factor(share) for share in progress] == pytest.approx(
        [0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_the_loss_is_the_one_asked_for(setting):
    data, network, objective = setting
    plain = objective.training_step((data.inputs, data.labels), 0).item()
    logits = network(data.inputs).detach().double()
    ordinary = torch.nn.functional.cross_entropy(logits, data.labels).item()
    loss = lp.SquaredError(weights=[1, 2, 3])
    objective.data_term = loss_module(loss, data.counts)
    squares = 0.5 * (logits - torch.eye(3)[data.labels]).square().sum(dim=1)
    weights = torch.tensor([1.0, 2, 3])[data.labels]
    expected = plain - ordinary + float((weights * squares).sum() / weights.sum())
    assert objective.training_step((data.inputs, data.labels), 0).item() == pytest.approx(expected, rel=1e-5)
