"""The torchmetrics classes as states: copied, stored, moved, merged, and left alone by what fails."""

from __future__ import annotations

import copy
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchmetrics import MetricCollection

from lopsided.metrics import NC1, NC3, NeuralCollapse, measure
from metrics.fed_metrics import CLASSES, DIM, THEORY, assert_alike, expected, fed, gather, samples


def test_copies_share_the_classifier_unless_its_model_is_copied_too(head):
    model = nn.Module()
    model.head, model.metric = head, NC3(CLASSES, DIM, head)
    assert model.metric.clone().classifier is head
    assert copy.copy(model.metric).classifier is head
    metrics = MetricCollection([model.metric]).clone(prefix="val_")
    assert metrics["NC3"].classifier is head
    other = copy.deepcopy(model)
    assert other.metric.classifier is other.head is not head
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.metric.classifier is loaded.head is not head


def test_pickles_and_copies_go_on_on_their_own(head):
    features, labels = samples()
    metric = fed(NeuralCollapse(CLASSES, DIM, head, predicted=THEORY), features[:100], labels[:100])
    others = [pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric), metric.clone()]
    for other in others:
        fed(other, features[100:], labels[100:])
        assert_alike(other.compute(), expected(head, features, labels, predicted=THEORY))
    assert_alike(metric.compute(), expected(head, features[:100], labels[:100], predicted=THEORY))
    assert len(pickle.dumps(THEORY)) < 20_000


def test_state_is_saved_when_asked_for(head):
    features, labels = samples()
    metric = fed(NeuralCollapse(CLASSES, DIM, head), features, labels)
    metric.persistent(True)
    saved = metric.state_dict()
    assert {name: tensor.numel() for name, tensor in saved.items()} == {"moments": CLASSES * (DIM + 2) + DIM**2}
    other = NeuralCollapse(CLASSES, DIM, head)
    other.load_state_dict(saved)
    other.update(features[:0], labels[:0])
    assert_alike(other.compute(), metric.compute())


def test_the_state_is_as_small_as_promised():
    metric = NeuralCollapse(1000, 64)
    assert metric.moments.numel() == 1000 * 64 + 64 * 64 + 2 * 1000
    assert metric._defaults["moments"].untyped_storage().nbytes() == 8
    metric.to("cpu").reset()
    assert metric._defaults["moments"].untyped_storage().nbytes() == 8
    assert metric.moments.untyped_storage().nbytes() == 8 * metric.moments.numel()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.half(),
        lambda m: m.float(),
        lambda m: m.bfloat16(),
        lambda m: m.to(torch.float16),
        lambda m: m.to("cpu", torch.bfloat16),
        lambda m: m.type(torch.float32),
        lambda m: m.set_dtype(torch.float16),
        lambda m: nn.ModuleList([m]).half()[0],
        lambda m: nn.ModuleList([m]).to(torch.float16)[0],
        lambda m: m._apply(lambda tensor: SimpleNamespace(device=torch.device("mps"))),
    ],
    ids=["half", "float", "bfloat16", "to", "to both", "type", "set_dtype", "child half", "child to", "mps"],
)
def test_no_change_of_dtype_touches_the_sums(change, head):
    features, labels = samples()
    metric = fed(NeuralCollapse(CLASSES, DIM, head), features[:100], labels[:100])
    assert change(metric) is metric
    assert metric.moments.dtype == torch.float64
    assert metric.device.type == metric.moments.device.type == "cpu"
    assert_alike(fed(metric, features[100:], labels[100:]).compute(), expected(head, features, labels))
    metric.reset()
    assert_alike(fed(metric, features, labels).compute(), expected(head, features, labels))


