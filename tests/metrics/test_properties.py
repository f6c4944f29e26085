"""What must hold for any data: permuting classes, rotating features, splitting and merging."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lopsided.metrics import Moments, measure

DIM = 5
INVARIANT = ["nc1", "nc1_unweighted", "nc1_weighted", "nc1_trace_ratio", "cdnv", "nc2_etf", "nc2_etf_classifier"]
INVARIANT += ["nc3_etf", "nc4", "nc4_samples", "minority_spread"]
INVARIANT += ["nc1_corrected", "nc1_trace_ratio_corrected", "cdnv_corrected"]

seeds = st.integers(0, 2**32 - 1)
class_counts = st.lists(st.integers(2, 12), min_size=2, max_size=6)


def draw(counts, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    features = rng.normal(size=(len(counts), DIM))[labels] + 0.2 * rng.normal(size=(len(labels), DIM))
    return features, labels, rng.normal(size=(len(counts), DIM)), rng.normal(size=len(counts)), rng


def measured(features, labels, weight, bias):
    moments = Moments(len(weight), DIM)
    moments.update(features, labels)
    return measure(moments, weight, bias, features=features)


def assert_alike(first, second, tolerance=1e-8):
    for name in INVARIANT:
        if first[name] is None:
            assert second[name] is None, name
        else:
            assert first[name] == pytest.approx(second[name], rel=tolerance, abs=tolerance), name


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(class_counts, seeds)
def test_permuting_classes_permutes_the_answer(counts, seed):
    features, labels, weight, bias, rng = draw(counts, seed)
    order = rng.permutation(len(counts))  # new class j is old class order[j]
    renamed = np.argsort(order)[labels]
    first, second = measured(features, labels, weight, bias), measured(features, renamed, weight[order], bias[order])
    assert_alike(first, second)
    assert second["counts"] == [first["counts"][k] for k in order]
    assert first["rank"] == second["rank"]
    assert sorted(sorted(int(order[j]) for j in group) for group in second["merged"]) == first["merged"]


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(class_counts, seeds)
def test_rotating_features_and_classifier_together_changes_nothing(counts, seed):
    features, labels, weight, bias, rng = draw(counts, seed)
    rotation = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    first = measured(features, labels, weight, bias)
    second = measured(features @ rotation, labels, weight @ rotation, bias)
    assert_alike(first, second)
    assert (first["rank"], first["merged"]) == (second["rank"], second["merged"])


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(class_counts, seeds, st.floats(1e-3, 1e3))
def test_scaling_features_changes_no_geometry(counts, seed, scale):
    features, labels, weight, bias, _ = draw(counts, seed)
    first = measured(features, labels, weight, bias)
    second = measured(features * scale, labels, weight / scale, bias)
    assert_alike(first, second)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(class_counts, seeds, st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_any_split_merged_in_any_order_is_the_whole(counts, seed, sizes):
    features, labels, _, _, rng = draw(counts, seed)
    whole = Moments(len(counts), DIM)
    whole.update(features, labels)
    cuts = np.minimum(np.cumsum(sizes), len(labels))
    shards = []
    for part in np.split(np.arange(len(labels)), cuts):
        shards.append(Moments(len(counts), DIM))
        for chunk in np.array_split(part, 3):
            shards[-1].update(features[chunk], labels[chunk])
    shards = [shards[i] for i in rng.permutation(len(shards))]
    while len(shards) > 1:  # a random tree of merges
        first, second = shards.pop(int(rng.integers(len(shards)))), shards.pop(int(rng.integers(len(shards))))
        first.merge(second)
        shards.append(first)
    for name in ("counts", "means", "within_class_covariance", "within_class_variances", "global_mean"):
        torch.testing.assert_close(getattr(shards[0], name), getattr(whole, name), rtol=1e-12, atol=1e-13)
