"""One pass over batches or over a model gives what everything in memory would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lopsided.metrics import Moments, gather, gather_from_model, measure

RNG = np.random.default_rng(3)
FEATURES = RNG.normal(size=(200, 6)) + 4 * np.eye(6)[np.arange(200) % 4]
LABELS = np.arange(200) % 4
WEIGHT, BIAS = RNG.normal(size=(4, 6)) + 2 * np.eye(4, 6), RNG.normal(size=4)


def test_batches_give_what_all_at_once_would():
    batches = [(FEATURES[part : part + 33], LABELS[part : part + 33]) for part in range(0, 200, 33)]
    seen = []
    found = gather(batches, 4, 6, WEIGHT, BIAS, progress=seen.append)
    whole = Moments(4, 6)
    whole.update(FEATURES, LABELS)
    expected = measure(whole, WEIGHT, BIAS)
    for name, value in measure(found.moments, found.weight, found.bias).items():
        assert value == pytest.approx(expected[name], rel=1e-12, abs=1e-12)
    right = np.argmax(FEATURES @ WEIGHT.T + BIAS, axis=1) == LABELS
    assert found.class_accuracy == pytest.approx([right[k == LABELS].mean() for k in range(4)])
    assert 0 < right.mean() < 1
    assert seen == [33, 66, 99, 132, 165, 198, 200]


def test_without_a_weight_there_is_no_accuracy_and_an_absent_class_has_none():
    assert gather([(FEATURES, LABELS)], 4, 6).class_accuracy is None
    assert np.isnan(gather([(FEATURES, LABELS)], 5, 6, np.ones((5, 6))).class_accuracy[4])


def test_a_bad_batch_is_told_with_where_it_begins():
    broken = FEATURES.copy()
    broken[150, 2] = np.nan
    with pytest.raises(
        ValueError, match=r"^file must .* batch from sample 100 on: features must be finite; got nan in"
    ):
        gather([(broken[:100], LABELS[:100]), (broken[100:], LABELS[100:])], 4, 6, source="file")


class Network(torch.nn.Module):
    """A hidden layer as wide as the head, dropout, and training flags that differ."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Linear(6, 4)
        self.drop = torch.nn.Dropout(0.5)
        self.norm = torch.nn.BatchNorm1d(4)
        self.head = torch.nn.Linear(4, 4)
        self.norm.eval()

    def forward(self, inputs):
        return self.head(self.norm(self.drop(torch.relu(self.body(inputs)))))


@pytest.fixture
def network():
    return Network()


INPUTS = torch.from_numpy(FEATURES).float()
TARGETS = torch.from_numpy(LABELS)


@pytest.mark.parametrize("num_classes", [None, 4])
@pytest.mark.parametrize("kind", ["data set", "loader", "mappings"])
def test_a_model_is_run_in_evaluation_mode_and_left_as_it_was(network, kind, num_classes):
    data = TensorDataset(INPUTS, TARGETS)
    if kind == "loader":
        data = DataLoader(data, batch_size=30, shuffle=True)
    if kind == "mappings":
        data = [{"inputs": INPUTS[:90], "labels": TARGETS[:90]}, {"inputs": INPUTS[90:], "labels": TARGETS[90:]}]
    found = gather_from_model(network, data, num_classes)
    assert network.training
    assert not network.norm.training
    with torch.no_grad():
        network.eval()
        features = network.norm(torch.relu(network.body(INPUTS)))
        right = network.head(features).argmax(dim=1) == TARGETS
    whole = Moments(4, 4)
    whole.update(features, TARGETS)
    torch.testing.assert_close(found.moments.means, whole.means, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.weight, network.head.weight.detach().double())
    torch.testing.assert_close(found.bias, network.head.bias.detach().double())
    assert found.class_accuracy == pytest.approx([right[k == TARGETS].double().mean().item() for k in range(4)])


def test_an_error_leaves_the_model_as_it_was(network):
    with pytest.raises(ValueError, match=r"^data must .* labels must be class indices from 0 to 3; got 7"):
        gather_from_model(network, [(INPUTS, TARGETS), (INPUTS, TARGETS + 4 * (TARGETS == 3))])
    assert network.training
    assert not network.norm.training
    assert not network.head._forward_pre_hooks


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data must hold at least one batch"),
        ([INPUTS], "data must hold .inputs, labels., or mappings with 'labels'; got Tensor"),
        ([{"inputs": INPUTS}], "data must hold .*; got keys inputs"),
    ],
)
def test_data_of_another_form_are_refused(network, data, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        gather_from_model(network, data)
