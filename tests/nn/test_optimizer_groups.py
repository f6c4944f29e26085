"""Parameter groups that carry the model's decays: read back by the translator, and where descent by them rests."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lopsided.nn import DecayWarning, classifier_penalty, decay_groups, optimizer_decays, simplex_etf_head
from nn.resting import rest, samples, step_from_rest


def network(bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3, bias=bias)
    )


def by_name(groups):
    return {group["name"]: group for group in groups}


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    lambda_w=st.floats(1e-8, 10),
    body=st.floats(0, 1),
    kind=st.sampled_from([torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop]),
    bias=st.booleans(),
)
def test_the_translator_reads_back_the_decays(lambda_w, body, kind, bias):
    net = network(bias)
    found = optimizer_decays(kind(decay_groups(net, lambda_w, body_decay=body, num_classes=3), lr=0.1), net[5])
    assert (found.lambda_w, found.lambda_b, found.kind) == (lambda_w, 0.0 if bias else None, "l2")
    assert (found.backbone_decays, found.warnings) == ((body, 0.0), ())


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_a_decayed_bias_is_read_back_and_warned_of(kind):
    net = network()
    optimizer = kind(decay_groups(net, 5e-4, 2e-3, classifier="5"), lr=0.1)
    with pytest.warns(DecayWarning, match="decays the bias"):
        found = optimizer_decays(optimizer, net[5])
    assert (found.lambda_w, found.lambda_b) == (5e-4, 2e-3)


def test_adamw_has_no_such_decay_and_a_penalty_beside_it_has():
    net = network()
    with pytest.warns(DecayWarning, match="decoupled from the gradient"):
        found = optimizer_decays(torch.optim.AdamW(decay_groups(net, 5e-4, num_classes=3), lr=0.1), net[5])
    assert (found.lambda_w, found.kind) == (None, "decoupled")
    groups = decay_groups(net, lambda_w=0.0, body_decay=0.1, num_classes=3)
    optimizer = torch.optim.AdamW(groups, lr=0.1)  # whose default decay is 0.01: the groups' own must prevail
    found = optimizer_decays(optimizer, net[5], explicit_penalty=5e-4, explicit_bias_penalty=2e-3)
    assert (found.lambda_w, found.lambda_b, found.warnings) == (5e-4, 2e-3, ())
    assert found.backbone_decays == (0.1, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("decoupled", [False, True])
def test_descent_rests_where_the_penalties_do(decoupled):
    """There a step moves nothing: the groups decay as the penalties do, or, under AdamW, the penalty itself is used."""
    head = nn.Linear(5, 3).double()
    features, labels = samples()
    rest(head, features, labels, lambda_w=0.05, lambda_b=0.02)

    def loss():
        value = functional.cross_entropy(head(features), labels)
        return value + classifier_penalty(head.weight, head.bias, 0.05, 0.02) if decoupled else value

    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    groups = decay_groups(head, 0.0 if decoupled else 0.05, 0.0 if decoupled else 0.02)
    assert step_from_rest(kind(groups, lr=0.1, eps=1.0), head, loss) < 1e-9  # of this ε, steps are as long as gradients
    for other in (decay_groups(head, 0.04, 0.02), decay_groups(head, 0.05, 0.03)):
        rest(head, features, labels, lambda_w=0.05, lambda_b=0.02)
        assert step_from_rest(torch.optim.Adam(other, lr=0.1, eps=1.0), head, loss) > 1e-5


def test_every_trainable_parameter_is_in_one_group():
    net = network()
    groups = by_name(decay_groups(net, 5e-4, 1e-3, body_decay=1e-4, num_classes=3))
    assert {name: (len(group["params"]), group["weight_decay"]) for name, group in groups.items()} == {
        "classifier weight": (1, 5e-4),
        "classifier bias": (1, 1e-3),
        "body": (2, 1e-4),
        "body without decay": (4, 0.0),
    }
    assert groups["classifier weight"]["params"][0] is net[5].weight
    assert groups["classifier bias"]["params"][0] is net[5].bias
    assert all(parameter.ndim == 1 for parameter in groups["body without decay"]["params"])
    listed = [id(parameter) for group in groups.values() for parameter in group["params"]]
    assert sorted(listed) == sorted(map(id, net.parameters()))


def test_frozen_parameters_are_left_out():
    net = network()
    for parameter in net[0].parameters():
        parameter.requires_grad_(False)
    listed = [p for group in decay_groups(net, 5e-4, num_classes=3) for p in group["params"]]
    assert sorted(map(id, listed)) == sorted(id(p) for p in net.parameters() if p.requires_grad)


def test_a_layer_used_twice_and_weights_tied_in_the_body_count_once():
    net = network()
    shared = nn.Linear(6, 6)
    net.insert(5, shared)
    net.insert(5, shared)
    tied = nn.Linear(6, 6)
    tied.weight = shared.weight
    net.insert(5, tied)
    groups = by_name(decay_groups(net, 5e-4, body_decay=1e-3, num_classes=3))
    assert sum(parameter is shared.weight for parameter in groups["body"]["params"]) == 1
    torch.optim.SGD(list(groups.values()), lr=0.1)


@pytest.mark.slow
def test_the_head_of_a_wrapped_model_is_found():
    net = network()
    compiled = torch.compile(net, backend="eager")
    groups = by_name(decay_groups(compiled, 5e-4, classifier="5"))
    assert groups["classifier weight"]["params"][0] is net[5].weight


def test_the_head_may_be_a_module_or_the_only_linear_layer():
    net = network()
    assert decay_groups(net, 1e-3, classifier=net[3])[0]["params"][0] is net[3].weight
    only = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(8, 3))
    assert decay_groups(only, 1e-3)[0]["params"][0] is only[2].weight


def test_a_fixed_head_leaves_the_body_its_decay():
    net = network(bias=False)
    frozen = copy.deepcopy(net)
    frozen[5].weight.requires_grad_(False)
    fixed = copy.deepcopy(net)
    fixed[5] = simplex_etf_head(3, 6)
    for model in (frozen, fixed):
        groups = decay_groups(model, 0.0, body_decay=1e-4, classifier="5")
        assert [group["name"] for group in groups] == ["body", "body without decay"]
        with pytest.raises(ValueError, match=r"^lambda_w must be 0 where the classifier has no trainable weight"):
            decay_groups(model, 1e-3, classifier="5")


def tied_to_an_embedding():
    model = nn.ModuleDict({"words": nn.Embedding(3, 6), "head": nn.Linear(6, 3)})
    model["head"].weight = model["words"].weight
    return model


def with_shared_bias():
    model = nn.ModuleDict({"body": nn.Linear(6, 3), "head": nn.Linear(3, 3)})
    model["head"].bias = model["body"].bias
    return model


def normalised():
    return nn.ModuleDict({"head": nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))})


def frozen():
    return nn.Linear(6, 3).requires_grad_(False)


def lazy():
    return nn.Sequential(nn.LazyConv1d(4, 3), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("build", "settings", "message"),
    [
        (network, {"lambda_w": -1.0}, "lambda_w must be a finite number of at least 0; got -1.0"),
        (network, {"lambda_w": 1.0, "lambda_b": math.inf}, "lambda_b must be .*; got inf"),
        (network, {"lambda_w": 1.0, "body_decay": math.nan}, "body_decay must be .*; got nan"),
        (
            network,
            {"lambda_w": 1.0},
            r"classifier must be named where .* several linear layers, .*'3' \(6\), '5' \(3\)",
        ),
        (network, {"lambda_w": 1.0, "num_classes": 7}, "classifier must be a linear layer with 7 outputs; the model"),
        (
            network,
            {"lambda_w": 1.0, "classifier": "fc"},
            "classifier must be a module of the model or its name; got 'fc'",
        ),
        (
            network,
            {"lambda_w": 1.0, "classifier": "0"},
            r"classifier must have a weight of shape \(K, d\).*\(4, 2, 3\)",
        ),
        (
            lambda: network(bias=False),
            {"lambda_w": 1.0, "lambda_b": 0.1, "classifier": "5"},
            "lambda_b must be 0 where",
        ),
        (lambda: nn.Conv1d(2, 4, 3), {"lambda_w": 1.0}, "classifier must be a linear layer; the model has none"),
        (
            tied_to_an_embedding,
            {"lambda_w": 1.0},
            "classifier must have a weight that no other .* tied to 'words.weight'",
        ),
        (
            with_shared_bias,
            {"lambda_w": 1.0, "classifier": "head"},
            "classifier must have a bias .* tied to 'body.bias'",
        ),
        (
            normalised,
            {"lambda_w": 1.0, "classifier": "head"},
            "classifier must hold its weight as a parameter .*'head'",
        ),
        (frozen, {"lambda_w": 1.0}, "lambda_w must be 0 where the classifier has no trainable weight"),
        (frozen, {"lambda_w": 0.0}, "model must have a trainable parameter"),
        (lazy, {"lambda_w": 1.0}, "model must have run once, .*'0.weight' has none"),
    ],
)
def test_what_cannot_be_split_is_refused(build, settings, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        decay_groups(build(), **settings)


def test_two_layers_with_as_many_outputs_must_be_told_apart():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"several linear layers with 3 outputs, .*give classifier=$"):
        decay_groups(model, 1e-3, num_classes=3)
