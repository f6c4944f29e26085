"""What looks wrong, said in words: each finding where it is due, and none where all is well."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lopsided as lp
from lopsided.training import diagnose
from lopsided.training.diagnosis import (
    find_excess,
    find_instability,
    find_missing_collapse,
    find_other_branch,
    find_rank_deficiency,
    find_unexpected_blocks,
    find_unexpected_merges,
)


def solution(counts="150x5,30x5", lambda_z=3e-3):
    return lp.UFM(counts, lambda_z, lambda_b=0.02).solve()


def history(nc1, *, objective=None, rank=9, accuracy=1.0, merged=()):
    """Rows of a run of 100 epochs whose decays reach their values at half time."""
    epochs = np.linspace(0, 100, len(nc1)).round().astype(int).tolist()
    objectives = objective or [2.0] + [1.0] * (len(nc1) - 1)
    return [
        {
            "epoch": epoch,
            "learning_rate": 0.01,
            "decay_factor": 1.0 if epoch >= 50 else 0.1,
            "batch_objective": None if epoch == 0 else value,
            "objective": value,
            "nc1_rank_aware": own,
            "rank": rank,
            "train_accuracy": accuracy,
            "merged": list(merged),
        }
        for epoch, own, value in zip(epochs, nc1, objectives, strict=True)
    ]


GOOD = [5.0, 0.1, 5e-3, 1e-3, 1e-3]


def permuted(geometry, order):
    return lp.Geometry(geometry.counts, geometry.class_means[order], geometry.classifier[order], geometry.bias[order])


@pytest.mark.parametrize("lambda_z", [1e-3, 5.9e-3, 9e-3, 0.016])
def test_nothing_is_found_where_all_is_as_predicted(lambda_z):
    certified = solution(lambda_z=lambda_z)
    geometry = certified.geometry
    measured = lp.Geometry(geometry.counts, geometry.class_means, geometry.classifier, geometry.bias)
    rows = history(GOOD, objective=[5.0, 4.0, 3.0, 2.5, certified.objective * 1.001])
    assert diagnose(rows, predicted=geometry, measured=measured, optimum=certified.objective) == ()


@pytest.mark.parametrize("broken", [math.nan, math.inf, None])
def test_a_loss_that_is_not_finite_is_all_that_is_said(broken):
    geometry = solution().geometry
    rows = history([5.0, 2.0, 1.0], objective=[2.0, 1.5, 1.5])
    rows[-1]["objective"] = broken
    (finding,) = diagnose(rows, predicted=geometry, measured=permuted(geometry, np.arange(10)[::-1]), optimum=0.1)
    assert finding.code == "loss-not-finite"
    assert finding.message == "the loss was not finite in epoch 100 at learning rate 0.01"
    assert "learning rate" in finding.remedy
    assert "batch" in finding.remedy


def test_a_batch_loss_that_is_not_finite_counts_too():
    rows = history(GOOD)
    rows[2]["batch_objective"] = math.nan
    assert [finding.code for finding in find_instability(rows)] == ["loss-not-finite"]


def test_a_rising_loss_is_found_once_the_decays_are_raised():
    (finding,) = find_instability(history(GOOD, objective=[3.0, 2.0, 1.0, 1.2, 1.3]))
    assert finding.code == "loss-rising"
    assert finding.message == "the objective rose from 1 in epoch 50 to 1.3 in epoch 100"


@pytest.mark.parametrize("objective", [[3.0, 1.0, 1.4, 1.3, 1.2], [3.0, 2.0, 1.0, 5.0, 1.04]])
def test_a_rise_during_the_ramp_or_one_that_was_mended_is_none(objective):
    assert find_instability(history(GOOD, objective=objective)) == []


def test_a_run_stopped_during_the_ramp_is_not_judged_by_its_objective():
    assert find_instability(history([5.0, 1.0])[:1]) == []


@pytest.mark.parametrize(
    ("nc1", "accuracy", "seen", "remedy"),
    [
        ([5.0, 2.0, 0.5, 0.2, 0.1], 1.0, "still falling", "train longer"),
        ([5.0, 2.0, 0.5, 0.2, 0.1], 0.9, "still falling", "train longer"),
        ([5.0, 2.0, 0.2, 0.2, 0.2], 0.9, "fits 90.0 % of the training samples", "widen or deepen the network"),
        ([5.0, 2.0, 0.2, 0.2, 0.2], 1.0, "the decay may be too weak", "raise lambda_h"),
        ([5.0, 2.0, 0.2, None, None], 1.0, "the decay may be too weak", "raise lambda_h"),
    ],
)
def test_missing_collapse_is_explained(nc1, accuracy, seen, remedy):
    (finding,) = find_missing_collapse(history(nc1, accuracy=accuracy))
    assert finding.code == "no-collapse"
    assert seen in finding.message
    assert remedy in finding.remedy


def test_with_merged_classes_no_one_asks_for_full_accuracy():
    (finding,) = find_missing_collapse(history([5.0, 2.0, 0.2, 0.2, 0.2], accuracy=0.83, merged=[[5, 6, 7, 8, 9]]))
    assert "too weak" in finding.message


def test_complete_collapse_has_no_nc1_to_miss():
    assert find_missing_collapse(history([5.0, 2.0, 0.2, None, None], rank=0)) == []


def test_an_objective_far_above_the_optimum_is_found():
    assert find_excess(history(GOOD, objective=[2.0, 1.5, 1.1, 1.06, 1.04]), optimum=1.0) == []
    (finding,) = find_excess(history(GOOD, objective=[2.0, 1.5, 1.1, 1.08, 1.06]), optimum=1.0)
    assert finding.code == "far-from-optimum"


def test_counts_of_another_data_set_are_found():
    predicted, measured = solution("30x5,150x5").geometry, solution().geometry
    (finding,) = find_unexpected_blocks(predicted, measured)
    assert finding.code == "counts-differ"
    assert "class 0 has 150 samples, not 30" in finding.message


def test_classes_in_the_wrong_order_are_found():
    geometry = solution().geometry
    exchanged = np.array([9, 1, 2, 3, 4, 5, 6, 7, 8, 0])
    (finding,) = find_unexpected_blocks(geometry, permuted(geometry, exchanged))
    assert finding.code == "unexpected-blocks"
    assert "class 0 " in finding.message or "class 9 " in finding.message
    assert "same order" in finding.remedy


def test_classes_exchanged_inside_a_cluster_are_none_the_wiser():
    geometry = solution().geometry
    inside = np.array([4, 0, 1, 2, 3, 9, 8, 7, 6, 5])
    assert find_unexpected_blocks(geometry, permuted(geometry, inside)) == []


def test_classes_of_one_count_that_the_loss_tells_apart_are_no_finding():
    geometry = lp.UFM("90x4", 3e-3, lambda_b=0.02, loss=lp.CrossEntropy(weights=[1, 1, 3, 3])).solve().geometry
    assert find_unexpected_blocks(geometry, geometry) == []
    (finding,) = find_unexpected_blocks(geometry, permuted(geometry, [2, 3, 0, 1]))
    assert finding.code == "unexpected-blocks"


def test_noise_about_complete_collapse_is_no_block_structure():
    predicted = solution(lambda_z=0.016).geometry
    noise = np.random.default_rng(0).normal(size=(10, 10))
    measured = lp.Geometry(predicted.counts, 0.1 * np.eye(10), 0.05 * noise)
    assert find_unexpected_blocks(predicted, measured) == []


def test_merges_against_the_prediction_are_found_in_both_directions():
    apart, merged = solution(lambda_z=3e-3).geometry, solution(lambda_z=9e-3).geometry
    (early,) = find_unexpected_merges(lp.compare(apart, merged))
    assert early.code == "unexpected-merge"
    assert "classes [5, 6, 7, 8, 9] have merged" in early.message
    (late,) = find_unexpected_merges(lp.compare(merged, apart))
    assert late.code == "missing-merge"
    assert "classes [5, 6, 7, 8, 9] were predicted to merge" in late.message


def test_just_below_the_threshold_both_verdicts_of_a_measurement_are_accepted():
    predicted = solution(lambda_z=6.05e-3).geometry
    assert predicted.merged == []
    measured = lp.Geometry(predicted.counts, predicted.class_means, predicted.classifier)
    assert measured.merged == [[5, 6, 7, 8, 9]]
    assert find_unexpected_merges(lp.compare(predicted, measured)) == []


def test_a_rank_that_only_a_measurement_misses_is_not_called_deficient():
    predicted = solution(lambda_z=6.05e-3).geometry
    measured = lp.Geometry(predicted.counts, predicted.class_means, predicted.classifier)
    assert measured.rank < predicted.rank
    assert find_rank_deficiency(lp.compare(predicted, measured)) == []


@pytest.mark.parametrize(
    ("objective", "rank", "codes"), [(1.01, 2, []), (1.2, 2, ["other-branch"]), (0.8, 2, ["other-branch"])]
)
def test_beside_a_stationary_point_above_and_below_are_alike(objective, rank, codes):
    weak = lp.Geometry([9, 9, 3, 3], np.diag([4.0, 4.0, 2.0, 2.0]), np.eye(4))
    found = find_other_branch([{"objective": objective}], lp.compare(weak, weak), 1.0)
    assert [finding.code for finding in found] == codes


def test_a_lower_rank_than_that_of_a_stationary_point_is_another_branch_and_not_a_fault():
    predicted = lp.Geometry([9, 9, 3, 3], np.diag([4.0, 4.0, 2.0, 2.0]), np.eye(4))
    measured = lp.Geometry([9, 9, 3, 3], np.diag([4.0, 4.0, 0.0, 0.0]), np.eye(4))
    rows = history(GOOD, objective=[1.0] * len(GOOD), rank=measured.rank)
    arguments = {"predicted": predicted, "measured": measured, "optimum": 1.0}
    assert "rank-deficient" in [finding.code for finding in diagnose(rows, **arguments)]
    codes = [finding.code for finding in diagnose(rows, **arguments, stationary=True)]
    assert "other-branch" in codes
    assert "rank-deficient" not in codes


def test_beside_a_stationary_point_classes_of_equal_count_need_not_be_alike():
    even = lp.Geometry([9, 9, 9], np.diag([2.0, 2.0, 2.0]), np.eye(3))
    odd = lp.Geometry([9, 9, 9], np.diag([1.0, 2.0, 3.0]), np.eye(3))
    rows = history(GOOD, objective=[1.0] * len(GOOD))
    assert [finding.code for finding in diagnose(rows, predicted=even, measured=odd)] == ["unexpected-blocks"]
    assert diagnose(rows, predicted=even, measured=odd, stationary=True) == ()


APART = lp.Geometry([9, 9, 3, 3], np.diag([4.0, 4.0, 2.0, 2.0]), np.eye(4))
MERGED = lp.Geometry([9, 9, 3, 3], np.diag([4.0, 4.0, 0.0, 0.0]), np.eye(4))
EXCHANGED = lp.Geometry([9, 9, 3, 3], np.diag([4.0, 2.0, 4.0, 2.0]), np.eye(4))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            lambda: find_missing_collapse(history([5.0, 5.0, 0.5, 0.2, 0.1])),
            "rank-aware NC1 is 0.1 after 100 epochs, above 0.01, and still falling; train longer",
        ),
        (
            lambda: find_excess([{"epoch": 100, "objective": 1.2}], optimum=1.0),
            "the objective ended at 1.2, 20 % above the certified optimum 1; train longer, or at another learning rate",
        ),
        (
            lambda: find_other_branch([{"epoch": 100, "objective": 1.0}], lp.compare(APART, APART), objective=1.2),
            "the network ended at rank 3 and an objective of 1, where the predicted stationary point has rank 3 and"
            " 1.2: there are others; compare several seeds or initialisations",
        ),
        (
            lambda: find_rank_deficiency(lp.compare(APART, MERGED)),
            "the mean logits have rank 2, where the optimum has rank 3: training is stuck in a solution of too low a"
            " rank; raise the decays more slowly (a longer ramp from a smaller start), or train longer",
        ),
        (
            lambda: find_unexpected_blocks(APART, EXCHANGED),
            "32 % of the mean logits lie outside the blocks of the counts, most for class 0 of the cluster with 9"
            " samples a class; check that counts and classes are in the same order, else train longer",
        ),
        (
            lambda: find_unexpected_merges(lp.compare(APART, MERGED)),
            "classes [2, 3] have merged, though the prediction keeps them apart; raise the decays more slowly (a longer"
            " ramp from a smaller start), or train longer",
        ),
    ],
)
def test_findings_read_in_full(found, text):
    assert str(found()[0]) == text
