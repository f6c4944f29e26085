"""Resampling: imbalanced-learn's words for how much, and what it does to the problem."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
import references
from lopsided.advice import resampled, target_counts
from lopsided.core.count_sources import ClassCounts

NAMED = ClassCounts(np.array([50, 20, 5]), ("cat", "dog", "eel"), "a test")


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("minority", [500, 100, 500]),
        ("not minority", [500, 500, 50]),
        ("not majority", [500, 500, 500]),
        ("auto", [500, 500, 500]),
        ("all", [500, 500, 500]),
        ({}, [500, 100, 50]),
        ({2: 80}, [500, 100, 80]),
        ({"1": 200, 2: 50}, [500, 200, 50]),
        ("1:200, 2:60", [500, 200, 60]),
        ("500,200x2", [500, 200, 200]),
        ([500, 200, 200], [500, 200, 200]),
        (np.array([500.0, 100, 70]), [500, 100, 70]),
    ],
)
def test_strategies(strategy, expected):
    np.testing.assert_array_equal(target_counts("500,100,50", strategy), expected)


@given(st.floats(min_value=0.2, max_value=1.0))
def test_a_share_is_the_smaller_over_the_larger(share):
    np.testing.assert_array_equal(target_counts([20, 100], share), [int(share * 100), 100])


def test_fewer_samples_only_where_that_is_allowed():
    np.testing.assert_array_equal(target_counts("500,100", {0: 1, 1: 200}, undersample=True), [1, 200])
    with pytest.raises(ValueError, match=r"^sampling_strategy must ask for a whole number of at least 1 for class 0"):
        target_counts("500,100", {0: 0}, undersample=True)


def test_a_text_that_cannot_be_read_is_named():
    with pytest.raises(ValueError, match=r"^sampling_strategy cannot be read; got '9:x' in '9:x'"):
        target_counts("500,100", "9:x")
    with pytest.raises(ValueError, match=r"^sampling_strategy cannot be read; got '5y'"):
        target_counts("500,100", "5y,3")


def test_a_callable_is_given_the_labels_as_they_are_called():
    seen = []

    def raise_the_rarest(labels):
        seen.append(Counter(labels.tolist()))
        return {"eel": 30}

    np.testing.assert_array_equal(target_counts(NAMED, raise_the_rarest), [50, 20, 30])
    assert seen == [{"cat": 50, "dog": 20, "eel": 5}]


@pytest.mark.parametrize(
    ("counts", "strategy", "rule"),
    [
        ("500,100", "majority", "must be one of: minority"),
        ("500,100", True, "must be a dict"),
        ("500,100", None, "must be a dict"),
        ("500,100", 1.5, "to 1; got 1.5"),
        ("500,100", 0.1, "a share from 0.2"),
        ("500,100", float("nan"), "a share from 0.2"),
        ("500,100,50", 0.5, "two classes; got 3"),
        ("500,100", {7: 600}, "class numbers from 0 to 1; got 7"),
        ("500,100", {1: 99}, "at least 100 for class 1; got 99"),
        ("500,100", {1: 100.5}, "at least 100 for class 1; got 100.5"),
        ("500,100", {1: float("nan")}, "at least 100 for class 1; got nan"),
        ("500,100", {1: "many"}, "at least 100 for class 1; got 'many'"),
        ("500,100", lambda labels: 5, "return a dict where it is callable; got 5"),
        ("500,100", [500, 100, 50], "one count a class where it is a list, 2; got shape (3,)"),
        ("500,100", [[500], [1, 2]], "at least 500 for class 0; got [500]"),
        ("500,100", "500x3", "one count a class where it is a list, 2; got shape (3,)"),
        (NAMED, {"ant": 60}, "classes, cat, dog, eel, or class numbers from 0 to 2; got 'ant'"),
    ],
)
def test_what_breaks_a_rule_is_named(counts, strategy, rule):
    with pytest.raises(ValueError, match=r"^sampling_strategy must ") as caught:
        target_counts(counts, strategy)
    assert rule in str(caught.value)


@pytest.mark.parametrize("penalised", ["appearance", "sample"])
def test_both_conventions_against_descent_over_repeated_samples(penalised):
    counts, shown = [4, 2, 1], [1, 2, 3]
    problem = lp.UFM(counts, lambda_w=0.05, lambda_h=0.02, lambda_b=0.1)
    after = resampled(problem, np.multiply(counts, shown), penalised)
    found = references.resampled_objective(
        counts, shown, penalised=penalised, lambda_w=0.05, lambda_h=0.02, lambda_b=0.1
    )
    assert after.solve().objective == pytest.approx(found, rel=1e-8)
    assert problem.solve().objective != pytest.approx(found, rel=1e-4)


@given(factor=st.integers(min_value=1, max_value=9), penalised=st.sampled_from(["appearance", "sample"]))
def test_thresholds_after_repeating_rare_samples(factor, penalised):
    after = resampled(lp.UFM("500x2,100x3", 1e-3), [500, 500, *[100 * factor] * 3], penalised)
    total = 1000 + 300 * factor
    strength = np.sqrt(factor * 100) if penalised == "appearance" else factor * np.sqrt(100)
    expected = strength / total
    if factor == 5 and penalised == "appearance":
        assert after.clusters.num_clusters == 1  # all are alike now
    assert after.thresholds().within[-1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "samples"])
def test_weights_are_kept_when_samples_are_repeated(reduction):
    weights = np.array([1.0, 1.5, 4.0])
    problem = lp.UFM("50,20,5", 1e-2, loss=lp.CrossEntropy(weights=weights, reduction=reduction))
    shown = np.array([50.0, 40.0, 20.0])
    terms = resampled(problem, shown, "sample").loss.terms(problem.counts)
    factors = shown / problem.counts
    normaliser = weights @ shown if reduction == "mean" else shown.sum()
    np.testing.assert_allclose(terms.weights / terms.normaliser, weights * factors / normaliser, rtol=1e-12)


def test_an_unknown_convention_is_refused():
    with pytest.raises(ValueError, match=r"^feature_penalty_per must be 'appearance' or 'sample'; got 'epoch'"):
        resampled(lp.UFM("5x2", 0.1), [5, 5], "epoch")
