"""``lp.advise``: what every remedy promises the solver keeps, and a little less than the remedy does not do."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lopsided as lp
from lopsided.advice import resampled

BIAS = {"lambda_b": 0.02}
#: A little less of the remedy, as a share: more than the solver's and the levers' own tolerance.
LESS = 1e-6


def two_clusters(rare: int = 100, share: float = 1.05, sizes: tuple[int, int] = (4, 3), common: int = 500) -> lp.UFM:
    """Common and rare classes, the rare ones lost: λ_z is ``share`` times their threshold."""
    counts = np.repeat([common, rare], sizes)
    return lp.UFM(counts, share * math.sqrt(rare) / counts.sum(), **BIAS)


@functools.cache
def ldam_in_reach() -> lp.Advice:
    """What LDAM's margins can do for the two clusters: their search takes a second, so it is made once."""
    return lp.advise(two_clusters(), margin=1, levers=["ldam"])


def lost(problem: lp.UFM) -> list[int]:
    return sorted(k for cluster in problem.solve().clusters if cluster.collapsed for k in cluster.classes)


def a_little_less(problem: lp.UFM, remedy: lp.Remedy) -> lp.UFM:
    """The problem after slightly less of a remedy."""
    found, loss = remedy.settings, problem.loss
    if remedy.name == "decay":
        return problem.replaced(lambda_z=found["lambda_z"] * (1 + LESS))
    if remedy.name == "class-weights":
        base = np.ones(problem.num_classes)
        less = np.where(np.array(found["weights"]) > base, np.array(found["weights"]) * (1 - LESS), base)
        changed = dataclasses.replace(loss, weights=less, reduction=found["reduction"])
    elif remedy.name == "scales":
        values = np.array(found["scales"])
        less = np.where(values > 1, values * (1 - LESS), 1.0)
        changed = dataclasses.replace(loss, scales=less, scale_by=found["scale_by"])
    elif remedy.name == "ldam":
        changed = dataclasses.replace(loss, margins=np.array(found["margins"]) * (1 - LESS))
    elif remedy.name == "oversampling" and remedy.convention == "sample":
        factors = np.array(found["factors"])
        less = np.where(factors > 1, factors * (1 - LESS), 1.0)
        return resampled(problem, less * problem.counts, "sample")
    else:
        raise AssertionError(remedy.name)
    return lp.UFM(problem.counts, problem.lambda_z, loss=changed, **BIAS)


@pytest.mark.slow
@settings(max_examples=10)
@given(
    rare=st.integers(20, 300),
    share=st.floats(1.001, 1.1),
    sizes=st.tuples(st.integers(2, 5), st.integers(2, 5)),
)
def test_a_remedy_keeps_what_it_says_and_a_little_less_of_it_does_not(rare, share, sizes):
    problem = two_clusters(rare, share, sizes)
    classes = list(range(sizes[0], sum(sizes)))
    assert lost(problem) == classes
    advice = lp.advise(problem, margin=1, levers=["decay", "class-weights", "oversampling", "scales"])
    assert advice.short == classes
    tried = 0
    for remedy in advice.remedies:
        if not remedy.works:
            assert remedy.reachable < 1
            continue
        assert lost(remedy.problem) == []
        assert remedy.solution.status == "optimal"
        if (remedy.name, remedy.convention) != ("oversampling", "appearance"):  # whole samples have their own test
            assert lost(a_little_less(problem, remedy)) == classes, remedy.name
            tried += 1
    assert tried >= 4


@pytest.mark.slow
def test_ldam_keeps_and_a_little_less_of_it_does_not():
    problem = two_clusters()
    remedy = ldam_in_reach().remedy("ldam")
    assert remedy.works
    assert lost(remedy.problem) == []
    assert lost(a_little_less(problem, remedy)) == [4, 5, 6]


