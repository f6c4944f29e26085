"""Moments: exactness against the two-pass twin, mergeability, dtypes, degenerate classes, refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lopsided.metrics import Moments
from metrics import twins


def random_features(seed=0, total=300, num_classes=5, dim=7):
    rng = np.random.default_rng(seed)
    labels = rng.choice(num_classes, size=total, p=np.arange(1, num_classes + 1) / sum(range(num_classes + 1)))
    features = 3 * rng.normal(size=(num_classes, dim))[labels] + rng.normal(size=(total, dim)) + 10
    return features, labels


def gather(features, labels, num_classes, batch=64, order=None):
    moments = Moments(num_classes, features.shape[1])
    order = np.arange(len(features)) if order is None else order
    for start in range(0, len(features), batch):
        chosen = order[start : start + batch]
        moments.update(torch.as_tensor(features[chosen]), torch.as_tensor(labels[chosen]))
    return moments


def snapshot(moments):
    return [tensor.clone() for tensor in moments.state]


def assert_same(first, second, rtol=1e-12):
    assert torch.equal(first.counts, second.counts)
    for name in ("means", "within_class_variances", "within_class_covariance", "global_mean"):
        expected = getattr(second, name)
        scale = float(expected[~expected.isnan()].abs().max()) if (~expected.isnan()).any() else 1.0
        torch.testing.assert_close(getattr(first, name), expected, rtol=rtol, atol=rtol * scale, equal_nan=True)


def assert_matches_twin(moments, twin, rtol=1e-12):
    scale = max(float(np.abs(mean).max()) for mean in twin.means if mean is not None)
    assert moments.counts.tolist() == twin.counts
    np.testing.assert_allclose(moments.global_mean, twin.global_mean, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(
        moments.within_class_covariance, twin.within, rtol=rtol, atol=rtol * np.abs(twin.within).max()
    )
    for k, (mean, variance) in enumerate(zip(twin.means, twin.variances, strict=True)):
        if mean is None:
            assert moments.means[k].isnan().all()
        else:
            np.testing.assert_allclose(moments.means[k], mean, rtol=rtol, atol=rtol * scale)
        if variance is None:
            assert moments.within_class_variances[k].isnan()
        else:
            assert float(moments.within_class_variances[k]) == pytest.approx(variance, rel=rtol, abs=rtol**2)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, 64, 299, 1000])
def test_any_batch_size_gives_the_two_pass_answer(batch):
    features, labels = random_features()
    assert_matches_twin(gather(features, labels, 5, batch), twins.class_moments(features, labels, 5))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_order_of_samples_does_not_matter(seed):
    features, labels = random_features()
    order = np.random.default_rng(seed).permutation(len(features))
    assert_same(gather(features, labels, 5, 7, order), gather(features, labels, 5, 300))
    by_class = np.argsort(labels, kind="stable")
    assert_same(gather(features, labels, 5, 7, by_class), gather(features, labels, 5, 300))


def test_real_images():
    digits = load_digits()
    keep = np.concatenate([np.flatnonzero(digits.target == k)[: 150 if k < 5 else 30] for k in range(10)])
    features, labels = digits.data[keep], digits.target[keep]
    order = np.random.default_rng(0).permutation(len(features))
    assert_matches_twin(gather(features, labels, 10, 128, order), twins.class_moments(features, labels, 10))


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 32, 1000])
def test_a_collapse_to_1e_12_of_the_mean_is_still_measured(batch):
    """Raw second moments would have lost every digit here: eps · |mean|² is 2e-4 of the variance."""
    rng = np.random.default_rng(1)
    counts = [200, 150, 40, 10]
    labels = rng.permutation(np.repeat(np.arange(4), counts))
    dim = 8
    directions = np.linalg.qr(rng.normal(size=(dim, 4)))[0].T
    features = directions[labels] + 1e-6 / math.sqrt(dim) * rng.normal(size=(len(labels), dim))
    twin = twins.class_moments(features, labels, 4)
    assert np.trace(twin.within) == pytest.approx(1e-12, rel=0.1)
    moments = gather(features, labels, 4, batch)
    assert float(moments.within_class_covariance.trace()) == pytest.approx(np.trace(twin.within), rel=1e-9)
    np.testing.assert_allclose(moments.within_class_variances, np.array(twin.variances, float), rtol=1e-9)
    error = np.linalg.norm(moments.within_class_covariance.numpy() - twin.within)
    assert error <= 1e-9 * np.linalg.norm(twin.within)
    shards = [gather(features[i::3], labels[i::3], 4, batch) for i in range(3)]
    for shard in shards[1:]:
        shards[0].merge(shard)
    assert float(shards[0].within_class_covariance.trace()) == pytest.approx(np.trace(twin.within), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_the_sums_are_float64_whatever_comes_in(dtype):
    features, labels = random_features()
    given = torch.as_tensor(features).clamp(min=0).to(dtype)
    moments = Moments(5, 7)
    for chunk, classes in zip(given.split(50), torch.as_tensor(labels).split(50), strict=True):
        moments.update(chunk, classes)
    assert moments.means.dtype == moments.within_class_covariance.dtype == torch.float64
    assert_matches_twin(moments, twins.class_moments(given.double().numpy(), labels, 5))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
def test_labels_of_every_integer_dtype(dtype):
    features, labels = random_features(total=40)
    moments = Moments(5, 7)
    moments.update(torch.as_tensor(features), torch.as_tensor(labels).to(dtype))
    assert_same(moments, gather(features, labels, 5))


def test_arrays_are_taken_as_well_as_tensors(tmp_path):
    features, labels = random_features(total=40)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    moments = Moments(5, 7)
    moments.update(mapped, labels)
    assert_same(moments, gather(features, labels, 5))
    strided = Moments(5, 7)
    strided.update(torch.as_tensor(features).T.contiguous().T, torch.as_tensor(np.repeat(labels, 2))[::2])
    assert_same(strided, moments)


def test_shards_merge_in_any_order():
    features, labels = random_features(total=203)
    whole = gather(features, labels, 5)
    cuts = [(0, 3), (3, 120), (120, 120), (120, 203)]  # one tiny shard, one empty
    for order in itertools.permutations(cuts):
        merged = Moments(5, 7)
        for start, stop in order:
            merged.merge(gather(features[start:stop], labels[start:stop], 5))
        assert_same(merged, whole)


def test_merging_pairs_of_merges():
    features, labels = random_features(total=203)
    a, b, c, d = (gather(features[i::4], labels[i::4], 5) for i in range(4))
    before = snapshot(b)
    a.merge(b)
    assert all(torch.equal(x, y) for x, y in zip(before, b.state, strict=True))  # the other is left as it is
    c.merge(d)
    c.merge(a)
    assert_same(c, gather(features, labels, 5))


def test_merging_with_itself_counts_every_sample_twice():
    features, labels = random_features(total=60)
    moments = gather(features, labels, 5)
    moments.merge(moments)
    assert_same(moments, gather(np.tile(features, (2, 1)), np.tile(labels, 2), 5))


def test_absent_class_has_no_mean_and_a_singleton_no_variance():
    features, _ = random_features(total=20)
    labels = np.array([0] * 10 + [2] * 9 + [4])
    moments = gather(features, labels, 5, batch=3)
    assert moments.counts.tolist() == [10, 0, 9, 0, 1]
    assert moments.means.isnan().any(dim=1).tolist() == [False, True, False, True, False]
    assert moments.within_class_variances.isnan().tolist() == [False, True, False, True, True]
    assert_matches_twin(moments, twins.class_moments(features, labels, 5))
    geometry = moments.geometry()
    assert geometry.counts.tolist() == [10, 0, 9, 0, 1]
    assert np.isnan(geometry.class_means[1]).all()


def test_one_class_only():
    features, _ = random_features(total=20)
    labels = np.zeros(20, dtype=int)
    assert_matches_twin(gather(features, labels, 1, batch=3), twins.class_moments(features, labels, 1))
    assert_matches_twin(gather(features, labels, 3, batch=3), twins.class_moments(features, labels, 3))


def test_nothing_seen_yet():
    moments = Moments(3, 2)
    moments.update(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    assert moments.num_samples == 0
    assert moments.means.isnan().all()
    assert moments.global_mean.isnan().all()
    assert moments.within_class_covariance.isnan().all()


def test_covariance_is_symmetric_and_has_the_variances_as_its_trace():
    features, labels = random_features()
    moments = gather(features, labels, 5, 11)
    covariance = moments.within_class_covariance
    assert torch.equal(covariance, covariance.T)
    pooled = float((moments.counts * moments.within_class_variances).sum() / moments.num_samples)
    assert float(covariance.trace()) == pytest.approx(pooled, rel=1e-13)


def test_properties_are_copies():
    features, labels = random_features()
    moments = gather(features, labels, 5)
    before = snapshot(moments)
    for name in ("counts", "means", "global_mean", "within_class_covariance", "within_class_variances"):
        getattr(moments, name).fill_(7)
    assert all(torch.equal(x, y) for x, y in zip(before, moments.state, strict=True))


def test_state_is_no_larger_than_promised():
    moments = Moments(1000, 64)
    assert sum(tensor.numel() for tensor in moments.state) == 1000 * 64 + 64 * 64 + 2 * 1000


def test_no_gradient_is_kept_and_autocast_does_not_touch_the_sums():
    features, labels = random_features()
    expected = gather(features, labels, 5)
    moments = Moments(5, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        moments.update(torch.as_tensor(features).requires_grad_(), torch.as_tensor(labels))
    assert not any(tensor.requires_grad for tensor in moments.state)
    assert_same(moments, expected)


@pytest.mark.parametrize("merge", [False, True])
def test_made_in_inference_mode_then_updated_outside(merge):
    features, labels = random_features()
    half = len(features) // 2
    with torch.inference_mode():
        moments = Moments(5, 7)
        moments.update(torch.as_tensor(features[:half]) * 1, torch.as_tensor(labels[:half]))
        if merge:
            moments.merge(Moments(5, 7))
    moments.update(torch.as_tensor(features[half:]), torch.as_tensor(labels[half:]))
    assert_same(moments, gather(features, labels, 5))


def test_features_are_left_as_they_are():
    features, labels = random_features()
    given, classes = torch.as_tensor(features.copy()), torch.as_tensor(labels.copy())
    Moments(5, 7).update(given, classes)
    assert np.array_equal(given.numpy(), features)
    assert np.array_equal(classes.numpy(), labels)


def poisoned(value, sample):
    features = torch.ones(6, 3)
    features[sample, 1] = value
    return features


GOOD = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.ones(6, 3), torch.tensor([0, 1, 2, 3, 4, 0]), r"labels must be .* 0 to 2; got 3 for sample 3"),
        (torch.ones(6, 3), torch.tensor([0, 1, -100, 1, 1, 0]), r"labels must be .* 0 to 2; got -100 for sample 2"),
        (torch.ones(6, 3), GOOD.float(), r"labels must have an integer dtype; got torch.float32"),
        (torch.ones(6, 3), GOOD.bool(), r"labels must have an integer dtype; got torch.bool"),
        (torch.ones(6, 3), GOOD[:5], r"labels must have shape \(B,\) with B = 6, .*; got \(5,\)"),
        (torch.ones(6, 3), GOOD[:, None], r"labels must have shape \(B,\) .*; got \(6, 1\)"),
        (torch.ones(6, 4), GOOD, r"features must have shape \(B, d\) with d = 3, .*; got \(6, 4\)"),
        (torch.ones(6, 3, 1), GOOD, r"features must have shape \(B, d\) .*; got \(6, 3, 1\)"),
        (torch.ones(6, 3, dtype=torch.complex64), GOOD, r"features must be real numbers; got torch.complex64"),
        (poisoned(math.nan, 4), GOOD, r"features must be finite; got nan in sample 4"),
        (poisoned(-math.inf, 2), GOOD, r"features must be finite; got -inf in sample 2"),
        (poisoned(math.inf, 0).half(), GOOD, r"features must be finite; got inf in sample 0"),
        (torch.arange(6.0).double()[:, None].expand(6, 3) * 1e170, GOOD, r"features must be small .* in sample 5"),
    ],
)
def test_a_refused_batch_says_why_and_changes_nothing(features, labels, message):
    moments = Moments(3, 3)
    moments.update(torch.randn(10, 3, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3)
    before = snapshot(moments)
    with pytest.raises(ValueError, match=message) as caught:
        moments.update(features, labels)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(x, y) for x, y in zip(before, moments.state, strict=True))


def test_large_but_finite_features_are_not_called_infinite():
    features = torch.full((4, 2), 1e308, dtype=torch.float64)  # whose sum overflows
    with pytest.raises(ValueError, match="features must be small enough"):
        Moments(2, 2).update(features * torch.tensor([1.0, -1.0, 1.0, 1.0])[:, None], torch.tensor([0, 0, 1, 1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0, "dim": 2}, "num_classes must be a whole number of at least 1; got 0"),
        ({"num_classes": 2.0, "dim": 2}, r"num_classes must be a whole number of at least 1; got 2\.0"),
        ({"num_classes": 2, "dim": -1}, "dim must be a whole number of at least 1; got -1"),
        ({"num_classes": 2, "dim": True}, "dim must be a whole number of at least 1; got True"),
        ({"num_classes": 2, "dim": 2, "device": "mps"}, "device must know float64"),
    ],
)
def test_bad_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        Moments(**arguments)


@pytest.mark.parametrize(("other", "name"), [((4, 2), "num_classes"), ((3, 5), "dim")])
def test_moments_of_other_shapes_do_not_merge(other, name):
    moments = Moments(3, 2)
    moments.update(torch.ones(3, 2), torch.arange(3))
    before = snapshot(moments)
    with pytest.raises(ValueError, match=f"other must have the same {name}"):
        moments.merge(Moments(*other))
    assert all(torch.equal(x, y) for x, y in zip(before, moments.state, strict=True))


def test_geometry_with_a_linear_layer():
    features, labels = random_features()
    layer = torch.nn.Linear(7, 5)
    moments = gather(features, labels, 5)
    geometry = moments.geometry(weight=layer.weight, bias=layer.bias)
    expected = moments.means @ layer.weight.detach().double().T
    np.testing.assert_allclose(geometry.mean_logits, expected, rtol=1e-12)
    np.testing.assert_allclose(geometry.bias, layer.bias.detach().double())
    assert geometry.counts.tolist() == np.bincount(labels).tolist()
    half = moments.geometry(layer.weight.bfloat16(), layer.bias.detach().numpy())
    np.testing.assert_allclose(half.classifier, layer.weight.detach().bfloat16().double())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": torch.ones(5, 6)}, r"weight must have shape \(K, d\), .*: \(5, 7\) here; got \(5, 6\)"),
        ({"weight": torch.ones(7, 5)}, r"weight must have shape \(K, d\), .*: \(5, 7\) here; got \(7, 5\)"),
        ({"bias": torch.ones(4)}, r"bias must have shape \(K,\), .*: \(5,\) here; got \(4,\)"),
        ({"weight": torch.full((5, 7), math.nan)}, "weight must be finite; got 35 entries"),
    ],
)
def test_a_classifier_that_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        Moments(5, 7).geometry(**arguments)


@pytest.mark.parametrize(
    "seen_by_numpy",
    [
        lambda array: array[::-1].copy()[::-1],
        lambda array: array.astype(array.dtype.newbyteorder(">")),
        lambda array: array.astype(np.longdouble) if array.dtype.kind == "f" else array.astype(np.uint16),
    ],
    ids=["backwards", "big-endian", "long"],
)
def test_arrays_that_torch_does_not_take(seen_by_numpy):
    features, labels = random_features()
    expected, moments = gather(features, labels, 5, batch=len(features)), Moments(5, 7)
    moments.update(seen_by_numpy(features), seen_by_numpy(labels))
    assert_same(moments, expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (
            np.ones((2, 7)),
            np.array([0, 1], dtype=object),
            "^labels must be a tensor or an array of numbers; got object",
        ),
        (np.ones((2, 7)), np.array(["cat", "dog"]), "^labels must be a tensor or an array of numbers; got <U3"),
        (np.full((2, 7), "1.0"), np.array([0, 1]), "^features must be a tensor or an array of numbers; got <U3"),
        (None, np.array([0, 1]), "^features must be a tensor or an array of numbers; got object"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_by_name(features, labels, message):
    moments = gather(*random_features(), 5)
    before = snapshot(moments)
    with pytest.raises(ValueError, match=message):
        moments.update(features, labels)
    assert all(torch.equal(old, new) for old, new in zip(before, moments.state, strict=True))


def test_only_moments_are_merged():
    with pytest.raises(ValueError, match=r"^other must be Moments; got int; of a metric take metric\.gathered\(\)"):
        Moments(2, 2).merge(3)
