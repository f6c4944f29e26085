"""What an optimiser's weight decay is in the model: compared with where training by it comes to rest."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.nn import functional

from lopsided.nn import DecayWarning, optimizer_decays
from lopsided.nn.optimizer_kinds import is_decoupled
from nn.resting import rest, samples, step_from_rest


def network(bias=True):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Linear(6, 3, bias=bias))


def groups(net, weight=1e-2, bias=0.0, backbone=5e-4):
    head = net[1]
    return [
        {"params": list(net[0].parameters()), "weight_decay": backbone},
        {"params": [head.weight], "weight_decay": weight},
        *([] if head.bias is None else [{"params": [head.bias], "weight_decay": bias}]),
    ]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad])
def test_decay_in_the_gradient_is_taken_as_it_is_and_found_in_its_group(kind):
    net = network()
    decays = optimizer_decays(kind(groups(net), lr=0.1), net[1])
    assert (decays.lambda_w, decays.lambda_b, decays.kind) == (1e-2, 0.0, "l2")
    assert (decays.weight_groups, decays.bias_groups, decays.backbone_groups) == ((1,), (2,), (0,))
    assert decays.backbone_decays == (5e-4,)
    assert decays.warnings == ()
    assert len(decays.assumptions) == 3


def test_a_head_without_a_bias_has_no_decay_of_it():
    net = network(bias=False)
    decays = optimizer_decays(torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-3), net[1])
    assert (decays.lambda_w, decays.lambda_b, decays.bias_groups) == (1e-3, None, ())
    assert decays.backbone_groups == (0,)


@pytest.mark.parametrize(
    ("settings", "decays", "words"),
    [
        ({"explicit_penalty": 3e-3}, (1.3e-2, 0.0), "regularised twice: by weight_decay=0.01"),
        ({"explicit_penalty": 3e-3, "halved": False}, (1.6e-2, 0.0), "regularised twice"),
        ({"loss_reduction": "sum", "batch_size": 50}, (2e-4, 0.0), "sum over the batch: every decay counts for 1/50"),
    ],
)
def test_what_may_not_be_meant_is_warned_of_and_counted(settings, decays, words):
    net = network()
    with pytest.warns(DecayWarning, match=words):
        found = optimizer_decays(torch.optim.SGD(groups(net), lr=0.1), net[1], **settings)
    assert (found.lambda_w, found.lambda_b) == pytest.approx(decays)
    assert len(found.warnings) == 1
    assert words in found.warnings[0]


def test_a_decayed_bias_is_warned_of():
    net = network()
    with pytest.warns(DecayWarning, match="decays the bias of the classifier; that moves"):
        found = optimizer_decays(torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-3), net[1])
    assert (found.lambda_w, found.lambda_b) == (1e-3, 1e-3)
    with pytest.warns(DecayWarning, match="and penalised by the loss as well: twice"):
        found = optimizer_decays(
            torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-3), net[1], explicit_bias_penalty=0.01
        )
    assert found.lambda_b == pytest.approx(0.011)


def test_a_weight_in_two_optimisers_is_regularised_twice():
    net = network()
    optimizers = [torch.optim.SGD(groups(net), lr=0.1), torch.optim.SGD([net[1].weight], lr=0.1, weight_decay=0.5)]
    with pytest.warns(DecayWarning, match=r"more than one parameter group \(1, 3\)"):
        found = optimizer_decays(optimizers, net[1])
    assert found.lambda_w == pytest.approx(0.51)
    assert found.weight_groups == (1, 3)


def test_no_decay_at_all_is_warned_of_and_a_penalty_alone_is_not():
    net = network()
    with pytest.warns(DecayWarning, match="nothing decays the classifier"):
        optimizer_decays(torch.optim.SGD(groups(net, weight=0.0), lr=0.1), net[1])
    found = optimizer_decays(torch.optim.SGD(groups(net, weight=0.0), lr=0.1), net[1], explicit_penalty=0.02)
    assert (found.lambda_w, found.warnings) == (0.02, ())


@pytest.mark.parametrize(("kind", "settings"), [(torch.optim.SGD, {}), (torch.optim.Adam, {"eps": 1.0})])
def test_decay_in_the_gradient_rests_where_the_penalty_does(kind, settings):
    head = torch.nn.Linear(5, 3, bias=False).double()
    optimizer = kind(head.parameters(), lr=0.1, weight_decay=0.05, **settings)
    features, labels = samples()
    for decay, rests in ((optimizer_decays(optimizer, head).lambda_w, True), (0.06, False)):
        rest(head, features, labels, decay)
        moved = step_from_rest(optimizer, head, lambda: functional.cross_entropy(head(features), labels))
        assert moved < 1e-9 if rests else moved > 1e-5


@pytest.mark.slow
def test_decoupled_decay_is_unknown_at_first_and_then_read_off_the_state():
    """Gradients with noise: their mean square, not the mean, decides what AdamW's decay amounts to."""
    torch.manual_seed(0)
    head = torch.nn.Linear(5, 3, bias=False).double()
    features, labels = torch.randn(600, 5).double(), torch.randint(3, (600,))
    labels[:300] = features[:300, :3].argmax(dim=1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2, weight_decay=1.0, betas=(0.9, 0.999))
    with pytest.warns(DecayWarning, match="nothing is known of its size before the first step"):
        before = optimizer_decays(optimizer, head)
    assert (before.lambda_w, before.kind, before.spread) == (None, "decoupled", None)

    average = torch.zeros_like(head.weight)
    for step in range(1500):
        chosen = torch.randint(600, (4,))
        optimizer.zero_grad()
        functional.cross_entropy(head(features[chosen]), labels[chosen]).backward()
        optimizer.step()
        if step >= 500:
            average += head.weight.detach() / 1000
    with pytest.warns(DecayWarning, match="a mean over entries that differ"):
        found = optimizer_decays(optimizer, head)
    resting = average.clone().requires_grad_()
    functional.cross_entropy(features @ resting.T, labels).backward()
    implied = float(-(resting.grad * average).sum() / average.square().sum())
    assert found.lambda_w == pytest.approx(implied, rel=0.15)
    assert found.lambda_w < 0.5  # and not the 1 that the optimiser was given
    assert found.spread[0] <= found.lambda_w <= found.spread[1]


