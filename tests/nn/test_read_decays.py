"""What is read from networks and optimisers: ends, decays, what is scale-free, bad input, and that nothing changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lopsided.core.arguments import ArgumentError
from lopsided.nn import read_decays
from nn.networks_to_read import CASES, ROW, D, K, Of, Residual, mlp, one_thread  # noqa: F401

N, DECAY = 1000, 2e-3
DECOUPLED = {"decoupled_weight_decay": True}


def sgd(net, decay=DECAY):
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=decay)


def read(net, optimizer=None, example=None, **settings):
    example = torch.randn(ROW) if example is None else example
    return read_decays(net, optimizer or sgd(net), num_samples=N, example_input=example, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_ends_are_read(case):
    torch.manual_seed(0)
    net = case.build()
    d = read(net, example=torch.randn(case.example))
    assert (d.end, d.features, d.exact) == (case.end, case.features, case.exact), d.statement
    unit = DECAY / N
    assert d.lambda_h == (None if case.low is None else pytest.approx(case.low * unit, rel=1e-9))
    assert d.lambda_h_range[1] == (None if case.high is None else pytest.approx(case.high * unit, rel=1e-9))
    assert d.lambda_h_range[0] == d.lambda_h
    assert (d.lambda_w, d.lambda_b) == (DECAY, DECAY)
    if case.free is not None:
        free, total = case.free
        phrase = f"{free} of {total} decayed weight tensors" if free else f"any of its {total} decayed weight tensors"
        assert phrase in d.statement
    if case.low is None:
        assert "only measuring the trained network, or a forecast" in d.statement
        with pytest.raises(ArgumentError, match=r"model must have decays .* above 0; got an end"):
            d.model("20x2,5")
        assert d.bound("20x2,5") == 0.0
    assert d.end in d.to_dict().values()


def normed(**groups):
    """A perceptron, and an SGD whose decay is 1e-3 but for the parameters named."""
    net = mlp(nn.BatchNorm1d(D), nn.ReLU())()
    params = [
        {"params": [parameter], "weight_decay": groups.get(name, 1e-3)} for name, parameter in net.named_parameters()
    ]
    return net, torch.optim.SGD([{**group, "lr": 0.1} for group in params], lr=0.1)


def test_no_decay_on_the_normalisation_costs_nothing():
    net, optimizer = normed(**{"1.weight": 0.0, "1.bias": 0.0})
    d = read(net, optimizer)
    assert (d.lambda_h, d.lambda_h_range, d.exact, d.norm_decays) == (0.0, (0.0, 0.0), True, (0.0, 0.0))
    assert "cost nothing (λ_h = 0): '1.weight' and '1.bias' have no decay" in d.statement
    assert d.bound("20x2,5") == 0.0
    with pytest.raises(ArgumentError, match="got λ_h = 0: nothing that sets the size of features is decayed"):
        d.model("20x2,5")


def test_frozen_scales_have_no_decay():
    net = mlp(nn.BatchNorm1d(D), nn.ReLU())()
    net[1].requires_grad_(False)
    d = read(net)
    assert d.lambda_h == 0.0
    assert "'1.weight' and '1.bias' are frozen" in d.statement


def test_frozen_weights_are_not_counted():
    net = mlp(nn.BatchNorm1d(D), nn.ReLU(), nn.Linear(D, D), nn.BatchNorm1d(D))()
    net[0].requires_grad_(False)
    d = read(net)
    assert d.lambda_h == pytest.approx(DECAY / N)
    assert "1 of 1 decayed weight tensors" in d.statement
    assert not {"0.weight", "0.bias"} & set(d.scale_free)


def test_the_bias_of_the_head():
    net, optimizer = normed(**{"3.bias": 0.0})
    assert (read(net, optimizer).lambda_b, read(net, optimizer).has_bias) == (0.0, True)
    net = mlp(nn.BatchNorm1d(D))()
    net[2] = nn.Linear(D, K, bias=False)
    d = read(net)
    assert (d.lambda_b, d.has_bias, d.model("20x2,5").bias) == (None, False, False)
    net = mlp(nn.BatchNorm1d(D))()
    net[2].bias.requires_grad_(False).zero_()
    assert read(net).has_bias is False


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "Adadelta"])
def test_decay_in_the_gradient_is_a_penalty(kind):
    net = mlp(nn.BatchNorm1d(D), nn.ReLU())()
    d = read(net, getattr(torch.optim, kind)(net.parameters(), lr=0.01, weight_decay=1e-3))
    assert (d.lambda_w, d.lambda_h, d.decoupled) == (1e-3, pytest.approx(1e-3 / N), False)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("AdamW", {}), ("Adam", {"decoupled_weight_decay": True}), ("NAdam", {"decoupled_weight_decay": True})],
)
def test_decoupled_decay_is_read_off_the_state(kind, settings):
    torch.manual_seed(0)
    net = mlp(nn.BatchNorm1d(D), nn.ReLU())()
    optimizer = getattr(torch.optim, kind)(net.parameters(), lr=1e-3, weight_decay=0.1, **settings)
    d = read(net, optimizer)
    assert (d.lambda_w, d.lambda_b, d.lambda_h, d.lambda_h_range, d.decoupled) == (None, None, None, (0.0, None), True)
    assert f"{kind}'s decay is no penalty, and what it amounts to shows only after some steps" in d.statement
    with pytest.raises(ArgumentError, match=r"model must have decays .* got no decay of '3' that is known"):
        d.model("20x2,5")
    x, y = torch.randn(30, D), torch.arange(30) % K
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    d = read(net, optimizer)
    state = optimizer.state[net[3].weight]
    root = (state["exp_avg_sq"].double() / (1 - 0.999 ** float(state["step"]))).sqrt() + 1e-8
    squares = net[3].weight.detach().double() ** 2
    assert d.lambda_w == pytest.approx(float(0.1 * (root * squares).sum() / squares.sum()))
    low, high = d.lambda_h_range
    assert 0 < low <= d.lambda_h <= high
    assert (d.exact, d.bound("20x2,5")) == (False, 0.0)
    assert d.model("20x2,5").lambda_h == d.lambda_h


def test_an_optimizer_that_is_not_known_is_not_guessed():
    class Own(torch.optim.Optimizer):
        def step(self, closure=None):
            return None

    net = mlp(nn.BatchNorm1d(D))()
    d = read(net, Own(net.parameters(), {"lr": 0.1, "weight_decay": 1e-3}))
    assert (d.lambda_w, d.lambda_h) == (None, None)
    assert "Whether Own's decay is a penalty is not known here" in d.statement


def test_several_optimizers_are_read_together():
    net = mlp(nn.BatchNorm1d(D))()
    optimizers = [
        torch.optim.SGD([*net[0].parameters(), *net[1].parameters()], lr=0.1, weight_decay=1e-3),
        torch.optim.SGD(net[2].parameters(), lr=0.1, weight_decay=5e-3),
    ]
    d = read(net, optimizers)
    assert (d.lambda_w, d.lambda_h) == (5e-3, pytest.approx(1e-3 / N))


def test_the_model_and_its_bound():
    d = read(mlp(nn.BatchNorm1d(D))())
    model = d.model("600x1,200x2")
    assert (model.lambda_w, model.lambda_b, model.features) == (DECAY, DECAY, "any")
    assert model.lambda_z == pytest.approx(DECAY / N**0.5)
    solution = model.solve()
    assert 0 < d.bound("600x1,200x2") <= solution.objective <= d.bound("600x1,200x2") + 1e-8
    relu = read(mlp(nn.BatchNorm1d(D), nn.ReLU())())
    assert relu.bound("600x1,200x2") >= d.bound("600x1,200x2")


@pytest.mark.parametrize(
    ("kind", "settings", "schedule", "expected"),
    [
        ("SGD", {"momentum": 0.9}, 200, 200 * 0.1 * 1e-3 / 0.1),
        ("SGD", {}, [0.1, 0.05, 0.01], 0.16 * 1e-3),
        ("SGD", {"momentum": 0.9, "dampening": 0.5}, 10, 10 * 0.1 * 1e-3 * 5),
        ("AdamW", {}, 200, 200 * 0.1 * 1e-3),
        ("Adam", {}, 200, None),
    ],
)
def test_relaxation_times(kind, settings, schedule, expected):
    net = mlp(nn.BatchNorm1d(D))()
    optimizer = getattr(torch.optim, kind)(net.parameters(), lr=0.1, weight_decay=1e-3, **settings)
    found = read(net, optimizer).relaxations(optimizer, schedule)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.slow
def test_relaxation_is_what_shrinks_a_weight_without_gradient():
    """e^{−T}, on a weight that nothing else moves."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    net = mlp(nn.BatchNorm1d(D))()
    for settings in ({"momentum": 0.9}, {}):
        both = [{"params": net.parameters()}, {"params": [weight]}]
        optimizer = torch.optim.SGD(both, lr=0.1, weight_decay=1e-3, **settings)
        with torch.no_grad():
            weight.fill_(1.0)
        for _ in range(2000):
            weight.grad = torch.zeros_like(weight)
            optimizer.step()
        times = read(net, optimizer).relaxations(optimizer, 2000)
        assert weight.item() == pytest.approx(torch.tensor(-times).exp().item(), rel=0.02)