@pytest.mark.slow
@settings(max_examples=15)
@given(
    counts=st.lists(st.integers(5, 400), min_size=2, max_size=6),
    margin=st.floats(1.0, 3.0),
    share=st.floats(0.4, 1.5),
    smoothing=st.sampled_from([0.0, 0.1]),
    data=st.data(),
)
def test_any_request_ends_in_the_margin_or_in_a_reason(counts, margin, share, smoothing, data):
    """For any counts and classes: what works has the margin, and what does not says what it can reach."""
    limit = lp.check(counts, 1.0, **BIAS).thresholds.min()
    problem = lp.UFM(counts, share * float(limit), loss=lp.CrossEntropy(label_smoothing=smoothing), **BIAS)
    keep = data.draw(st.sets(st.integers(0, len(counts) - 1), min_size=1))
    advice = lp.advise(problem, keep, margin=margin, levers=["decay", "samples", "merging", "class-weights", "scales"])
    for remedy in advice.remedies:
        if remedy.works:
            after = remedy.outlook
            assert min(after.margins[remedy.classes[k]] for k in keep) >= margin
            assert not any(after.states[remedy.classes[k]] == "lost" for k in keep)
            assert remedy.reason == ""
        else:
            assert remedy.reason
            assert remedy.reachable is None or remedy.reachable < margin * (1 + 1e-6)
    assert advice.remedy("decay").works
    if advice.short:
        weighted = advice.remedy("class-weights", "samples")
        # a class that nothing is told apart from is at the mercy of complete collapse, whatever its weight
        assert weighted.works or not weighted.outlook.exact[list(keep)].all()
    else:
        assert [remedy.name for remedy in advice.remedies] == ["decay"]


@pytest.mark.slow
@settings(max_examples=15)
@given(
    rare=st.integers(10, 200),
    share=st.floats(0.8, 1.3),
    margin=st.floats(1.0, 1.2),
    sizes=st.tuples(st.integers(2, 5), st.integers(2, 4)),
)
def test_samples_are_the_fewest_and_the_most(rare, share, margin, sizes):
    """One sample fewer in each class, or a few more than the most, and the margin is gone."""
    problem = two_clusters(rare, share, sizes)
    advice = lp.advise(problem, margin=margin, levers=["samples"])
    assume(advice.short)
    remedy = advice.remedy("samples")

    def margin_with(number: int) -> float:
        counts = np.repeat([500, number], sizes)
        return min(math.sqrt(500), math.sqrt(number)) / counts.sum() / problem.lambda_z

    if not remedy.works:
        assert all(margin_with(number) < margin for number in range(1, 3000, 7))
        return
    (least,), (most,) = set(remedy.settings["at_least"]), set(remedy.settings["at_most"])
    assert margin_with(least) >= margin
    assert margin_with(least - 1) < margin
    assert margin_with(most) >= margin * (1 - 1e-7)
    assert margin_with(most + 1) < margin
    assert remedy.settings["counts"] == np.repeat([500, least], sizes).tolist()
    assert remedy.problem.counts.tolist() == remedy.settings["counts"]


def test_a_margin_out_of_reach_for_all_classes_takes_no_samples_away():
    """Every class is short, so that none would stay as it is: the only solutions have fewer samples."""
    problem = lp.UFM("500x5,100x5", 0.02, **BIAS)
    advice = lp.advise(problem, levers=["samples", "oversampling"])
    best = max(math.sqrt(min(500, rare)) / (2500 + 5 * rare) / 0.02 for rare in range(100, 2000))
    for name in ("samples", "oversampling"):
        remedy = advice.remedy(name)
        assert not remedy.works
        assert remedy.reachable == pytest.approx(best, rel=1e-4)
        assert remedy.outlook.margins.min() == pytest.approx(best, rel=2e-3)
        assert "more samples raise N" in remedy.reason


@pytest.mark.slow
@settings(max_examples=25)
@given(counts=st.lists(st.integers(5, 400), min_size=2, max_size=6), share=st.floats(0.5, 20))
def test_no_class_is_given_fewer_samples_than_it_has(counts, share):
    limit = lp.check(counts, 1.0, **BIAS).thresholds.min()
    advice = lp.advise(lp.UFM(counts, share * float(limit), **BIAS), levers=["samples"])
    if advice.short:
        found = advice.remedy("samples").settings.get("counts", counts)
        assert all(after >= before for after, before in zip(found, counts, strict=True))


