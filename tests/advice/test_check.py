"""``lp.check``: what becomes of each class, against the solver, the thresholds and the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lopsided as lp

MODES = [{"bias": False}, {"lambda_b": 0.02}, {}]


@pytest.mark.parametrize(
    ("decay", "state"), [(0.0023, "kept"), (0.0024, "fading"), (0.00333, "fading"), (0.00334, "lost")]
)
def test_states_turn_at_the_threshold_and_at_its_margin(decay, state):
    found = lp.check("500x5,100x5", decay, lambda_b=0.02)
    assert set(found.states[5:]) == {state}  # the threshold is 1/300, and over √2 it is .002357
    assert set(found.states[:5]) == {"kept"}
    assert found.margins[5] == pytest.approx(1 / 300 / decay)
    assert found.exact.all()
    assert [found.lost, found.fading][state == "fading"] == ([] if state == "kept" else [5, 6, 7, 8, 9])


def test_margin_names_where_fading_begins():
    assert lp.check("500x5,100x5", 0.002, margin=1.6).fading == []
    assert lp.check("500x5,100x5", 0.002, margin=1.7).fading == [5, 6, 7, 8, 9]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", ["500x5,100x5", "500,300,100", "50x2,20,7x3,2", "9,9"])
@pytest.mark.parametrize("share", [0.3, 0.8, 1.2])
def test_the_lead_is_read_off_the_logits(counts, mode, share):
    """From the K × K mean logits of the geometry, class by class."""
    problem = lp.UFM(counts, 1.0, **mode)
    problem = problem.replaced(lambda_z=share * problem.thresholds().complete)
    solution = problem.solve()
    found = solution.predictions
    outputs = solution.geometry.mean_logits + solution.geometry.bias
    for k, row in enumerate(outputs):
        others = np.delete(row, k)
        assert found.lead[k] == pytest.approx(row[k] - others.max(), abs=1e-7)
        assert row[found.runner_up[k]] == pytest.approx(others.max(), abs=1e-7)
        assert found.runner_up[k] != k
        assert found.probability[k] == pytest.approx(np.exp(row[k]) / np.exp(row).sum(), abs=1e-8)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(1, 400), min_size=2, max_size=7),
    weights=st.lists(st.floats(0.2, 5), min_size=7, max_size=7),
    mode=st.sampled_from(MODES),
    below=st.floats(0.05, 0.999),
)
def test_below_the_threshold_over_root_two_every_class_is_its_own(counts, weights, mode, below):
    """The guarantee behind the default margin, for weighted cross-entropy and any counts."""
    loss = lp.CrossEntropy(weights=weights[: len(counts)])
    limits = lp.check(counts, 1.0, loss=loss, **mode).thresholds
    found = lp.check(counts, below * float(limits.min()) / math.sqrt(2), loss=loss, **mode)
    assert found.misclassified == []
    assert found.states == ("kept",) * len(counts)


def test_that_guarantee_is_nearly_tight():
    """Not far above its threshold over √2 a class can be misclassified: one of 10 beside one of very many."""
    counts = np.array([10**7, 10, 10])
    limit = lp.check(counts, 1.0).thresholds.min()
    assert lp.check(counts, float(limit) / 1.3).misclassified == [1, 2]


def test_a_class_alone_in_its_count_is_lost_where_another_is_predicted():
    fading, lost = (lp.check("500,300,100", decay) for decay in (0.0105, 0.0115))
    assert not fading.exact.any()
    assert fading.thresholds[2] == pytest.approx(10 / 900)
    assert (fading.states[2], fading.misclassified) == ("fading", [2])
    assert (lost.states[2], lost.misclassified, lost.merged) == ("lost", [2], [])
    assert lost.runner_up[2] == 0
    assert any("alone in its count" in sentence for sentence in lost.assumptions)


def test_past_its_threshold_a_class_alone_may_still_be_its_own():
    """Two classes without a bias are told apart up to √2/√N, however unequal."""
    found = lp.check("300,100", 0.03, bias=False)
    assert found.margins[1] == pytest.approx(math.sqrt(100) / 400 / 0.03)
    assert found.margins[1] < 1
    assert found.states == ("fading", "fading")


def test_everything_is_lost_at_the_origin():
    found = lp.check("500,300,100", 0.03)
    assert found.lost == [0, 1, 2]
    assert found.merged == [[0, 1, 2]]
    assert found.at_origin == [0, 1, 2]
    rare = lp.check("500x5,100x5", 0.005, bias=False)  # past .0046053 nothing tells common from rare
    assert (rare.lost, rare.at_origin) == ([5, 6, 7, 8, 9], [5, 6, 7, 8, 9])
    assert lp.check("500x5,100x5", 0.0045, bias=False).at_origin == []


def test_classes_of_equal_count_are_lost_together_and_alone():
    found = lp.check("500,100x2", 0.0145, lambda_b=0.02)
    assert found.lost == [1, 2]
    assert found.merged == [[1, 2]]


def test_a_weight_decay_alone_gives_the_range():
    weight_decay = 5e-4
    found = lp.check("500x5,100x5", weight_decay=weight_decay, lambda_b=0.02)
    assert set(found.states) == {"unknown"}
    assert (found.problem, found.solution, found.lost, found.merged) == (None, None, [], [])
    assert "cannot be told from the weight decay alone" in found.assumptions[0]
    for k in (0, 9):
        decay = found.critical_feature_decays[k]
        for factor, lost in ((1 + 1e-6, True), (1 - 1e-6, False)):
            known = lp.check("500x5,100x5", weight_decay=weight_decay, feature_decay=decay * factor, lambda_b=0.02)
            assert (k in known.lost) is lost
        assert known.problem.lambda_w == weight_decay
        # the ratio of norms at that optimum is the one said to be critical
        geometry = lp.UFM("500x5,100x5", lambda_w=weight_decay, lambda_h=decay * 0.999, lambda_b=0.02).solve().geometry
        if k == 9:
            features = np.sqrt(geometry.counts @ np.sum(geometry.class_means**2, axis=1))
            ratio = np.linalg.norm(geometry.classifier) / features
            assert ratio == pytest.approx(found.critical_norm_ratios[k], rel=1e-3)


def test_resampling_first():
    kept = lp.check("500x5,100x5", 0.0035, sampling_strategy="all")
    assert kept.lost == []
    assert kept.thresholds[9] == pytest.approx(np.sqrt(500) / 5000)
    weighted = lp.check("500x5,100x5", 0.0035, sampling_strategy={9: 500}, feature_penalty_per="sample")
    assert weighted.thresholds[9] == pytest.approx(min(5 * 10 / 3400, weighted.complete))
    assert 9 not in weighted.lost


@pytest.mark.slow
def test_losses_and_features_are_understood():
    focal = lp.check("50x2,5x2", 0.05, loss=lp.FocalLoss(gamma=1.0), bias=False)
    assert focal.lost == [2, 3]
    assert not focal.exact.any()
    assert any("stationary points" in sentence for sentence in focal.assumptions)
    squared = lp.check("500x2,100x2", 1e-2, loss=lp.SquaredError(), bias=False)
    assert squared.lost == [2, 3]
    assert squared.at_origin == [2, 3]
    assert np.isnan(squared.probability).all()
    relu = lp.check("500,300,100", 0.01, features="relu", bias=False)
    assert relu.exact.all()
    assert relu.states[2] == "lost"  # alone in its count, and its features are zero all the same


def test_names_stay_with_the_classes():
    found = lp.check(lp.ClassCounts(np.array([500, 100, 100]), ("cat", "dog", "eel"), "a test"), 0.02)
    assert [found.name(k) for k in found.lost] == ["dog", "eel"]
    assert [entry["name"] for entry in found.to_dict()["classes"]] == ["cat", "dog", "eel"]


@pytest.mark.slow
def test_hundreds_of_counts_are_solved_less_far_and_say_the_same():
    counts = np.arange(1, 251) * 3
    quick = lp.check(counts, 2e-4, lambda_b=0.02)
    slow = lp.check(counts, 2e-4, lambda_b=0.02, tol=1e-8)
    assert 1e-8 < quick.solution.gap / quick.solution.objective <= 1e-5
    assert quick.states == slow.states
    assert {"kept", "fading", "lost"} == set(quick.states)
    np.testing.assert_allclose(quick.probability, slow.probability, atol=5e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"^lambda_z must be given, or both weight_decay and feature_decay; got nothing"),
        ({"feature_decay": 1e-3}, r"^lambda_z must be given, or both weight_decay .*; got no weight_decay"),
        ({"weight_decay": 0.0}, r"^weight_decay must be a finite number above 0; got 0.0"),
        ({"weight_decay": 1e-3, "feature_decay": -1.0}, r"^feature_decay must be a finite number above 0; got -1.0"),
        ({"lambda_z": 1e-3, "margin": 0.9}, r"^margin must be a finite number of at least 1, .*; got 0.9"),
        ({"lambda_z": 1e-3, "margin": float("nan")}, r"^margin must be a finite number of at least 1"),
        ({"lambda_z": 1e-3, "margin": True}, r"^margin must be a finite number of at least 1"),
        (
            {"lambda_z": 1e-3, "feature_penalty_per": "epoch"},
            r"^feature_penalty_per must be 'appearance' or 'sample'; got 'epoch'",
        ),
        ({"lambda_z": 1e-3, "sampling_strategy": "some"}, r"^sampling_strategy must be one of"),
        ({"lambda_z": 1e-3, "loss": lp.CrossEntropy(weights=[1, 2])}, r"^weights must have one number a class"),
    ],
)
def test_what_breaks_a_rule_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        lp.check("500x5,100x5", **arguments)
