"""``lopsided thresholds``: closed forms in JSON and in a table."""

import json

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("flags", "lambda_b", "complete"),
    [
        (("--no-bias",), None, 0.0226478695),
        ((), 0.0, 0.0216391179),
        (("--lambda-b", "0.02"), 0.02, 0.0216409886),
    ],
    ids=["none", "free", "penalised"],
)
def test_complete_collapse_in_every_bias_mode(call, flags, lambda_b, complete):
    outcome = call("thresholds", "--counts", "500,300,100", *flags, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    value = json.loads(outcome.out)
    assert value["lambda_b"] == lambda_b
    assert value["thresholds"]["complete"] == pytest.approx(complete, abs=1e-10)
    assert value["thresholds"]["within"] == [None, None, None]


def test_json_names_the_classes_of_each_cluster(call):
    outcome = call("thresholds", "--counts", "500,100,500,100,7", "--json")
    value = json.loads(outcome.out)
    assert set(value) == {"lambda_b", "thresholds", "clusters"}
    assert value["clusters"] == [
        {"count": 500, "classes": [0, 2]},
        {"count": 100, "classes": [1, 3]},
        {"count": 7, "classes": [4]},
    ]
    within = value["thresholds"]["within"]
    assert within[:2] == pytest.approx([np.sqrt(500) / 1207, 10 / 1207])
    assert within[2] is None


def test_the_table_has_a_row_a_cluster_and_one_for_all(call):
    outcome = call("thresholds", "--counts", "500x5,100x5,7", "--lambda-b", "0.02")
    assert (outcome.code, outcome.err) == (0, "")
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[1] == ["0–4", "500", "0.00743621"]
    assert rows[2] == ["5–9", "100", "0.00332557"]
    assert rows[3] == ["10", "7", "≈", "0.000879864"]
    assert rows[4][:5] == ["all", "11", "N", "=", "3007"]


def test_eight_thousand_classes_are_no_burden(call):
    counts = ",".join(str(int(1000 * (k + 1) ** -0.6) + 2) for k in range(8142))
    outcome = call("thresholds", "--counts", counts, "--json")
    assert outcome.code == 0
    value = json.loads(outcome.out)
    assert sum(len(cluster["classes"]) for cluster in value["clusters"]) == 8142


@pytest.mark.slow
def test_relu_features_say_how_their_thresholds_were_found(call):
    outcome = call("thresholds", "--counts", "500x2,100x2", "--lambda-b", "0.02", "--features", "relu")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Bracketed on stationary points" in outcome.out
    closed = call("thresholds", "--counts", "500x2,100x2", "--no-bias", "--features", "relu")
    assert "tationary" not in closed.out
    assert "0.0161374" in closed.out  # √(500 · 3/4)/1200


def test_squared_error_with_weights(call):
    arguments = ("--loss", "squared-error", "--counts", "500x5,100x5", "--weights", "1x5,3x5", "--no-bias", "--json")
    value = json.loads(call("thresholds", *arguments).out)["thresholds"]
    expected = np.array([1, 3]) * np.sqrt([500, 100]) / (5 * 500 + 3 * 5 * 100)
    assert value["within"] == pytest.approx(expected, rel=1e-12)
    assert value["complete"] == pytest.approx(expected.max(), rel=1e-12)
