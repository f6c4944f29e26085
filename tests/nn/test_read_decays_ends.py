"""What each end charges for features, derived without the rules: by trying, minimising, and attacking the bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn
from torch.nn import functional

from lopsided.model import UFM
from lopsided.nn import read_decays
from lopsided.nn.head_in_trace import find_head
from lopsided.nn.scale_free import shrinking
from lopsided.nn.tracing import trace
from nn.networks_to_read import CASES, Of, one_thread  # noqa: F401

BOUNDED = [name for name, case in CASES.items() if case.low and "dropout" not in name]
EPS = 1e-30  # PyTorch wants one


def features_of(net, head, x):
    """What enters the head as the network trains."""
    found = []
    with head.register_forward_pre_hook(lambda _, args: found.append(args[0])):
        net(x)
    return found[0]


def without_eps(net):
    for module in net.modules():
        if hasattr(module, "eps"):
            module.eps = EPS


def penalty(net, d, decay):
    named = dict(net.named_parameters())
    return 0.5 * decay * sum(named[name].square().sum() for name in d.scale_parameters)


def read(net, x, decay=1.0):
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=decay)
    return read_decays(net, sgd, num_samples=len(x), example_input=x)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDED)
@torch.no_grad()
def test_no_network_pays_less_than_is_read(name):
    """R(H) ≥ λ_h/2 ‖H‖² for whatever parameters and inputs; equal where it is said to be exact and nothing is cut."""
    torch.manual_seed(1)
    case = CASES[name]
    net = case.build().double()
    for _ in range(5):
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 10 ** torch.empty(1).uniform_(-1, 1).item())
        x = torch.randn(case.example, dtype=torch.float64)
        d = read(net, x)
        head = net.get_submodule(d.classifier)
        energy = features_of(net, head, x).square().sum()
        assert penalty(net, d, 1.0) >= d.lambda_h / 2 * energy * (1 - 1e-9)


def free_inputs(run, shape, **modules):
    """A network whose normalisations see a tensor that may be anything."""
    net = Of(run, **modules).double()
    x = nn.Parameter(torch.randn(shape, dtype=torch.float64))
    return net, x


TAILS = {
    "layer": ((6, 4), lambda m, x: m.fc(m.a(x)), {"a": nn.BatchNorm1d}, 1.0),
    "layer+relu": ((6, 4), lambda m, x: m.fc(functional.relu(m.a(x))), {"a": nn.BatchNorm1d}, 1.0),
    "gelu": ((6, 4), lambda m, x: m.fc(functional.gelu(m.a(x))), {"a": nn.BatchNorm1d}, 1.0),
    "average": ((6, 4, 3, 3), lambda m, x: m.fc(functional.relu(m.a(x)).mean((2, 3))), {"a": nn.BatchNorm2d}, 1.0),
    "largest": ((6, 4, 3, 3), lambda m, x: m.fc(functional.relu(m.a(x)).amax((2, 3))), {"a": nn.BatchNorm2d}, 1 / 9),
    "two branches": (
        (6, 8),
        lambda m, x: m.fc(functional.relu(m.a(x[:, :4]) + m.b(x[:, 4:]))),
        {"a": nn.BatchNorm1d, "b": nn.BatchNorm1d},
        1 / 2,
    ),
    "two blocks": (
        (6, 12),
        lambda m, x: m.fc(functional.relu(m.c(x[:, 8:]) + functional.relu(m.a(x[:, :4]) + m.b(x[:, 4:8])))),
        {"a": nn.BatchNorm1d, "b": nn.BatchNorm1d, "c": nn.BatchNorm1d},
        1 / 3,
    ),
    "layer normalisation": ((6, 4), lambda m, x: m.fc(m.a(x)), {"a": nn.LayerNorm}, 1 / 4),
    "root mean square": ((6, 4), lambda m, x: m.fc(m.a(x)), {"a": nn.RMSNorm}, 1 / 4),
    "group normalisation": ((6, 4), lambda m, x: m.fc(m.a(x)), {"a": lambda d: nn.GroupNorm(1, d)}, 1 / 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TAILS)
def test_the_bound_is_the_best_one(name):
    """Free normalised features and scales that make ‖H‖² as large as they can reach it, and never pass it."""
    torch.manual_seed(2)
    shape, run, kinds, factor = TAILS[name]
    net, x = free_inputs(run, shape, **{part: kind(4) for part, kind in kinds.items()}, fc=nn.Linear(4, 2))
    d = read(net, x.detach())
    assert d.lambda_h * shape[0] == pytest.approx(factor)
    scales = [parameter for part in kinds for parameter in net.get_submodule(part).parameters()]
    for parameter in scales:
        nn.init.uniform_(parameter, 0.5, 1.5)
    if "normalisation" in name:
        x.data[:, 0] += 3.0  # away from the saddle where samples lie on both sides
    adam = torch.optim.Adam([x, *scales], lr=0.12)
    best = 0.0
    for _ in range(150):
        ratio = d.lambda_h / 2 * features_of(net, net.fc, x).square().sum() / penalty(net, d, 1.0)
        best = max(best, ratio.item())
        adam.zero_grad()
        (-ratio.log()).backward()
        adam.step()
    assert 0.95 < best <= 1 + 1e-9


@pytest.mark.parametrize(("features", "positions"), [("any", 1), ("relu", 1), ("any", 3), ("relu", 3)])
def test_given_features_cost_what_the_formula_says(features, positions):
    """The cheapest scales that give random features, over all that the activation hides; positions share a scale."""
    rng = np.random.default_rng(3)
    shape, width = ((7, 4, positions) if positions > 1 else (7, 4)), 4 * positions
    wanted = rng.normal(size=shape)
    wanted = np.maximum(wanted, 0.0) if features == "relu" else wanted
    hidden = (wanted == 0) if features == "relu" else np.zeros(shape, dtype=bool)
    axes = (0, 2) if positions > 1 else (0,)

    def inputs(values):
        full = wanted.copy()
        full[hidden] = values
        return full

    def squares(values):  # of the one scale and shift of each channel that make these inputs of normalised ones
        full = inputs(values)
        return float(np.sum(full.mean(axes) ** 2 + full.var(axes)))

    start = -rng.uniform(0.1, 2.0, hidden.sum())
    found = minimize(squares, start, method="L-BFGS-B", bounds=[(None, 0.0)] * hidden.sum()).x if len(start) else start
    full = torch.tensor(inputs(found))
    activation = functional.relu if features == "relu" else torch.Tensor.contiguous
    net = Of(lambda m, x: m.fc(activation(m.a(x)).flatten(1)), a=nn.BatchNorm1d(4, eps=EPS), fc=nn.Linear(width, 2))
    net = net.double()
    with torch.no_grad():
        net.a.weight.copy_(full.var(axes, correction=0).sqrt())
        net.a.bias.copy_(full.mean(axes))
        d = read(net, full, decay=0.3)
        assert (d.exact, d.features) == (True, features)
        assert torch.allclose(features_of(net, net.fc, full), torch.tensor(wanted).flatten(1), atol=1e-6)
        assert float(penalty(net, d, 0.3)) == pytest.approx(d.lambda_h / 2 * float(np.sum(wanted**2)), rel=1e-6)


def test_layer_normalisation_charges_far_less_than_batch_normalisation():
    """One channel carries everything: ‖H‖² is nearly d times what the formula of batch normalisation allows."""
    width, count = 64, 10
    norm = nn.LayerNorm(width, eps=EPS).double()
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.zero_()
        norm.weight[0] = 1.0
        x = torch.zeros(count, width, dtype=torch.float64)
        x[:, 0] = torch.tensor([1.0, -1.0] * 5)
        h = norm(x)
        paid = 0.5 * float(norm.weight.square().sum())
    assert paid < 0.02 * float(h.square().sum()) / (2 * count)
    assert paid >= float(h.square().sum()) / (2 * count * width)


def test_dropout_never_makes_the_objective_smaller():
    """The mean over its noise lies above the loss of what it leaves on the mean, by Jensen, up to the head itself."""
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    x, labels = torch.randn(12, 5, dtype=torch.float64), torch.arange(12) % 3
    with torch.no_grad():
        noisy = sum(functional.cross_entropy(net(x), labels) for _ in range(250)) / 250
        clean = functional.cross_entropy(net[4](net[:3](x)), labels)
    assert noisy > clean


def test_features_about_their_mean_cost_the_scales_alone():
    """What a free bias of the head makes of an undecayed shift: ‖H − H̄‖² and the scales."""
    torch.manual_seed(5)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    ).double()
    shifts = [net[1].bias, net[5].bias]
    rest = [parameter for parameter in net.parameters() if not any(parameter is shift for shift in shifts)]
    sgd = torch.optim.SGD([{"params": rest, "weight_decay": 0.5}, {"params": shifts, "weight_decay": 0.0}], lr=0.1)
    x = torch.randn(8, 3, 6, 6, dtype=torch.float64)
    d = read_decays(net, sgd, num_samples=8, example_input=x)
    assert (d.lambda_h, d.features, d.lambda_b, d.norm_decays) == (pytest.approx(0.5 / 8), "any", 0.0, (0.5, 0.0))
    assert "the scales alone count" in d.statement
    for _ in range(5):
        nn.init.normal_(net[1].weight)
        nn.init.normal_(net[1].bias)
        h = features_of(net, net[5], x).detach()
        paid = 0.25 * float(net[1].weight.detach().square().sum())
        assert paid >= d.lambda_h / 2 * float((h - h.mean(0)).square().sum())


@pytest.mark.parametrize(("scale", "shift"), [(0.4, 0.1), (0.1, 0.4)])
def test_scales_and_shifts_decayed_differently(scale, shift):
    """(λ_γ/2N)‖H − H̄‖² + (λ_β/2)‖h̄‖² exactly; the smaller of the two bounds it."""
    torch.manual_seed(6)
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, eps=EPS), nn.Linear(4, 3)).double()
    groups = [
        {"params": [net[0].weight, net[2].weight, net[2].bias], "weight_decay": 0.2},
        {"params": [net[1].weight], "weight_decay": scale},
        {"params": [net[1].bias, net[0].bias], "weight_decay": shift},
    ]
    x = torch.randn(9, 5, dtype=torch.float64)
    d = read_decays(net, torch.optim.SGD(groups, lr=0.1), num_samples=9, example_input=x)
    assert (d.norm_decays, d.exact) == ((scale, shift), False)
    assert d.lambda_h_range == (pytest.approx(min(scale, shift) / 9), pytest.approx(max(scale, shift) / 9))
    nn.init.normal_(net[1].weight)
    nn.init.normal_(net[1].bias)
    h = features_of(net, net[2], x).detach()
    paid = scale / 2 * net[1].weight.square().sum() + shift / 2 * net[1].bias.square().sum()
    about, mean = (h - h.mean(0)).square().sum(), h.mean(0).square().sum()
    assert paid.item() == pytest.approx(float(scale / 18 * about + shift / 2 * mean))
    assert paid.item() >= d.lambda_h / 2 * float(h.square().sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_scale_free_parameters_can_shrink_at_no_cost(name):
    """Along the way that was found the head sees the same, what is decayed does not grow, and what is free shrinks."""
    torch.manual_seed(7)
    case = CASES[name]
    net = case.build().double()
    without_eps(net)
    for parameter in net.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(case.example, dtype=torch.float64)
    d = read(net, x)
    head, passed = net.get_submodule(d.classifier), trace(net, x)
    named = dict(net.named_parameters())
    own = {f"{d.classifier}.weight", f"{d.classifier}.bias"}
    kept = [find_head(net, passed).layer.entering]
    free, rates = shrinking(kept, set(named), set(named) - own)
    assert free == set(d.scale_free)
    assert not free & set(d.scale_parameters)
    assert all(rate <= 1e-9 for rate in rates.values())
    assert all(rates[name] < -0.5 for name in free)
    torch.manual_seed(8)
    before = features_of(net, head, x)
    for name, rate in rates.items():
        named[name].mul_(np.exp(rate / max(1.0, *(abs(other) for other in rates.values()))))
    torch.manual_seed(8)
    assert torch.allclose(features_of(net, head, x), before, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["bn-relu", "cnn-avg", "gn-pooled", "rms", "log-softmax"])
@torch.no_grad()
def test_a_scale_free_weight_ten_times_as_large_changes_nothing(name):
    torch.manual_seed(8)
    case = CASES[name]
    net = case.build().double()
    without_eps(net)
    x = torch.randn(case.example, dtype=torch.float64)
    d = read(net, x)
    before = net(x)
    for name, parameter in net.named_parameters():
        if name in d.scale_free:
            parameter.mul_(10.0)
    assert torch.allclose(net(x), before, rtol=1e-9)


#: Counts, what a single batch normalisation sees of each class, and the decay in thresholds of the rare classes.
FIXED = {
    "apart": ([100, 100, 4, 4], [[-1.0], [1.0], [4.0], [-4.0]], 2.0),
    "recognised": ([187, 187, 18, 18], [[-0.1, 0.3], [-0.01, -1.11], [-0.53, 1.86], [-0.3, -7.86]], 1.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXED)
def test_features_that_are_not_free_may_keep_classes_apart(name):
    """Fixed inputs of one batch normalisation: rare classes stay apart, even recognised, past their threshold."""
    numbers, inputs, ratio = FIXED[name]
    counts, x = torch.tensor(numbers, dtype=torch.float64), torch.tensor(inputs, dtype=torch.float64)
    total = float(counts.sum())
    decay = ratio * float((counts[-1] / total).sqrt())
    x = x - counts @ x / total
    x = x / (counts @ x**2 / total).sqrt()
    best = np.inf
    for seed in range(8):
        torch.manual_seed(seed)
        shapes = [(x.shape[1],), (x.shape[1],), (4, x.shape[1]), (4,)]
        parameters = [nn.Parameter(1.5 * torch.randn(shape, dtype=torch.float64)) for shape in shapes]
        lbfgs = torch.optim.LBFGS(parameters, max_iter=500, line_search_fn="strong_wolfe")

        def objective(parameters=parameters, lbfgs=lbfgs):
            lbfgs.zero_grad()
            scale, shift, weight, bias = parameters
            loss = functional.cross_entropy((scale * x + shift) @ weight.T + bias, torch.arange(4), reduction="none")
            value = counts @ loss / total + decay / 2 * sum(parameter.square().sum() for parameter in parameters)
            value.backward()
            return value

        lbfgs.step(objective)
        if (reached := objective().item()) < best:
            scale, shift, weight, bias = (parameter.detach() for parameter in parameters)
            best, means, outputs = reached, (scale * x + shift) @ weight.T, (scale * x + shift) @ weight.T + bias
    model = UFM([int(count) for count in numbers], lambda_w=decay, lambda_h=decay / total, lambda_b=decay).solve()
    assert [2, 3] in model.geometry.merged
    assert best > model.objective
    assert float((means[2] - means[3]).abs().max()) > 1
    assert (outputs.argmax(1).tolist() == [0, 1, 2, 3]) == (name == "recognised")
