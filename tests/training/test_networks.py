"""Networks: what they are made of, and that building one disturbs nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lopsided.training import INITIALISATIONS, NETWORKS, FreeFeatures, HeadedModule, build_network


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
        ({"name": "resnet"}, f"must be one of {', '.join(NETWORKS)}, or MODULE:FACTORY; got 'resnet'"),
        ({"name": "vgg11", "hidden": (8,)}, "hidden must be left out: the widths of vgg11 are fixed"),
        ({"name": "cnn", "input_shape": (8,)}, r"network 'cnn' takes images .*; got inputs of \(8,\)"),
        ({"name": "own:net", "dim": 12}, "network 'own:net' decides by itself on dim"),
        ({"name": "no.such:net"}, "network must be MODULE:FACTORY .* there is no 'no'"),
        ({"name": "math:net"}, "the module 'math' has no 'net'"),
        ({"name": "math:pi"}, "a function or a class; 'math:pi' is of type float"),
        ({"name": "operator:ne"}, "must give a torch.nn.Module; got bool"),
        ({"initialisation": "lucky"}, f"initialisation must be one of {', '.join(INITIALISATIONS)}; got 'lucky'"),
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


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [
        ("default", 1 / (3 * 512)),
        ("xavier", 2 / 768),
        ("he", 2 / 512),
        ("lecun", 1 / 512),
        ("orthogonal", None),
    ],
)
def test_weights_are_drawn_as_the_scheme_says(scheme, variance):
    """The 512 × 256 matrix of a hidden layer; of an orthogonal one, the rows are orthonormal."""
    assert scheme in INITIALISATIONS
    network = build_network("mlp", (512,), 10, hidden=(256,), initialisation=scheme)
    weight = network.body[1].weight.detach()
    if variance is None:
        torch.testing.assert_close(weight @ weight.T, torch.eye(256), atol=1e-4, rtol=0)
    else:
        assert weight.var().item() == pytest.approx(variance, rel=0.02)
    assert (scheme == "default") is bool(network.head.bias.abs().max() > 0)
    assert all(layer.weight.eq(1).all() for layer in network.modules() if isinstance(layer, nn.BatchNorm1d))


CONVOLUTIONAL = [name for name in NETWORKS if name != "mlp"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet18", 11_173_962), ("vgg11", 9_231_114), ("vgg13", 9_416_010)],
)
def test_published_networks_have_their_published_size(name, parameters):
    """As widely reported for ten classes of 32×32 colour images: 11.17, 9.23 and 9.42 million."""
    network = build_network(name, (3, 32, 32), 10, last_features="relu")
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network.head.in_features == 512


@pytest.mark.slow
@pytest.mark.parametrize("last_features", ["linear", "relu"])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 7, 5)], ids=str)
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_step_reaches_every_parameter_whatever_the_image(name, shape, last_features):
    network = build_network(name, shape, 10, last_features=last_features)
    images = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    features = network.features(images)
    assert features.shape == (4, network.head.in_features)
    assert (features.min().item() < 0) is (last_features == "linear")
    nn.functional.cross_entropy(network.head(features), torch.arange(4)).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in network.head.parameters())
    assert next(network.parameters()).grad.abs().max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
@pytest.mark.parametrize("last_features", ["linear", "relu"])
def test_another_width_is_one_more_linear_layer(name, last_features):
    usual = build_network(name, (1, 8, 8), 10)
    narrow = build_network(name, (1, 8, 8), 10, dim=16, last_features=last_features)
    sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in (usual, narrow)]
    assert sizes[1] - sizes[0] == (512 * 16 + 16) + (16 * 10 + 10) - (512 * 10 + 10)
    features = narrow.features(torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert (features.min().item() < 0) is (last_features == "linear")


@pytest.mark.slow
def test_the_stem_keeps_the_size_of_the_image():
    network = build_network("resnet18", (3, 32, 32), 10)
    assert network.body[:3](torch.zeros(1, 3, 32, 32)).shape == (1, 64, 32, 32)
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in network.modules())


class Own(nn.Module):
    """A classifier that knows nothing of this package, built like a MODULE:FACTORY."""

    def __init__(self, input_shape, num_classes, *, after=None):
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(input_shape[-1], 12), nn.BatchNorm1d(12), nn.Tanh())
        self.classifier = nn.ModuleDict({"last": nn.Linear(12, num_classes)})
        self.after = after or nn.Identity()

    def forward(self, inputs):
        return self.after(self.classifier["last"](self.stem(inputs)))


def test_anyones_module_with_a_linear_head(tmp_path, monkeypatch):
    (tmp_path / "somebodys_networks.py").write_text(
        "from torch import nn\n"
        "def wide(input_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0], 20), nn.ReLU(), nn.Linear(20, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    first, again = (build_network("somebodys_networks:wide", (6,), 3, seed=4) for _ in range(2))
    assert isinstance(first, HeadedModule)
    assert (first.head.in_features, first.head.out_features) == (20, 3)
    assert torch.equal(first.head.weight, again.head.weight)


def test_the_head_is_found_where_it_is_nested_and_changes_nothing():
    module = Own((6,), 3)
    inputs = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    expected, statistics = module(inputs).detach(), module.stem[2].num_batches_tracked.item()
    network = HeadedModule(module, 3, inputs[:2])
    torch.testing.assert_close(network(inputs), expected)
    torch.testing.assert_close(network.features(inputs), module.stem(inputs))
    assert module.training
    assert module.stem[2].num_batches_tracked.item() == statistics + 3  # the looks at it in training mode, no others


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Own((6,), 3, after=nn.Softmax(dim=1)), "something follows the layer 'classifier.last'"),
        (Own((6,), 4), "must end in a torch.nn.Linear with one output a class, 3; Own holds none"),
        (nn.Linear(6, 3), "Linear holds none"),
    ],
    ids=["softmax", "other-classes", "no-body"],
)
def test_a_module_without_a_linear_head_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        HeadedModule(module, 3, torch.ones(2, 6))
