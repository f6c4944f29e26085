"""Alarms come where classes draw near or theory gives them up, once each, and not while training begins."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lopsided.callbacks import Forecast, MergeWatch
from lopsided.core.geometry import Geometry, class_separations

COUNTS = [9, 9, 6, 6]


def state(gap: float, common: float = 9.0) -> Geometry:
    """Rare classes 2 and 3 at a logit gap, merged up to a tenth of the common classes'."""
    return Geometry(COUNTS, np.diag([common, common, gap, gap]), np.eye(4))


def alarms(watch: MergeWatch, gaps, forecast=None):
    return [(gap, alarm.classes, alarm.merged) for gap in gaps for alarm in watch.update(state(gap), forecast)]


def test_separations_are_those_of_the_merge_rule():
    rng = np.random.default_rng(0)
    for scale in (0.02, 0.3, 3.0):
        geometry = Geometry([5] * 8, scale * rng.normal(size=(8, 2)), rng.normal(size=(8, 2)))
        merged = {k for group in geometry.merged for k in group}
        assert {k for k, value in enumerate(class_separations(geometry)) if value <= 1} == merged


def test_separation_of_absent_classes():
    means = np.array([[1.0], [np.nan], [3.0]])
    assert class_separations(Geometry([4, 0, 4], means)) == pytest.approx([10, np.nan, 10], nan_ok=True)
    assert class_separations(Geometry([4, 0, 0], np.array([[1.0], [np.nan], [np.nan]])))[1:] == pytest.approx(
        [np.nan, np.nan], nan_ok=True
    )


def test_the_start_of_training_is_no_merge():
    assert alarms(MergeWatch(), [0.01, 0.005, 0.02, 0.4, 0.8, 1.4, 3.0, 6.0]) == []


def test_a_fall_that_ends_in_a_merge_is_told_ahead_and_once():
    assert alarms(MergeWatch(), [8.0, 8.0, 6.0, 4.0, 2.5, 1.5, 1.1]) == [(2.5, [2, 3], False)]


def test_a_slow_fall_is_not():
    assert alarms(MergeWatch(), [8.0, 7.8, 7.6, 7.4, 7.2, 7.0]) == []


def test_a_sudden_merge_is_told_and_told_again_after_a_recovery():
    gaps = [8.0, 0.1, 0.1, 8.0, 8.0, 0.1]
    assert alarms(MergeWatch(), gaps) == [(0.1, [2, 3], True), (0.1, [2, 3], True)]


def test_what_theory_gives_up_is_told_unless_it_gets_away():
    lost = Forecast(lost=[[2, 3]], ratio=1.2, lambda_z=0.01, mismatch=0.05)
    assert alarms(MergeWatch(), [1.5, 1.5, 1.5], lost) == [(1.5, [2, 3], False)]
    assert alarms(MergeWatch(), [1.5, 2.0, 3.0, 4.0], lost) == []
    kept = Forecast(lost=[], ratio=0.8, lambda_z=0.01, mismatch=0.05)
    assert alarms(MergeWatch(), [1.5, 1.5, 1.5], kept) == []


def test_an_estimate_that_still_falls_is_not_believed():
    watch = MergeWatch()
    for ratio in (8.0, 5.0, 3.0, 2.0, 1.5):
        assert watch.update(state(1.5), Forecast([[2, 3]], ratio, 0.01, 0.5)) == []
    (alarm,) = watch.update(state(1.5), Forecast([[2, 3]], 1.45, 0.01, 0.25))
    assert str(alarm).startswith(
        "classes 2–3 are about to merge: the optimum at the decay measured, 1.45 times the lowest"
    )
    assert "out of balance by 25 %" in str(alarm)


def test_few_samples_prove_nothing_but_theory_needs_none():
    gaps = [8.0, 0.1, 8.0, 6.0, 4.0, 1.5]
    watch, warned = MergeWatch(), MergeWatch()
    lost = Forecast(lost=[[2, 3]], ratio=1.2, lambda_z=0.01, mismatch=0.05)
    states = [Geometry([9, 9, 4, 1], np.diag([9.0, 9.0, gap, gap]), np.eye(4)) for gap in gaps]
    assert [watch.update(geometry) for geometry in states] == [[]] * len(gaps)
    found = [warned.update(geometry, lost) for geometry in states]
    assert [[alarm.classes for alarm in alarms] for alarms in found] == [[], [[2, 3]], [], [], [], []]


def test_a_resumed_watch_goes_on_as_if_nothing_had_been():
    gaps = [8.0, 8.0, 6.0, 4.0, 2.5, 1.5]
    for cut in range(len(gaps)):
        first, second = MergeWatch(), MergeWatch()
        found = alarms(first, gaps[:cut])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert found + alarms(second, gaps[cut:]) == [(2.5, [2, 3], False)]
