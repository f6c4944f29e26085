"""By how much a measurement differs from its prediction, and whether they agree on rank and merged classes."""

import json

import numpy as np
import pytest

import lopsided as lp
from lopsided.core.comparison import COMPARED


def simplex(num_classes, scale=5.0):
    return scale * (np.eye(num_classes) - 1 / num_classes)


def of_logits(logits, **known):
    return lp.Geometry([90, 90, 10, 10], logits, np.eye(4), **known)


APART = of_logits(np.diag([3.0, 3.0, 2.0, 2.0]), rank=3, merged=[])
RARE_MERGED = of_logits(np.diag([3.0, 3.0, 0.0, 0.0]), rank=2, merged=[[2, 3]])
COMMON_MERGED = of_logits(np.diag([0.0, 0.0, 3.0, 3.0]), rank=2, merged=[[0, 1]])
#: The rare classes differ by less than a measurement can tell.
NEARLY = np.diag([3.0, 3.0, 0.02, 0.0])


def test_errors_are_relative_to_the_prediction():
    predicted = lp.Geometry([5, 5], simplex(2, 4.0), np.eye(2), [1.0, -1.0])
    measured = lp.Geometry([5, 5], simplex(2, 5.0), np.eye(2), [1.5, -1.0])
    comparison = lp.compare(predicted, measured)
    assert set(comparison.discrepancies) == set(COMPARED)
    logits = comparison["mean_logits"]
    np.testing.assert_array_equal(logits.predicted, simplex(2, 4.0))
    assert logits.relative_error == pytest.approx(0.25)
    assert logits.absolute_error == pytest.approx(0.5)
    assert comparison["bias"].relative_error == pytest.approx(0.5 / np.sqrt(2))
    assert comparison["gram_means"].relative_error == pytest.approx(25 / 16 - 1)
    assert comparison["cosines_means"].relative_error == pytest.approx(0, abs=1e-12)


def test_the_diagonal_of_the_cosines_flatters_no_error():
    angle = 0.1
    predicted = lp.Geometry([5, 5], [[1.0, 0.0], [0.0, 1.0]], np.eye(2))
    measured = lp.Geometry([5, 5], [[1.0, 0.0], [np.sin(angle), np.cos(angle)]], np.eye(2))
    assert lp.compare(predicted, measured)["cosines_means"].absolute_error == pytest.approx(np.sin(angle))


def test_a_prediction_of_zero_has_an_absolute_error_only():
    predicted = lp.Geometry([5, 5], np.zeros((2, 2)), np.zeros((2, 2)))
    measured = lp.Geometry([5, 5], np.full((2, 2), 0.01), np.eye(2))
    comparison = lp.compare(predicted, measured)
    assert np.isnan(comparison["mean_logits"].relative_error)
    assert comparison["mean_logits"].absolute_error == pytest.approx(0.01)
    assert np.isnan(comparison["cosines_means"].absolute_error)  # a zero vector has no direction to compare


def test_classes_without_samples_are_not_compared():
    means = simplex(3)
    predicted = lp.Geometry([5, 5, 5], means, np.eye(3))
    seen = means.copy()
    seen[1] = np.nan
    comparison = lp.compare(predicted, lp.Geometry([5, 0, 5], seen, np.eye(3)))
    assert comparison["mean_logits"].measured.shape == (2, 3)
    assert comparison["gram_means"].measured.shape == (2, 2)
    assert comparison["mean_logits"].relative_error == 0
    assert comparison["gram_means"].relative_error == 0
    assert comparison["cosines_means"].relative_error == pytest.approx(0, abs=1e-15)