def test_moving_moves_state_and_default():
    metric = NC1(CLASSES, DIM).to("meta")
    assert metric.device.type == metric.moments.device.type == metric._defaults["moments"].device.type == "meta"
    assert metric.moments.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_features_of_few_digits_are_summed_in_many(dtype, head):
    features, labels = samples(dtype=dtype)
    metric = fed(NeuralCollapse(CLASSES, DIM, head.to(dtype)), features, labels)
    exact = measure(gather(features.double(), labels), head.weight.double(), head.bias.double())
    assert_alike(metric.compute(), exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_alike(fed(NeuralCollapse(CLASSES, DIM, head), features, labels).compute(), exact)


def test_validation_in_inference_mode_then_training(head):
    features, labels = samples()
    metric = NeuralCollapse(CLASSES, DIM, head)
    with torch.inference_mode():
        metric.update(features[:50], labels[:50])
        metric.compute()
        metric.reset()
        metric.update(features[:50], labels[:50])
    metric.update(features[50:100], labels[50:100])
    with torch.inference_mode():
        metric(features[100:], labels[100:])
    assert_alike(metric.compute(), expected(head, features, labels))


def poisoned():
    features, labels = samples()
    features[37, 2] = math.nan
    return features, labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (*poisoned(), "features must be finite; got nan in sample 37"),
        (samples()[0], samples()[1] + 1, "labels must be class indices from 0 to 4"),
        (samples()[0], samples()[1].double(), "labels must have an integer dtype"),
        (samples()[0][:, 1:], samples()[1], r"features must have shape \(B, d\) with d = 7"),
        (samples()[0], samples()[1][1:], r"labels must have shape"),
    ],
)
@pytest.mark.parametrize("method", ["update", "forward"])
@pytest.mark.parametrize("on_step", [False, True])
def test_a_refused_batch_leaves_the_metric_as_it_was(features, labels, message, method, on_step, head):
    metric = NeuralCollapse(CLASSES, DIM, head, dist_sync_on_step=on_step)
    fed(metric, *samples())
    before, state = metric.compute(), metric.moments.clone()
    with pytest.raises(ValueError, match=message):
        getattr(metric, method)(features, labels)
    assert torch.equal(metric.moments, state)
    assert metric.update_count == 6
    assert metric.compute() == before
    fed(metric, *samples(1))
    doubled = gather(*samples())
    doubled.update(*samples(1))
    assert_alike(metric.compute(), measure(doubled, head.weight, head.bias))


@pytest.mark.parametrize("on_step", [False, True])
def test_a_forward_whose_value_fails_adds_nothing(on_step, head):
    features, labels = samples()
    metric = fed(NC3(CLASSES, DIM, dist_sync_on_step=on_step), features, labels)
    state = metric.moments.clone()
    with pytest.raises(ValueError, match="classifier is unknown"):
        metric(features, labels)
    assert torch.equal(metric.moments, state)
    metric.classifier = head
    assert float(metric.compute()) == pytest.approx(expected(head, features, labels)["nc3_etf"], rel=1e-12)


def test_merging_states(head):
    features, labels = samples()
    first, second = (fed(NeuralCollapse(CLASSES, DIM, head), features[i::2], labels[i::2]) for i in range(2))
    untouched = second.moments.clone()
    fresh = NeuralCollapse(CLASSES, DIM, head, dist_sync_on_step=True)
    fresh.merge_state(first)
    fresh.merge_state(second.metric_state)
    assert_alike(fresh.compute(), expected(head, features, labels))
    assert torch.equal(second.moments, untouched)
    one_value = NC1(CLASSES, DIM)
    one_value.merge_state(fresh)  # any metric of the same state will do
    assert float(one_value.compute()) == pytest.approx(fresh.compute()["nc1"], rel=1e-12)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (NeuralCollapse(CLASSES + 1, DIM), r"incoming_state must be of the same \(num_classes, dim, scatter\)"),
        (NeuralCollapse(CLASSES, DIM, scatter=False), r"incoming_state must be of the same"),
        ({"moments": torch.zeros(3)}, "with a vector 'moments' of 94 numbers; got dict"),
        ({}, "incoming_state must be a metric"),
        (3, "incoming_state must be a metric .*; got int"),
    ],
)
def test_states_that_do_not_merge(other, message):
    metric = fed(NeuralCollapse(CLASSES, DIM), *samples())
    state = metric.moments.clone()
    with pytest.raises(ValueError, match=message):
        metric.merge_state(other)
    assert torch.equal(metric.moments, state)
