"""The torchmetrics classes: the functions' numbers, in any order and batch, alone and in a collection."""

from __future__ import annotations

import math
from collections import Counter

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from torch import nn
from torchmetrics import MetricCollection

from lopsided.metrics import (
    CDNV,
    NC1,
    NC2,
    NC3,
    NC4,
    MinoritySpread,
    NeuralCollapse,
    cdnv,
    measure,
    minority_spread,
    nc1,
    nc1_rank_aware,
    nc1_trace_ratio,
    nc1_unweighted,
    nc1_weighted,
    nc2_etf,
    nc2_etf_classifier,
    nc2_predicted,
    nc2_predicted_classifier,
    nc3_etf,
    nc3_predicted,
    nc4,
    present,
)
from metrics.fed_metrics import CLASSES, COUNTS, DIM, THEORY, assert_alike, expected, fed, gather, samples

SINGLE = {
    "nc1": (lambda head: NC1(CLASSES, DIM), lambda m, g: nc1(m)),
    "nc1 unweighted": (lambda head: NC1(CLASSES, DIM, convention="unweighted"), lambda m, g: nc1_unweighted(m)),
    "nc1 weighted": (lambda head: NC1(CLASSES, DIM, convention="weighted"), lambda m, g: nc1_weighted(m)),
    "nc1 trace ratio": (
        lambda head: NC1(CLASSES, DIM, convention="trace_ratio", scatter=False),
        lambda m, g: nc1_trace_ratio(m),
    ),
    "nc1 rank-aware": (
        lambda head: NC1(CLASSES, DIM, head, convention="rank_aware"),
        lambda m, g: nc1_rank_aware(m, g.rank),
    ),
    "nc1 corrected": (lambda head: NC1(CLASSES, DIM, corrected=True), lambda m, g: nc1(m, corrected=True)),
    "cdnv": (lambda head: CDNV(CLASSES, DIM), lambda m, g: cdnv(m)),
    "cdnv corrected": (lambda head: CDNV(CLASSES, DIM, corrected=True), lambda m, g: cdnv(m, corrected=True)),
    "nc2": (lambda head: NC2(CLASSES, DIM), lambda m, g: nc2_etf(g)),
    "nc2 classifier": (lambda head: NC2(CLASSES, DIM, head, of="classifier"), lambda m, g: nc2_etf_classifier(g)),
    "nc2 predicted": (lambda head: NC2(CLASSES, DIM, predicted=THEORY), lambda m, g: nc2_predicted(g, THEORY)),
    "nc2 classifier predicted": (
        lambda head: NC2(CLASSES, DIM, head, of="classifier", predicted=THEORY),
        lambda m, g: nc2_predicted_classifier(g, THEORY),
    ),
    "nc3": (lambda head: NC3(CLASSES, DIM, head), lambda m, g: nc3_etf(g)),
    "nc3 predicted": (lambda head: NC3(CLASSES, DIM, head, predicted=THEORY), lambda m, g: nc3_predicted(g, THEORY)),
    "nc4": (lambda head: NC4(CLASSES, DIM, head), lambda m, g: nc4(g)),
    "spread": (lambda head: MinoritySpread(CLASSES, DIM), lambda m, g: minority_spread(g)),
    "spread of": (lambda head: MinoritySpread(CLASSES, DIM, minority=[2, 3]), lambda m, g: minority_spread(g, [2, 3])),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGLE)
def test_single_values_are_the_functions(name, head):
    make, function = SINGLE[name]
    features, labels = samples()
    moments = gather(features, labels)
    value = fed(make(head), features, labels).compute()
    assert value.dtype == torch.float64
    assert value.shape == ()
    assert float(value) == pytest.approx(function(moments, moments.geometry(head.weight, head.bias)), rel=1e-12)


def test_all_at_once_is_measure(head):
    features, labels = samples()
    metric = fed(NeuralCollapse(CLASSES, DIM, head, predicted=THEORY), features, labels)
    assert_alike(metric.compute(), expected(head, features, labels, predicted=THEORY))
    without = fed(NeuralCollapse(CLASSES, DIM, scatter=False), features, labels).compute()
    assert "nc1_trace_ratio" in without
    assert not {"nc1", "nc3_etf"} & set(without)


