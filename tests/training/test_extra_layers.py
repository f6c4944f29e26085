"""Linear layers between features and head: what is decayed, what is predicted, and that digits end there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import lopsided as lp
from lopsided.data import load_data, sample_indices
from lopsided.solver import deep_branch
from lopsided.training import (
    Decays,
    ExtraLayers,
    FreeFeatures,
    OptimizerConfig,
    RegularisedObjective,
    build_network,
    building,
    evaluate,
    train,
)


@pytest.fixture
def deep():
    network = ExtraLayers(FreeFeatures(7, 2, dim=3, seed=1), 2)
    with torch.no_grad():  # not orthogonal, so that no two norms are equal
        for factor, weight in enumerate(network.decayed_weights, start=1):
            weight.mul_(0.5 * factor)
        network.head.bias.copy_(torch.tensor([0.3, -0.2]))
    return network, sample_indices("4,3")


def test_the_loss_is_the_objective_written_out(deep):
    network, data = deep
    decays = Decays(weight=0.3, features=0.2, bias=0.1)
    module = RegularisedObjective(network, num_samples=7, decays=decays, descent=OptimizerConfig(0.1, ramp=0.0))
    free = network.network.table.detach().double().numpy()
    first, second, head = (weight.detach().double().numpy() for weight in network.decayed_weights)
    bias = network.head.bias.detach().double().numpy()
    total = 0.3 / 2 * sum(float(np.sum(matrix**2)) for matrix in (first, second, head))
    total += 0.2 / 2 * float(np.sum(free**2)) + 0.1 / 2 * float(bias @ bias)
    for feature, label in zip(free, data.labels.tolist(), strict=True):
        logits = head @ (second @ (first @ feature)) + bias
        total += (math.log(np.exp(logits).sum()) - logits[label]) / 7
    assert module.training_step((data.inputs, data.labels), 0).item() == pytest.approx(total, rel=1e-5)
    found = evaluate(network, data.inputs, data.labels)
    assert found.squared_features == pytest.approx(float(np.sum(free**2)), rel=1e-5)
    penalty = decays.penalty(network.decayed_weights, network.head.bias, found.squared_features)
    assert found.loss + penalty.item() == pytest.approx(total, rel=1e-5)


def test_what_is_measured_enters_the_last_layer(deep):
    network, data = deep
    features = network.features(data.inputs)
    decayed, last = network.decayed_and_last(data.inputs)
    assert torch.equal(features, last)
    assert torch.equal(decayed, network.network.table[data.inputs])
    torch.testing.assert_close(network(data.inputs), network.head(features))
    means = evaluate(network, data.inputs, data.labels).moments.means
    np.testing.assert_allclose(means[0], features[:4].detach().double().mean(dim=0), rtol=1e-6)


def own(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), 12), nn.Linear(12, num_classes))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18", "own:factory"])
def test_any_network_takes_them(name, monkeypatch):
    monkeypatch.setattr(building, "load_factory", lambda *_: own)
    options = {} if ":" in name else {"dim": 12}
    network = build_network(name, (1, 8, 8), 4, extra_layers=3, **options)
    assert [tuple(weight.shape) for weight in network.decayed_weights] == [(12, 12)] * 3 + [(4, 12)]
    images = torch.randn(5, 1, 8, 8)
    nn.functional.cross_entropy(network(images), torch.tensor([0, 1, 2, 3, 0])).backward()
    assert all(weight.grad.abs().max() > 0 for weight in network.decayed_weights)
    assert len(network.state_dict()) == len({id(value) for value in network.state_dict(keep_vars=True).values()})


def test_they_start_orthogonal_or_as_the_scheme_says():
    eye = torch.eye(16)
    for weight in build_network("mlp", (9,), 16, dim=16, extra_layers=2).decayed_weights:
        torch.testing.assert_close(weight @ weight.T, eye, atol=1e-5, rtol=0)
    drawn = build_network("mlp", (9,), 16, dim=16, extra_layers=2, initialisation="he").decayed_weights
    assert all(not torch.allclose(weight @ weight.T, eye, atol=0.1) for weight in drawn)


@pytest.mark.parametrize("number", [-1, 1.0, True])
def test_a_bad_number_is_named(number):
    with pytest.raises(ValueError, match=f"^extra_layers must be a whole number of at least 0; got {number!r}$"):
        build_network("mlp", (9,), 3, extra_layers=number)


def test_no_head_that_is_not_trained_takes_them():
    with pytest.raises(ValueError, match=r"^extra_layers must be 0 before a head that is not trained; got 1$"):
        build_network("mlp", (9,), 3, extra_layers=1, head="etf")


def test_a_network_whose_head_is_not_trained_is_refused_before_anything_is_drawn():
    network = build_network("mlp", (9,), 3, head="etf")
    weight = network.head.weight.clone()
    with pytest.raises(ValueError, match=r"^network must have a head that is trained"):
        ExtraLayers(network, 1)
    assert torch.equal(network.head.weight, weight)


@pytest.mark.slow
def test_the_prediction_is_labelled_stationary(deep):
    model = lp.UFM("40,30", 0.01)
    prediction = deep[0].predict(model)
    assert (prediction.status, prediction.objective) == ("stationary", deep_branch(model, 3).objective)
    assert math.isnan(prediction.gap)
    assert "not known to be the optimum" in prediction.message


@pytest.mark.slow
@pytest.mark.parametrize(("lambda_z", "rank"), [(0.012, 3), (0.02, 1)])
def test_digits_end_at_the_branch_with_one_extra_layer(lambda_z, rank):
    """At the larger decay the rare classes are lost, where one layer alone would keep them apart."""
    assert lp.UFM("60x2,20x2", lambda_z, lambda_b=0.02).solve().geometry.rank == 3
    data = load_data("digits", "60x2,20x2")
    network = build_network("mlp", data.input_shape, data.num_classes, hidden=(64,), dim=16, extra_layers=1)
    result = train(
        network,
        data,
        lambda_w=10 * lambda_z,
        lambda_h=lambda_z / 10,
        lambda_b=0.02,
        epochs=220,
        batch_size=80,
        learning_rate=0.01,
        accelerator="cpu",
    )
    assert result.findings == ()
    assert result.prediction.geometry.rank == result.geometry.rank == rank
    compared = lp.compare(result.prediction.geometry, result.geometry)
    assert compared.same_merged
    assert compared["mean_logits"].relative_error < 0.03
    assert result.history[-1]["objective"] == pytest.approx(result.prediction.objective, rel=0.005)