def test_a_comparison_becomes_json_without_nan():
    zero = lp.Geometry([5, 5], np.zeros((2, 2)), np.zeros((2, 2)))
    text = json.dumps(lp.compare(zero, zero).to_dict(), allow_nan=False)
    value = json.loads(text)
    assert value["quantities"]["mean_logits"] == {"relative_error": None, "absolute_error": 0.0}
    assert value["rank"] == {"predicted": 0, "measured": 0, "agrees": True}
    assert value["merged"] == {"predicted": [[0, 1]], "measured": [[0, 1]], "agrees": True}


def test_compare_refuses_other_classes_and_missing_classifiers():
    two = lp.Geometry([5, 5], simplex(2), np.eye(2))
    three = lp.Geometry([5, 5, 5], simplex(3), np.eye(3))
    with pytest.raises(ValueError, match=r"^predicted and measured must have the same classes; got 2 and 3$"):
        lp.compare(two, three)
    with pytest.raises(ValueError, match=r"^classifier is unknown"):
        lp.compare(two, lp.Geometry([5, 5], simplex(2)))


@pytest.mark.parametrize(
    ("predicted", "measured", "unexpected", "missing"),
    [
        (APART, APART, [], []),
        (RARE_MERGED, RARE_MERGED, [], []),
        (APART, RARE_MERGED, [(2, 3)], []),
        (RARE_MERGED, APART, [], [(2, 3)]),
        (RARE_MERGED, COMMON_MERGED, [(0, 1)], [(2, 3)]),
    ],
)
def test_classes_that_merge_must_be_those_predicted(predicted, measured, unexpected, missing):
    comparison = lp.compare(predicted, measured)
    assert comparison.unexpected_merges == unexpected
    assert comparison.missing_merges == missing
    assert comparison.same_merged is (not unexpected and not missing)
    assert comparison.same_rank is (predicted.rank == measured.rank)


def test_classes_predicted_apart_by_less_than_the_tolerance_may_be_measured_either_way():
    predicted = of_logits(NEARLY, rank=3, merged=[])
    for measured in (of_logits(NEARLY), of_logits(NEARLY, rank=3, merged=[])):
        comparison = lp.compare(predicted, measured)
        assert comparison.same_merged
        assert comparison.same_rank
    assert lp.compare(predicted, of_logits(NEARLY, merged=[[0, 1], [2, 3]])).unexpected_merges == [(0, 1)]
    assert not lp.compare(predicted, of_logits(NEARLY, rank=1)).same_rank


def test_classes_predicted_to_merge_exactly_must_be_measured_as_merged():
    predicted, measured = of_logits(NEARLY, rank=2, merged=[[2, 3]]), of_logits(NEARLY, rank=3, merged=[])
    assert lp.compare(predicted, measured).missing_merges == [(2, 3)]
    assert not lp.compare(predicted, measured).same_rank


@pytest.mark.parametrize("share", [0.98, 1.0])
def test_a_prediction_short_of_its_threshold_agrees_with_itself_as_measured(share):
    """At 98 % of the threshold the optimum keeps the rare classes apart by less than a measurement tells."""
    threshold = lp.UFM("500x5,100x5", lambda_z=1.0, lambda_b=0.02).thresholds().within[1]
    predicted = lp.UFM("500x5,100x5", lambda_z=share * threshold, lambda_b=0.02).solve().geometry
    measured = lp.Geometry(predicted.counts, predicted.class_means, predicted.classifier, predicted.bias)
    assert (predicted.merged == measured.merged) is (share == 1.0)
    comparison = lp.compare(predicted, measured)
    assert comparison.same_merged
    assert comparison.same_rank


def test_a_class_without_samples_has_neither_merged_nor_failed_to():
    means = np.array(RARE_MERGED.class_means)
    means[3] = np.nan
    without_the_last = lp.Geometry([90, 90, 10, 0], means, np.eye(4))
    comparison = lp.compare(RARE_MERGED, without_the_last)
    assert comparison.same_merged
    assert comparison.same_rank
    assert lp.compare(lp.Geometry([90, 90, 10, 0], means, np.eye(4)), RARE_MERGED).same_merged