def test_what_measures_have_in_common_is_computed_once(head, monkeypatch):
    """One view of the classes, and one decomposition for each Σ_B, for the mean logits and for the prediction."""
    calls = Counter()

    def counted(name, function):
        def call(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    features, labels = samples()
    metric = fed(NeuralCollapse(CLASSES, DIM, head, predicted=THEORY), features, labels)
    for library in (np.linalg, torch.linalg):
        for name in ("svd", "eigh", "eig", "qr", "pinv", "inv"):
            monkeypatch.setattr(library, name, counted(name, getattr(library, name)))
    monkeypatch.setattr(present.PresentClasses, "__init__", counted("view", present.PresentClasses.__init__))
    monkeypatch.setattr(present, "cdist", counted("distances", present.cdist))
    metric.compute()
    assert calls == {"view": 1, "svd": 3 + 1 + 1, "distances": 1}


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.booleans())
@settings(max_examples=10)
def test_any_order_batch_and_split_give_the_same(seed, batch, forward):
    features, labels = samples()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    cut = seed % len(labels)
    parts = []
    for part in (order[:cut], order[cut:]):
        metric = NeuralCollapse(CLASSES, DIM)
        for chosen in part.split(batch):
            (metric.forward if forward else metric.update)(features[chosen], labels[chosen])
        parts.append(metric)
    parts[0].merge_state(parts[1])
    assert_alike(parts[0].compute(), measure(gather(features, labels)), rel=1e-11)


def test_forward_is_the_batch_and_compute_the_whole(head):
    features, labels = samples()
    metric = NeuralCollapse(CLASSES, DIM, head)
    for chunk, classes in zip(features.split(40), labels.split(40), strict=True):
        assert_alike(metric(chunk, classes), expected(head, chunk, classes))
    assert_alike(metric.compute(), expected(head, features, labels))
    assert metric.update_count == 5


def test_reset_forgets_everything(head):
    features, labels = samples()
    metric = fed(NeuralCollapse(CLASSES, DIM, head), features + 3, labels)
    metric.reset()
    assert metric.gathered().num_samples == 0
    assert_alike(fed(metric, features, labels).compute(), expected(head, features, labels))
    metric.reset()
    with pytest.warns(UserWarning, match="was called before the ``update`` method"):
        values = metric.compute()
    assert values["nc1"] is None
    assert values["num_samples"] == 0


def test_gathered_moments_are_a_copy(head):
    features, labels = samples()
    metric = fed(NeuralCollapse(CLASSES, DIM, head), features, labels)
    moments = metric.gathered()
    assert moments.counts.tolist() == COUNTS
    assert moments.counts.dtype == torch.int64
    moments.update(features, labels)
    assert metric.gathered().num_samples == len(labels)
    assert metric.geometry().counts.tolist() == COUNTS


def test_one_state_for_a_whole_collection(head):
    features, labels = samples()
    metrics = MetricCollection({name.replace(" ", "_"): make(head) for name, (make, _) in SINGLE.items()})
    metrics.add_metrics({"all": NeuralCollapse(CLASSES, DIM, head)})
    fed(metrics, features, labels)
    sizes = sorted(len(members) for members in metrics.compute_groups.values())
    assert sizes == [1, len(SINGLE)]  # the one that keeps traces only is on its own
    states = {metric.moments.data_ptr() for metric in metrics.values(copy_state=False)}
    assert len(states) == 2
    moments = gather(features, labels)
    geometry = moments.geometry(head.weight, head.bias)
    values = metrics.compute()
    for name, (_, function) in SINGLE.items():
        assert float(values[name.replace(" ", "_")]) == pytest.approx(function(moments, geometry), rel=1e-12)
    assert values["nc4"] == nc4(geometry)


def test_forward_of_a_collection_counts_every_sample_once(head):
    features, labels = samples()
    metrics = MetricCollection([NC1(CLASSES, DIM), CDNV(CLASSES, DIM)])
    metrics.update(features[:50], labels[:50])
    values = metrics(features[50:90], labels[50:90])
    assert float(values["NC1"]) == pytest.approx(nc1(gather(features[50:90], labels[50:90])), rel=1e-11)
    metrics.update(features[90:], labels[90:])
    moments = gather(features, labels)
    assert float(metrics.compute()["NC1"]) == pytest.approx(nc1(moments), rel=1e-12)
    assert float(metrics.compute()["CDNV"]) == pytest.approx(cdnv(moments), rel=1e-12)
    metrics.reset()
    fed(metrics, features, labels)
    assert float(metrics.compute()["CDNV"]) == pytest.approx(cdnv(moments), rel=1e-12)