def test_reading_changes_nothing():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.utils.spectral_norm(nn.Linear(D, D)),
        nn.BatchNorm1d(D),
        nn.Dropout(0.5),
        nn.utils.parametrizations.weight_norm(nn.Linear(D, D)),
        nn.BatchNorm1d(D),
        nn.Linear(D, K),
    )
    net[1].eval()
    net[4].weight.grad = torch.ones(D)
    before = copy.deepcopy(net.state_dict())
    flags = [module.training for module in net.modules()]
    attribute, hooks = net[0].weight, [len(module._forward_hooks) for module in net.modules()]
    optimizer, example = sgd(net), torch.randn(ROW)
    random = torch.get_rng_state()
    read(net, optimizer, example)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in net.modules()] == flags
    assert [len(module._forward_hooks) for module in net.modules()] == hooks
    assert net[0].weight is attribute
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert net[0].weight_orig.grad is None
    assert torch.equal(net[4].weight.grad, torch.ones(D))
    assert optimizer.state == {}


def test_wrapped_models_and_keyword_examples():
    net = mlp(nn.BatchNorm1d(D))()
    assert read(nn.DataParallel(net)).classifier == "2"
    assert read(net, example={"input": torch.randn(ROW)}).end == "batch-norm"
    assert read(net, example=(torch.randn(ROW),)).end == "batch-norm"
    assert read(net, classifier="2").classifier == read(net, classifier=net[2]).classifier == "2"


