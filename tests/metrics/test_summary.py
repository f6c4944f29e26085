"""The dictionary of all measures: its names, its JSON, and a network trained on real images."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torchmetrics

import lopsided as lp
from lopsided import metrics
from lopsided.core.geometry import MERGE_RELATIVE_TOLERANCE
from lopsided.data import load_data
from lopsided.metrics import Moments, measure
from metrics import twins
from processes import loaded_by

WITH_SCATTER = ["nc1", "nc1_unweighted", "nc1_weighted", "nc1_rank_aware", "nc1_corrected", "cdnv_corrected"]
ALWAYS = ["num_classes", "num_samples", "counts", *WITH_SCATTER, "nc1_trace_ratio", "nc1_trace_ratio_corrected"]
ALWAYS += ["cdnv", "cdnv_unmerged", "nc2_etf", "minority_spread", "rank", "merged"]
WITH_CLASSIFIER = ["nc2_etf_classifier", "nc3_etf", "nc4"]
WITH_PREDICTION = ["nc2_predicted", "nc2_predicted_classifier", "nc3_predicted"]
COUNTS = [100] * 5 + [20] * 5


def present():
    """The digits, and Fashion-MNIST where its files are."""
    try:
        load_data("fashion-mnist", [1] * 10)
    except ValueError:
        return ["digits"]
    return ["digits", "fashion-mnist"]


@pytest.fixture(scope="module", params=present())
def network(request):
    """A small network trained on lopsided images: its last features, the labels and the last layer."""
    data = load_data(request.param, COUNTS)
    images, labels = data.inputs.flatten(1), data.labels
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Linear(images.shape[1], 32), torch.nn.ReLU(), torch.nn.Linear(32, 16))
    head = torch.nn.Linear(16, 10)
    optimiser = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=1e-2, weight_decay=1e-4)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(head(body(images)), labels).backward()
        optimiser.step()
    return body(images), labels, head


def gather(features, labels):
    moments = Moments(10, features.shape[1])
    for chunk, classes in zip(features.split(64), labels.split(64), strict=True):
        moments.update(chunk, classes)
    return moments


@pytest.mark.slow
def test_every_number_of_a_trained_network_against_its_twin(network):
    features, labels, head = network
    moments = gather(features, labels)
    theory = lp.UFM(COUNTS, lambda_z=5e-3, lambda_b=0.02).solve().geometry
    values = measure(moments, weight=head.weight, bias=head.bias, features=features, predicted=theory)
    assert list(values) == [*ALWAYS, *WITH_CLASSIFIER, "nc4_samples", *WITH_PREDICTION]

    points = features.detach().double().numpy()
    twin = twins.class_moments(points, labels.numpy(), 10)
    means, weight = np.array(twin.means), head.weight.detach().double().numpy()
    bias = head.bias.detach().double().numpy()
    geometry = lp.Geometry(COUNTS, means, weight, bias)
    logits = (means - means.mean(axis=0)) @ weight.T
    largest = max(np.linalg.norm(a - b) for a in logits for b in logits) / math.sqrt(2)
    directions = int(np.sum(np.linalg.svd(logits)[1] > MERGE_RELATIVE_TOLERANCE * largest))
    expected = {
        "nc1": twins.nc1(twin, weighted_centre=True, weighted_scatter=False),
        "nc1_unweighted": twins.nc1(twin, weighted_centre=False, weighted_scatter=False),
        "nc1_weighted": twins.nc1(twin, weighted_centre=True, weighted_scatter=True),
        "nc1_trace_ratio": twins.nc1_trace_ratio(twin),
        "nc1_trace_ratio_corrected": twins.nc1_trace_ratio_corrected(twin),
        "cdnv_corrected": twins.cdnv_corrected(twin),
        "nc1_rank_aware": twins.nc1_of_rank(twin, directions),
        "cdnv": twins.cdnv(twin),
        "cdnv_unmerged": twins.cdnv(twin, geometry.merged),
        "nc2_etf": twins.nc2_etf(means, centred=True),
        "minority_spread": twins.minority_spread(means, COUNTS),
        "nc2_etf_classifier": twins.nc2_etf(weight, centred=False),
        "nc3_etf": twins.nc3_etf(means, weight),
        "nc4": twins.nc4(means, weight, bias, means),
        "nc4_samples": twins.nc4(means, weight, bias, points),
        "nc2_predicted": twins.nc2_predicted(means, theory.class_means, centred=True),
        "nc2_predicted_classifier": twins.nc2_predicted(weight, theory.classifier, centred=False),
        "nc3_predicted": twins.nc3_predicted(means, weight, theory.class_means, theory.classifier),
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-9), name
    assert values["counts"] == COUNTS
    assert values["num_samples"] == sum(COUNTS)
    assert (values["rank"], values["merged"]) == (geometry.rank, geometry.merged)


def test_without_a_classifier_its_measures_are_left_out(network):
    features, labels, _ = network
    assert list(measure(gather(features, labels))) == ALWAYS


def test_half_precision_moves_the_answer_only_as_the_rounding_of_its_input(network):
    features, labels, head = network
    exact = measure(gather(features, labels), head.weight, head.bias)
    half = measure(gather(features.bfloat16(), labels), head.weight, head.bias)
    for name in ("nc1", "cdnv", "nc2_etf", "nc3_etf"):
        assert half[name] == pytest.approx(exact[name], rel=0.02)


def test_every_measure_names_a_public_function():
    described = {"num_classes", "num_samples", "counts", "rank", "merged", "cdnv_unmerged"}
    for name in {*ALWAYS, *WITH_CLASSIFIER, *WITH_PREDICTION, "nc4_samples"} - described:
        name = name.removesuffix("_corrected")
        assert name in metrics.__all__
        assert callable(getattr(metrics, name))


def test_traces_alone_give_all_that_needs_no_inverse(network):
    features, labels, head = network
    full, traces = gather(features, labels), Moments(10, 16, scatter=False)
    for chunk, classes in zip(features.split(50), labels.split(50), strict=True):
        traces.update(chunk, classes)
    expected = measure(full, head.weight, head.bias)
    found = measure(traces, head.weight, head.bias)
    assert list(found) == [name for name in expected if name not in WITH_SCATTER]
    for name, value in found.items():
        assert value == (pytest.approx(expected[name], rel=1e-11) if isinstance(value, float) else expected[name])
    assert sum(tensor.numel() for tensor in traces.state) == 10 * 16 + 2 * 10
    for function in (metrics.nc1, metrics.nc1_unweighted, metrics.nc1_weighted, metrics.nc1_rank_aware):
        with pytest.raises(ValueError, match="moments must hold the within-class scatter; got traces only"):
            function(traces)
    with pytest.raises(ValueError, match="other must have the same has_scatter"):
        full.merge(traces)
    twice = Moments(10, 16, scatter=False)
    twice.merge(traces)
    twice.merge(traces)
    assert metrics.nc1_trace_ratio(twice) == pytest.approx(expected["nc1_trace_ratio"], rel=1e-12)


@pytest.mark.slow
def test_torchmetrics_is_loaded_only_when_asked_for():
    assert not loaded_by("import lopsided.metrics as m; m.Moments(2, 2)") & {"torchmetrics", "matplotlib"}
    assert issubclass(metrics.NeuralCollapse, torchmetrics.Metric)
    with pytest.raises(AttributeError, match="has no attribute 'NC5'"):
        metrics.NC5  # noqa: B018


@pytest.mark.parametrize("labels", [[], [1], [0, 0, 0], [0, 1, 2], [0, 0, 1, 1]])
def test_degenerate_data_are_strict_json(labels):
    moments = Moments(3, 2)
    moments.update(torch.ones(len(labels), 2), torch.tensor(labels, dtype=torch.int64))
    for weight in (None, torch.zeros(3, 2), torch.eye(3, 2)):
        values = measure(moments, weight)
        assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_no_finite_value_is_none():
    moments = Moments(2, 1)
    moments.update(torch.tensor([[1.0], [3.0], [1.0], [3.0]]), torch.tensor([0, 0, 1, 1]))
    values = measure(moments)
    assert values["nc1"] is values["cdnv"] is values["nc2_etf"] is None
    assert values["merged"] == [[0, 1]]


def test_a_prediction_measures_as_predicted():
    """Features placed on the certified optimum: rare classes merged, nothing else lost."""
    solution = lp.UFM(counts="50x5,10x5", lambda_z=1.2e-2, bias=False).solve()
    predicted = solution.geometry
    assert predicted.merged == [[5, 6, 7, 8, 9]]
    # Features as wide as there are classes: the optimum leaves some directions empty, where noise is all there is.
    means, classifier = (
        np.pad(matrix, ((0, 0), (0, 10 - matrix.shape[1]))) for matrix in (predicted.class_means, predicted.classifier)
    )
    moments = Moments(10, 10)
    noise = np.random.default_rng(0).normal(size=(300, moments.dim)) * 1e-5
    labels = np.repeat(np.arange(10), predicted.counts)
    moments.update(means[labels] + noise, labels)
    values = measure(moments, classifier, predicted.bias)
    assert values["merged"] == predicted.merged
    assert values["rank"] == predicted.rank
    assert values["minority_spread"] < 1e-4
    assert values["nc1_rank_aware"] < 1e-6 < values["nc1"]
    assert values["cdnv_unmerged"] < 1e-6 < values["cdnv"]


def test_features_without_a_weight():
    with pytest.raises(ValueError, match="features must come with a weight"):
        measure(Moments(2, 2), features=torch.ones(2, 2))


def test_a_classifier_of_another_width():
    with pytest.raises(ValueError, match="weight must have shape"):
        measure(Moments(2, 3), torch.ones(2, 4))


def test_rank_aware_leaves_out_the_merged_direction_even_where_the_logits_have_a_common_part():
    means = twins.simplex(4, 6)
    means[3] = means[2] + 1e-5
    moments = Moments(4, 6)
    noise = 1e-6 * np.random.default_rng(0).normal(size=(40, 6))
    moments.update(means[np.arange(40) % 4] + noise, np.arange(40) % 4)
    values = measure(moments, 10 * means)
    assert values["rank"] == 2  # three distinct points span two directions, whatever all of them share
    assert values["merged"] == [[2, 3]]
    assert values["nc1_rank_aware"] < 1e-10 < values["nc1"]
    assert values["cdnv_unmerged"] < 1e-10 < 1e-4 < values["cdnv"]


def test_a_bias_without_a_weight_is_refused():
    with pytest.raises(ValueError, match=r"^bias must come with a weight"):
        measure(Moments(num_classes=2, dim=1), bias=torch.zeros(2))