def test_repeating_samples_is_as_many_samples_where_each_appearance_is_decayed():
    problem = two_clusters()
    advice = lp.advise(problem, margin=1.05, levers=["samples", "oversampling", "class-weights"])
    more, shown = advice.remedy("samples"), advice.remedy("oversampling", "appearance")
    np.testing.assert_allclose(np.array(shown.settings["factors"]) * problem.counts, more.settings["counts"])
    assert shown.solution.objective == pytest.approx(more.solution.objective)
    weighted, once = advice.remedy("class-weights", "mean"), advice.remedy("oversampling", "sample")
    np.testing.assert_allclose(once.settings["factors"], weighted.settings["weights"])


def test_both_reductions_at_the_numbers_of_the_theory():
    """λ_z = .0155 is past what any weights can do for two classes of 500 and two of 100: 1/(2√500 + 2√100)."""
    limit = 1 / (2 * math.sqrt(500) + 2 * math.sqrt(100))
    advice = lp.advise(lp.UFM("500x2,100x2", 0.0155, **BIAS), margin=1, levers=["class-weights"])
    mean, samples = advice.remedies
    assert limit == pytest.approx(0.015450850, abs=1e-9)
    assert not mean.works
    assert mean.reachable == pytest.approx(limit / 0.0155, rel=1e-6)
    assert "weighted mean" in mean.reason
    assert set(mean.outlook.margins.round(2)) == {round(0.999 * limit / 0.0155, 2)}  # the nearest possible
    assert samples.works
    np.testing.assert_allclose(samples.settings["weights"][2:], 0.0155 * 1200 / math.sqrt(100), rtol=1e-6)
    kept = lp.advise(lp.UFM("500x2,100x2", 0.0154, **BIAS), margin=1, levers=["class-weights"]).remedy("class-weights")
    assert kept.works
    weights = np.array(kept.settings["weights"])
    assert weights[2] / weights[0] > 2  # and √5 at the limit itself


@pytest.mark.slow
def test_the_usual_weights_are_judged_by_number():
    notes = " ".join(lp.advise(lp.UFM("500x2,100x2", 0.01, **BIAS), levers=["class-weights"]).notes)
    assert "reverse the order" in notes
    assert "0.0111803" in notes
    assert "0.025" in notes
    assert "every class at 0.0154508" in notes


def test_more_data_of_the_same_proportions_lower_the_margin():
    problem = lp.UFM("500x5,100x5", 0.001, **BIAS)
    advice = lp.advise(problem, margin=1)
    factor = float(advice.notes[0].split("up to ")[1].split()[0])
    assert factor == pytest.approx((1 / 300 / 0.001) ** 2, rel=1e-3)
    counts = np.repeat([500, 100], 5)
    assert lost(lp.UFM(counts * 11, 0.001, **BIAS)) == []
    assert lost(lp.UFM(counts * 12, 0.001, **BIAS)) == [5, 6, 7, 8, 9]


def test_logit_adjustment_is_shown_and_said_to_move_nothing():
    problem = two_clusters()
    remedy = lp.advise(problem, levers=["logit-adjustment"]).remedy("logit-adjustment")
    assert not remedy.works
    assert "does not move the threshold" in remedy.reason
    assert remedy.settings == {"logit_adjustment": 1.0}
    assert remedy.outlook.lost == lost(problem)
    np.testing.assert_allclose(remedy.outlook.thresholds, problem.thresholds().within[[0, 0, 0, 0, 1, 1, 1]])


@pytest.mark.slow
def test_ldam_has_a_bounded_reach():
    wide = lp.advise(two_clusters(share=1.5), margin=1, levers=["ldam"]).remedy("ldam")
    assert not wide.works
    assert 1 / 1.5 < wide.reachable < 1  # three rare classes: at most by a half, and less beside common ones
    assert "bounded factor" in wide.reason
    near = ldam_in_reach().remedy("ldam")
    assert near.works
    counts = two_clusters().counts
    np.testing.assert_allclose(near.settings["margins"], near.settings["constant"] * counts**-0.25)
    alone = lp.advise(lp.UFM("500,300,100", 0.012, **BIAS), levers=["ldam"]).remedy("ldam")
    assert (alone.works, alone.outlook, alone.cost) == (False, None, None)
    assert "alone in its count" in alone.reason