def test_adam_told_to_decouple_is_recognised():
    net = network(bias=False)
    optimizer = torch.optim.NAdam(net.parameters(), lr=0.1, weight_decay=0.1, decoupled_weight_decay=True)
    with pytest.warns(DecayWarning):
        assert optimizer_decays(optimizer, net[1]).kind == "decoupled"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_reduction": "none"}, "loss_reduction must be 'mean' or 'sum'; got 'none'"),
        ({"loss_reduction": "sum"}, "batch_size must be given.*; got None"),
        ({"explicit_penalty": -1.0}, "explicit_penalty must be a finite number of at least 0; got -1.0"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    net = network()
    with pytest.raises(ValueError, match=f"^{message}"):
        optimizer_decays(torch.optim.SGD(groups(net), lr=0.1), net[1], **settings)


def test_a_head_that_the_optimiser_does_not_train_is_refused():
    net = network()
    with pytest.raises(ValueError, match=r"^head must have its weight in a parameter group"):
        optimizer_decays(torch.optim.SGD(net[0].parameters(), lr=0.1), net[1])


def test_a_warning_names_the_line_of_the_caller():
    net = network()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer_decays(torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-3), net[1])
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(("kind", "decoupled"), [(torch.optim.SGD, False), (torch.optim.AdamW, True)])
def test_an_optimiser_inside_another_is_read_as_itself(kind, decoupled):
    """As Accelerate and Lightning hand theirs out."""
    from accelerate import Accelerator

    inner = kind([torch.nn.Parameter(torch.ones(2))], lr=0.1, weight_decay=0.01)
    wrapped = Accelerator(cpu=True).prepare(inner)
    assert type(wrapped) is not kind
    assert is_decoupled(wrapped, wrapped.param_groups[0]) is decoupled