def two_heads():
    return Of(
        lambda m, x: (m.one(z := m.bn(m.lin(x))), m.two(z)),
        lin=nn.Linear(D, D),
        bn=nn.BatchNorm1d(D),
        one=nn.Linear(D, K),
        two=nn.Linear(D, K),
    )


def features_returned():
    return Of(
        lambda m, x: (m.fc(z := m.bn(m.lin(x))), z), lin=nn.Linear(D, D), bn=nn.BatchNorm1d(D), fc=nn.Linear(D, K)
    )


def features_used_again():
    return Of(
        lambda m, x: (m.fc(z := m.bn(m.lin(x))), m.other(nn.functional.relu(z)).mean()),
        lin=nn.Linear(D, D),
        bn=nn.BatchNorm1d(D),
        fc=nn.Linear(D, K),
        other=nn.Linear(D, 2),
    )


def tied():
    net = nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.Linear(D, D))
    net[2].weight = net[0].weight
    return net


def frozen_head():
    net = mlp(nn.BatchNorm1d(D))()
    net[2].weight.requires_grad_(False)
    return net


def run_twice():
    return Of(lambda m, x: m.fc(m.fc(m.bn(m.lin(x)))), lin=nn.Linear(D, D), bn=nn.BatchNorm1d(D), fc=nn.Linear(D, D))