def test_scaling_by_the_label_and_by_the_logit_have_one_threshold_and_two_predictions():
    advice = lp.advise(two_clusters(), levers=["scales"])
    by_logit, by_label = advice.remedies
    assert (by_logit.convention, by_label.convention) == ("logit", "label")
    assert by_logit.settings["scales"] == by_label.settings["scales"]
    assert by_logit.outlook.margins[-1] == pytest.approx(by_label.outlook.margins[-1])
    assert by_label.outlook.logit_gap[-1] > by_logit.outlook.logit_gap[-1]


def test_merging_makes_groups_of_just_enough():
    problem = lp.UFM("400x2,60,50,40,30,20,10", 0.008, **BIAS)
    remedy = lp.advise(problem, margin=1.0, levers=["merging"]).remedy("merging")
    needed = (0.008 * problem.num_samples) ** 2
    assert remedy.works
    assert remedy.settings["groups"] == [[2, 3, 4, 5, 6, 7]] or len(remedy.settings["groups"]) > 1
    assert min(remedy.settings["counts"]) >= needed
    assert sum(remedy.settings["counts"]) == problem.num_samples
    for group in remedy.settings["groups"]:
        assert len({remedy.classes[k] for k in group}) == 1
    refused = lp.advise(
        lp.UFM("500x2,100x2", 0.0155, loss=lp.CrossEntropy(weights=[1, 1, 2, 3]), **BIAS), levers=["merging"]
    ).remedy("merging")
    assert not refused.works
    assert "one by one" in refused.reason


def test_what_it_costs_the_others_is_told():
    problem = two_clusters(share=1.02)
    remedy = lp.advise(problem, margin=1.2, levers=["class-weights"]).remedy("class-weights", "mean")
    cost, before = remedy.cost, lp.check(problem.counts, problem.lambda_z, **BIAS)
    assert cost.classes == [0, 1, 2, 3]
    assert cost.lowest_margin == (
        pytest.approx(float(before.margins[0])),
        pytest.approx(float(remedy.outlook.margins[0])),
    )
    assert cost.lowest_margin[1] < cost.lowest_margin[0]
    assert cost.lowest_probability[1] < cost.lowest_probability[0]
    heavy = lp.advise(lp.UFM("500x2,100x2", 0.013, **BIAS), [2, 3], margin=1.8, levers=["class-weights"])
    lowered = heavy.remedy("class-weights", "mean")
    assert lowered.works
    assert lowered.cost.newly_lost == [0, 1]
    assert lost(lowered.problem) == [0, 1]


def test_where_nothing_is_short_only_the_room_for_more_decay_is_told():
    problem = lp.UFM("500x5,100x5", 0.001, **BIAS)
    advice = lp.advise(problem, margin=1.25)
    assert (advice.short, [remedy.name for remedy in advice.remedies]) == ([], ["decay"])
    assert advice.remedies[0].settings["lambda_z"] == pytest.approx(1 / 300 / 1.25, rel=1e-7)
    assert advice.remedies[0].settings["factor"] > 1


