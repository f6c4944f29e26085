"""Networks: what they are made of, and that building one disturbs nothing."""

from __future__ import annotations

import pytest
import torch

from lopsided.training import NETWORKS, FreeFeatures, build_network


def test_the_perceptron_normalises_hidden_layers_and_leaves_the_features_free():
    network = build_network("mlp", (1, 8, 8), 10, hidden=(40, 30), dim=12)
    kinds = [type(layer).__name__ for layer in network.body]
    assert kinds == ["Flatten", "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    inputs = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    features = network.features(inputs)
    assert features.shape == (64, 12)
    assert features.min() < 0
    torch.testing.assert_close(network(inputs), features @ network.head.weight.T + network.head.bias)


def test_relu_features_are_not_negative():
    network = build_network("mlp", (1, 8, 8), 10, last_features="relu")
    features = network.features(torch.randn(64, 1, 8, 8))
    assert features.min() == 0
    assert features.max() > 0


@pytest.mark.parametrize(
    "build",
    [lambda seed: build_network("mlp", (4,), 3, seed=seed), lambda seed: FreeFeatures(9, 3, seed=seed)],
    ids=["mlp", "free-features"],
)
def test_the_seed_decides_and_the_global_state_is_left_alone(build):
    before = torch.get_rng_state()
    first, again, other = (build(seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("bias", [True, False])
def test_the_head_has_a_bias_or_not(bias):
    for network in (build_network("mlp", (4,), 3, bias=bias), FreeFeatures(9, 3, bias=bias)):
        assert (network.head.bias is not None) is bias


def test_free_features_are_looked_up_by_sample():
    network = FreeFeatures(num_samples=4, num_classes=2, dim=3)
    rows = torch.tensor([2, 0, 2])
    assert torch.equal(network.features(rows), network.table[rows])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet"}, f"known networks: {', '.join(NETWORKS)}; got 'resnet'"),
        ({"dim": 9}, "dim must be at least the number of classes, 10, .*; got 9"),
        ({"hidden": (64, 0)}, r"hidden must be widths of at least 1, .*; got \(64, 0\)"),
        ({"last_features": "gelu"}, "last_features must be 'linear' or 'relu'; got 'gelu'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_network(**{"name": "mlp", "input_shape": (1, 8, 8), "num_classes": 10, **arguments})


def test_free_features_narrower_than_the_classes_are_refused():
    with pytest.raises(ValueError, match="dim must be at least the number of classes, 3"):
        FreeFeatures(9, 3, dim=2)