@pytest.mark.parametrize(
    ("build", "settings", "message"),
    [
        (lambda: nn.Sequential(nn.BatchNorm1d(D)), {}, "classifier must be a linear layer"),
        (
            lambda: nn.Sequential(nn.Linear(D, K), nn.Softmax(1)),
            {},
            "model must return the outputs of one linear layer, its classifier; got what .* '_softmax' makes",
        ),
        (two_heads, {}, "classifier must be named where the model returns the outputs of several; got 'one', 'two'"),
        (two_heads, {"classifier": "one"}, "model must use what enters its classifier for nothing else"),
        (features_returned, {}, "model must use what enters its classifier for nothing else; got a model that returns"),
        (features_used_again, {"classifier": "fc"}, "model must use what enters its classifier for nothing else"),
        (tied, {}, "classifier must have a weight that no other layer has; got '2', whose weight is tied to"),
        (run_twice, {}, "classifier must have a weight that no other layer has; got 'fc', whose weight is used by"),
        (frozen_head, {}, "classifier must be trained; got '2', whose weight has requires_grad=False"),
        (
            lambda: nn.Sequential(nn.BatchNorm1d(D), nn.utils.parametrizations.weight_norm(nn.Linear(D, K))),
            {},
            "classifier must hold its weight as a parameter of its own",
        ),
        (mlp(nn.BatchNorm1d(D)), {"classifier": "9"}, "classifier must be a module of the model or its name"),
        (mlp(nn.BatchNorm1d(D)), {"num_classes": 77}, "classifier must be a linear layer with 77 outputs"),
        (mlp(nn.BatchNorm1d(D)), {"example": torch.randn(4, 99)}, "example_input must be a batch that the model takes"),
        (mlp(nn.BatchNorm1d(D)), {"example": torch.randn(1, D)}, "example_input .* give two samples or more"),
        (
            mlp(nn.LayerNorm(D)),
            {"example": torch.randn(4, 3, D)},
            "example_input must give the classifier one row",
        ),
        (mlp(nn.BatchNorm1d(D)), {"example": "rows"}, "example_input must hold a batch of samples"),
        (mlp(nn.BatchNorm1d(D)), {"optimizer": "sgd"}, "optimizer must be a torch.optim.Optimizer, or a list"),
    ],
)
def test_what_cannot_be_read_is_one_line(build, settings, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        read(build(), **settings)
    assert "\n" not in str(caught.value)


def test_an_optimizer_of_other_parameters():
    with pytest.raises(ArgumentError, match=r"optimizer must hold the weight of the .* one without '2.weight'"):
        read(mlp(nn.BatchNorm1d(D))(), sgd(nn.Linear(2, 2)))


@pytest.mark.parametrize("value", [0, 2.5, None])
def test_numbers_of_samples(value):
    net = mlp(nn.BatchNorm1d(D))()
    with pytest.raises(ArgumentError, match="num_samples must be a whole number of at least 1"):
        read_decays(net, sgd(net), num_samples=value, example_input=torch.randn(ROW))


def test_a_frozen_batch_normalisation_normalises_nothing():
    class Fixed(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[1].eval()
            return self

    d = read(Fixed(nn.Linear(D, D), nn.BatchNorm1d(D), nn.Linear(D, K)))
    assert d.end == "none"
    assert "uses fixed statistics" in d.statement


def test_a_block_written_in_place():
    """A part of a tensor that is overwritten is not mistaken for what it was."""

    def run(m, x):
        z = m.bn(m.lin(x))
        z[:, :2] = 7.0
        return m.fc(z)

    net = Of(run, lin=nn.Linear(D, D), bn=nn.BatchNorm1d(D), fc=nn.Linear(D, K))
    assert read(net).end == "unknown"


def test_residual_blocks_in_place_and_by_name():
    net = nn.Sequential(Residual(3, D, "normalised"), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(D, K))
    d = read(net, example=torch.randn(4, 3, 8, 8))
    assert "2 normalised branches that are added, a ReLU, pooling over 64 positions" in d.statement
    assert d.scale_parameters == ("0.bn2.weight", "0.bn2.bias", "0.shortcut.1.weight", "0.shortcut.1.bias")