def test_the_classifier_is_read_when_asked_and_stays_the_callers(head):
    features, labels = samples()
    metric = fed(NeuralCollapse(CLASSES, DIM, head), features, labels)
    before = metric.compute()
    with torch.no_grad():
        head.weight.mul_(-1)
    assert_alike(metric.compute(), expected(head, features, labels))
    assert metric.compute()["nc3_etf"] != before["nc3_etf"]
    assert list(metric.parameters()) == list(metric.children()) == []
    assert metric.state_dict() == {}
    other = nn.Linear(DIM, CLASSES, bias=False)
    metric.classifier = other
    assert metric.classifier is other
    assert list(metric.children()) == []
    assert_alike(metric.compute(), measure(gather(features, labels), other.weight))
    metric.classifier = lambda: (head.weight, head.bias)
    assert_alike(metric.compute(), expected(head, features, labels))
    metric.classifier = None
    assert_alike(metric.compute(), measure(gather(features, labels)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NC1(0, 2), "num_classes must be a whole number of at least 1; got 0"),
        (lambda: NC1(2, 2.5), "dim must be a whole number"),
        (lambda: NC1(2, 2, convention="mine"), "convention must be 'paper', 'unweighted', .*; got 'mine'"),
        (lambda: NC1(2, 2, scatter=False), "scatter must be kept to invert Σ_B"),
        (lambda: NC2(2, 2, of="bias"), "of must be 'means' or 'classifier'; got 'bias'"),
        (lambda: NC3(2, 2, predicted=THEORY), "predicted must have as many classes as are measured, 2; got 5"),
        (lambda: NC4(2, 3, nn.Linear(3, 4)), r"classifier must have a weight of shape .* \(2, 3\) here; got \(4, 3\)"),
        (lambda: NC4(2, 3, nn.ReLU()), "classifier must be a module with a weight.*; got ReLU"),
        (lambda: NC4(2, 3, 7), "classifier must be a module with a weight.*; got int"),
        (lambda: NC4(2, 3, dist="x"), "Unexpected keyword arguments: `dist`"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("labels", [[], [1], [1, 1, 1], [0, 2]], ids=["batch of none", "one", "one class", "two"])
def test_degenerate_data_have_values_that_say_so(labels, head):
    features = torch.randn(len(labels), DIM)
    metric = NeuralCollapse(CLASSES, DIM, head)
    value = metric(features, torch.tensor(labels, dtype=torch.int64))
    assert_alike(value, expected(head, features, torch.tensor(labels, dtype=torch.int64)))
    for make, function in SINGLE.values():
        single = make(head)
        single.update(features, torch.tensor(labels, dtype=torch.int64))
        moments = gather(features, torch.tensor(labels, dtype=torch.int64))
        wanted = function(moments, moments.geometry(head.weight, head.bias))
        assert float(single.compute()) == pytest.approx(wanted, rel=1e-12, nan_ok=True)


@pytest.mark.slow
def test_plots(head):
    mpl.use("Agg")
    features, labels = samples()
    whole = NeuralCollapse(CLASSES, DIM, head)
    series = [whole(chunk, classes) for chunk, classes in zip(features.split(60), labels.split(60), strict=True)]
    for values in (None, whole.compute(), series):
        _, axes = whole.plot(values)
        shown = {line.get_label() for line in axes.get_lines()}
        assert {"nc1", "nc2_etf", "nc3_etf", "rank"} <= shown
        assert not {"counts", "merged", "num_samples"} & shown
    single = fed(NC2(CLASSES, DIM), features, labels)
    axes = plt.subplots()[1]
    assert single.plot(ax=axes)[1] is axes
    _, axes = single.plot([single.compute(), single.compute()])
    assert axes.get_ylim()[1] >= math.sqrt(2)
    plt.close("all")
