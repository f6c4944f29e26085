"""Networks whose classifier is not trained end where its own optimum says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import lopsided as lp
from lopsided.data import load_data, sample_indices
from lopsided.nn import FixedHead, simplex_etf_head
from lopsided.runs.configuration import Configuration
from lopsided.solver import fixed_classifier_optimum, simplex_gaps
from lopsided.training import FreeFeatures, build_network, train

#: A decay at which a trained classifier loses the rare classes: √20/600 = .00745 is their threshold.
DECAYS = {"lambda_w": 0.27, "lambda_h": 0.0003}


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", "100x5,20x5")


def run(digits, **options):
    network = build_network("mlp", digits.input_shape, 10, hidden=(64,), **options)
    return train(network, digits, **DECAYS, epochs=120, learning_rate=0.01, batch_size=150, accelerator="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("dim", [16, 4])
def test_a_fixed_simplex_keeps_the_classes_that_a_trained_head_loses(digits, dim):
    assert lp.UFM(digits.counts, **DECAYS, bias=False).solve().geometry.merged == [[5, 6, 7, 8, 9]]
    result = run(digits, dim=dim, head="etf", bias=False)
    assert result.prediction.status == "optimal"
    assert result.geometry.merged == result.prediction.geometry.merged == []
    assert lp.compare(result.prediction.geometry, result.geometry)["mean_logits"].relative_error < 0.06
    assert result.history[-1]["objective"] == pytest.approx(result.prediction.objective, rel=0.03)
    if dim >= 9:
        gaps = simplex_gaps(result.model)
        assert np.diagonal(result.geometry.mean_logits) == pytest.approx(0.9 * gaps, rel=0.1)
    assert np.mean(result.test_class_accuracy[5:]) > 0.7
    assert not {finding.code for finding in result.findings} - {"no-collapse"}


@pytest.mark.slow
def test_the_trained_head_does_lose_them(digits):
    result = run(digits, dim=16, bias=False)
    assert result.geometry.merged == [[5, 6, 7, 8, 9]]
    assert np.mean(result.test_class_accuracy[5:]) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("bias", [{}, {"lambda_b": 0.02}])
def test_with_a_bias_too(digits, bias):
    """Free features, to the optimum."""
    data = sample_indices("12x2,3x2")
    network = FreeFeatures(30, 4)
    network.head = simplex_etf_head(4, 4, scale=2.0, bias=True)
    before = network.head.weight.clone()
    decays = {"lambda_w": 0.5, "lambda_h": 0.02, **bias}
    result = train(network, data, **decays, epochs=250, learning_rate=8.0, optimizer="sgd", accelerator="cpu")
    assert torch.equal(network.head.weight, before)
    expected = fixed_classifier_optimum(lp.UFM(data.counts, **decays), before.double().numpy())
    assert result.prediction.objective == expected.objective
    compared = lp.compare(expected.geometry, result.geometry)
    assert compared["mean_logits"].relative_error < 1e-4
    assert compared["bias"].relative_error < 1e-4
    assert result.history[-1]["objective"] == pytest.approx(expected.objective, rel=1e-6)
    assert result.findings == ()


def test_the_body_starts_as_before_any_other_head():
    linear, fixed = (
        build_network("mlp", (4,), 3, hidden=(8,), head=head, initialisation="he", seed=3) for head in ("linear", "etf")
    )
    assert isinstance(fixed.head, FixedHead)
    for one, other in zip(linear.body.parameters(), fixed.body.parameters(), strict=True):
        assert torch.equal(one, other)
    assert (fixed.head.bias is None) is (linear.head.bias is None)


def test_a_predicted_head_predicts_the_optimum_it_came_from():
    model = lp.UFM("20x2,5x2", lambda_w=0.03, lambda_h=0.01)
    network = build_network("cnn", (1, 8, 8), 4, dim=3, hidden=(4,), head="predicted", model=model)
    assert network.head.weight.shape == (4, 3)
    found, solution = network.predict(model), model.solve()
    np.testing.assert_allclose(found.geometry.mean_logits, solution.geometry.mean_logits, atol=1e-5)
    assert found.objective + 0.015 * float(network.head.weight.square().sum()) == pytest.approx(solution.objective)


def own(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), simplex_etf_head(num_classes, 5, seed=1))


def test_ones_own_module_may_end_in_a_fixed_head():
    network = build_network(f"{__name__}:own", (1, 4, 4), 3, initialisation="orthogonal")
    assert torch.equal(network.head.weight, simplex_etf_head(3, 5, seed=1).weight)
    assert [name for name, _ in network.named_parameters()] == ["body.1.weight", "body.1.bias"]


def test_a_checkpoint_of_another_fixed_head_is_refused(tmp_path):
    data, path = sample_indices("4,4"), tmp_path / "run.ckpt"
    network = FreeFeatures(8, 2)
    network.head = FixedHead(np.eye(2))
    train(network, data, **DECAYS, epochs=2, learning_rate=0.1, checkpoint=path, accelerator="cpu")
    network.head = FixedHead(2 * np.eye(2))
    with pytest.raises(ValueError, match="to go on with it; its head is"):
        train(network, data, **DECAYS, epochs=2, learning_rate=0.1, checkpoint=path, accelerator="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "simplex"}, "head must be one of linear, etf, predicted; got 'simplex'"),
        ({"head": "predicted"}, "model must be of 10 classes for head='predicted'; got none"),
        ({"head": "predicted", "model": lp.UFM("5,5", 0.01)}, "model must be of 10 classes .*; got one of 2 classes"),
        (
            {"head": "predicted", "model": lp.UFM("5x10", 10.0)},
            "head must be 'linear' or 'etf' here; got 'predicted', which does not exist: problem must keep some",
        ),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build_network("mlp", (4,), 10, **options)


def test_a_run_states_its_head():
    settings = {"data": "digits", "counts": "150x5,30x5", "lambda_z": 0.003}
    plain = Configuration(**settings)
    assert Configuration(**settings, head="linear").digest == plain.digest
    assert Configuration(**settings, head="etf", dim=5).digest != plain.digest
    with pytest.raises(ValueError, match=r"^dim must be at least the number of classes"):
        Configuration(**settings, dim=5)
    with pytest.raises(ValueError, match=r"^head must be one of: linear, etf, predicted; got 'fixed'"):
        Configuration(**settings, head="fixed")
