"""Classes of nearly equal counts: definitions, the law of their distance on either side, and what is undefined."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import lopsided as lp
from lopsided.theory import near_collapse, near_collapse_rate

MODES: dict[str, dict[str, Any]] = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_cosines_and_distances_are_those_of_the_optimum(mode):
    model = lp.UFM("300,280,90x2,88", lambda_w=0.1, lambda_h=1e-3, **MODES[mode])
    decays = [0.02, 0.005, 0.012]
    near = near_collapse(model, decays, [(0, 1), (2, 4), (2, 3)])
    np.testing.assert_array_equal(near.decays, sorted(decays))
    for row, decay in enumerate(near.decays):
        geometry = model.replaced(lambda_z=decay).solve(tol=1e-11).geometry
        for name, vectors in (("means", geometry.class_means), ("classifier", geometry.classifier)):
            for column, (first, second) in enumerate(near.pairs):
                one, other = vectors[first], vectors[second]
                scale = math.sqrt((one @ one + other @ other) / 2)
                assert getattr(near, f"distance_{name}")[row, column] == pytest.approx(
                    math.dist(one, other) / scale, abs=1e-5
                )
                assert getattr(near, f"cosine_{name}")[row, column] == pytest.approx(
                    one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-5
                )
    threshold = near.thresholds[2]
    assert threshold == pytest.approx(math.sqrt(90) / 848)
    merged = near.decays >= threshold
    assert (near.distance_means[merged, 2] < 1e-7).all()
    assert (near.distance_means[~merged, 2] > 0.1).all()


def test_the_neighbouring_counts_are_compared_from_the_commonest():
    near = near_collapse(lp.UFM("5,90,40,90,5,60", 1.0), [0.01])
    assert near.pairs.tolist() == [[1, 5], [5, 2], [2, 0]]
    # a tie takes all classes of both counts: (90 + 90 + 60) / 3
    assert near.thresholds[0] == pytest.approx(math.sqrt(80) / 290)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("sizes", "order"), [((1, 1), 2), ((2, 2), 2), ((2, 3), 1)])
@pytest.mark.parametrize("above", [1.03, 1.4])
def test_above_the_threshold_the_distance_is_proportional_to_the_log_ratio(sizes, order, above, mode):
    """The law is exact in the limit: what is missing falls with the log ratio, to the order stated."""
    errors: dict[str, list[float]] = {"means": [], "classifier": []}
    for step in (200, 50) if order == 2 else (20, 5):  # where the next order does not show
        # the mean count of the two clusters stays
        tied = [20000 + step * sizes[1]] * sizes[0] + [20000 - step * sizes[0]] * sizes[1]
        counts = [60000, 50000, *tied, 9000]
        pair, decay = (2, len(counts) - 2), above * math.sqrt(20000) / sum(counts)
        model = lp.UFM(counts, decay, **MODES[mode])
        rate = near_collapse_rate(model, pair)
        assert rate.threshold == pytest.approx(decay / above, rel=1e-12)
        near = near_collapse(model, [decay], [pair])
        ratio = math.log(counts[pair[0]] / counts[pair[1]])
        for name, found in errors.items():
            found.append(abs(getattr(near, f"distance_{name}")[0, 0] / ratio / getattr(rate, name) - 1))
    for coarse, fine in errors.values():
        assert fine < 0.01
        assert fine < 1.25 * coarse / 4**order + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("below", [0.6, 0.97])
def test_below_the_threshold_unequal_counts_change_the_distance_in_second_order(below, mode):
    decay = below * math.sqrt(200) / 1590
    scale = {"lambda_w": 7 * decay, "lambda_z": decay}

    def distance(step):
        model = lp.UFM([600, 500, 200 + step, 200 - step, 90], **scale, **MODES[mode])
        means = model.solve(tol=1e-12).geometry.class_means
        return math.dist(means[2], means[3])

    tied = lp.UFM([600, 500, 200, 200, 90], **scale, **MODES[mode]).solve(tol=1e-12)
    own, same = tied.probabilities([2])[0, [2, 3]]
    assert own - same == pytest.approx(1 - below, rel=1e-9)
    at_tie = distance(0)
    expected = 2 * math.sqrt(tied.problem.lambda_w / tied.problem.lambda_h) * math.log(own / same) / math.sqrt(200)
    assert at_tie**2 == pytest.approx(expected, rel=1e-9)
    assert (distance(8) - at_tie) / (distance(2) - at_tie) == pytest.approx(16, rel=0.15)


def test_at_the_threshold_the_distance_of_equal_counts_vanishes_like_a_square_root():
    near = near_collapse(lp.UFM("600,200x2,90", 1.0), (1 - np.array([4e-4, 1e-4])) * math.sqrt(200) / 1090, [(1, 2)])
    far, close = near.distance_means[:, 0] ** 2
    assert far / close == pytest.approx(4, rel=0.02)


@pytest.mark.slow
def test_merged_to_within_a_tolerance():
    model = lp.UFM("600,500,204,200,90", 1.0, lambda_b=0.02)
    complete = model.thresholds().complete
    near = near_collapse(model, np.linspace(0.3, 1.02, 15) * complete, [(2, 3), (0, 1)])
    decays = near.merged_from(0.1)
    for pair, decay in zip(near.pairs, decays, strict=True):
        below, above = near_collapse(model, [decay * (1 - 1e-6), decay * (1 + 1e-6)], [pair]).distance_means[:, 0]
        assert below > 0.1
        assert np.isnan(above) or above <= 0.1
    assert decays[0] == pytest.approx(near.thresholds[0], rel=0.05)  # where equal counts would merge
    assert decays[1] == pytest.approx(complete)  # the two commonest point apart to the last
    near = near_collapse(model, np.linspace(0.3, 1.02, 5) * complete, [(2, 3)])
    assert near.merged_from(1.99)[0] == near.decays[0]
    short = near_collapse(model, [0.3 * complete, 0.4 * complete])
    with pytest.raises(ValueError, match=r"^tolerance must be reached within the decays; got 0.01, .*; add decays up"):
        short.merged_from(0.01)
    for wrong in (0, 2, math.nan):
        with pytest.raises(ValueError, match=r"^tolerance must lie above 0 and below 2"):
            near.merged_from(wrong)


def test_where_nothing_is_left_there_is_no_direction():
    model = lp.UFM("60,50,40", 1.0, bias=False)
    near = near_collapse(model, [1.001 * model.thresholds().complete])
    for name in ("cosine_means", "distance_means", "cosine_classifier", "distance_classifier"):
        assert np.isnan(getattr(near, name)).all()
        assert near.to_dict()[name] == [[None, None]]
    json.dumps(near.to_dict(), allow_nan=False)
    rate = near_collapse_rate(model, (1, 2))
    assert np.isnan([rate.means, rate.classifier]).all()


def test_a_fractional_mean_count_is_no_obstacle():
    """(200, 199) and the same times two at the decay divided by √2 are one problem."""
    once, twice = (
        near_collapse_rate(lp.UFM(factor * np.array([600, 200, 199]), 0.018 / math.sqrt(factor)), (1, 2))
        for factor in (1, 2)
    )
    assert once.means == pytest.approx(twice.means, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: near_collapse(lp.UFM("5x3", 1.0), [0.1]), "pairs must be given where all classes are alike"),
        (lambda: near_collapse(lp.UFM("5,4", 1.0), []), "decays must hold at least one value"),
        (lambda: near_collapse(lp.UFM("5,4", 1.0), [0.1], [(0, 2)]), "pairs must name two different classes from 0 to"),
        (lambda: near_collapse(lp.UFM("5,4", 1.0), [0.1], [(1, 1)]), "pairs must name two different classes from 0 to"),
        (lambda: near_collapse(lp.UFM("5,4", 1.0), [0.1], [(0, 1.0)]), "pairs must be one or more pairs"),
        (lambda: near_collapse(lp.UFM("5,4", 1.0), [0.1], []), "pairs must be one or more pairs"),
        (lambda: near_collapse_rate(lp.UFM("9,5,4", 0.05), (1, 2)), "lambda_z must be at least 0.1178"),
        (
            lambda: near_collapse_rate(lp.UFM("9,5,4", 0.2, loss=lp.CrossEntropy(label_smoothing=0.1)), (1, 2)),
            "problem must have the loss",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
