"""Heads that are not trained: a linear layer in all but its weight's fate."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import lopsided as lp
from lopsided.metrics import FeatureCapture
from lopsided.nn import FixedHead, predicted_head, simplex_etf_head
from lopsided.theory import largest_cosine


def test_it_is_a_linear_layer_whose_weight_no_optimiser_sees():
    weight = np.arange(6.0).reshape(3, 2)
    head = FixedHead(weight, bias=True)
    assert isinstance(head, nn.Linear)
    assert (head.in_features, head.out_features) == (2, 3)
    assert [name for name, _ in head.named_parameters()] == ["bias"]
    assert [name for name, _ in head.named_buffers()] == ["weight"]
    inputs = torch.tensor([[1.0, -1.0]], requires_grad=True)
    torch.testing.assert_close(head(inputs), inputs @ torch.tensor(weight, dtype=torch.float32).T)
    optimizer = torch.optim.SGD(nn.Sequential(nn.Linear(2, 2), head).parameters(), lr=1.0, weight_decay=0.5)
    head(inputs).square().sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(head.weight.numpy(), weight)
    assert head.bias.abs().max() > 0
    assert inputs.grad is not None
    head.reset_parameters()
    np.testing.assert_array_equal(head.weight.numpy(), weight)
    assert head.bias.eq(0).all()
    assert FixedHead(weight).bias is None


def test_what_was_given_is_copied():
    given = torch.eye(3, dtype=torch.float64)
    head = FixedHead(given)
    given.zero_()
    assert head.weight.dtype == torch.float64
    assert head.weight.trace() == 3


@pytest.mark.parametrize("bias", [True, False])
def test_it_survives_checkpoints_copies_and_pickles(bias):
    head, other = (simplex_etf_head(5, 6, seed=seed, bias=bias) for seed in (1, 2))
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    assert not torch.equal(head.weight, other.weight)
    assert other.fingerprint != head.fingerprint
    other.load_state_dict(torch.load(file, weights_only=True))
    for same in (other, copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert torch.equal(same.weight, head.weight)
        assert same.fingerprint == head.fingerprint
        assert not same.weight.requires_grad
        assert (same.bias is not None) is bias
    # and what a trained linear head left behind can be taken over
    linear = nn.Linear(6, 5, bias=bias)
    head.load_state_dict(linear.state_dict())
    assert torch.equal(head.weight, linear.weight)


def test_it_moves_with_its_module():
    network = nn.Sequential(nn.Linear(4, 6), simplex_etf_head(5, 6, bias=True)).to(torch.float64)
    assert network[1].weight.dtype == network[1].bias.dtype == torch.float64
    assert network(torch.zeros(2, 4, dtype=torch.float64)).dtype == torch.float64
    assert network.to("meta")[1].weight.is_meta


def test_its_features_are_captured():
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), simplex_etf_head(5, 6))
    inputs = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    with FeatureCapture(network, num_classes=5) as capture:
        network(inputs)
        torch.testing.assert_close(capture.take(), network[:2](inputs))
        assert capture.name == "2"


@pytest.mark.parametrize("dim", [4, 7, 3])
def test_a_simplex_head(dim):
    head = simplex_etf_head(5, dim, scale=3.0, seed=4)
    weight = head.weight.double().numpy()
    np.testing.assert_allclose(np.linalg.norm(weight, axis=1), 3, rtol=1e-6)
    assert largest_cosine(weight) == pytest.approx(-0.25 if dim >= 4 else 0.0, abs=1e-5)


@pytest.mark.parametrize("given", ["problem", "solution"])
@pytest.mark.parametrize("dim", [9, 32])
def test_a_predicted_head_has_the_geometry_of_the_optimum(dim, given):
    model = lp.UFM("500x5,100x5", lambda_w=1e-2, lambda_h=1e-4, bias=False)
    solution = model.solve()
    head = predicted_head(model if given == "problem" else solution, dim, seed=3)
    assert head.weight.shape == (10, dim)
    assert head.bias is None
    weight = head.weight.double().numpy()
    np.testing.assert_allclose(weight @ weight.T, solution.geometry.gram_classifier, atol=1e-5)
    assert predicted_head(solution, dim, bias=True).bias is not None
    assert not torch.equal(head.weight, predicted_head(solution, dim, seed=4).weight)


def test_a_predicted_head_of_merged_classes_needs_as_many_dimensions_as_are_left():
    solution = lp.UFM("500x5,100x5", lambda_z=3.5e-3, lambda_b=0.02).solve()
    assert solution.geometry.rank == 5
    head = predicted_head(solution, 5)
    assert head.bias is not None
    torch.testing.assert_close(head.weight[5], head.weight[9])
    with pytest.raises(ValueError, match=r"^dim must be .* rank of the predicted classifier, 5; got 4; widen"):
        predicted_head(solution, 4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FixedHead([1.0, 2.0]), r"weight must be a finite \(K, d\) matrix .*; got torch.float32 of \(2,\)"),
        (lambda: FixedHead([[np.inf, 2.0]]), "weight must be a finite"),
        (lambda: FixedHead(torch.eye(2, dtype=torch.int64)), "weight must be .* floating type; got torch.int64"),
        (lambda: simplex_etf_head(3, 3, scale=-1.0), "scale must be a finite number above 0; got -1.0"),
        (lambda: predicted_head(lp.UFM("9,9", 10.0), 4), "problem must keep some classes apart; all have merged in"),
        (
            lambda: predicted_head(lp.UFM("9,9", 0.01, features="relu"), 4),
            r"problem must have features of any sign for predicted_head\(\)",
        ),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