def test_decay_can_be_set_on_the_weights_alone():
    problem = lp.UFM("500x5,100x5", lambda_w=0.07, lambda_h=0.000175, **BIAS)
    found = lp.advise(problem, levers=["decay"]).remedy("decay").settings
    alone = lp.UFM("500x5,100x5", lambda_w=found["lambda_w_alone"], lambda_h=0.000175, **BIAS)
    assert alone.lambda_z == pytest.approx(found["lambda_z"])
    assert found["factor"] == pytest.approx(found["lambda_z"] / 0.0035)


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", "samples"])
def test_weights_that_are_there_are_the_start(reduction):
    loss = lp.CrossEntropy(weights=[1.0, 1.0, 1.5, 2.0], reduction=reduction)
    problem = lp.UFM("500x2,100x2", 0.0125, loss=loss, **BIAS)
    advice = lp.advise(problem, margin=1.1, levers=["class-weights", "scales", "samples", "oversampling"])
    assert advice.short
    assert advice.remedy("class-weights", reduction).works
    assert advice.remedy("class-weights", reduction).settings["weights"][0] == 1.0
    for remedy in advice.remedies:
        if remedy.works:
            assert min(remedy.outlook.margins[k] for k in advice.keep) >= 1.1


def test_classes_are_named_by_name_or_number():
    names = ("cat", "dog", "eel")
    problem = lp.UFM("500,100,90", 0.012, **BIAS)
    assert lp.advise(problem, ["eel", 1], names=names, levers=["decay"]).keep == [1, 2]
    with pytest.raises(ValueError, match=r"^keep must name classes, cat, dog, eel, or class numbers .*; got 'ant'"):
        lp.advise(problem, ["ant"], names=names)


def test_a_remedy_is_found_by_name():
    advice = lp.advise(two_clusters(), levers=["decay", "class-weights"])
    assert advice.remedy("class-weights").convention == "mean"
    with pytest.raises(ValueError, match=r"^remedy must be one of: decay, class-weights; got 'class-weights \(x\)'"):
        advice.remedy("class-weights", "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": "some"}, r"^keep must be 'all' or a list of classes; got 'some'"),
        ({"keep": []}, r"^keep must name at least one class; got none"),
        ({"keep": 3}, r"^keep must be 'all' or a list of classes; got 3"),
        ({"keep": [10]}, r"^keep must name class numbers from 0 to 9; got 10"),
        ({"keep": [-1]}, r"^keep must name class numbers from 0 to 9; got -1"),
        ({"keep": [True]}, r"^keep must name class numbers from 0 to 9; got True"),
        ({"margin": 0.5}, r"^margin must be a finite number of at least 1"),
        ({"levers": ["prayer"]}, r"^levers must be of: decay, samples, .*; got 'prayer'"),
        ({"names": ("a", "b")}, r"^names must be one a class, 10 like counts; got 2"),
    ],
)
def test_what_breaks_a_rule_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        lp.advise(lp.UFM("500x5,100x5", 0.0035), **arguments)


@pytest.mark.parametrize("settings", [{"features": "relu"}, {"loss": lp.FocalLoss(gamma=2)}])
def test_problems_that_are_not_convex_are_refused(settings):
    with pytest.raises(ValueError, match=r"^(features|loss) must be .* for advise\(\)"):
        lp.advise(lp.UFM("50x2,10x2", 0.01, **settings))


def test_a_focal_loss_of_gamma_zero_is_cross_entropy():
    plain, focal = (
        lp.advise(lp.UFM("50x2,10x2", 0.03, loss=loss, **BIAS), levers=["scales"])
        for loss in (lp.CrossEntropy(), lp.FocalLoss(gamma=0))
    )
    assert focal.short
    assert [one.settings for one in focal.remedies] == [one.settings for one in plain.remedies]


def test_squared_error_has_levers_of_its_own():
    problem = lp.UFM("500x2,100x2", 0.009, loss=lp.SquaredError(), **BIAS)
    advice = lp.advise(problem, margin=1.2)
    assert {one.name for one in advice.remedies if one.works} >= {"decay", "class-weights", "oversampling"}
    assert "no scales" in advice.remedy("scales").reason


@pytest.mark.slow
def test_json_holds_no_array(tmp_path):
    import json

    value = lp.advise(two_clusters(sizes=(1, 2))).to_dict()
    text = json.dumps(value, allow_nan=False)
    assert [one["name"] for one in json.loads(text)["remedies"]][:2] == ["decay", "samples"]
    (ldam,) = json.loads(json.dumps(ldam_in_reach().to_dict(), allow_nan=False))["remedies"]
    assert ldam["name"] == "ldam"
