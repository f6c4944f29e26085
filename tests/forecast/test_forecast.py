"""What a forecast says of classes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import lopsided as lp
from forecast.references import made_samples
from lopsided.forecast.losing import losing_decays

FEATURES, LABELS = made_samples((60, 40, 12, 6), 8, seed=4, spread=0.6)
GOOD = {"features": FEATURES, "labels": LABELS, "costs": np.ones(8), "lambda_w": 0.01, "lambda_s": 0.02}


def made(**changes):
    return lp.forecast(**GOOD | changes)


@pytest.mark.slow
def test_lost_classes_are_checked_on_both_sides():
    f = made(lambda_b=0.01)
    assert f.lost_at.shape == (4,)
    assert np.isinf(f.lost_at[0])  # what the bias predicts
    for k in range(1, 4):
        kept, lost = f.lost_between[k]
        assert kept < lost <= 1.01 * kept
        assert f.at(kept).recall[k] >= 0.5 > f.at(lost).recall[k]
        assert f.at(1.5 * lost).lost[k]
    assert f.lost_at[3] < f.lost_at[1]


@pytest.mark.slow
def test_without_a_bias_every_class_is_lost_in_the_end():
    f = made(bias=False)
    assert (f.lost_at <= f.largest_decay).all()
    assert np.all(f.at(2 * f.largest_decay).recall == 0)  # all logits zero: a tie is no prediction


@pytest.mark.slow
def test_a_class_that_its_features_lose_is_lost_from_zero_on():
    features = np.vstack([FEATURES, FEATURES[:3]])
    labels = np.append(LABELS, [4, 4, 4])  # three samples that are another class's, to the last digit
    f = made(features=features, labels=labels)
    assert f.lost_at[4] == 0


def test_the_last_crossing_counts():
    def recall(decay):
        return np.array([1.0 if decay < 1 or 2 < decay < 3 else 0.0, 0.0, 1.0])

    kept, lost = losing_decays(recall, np.geomspace(0.1, 10, 21), 1.001)
    np.testing.assert_allclose(lost, [3, 0, np.inf], rtol=1e-3)
    np.testing.assert_allclose(kept, [3, 0, 10], rtol=1e-3)


def test_ratios_of_the_decays_are_kept():
    solution = made(lambda_b=0.005).at(0.1)
    assert (solution.lambda_s, solution.lambda_b) == pytest.approx((0.2, 0.05))


@pytest.mark.slow
def test_path_is_in_the_order_given_and_the_same_as_one_by_one():
    decays = [0.003, 0.1, 0.03]
    path = made().path(decays)
    assert [solution.decay for solution in path] == decays
    for decay, solution in zip(decays, path, strict=True):
        assert solution.objective == pytest.approx(made().at(decay).objective, abs=1e-6)


@pytest.mark.slow
def test_held_out_recall_is_unknown_without_samples():
    rows = LABELS < 3
    f = made(held_out=(FEATURES[rows], LABELS[rows]))
    solution = f.at(0.01)
    assert np.isnan(solution.held_out_recall[3])
    np.testing.assert_allclose(solution.held_out_recall[:3], solution.recall[:3])
    assert solution.to_dict()["held_out_recall"][3] is None
    assert np.isnan(made().at(0.01).held_out_recall).all()


@pytest.mark.slow
def test_names_and_dead_channels():
    dead = np.column_stack([FEATURES, np.zeros(len(LABELS))])
    f = made(features=dead, costs=np.ones(9), names=["a", "b", "c", "d"])
    assert f.names == ("a", "b", "c", "d")
    assert f.at(0.01).objective == pytest.approx(made().at(0.01).objective, abs=2e-6)
    assert "K = 4" in repr(f)


def test_an_answer_that_was_not_reached_says_so():
    solution = made(tol=1e-12, max_iterations=1).at(1e-4)
    assert solution.status == "not_certified"
    assert solution.gap > 1e-12
    assert "max_iterations" in solution.message


def without(values, column, value):
    changed = np.array(values, dtype=float)
    changed.flat[column] = value
    return changed


FINITE = "features must be finite numbers, (N, d), one row a sample; got "


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"costs": without(np.ones(8), 2, 0.0)}, "costs must be above 0; got 0 for channel 2; an undecayed channel"),
        ({"costs": without(np.ones(8), 2, -1.0)}, "costs must be above 0; got -1 for channel 2"),
        ({"costs": np.ones(3)}, "costs must be one number a column of features, 8; got 3"),
        ({"features": np.ones((118, 8))}, "features must differ between samples; got constant columns only"),
        ({"features": without(FEATURES, 9, np.nan)}, FINITE + "nan in row 1, column 1"),
        ({"features": FEATURES[:, 0]}, FINITE + "an array of shape (118,)"),
        (
            {"features": FEATURES[:3], "labels": [0, 1, 2], "names": "abcd"},
            "features must have a row for each of the 4 classes at least; got 3 rows",
        ),
        ({"labels": np.zeros(118, int)}, "labels must hold two classes at least; got 1"),
        ({"labels": np.where(LABELS == 2, 4, LABELS)}, "labels must hold samples of every class; got none of class 2"),
        ({"labels": LABELS - 1}, "labels must be at least 0; got -1 in row 0"),
        ({"labels": LABELS, "names": "abc"}, "labels must be from 0 to 2; got 3 in row 112"),
        ({"labels": LABELS + 0.5}, "labels must be whole numbers"),
        ({"labels": LABELS[:5]}, "labels must be one class number a row of features, 118; got shape (5,)"),
        ({"sample_weights": np.zeros(118)}, "sample_weights must be above 0; got 0 in row 0"),
        ({"sample_weights": np.ones(3)}, "sample_weights must be one number a row of features, 118; got 3"),
        ({"held_out": FEATURES}, "held_out must be a pair of features and labels"),
        ({"held_out": (FEATURES, LABELS + 1)}, "held_out labels must be from 0 to 3; got 4 in row 112"),
        ({"held_out": (FEATURES[:, :3], LABELS)}, "held_out features must have 8 columns, like features; got 3"),
        ({"loss": lp.SquaredError()}, "loss must be a CrossEntropy"),
        ({"loss": lp.CrossEntropy(weights=[1, 2])}, "weights must have one number a class, 4"),
        ({"lambda_w": 0}, "lambda_w must be a finite number above 0; got 0"),
        ({"lambda_b": -1}, "lambda_b must be a finite number of at least 0 (0: a free bias); got -1"),
        ({"lambda_b": 0.1, "bias": False}, "lambda_b must be left out where bias=False"),
    ],
    ids=range(23),
)  # fmt: skip
def test_bad_input_is_one_line(changes, message):
    with pytest.raises(lp.ArgumentError) as error:
        made(**changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_bad_decays_are_refused():
    with pytest.raises(lp.ArgumentError, match="decay must be a finite number above 0; got 0"):
        made().at(0)
    with pytest.raises(lp.ArgumentError, match="decays must be a finite number above 0; got -1"):
        made().path([1, -1])
