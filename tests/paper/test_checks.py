import numpy as np
import pytest

from lopsided import Geometry
from lopsided.paper.checks import all_hold, name_groups
from lopsided.paper.demo import judge
from lopsided.runs import Run


def geometry(logits, merged=None) -> Geometry:
    return Geometry([90, 90, 10, 10], logits, np.eye(4), rank=len(logits), merged=merged)


APART = np.diag([3.0, 3.0, 2.0, 2.0])
RARE_MERGED = np.diag([3.0, 3.0, 0.0, 0.0])


def run(predicted, measured, **changes) -> Run:
    values = {
        "settings": {"class_names": ["a", "b", "c", "d"]},
        "certificate": {"objective": 1.0, "gap": 1e-12, "status": "optimal"},
        "measures": {"nc1_rank_aware": 1e-3, "train_accuracy": 1.0},
    }
    return Run("r", predicted=predicted, measured=measured, **(values | changes))


def failed(stored: Run) -> list[str]:
    checks = judge(stored)
    assert all_hold(checks) == all(check.holds for check in checks)
    return [check.claim for check in checks if not check.holds]


def test_a_run_as_predicted_holds():
    stored = run(geometry(APART), geometry(APART * 1.039))
    assert [check.claim for check in judge(stored)] == [
        "prediction certified",
        "merged as predicted",
        "each class collapses",
        "mean logits as predicted",
        "every sample fitted",
    ]
    assert failed(stored) == []


@pytest.mark.slow
def test_each_claim_can_fail():
    assert failed(run(geometry(APART), geometry(APART * 1.041))) == ["mean logits as predicted"]
    assert failed(run(geometry(RARE_MERGED), geometry(APART))) == ["merged as predicted"]
    gap = {"objective": 1.0, "gap": 1e-3, "status": "inexact"}
    assert failed(run(geometry(APART), geometry(APART), certificate=gap)) == ["prediction certified"]
    for nc1 in (0.02, None):
        measures = {"nc1_rank_aware": nc1, "train_accuracy": 0.999}
        stored = run(geometry(APART), geometry(APART), measures=measures)
        assert failed(stored) == ["each class collapses", "every sample fitted"]


def test_every_sample_must_be_fitted_only_where_the_optimum_fits_its_class():
    biased = Geometry([90, 90, 10, 10], APART, np.eye(4), [0.0, 0.0, -3.0, 0.0])
    measures = {"nc1_rank_aware": 1e-3, "train_accuracy": 0.95}
    assert failed(run(biased, biased, measures=measures)) == []
    assert failed(run(geometry(APART), biased, measures=measures)) == ["every sample fitted"]


def test_where_everything_is_to_merge_only_that_is_asked():
    nothing = Geometry([90, 10], np.zeros((2, 2)), np.eye(2), rank=0, merged=[[0, 1]])
    kept = Geometry([90, 10], np.eye(2), np.eye(2))
    stored = run(nothing, nothing, settings={"class_names": ["a", "b"]}, measures={"nc1_rank_aware": None})
    assert [check.claim for check in judge(stored)] == ["prediction certified", "merged as predicted"]
    assert failed(stored) == []
    assert failed(run(nothing, kept, settings={"class_names": ["a", "b"]})) == ["merged as predicted"]


def test_many_merged_classes_are_counted():
    assert name_groups([list(range(50))], [str(k) for k in range(99)]).endswith("11=… (50 classes)")
