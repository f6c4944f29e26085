"""``lopsided predict``: the contract of its JSON, its tables and sentences, its exit codes."""

import dataclasses
import json

import numpy as np
import pytest

import lopsided as lp

TWO = ("predict", "--counts", "500x5,100x5", "--lambda-b", "0.02")
KEYS = {
    "lambda_z",
    "lambda_b",
    "objective",
    "gap",
    "status",
    "rank",
    "merged",
    "thresholds",
    "clusters",
    "mean_logits",
}


def read(outcome):
    assert (outcome.code, outcome.err) == (0, "")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(outcome.out, parse_constant=refuse)


def test_json_carries_the_contract_and_the_library_s_own_numbers(call):
    value = read(call(*TWO, "--lambda-z", "0.003", "--json"))
    assert set(value) == KEYS
    assert set(value["thresholds"]) == {"within", "complete"}

    model = lp.UFM("500x5,100x5", 0.003, lambda_b=0.02)
    solution, thresholds = model.solve(), model.thresholds()
    assert (value["lambda_z"], value["lambda_b"]) == (0.003, 0.02)
    assert value["objective"] == solution.objective
    assert value["gap"] == solution.gap
    assert value["gap"] <= 1e-9
    assert value["status"] == "optimal"
    assert (value["rank"], value["merged"]) == (solution.geometry.rank, [])
    assert value["thresholds"] == {"within": thresholds.within.tolist(), "complete": thresholds.complete}
    np.testing.assert_array_equal(value["mean_logits"], solution.geometry.mean_logits)

    common, rare = value["clusters"]
    assert set(common) == set(rare) == {"count", "classes", "own_logit", "bias", "collapsed"}
    assert (common["count"], common["classes"], common["collapsed"]) == (500, [0, 1, 2, 3, 4], False)
    assert (rare["count"], rare["classes"], rare["collapsed"]) == (100, [5, 6, 7, 8, 9], False)
    for cluster in (common, rare):
        k = cluster["classes"][0]
        assert cluster["own_logit"] == pytest.approx(solution.geometry.mean_logits[k, k], rel=1e-9)
        assert cluster["bias"] == pytest.approx(solution.geometry.bias[k], rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decay", "merged", "collapsed"),
    [
        ("0.00333", [], [False, False]),
        ("0.00334", [[5, 6, 7, 8, 9]], [False, True]),
        ("0.00745", [[5, 6, 7, 8, 9]], [False, True]),
        ("0.00746", [list(range(10))], [True, True]),
    ],
)
def test_classes_merge_where_the_thresholds_say(call, decay, merged, collapsed):
    value = read(call(*TWO, "--lambda-z", decay, "--json"))
    assert value["merged"] == merged
    assert [cluster["collapsed"] for cluster in value["clusters"]] == collapsed
    assert value["thresholds"]["within"] == pytest.approx([np.sqrt(500) / 3000, 1 / 300])
    assert value["thresholds"]["complete"] == pytest.approx(np.sqrt(500) / 3000)


def test_a_cluster_of_one_class_has_no_threshold_within_and_no_bias_no_decay(call):
    value = read(call("predict", "--counts", "500,100x2", "--lambda-z", "0.003", "--no-bias", "--json"))
    assert value["lambda_b"] is None
    assert value["thresholds"]["within"] == [None, pytest.approx(10 / 700)]


def test_a_free_bias_has_a_decay_of_zero(call):
    assert read(call("predict", "--counts", "500,100", "--lambda-z", "0.003", "--json"))["lambda_b"] == 0.0


def test_the_product_of_decays_is_all_that_matters(call):
    one = read(call(*TWO, "--lambda-z", "0.003", "--json"))
    two = read(call(*TWO, "--lambda-w", "0.03", "--lambda-h", "0.0003", "--json"))
    assert two["lambda_z"] == pytest.approx(0.003, rel=1e-14)
    np.testing.assert_allclose(two["mean_logits"], one["mean_logits"], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("classes", "shown"), [(64, True), (65, False)])
def test_mean_logits_are_printed_up_to_64_classes(call, classes, shown):
    value = read(call("predict", "--counts", f"50x{classes - 1},10", "--lambda-z", "1e-4", "--json"))
    assert set(value) == (KEYS if shown else KEYS - {"mean_logits"})


def test_a_looser_tolerance_is_honoured(call):
    value = read(call(*TWO, "--lambda-z", "0.003", "--tol", "1e-4", "--json"))
    assert value["status"] == "optimal"
    assert value["gap"] <= 1e-4 * max(1, value["objective"])


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["tables", "json"])
def test_an_answer_without_a_certificate_is_a_finding(call, monkeypatch, flags):
    solve = lp.UFM.solve

    def uncertified(self, tol):
        return dataclasses.replace(solve(self, tol=tol), status="iteration limit", message="no certificate: try again")

    monkeypatch.setattr(lp.UFM, "solve", uncertified)
    outcome = call(*TWO, "--lambda-z", "0.003", *flags)
    assert outcome.code == 1
    assert outcome.err == "lopsided: no certificate: try again\n"
    assert "iteration limit" in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            (*TWO, "--lambda-z", "0.003"),
            [
                "0–4",
                "5–9",
                "0.00333333",
                "1.11 ",
                "kept",
                "certified",
                "No class is lost, but 5 of 10 are fading (5–9): the first threshold is 1.11 times this decay.",
            ],
        ),
        (
            (*TWO, "--lambda-z", "0.004"),
            ["0.833 ", "lost", "Lost: 5 of 10 classes (5–9)", "below λ_z = 0.00333333, 0.833 times"],
        ),
        ((*TWO, "--lambda-z", "0.01"), ["rank 0 of 9", "Everything is lost", "below λ_z = 0.00745356, 0.745 times"]),
        (
            ("predict", "--counts", "500,300,100", "--lambda-z", "0.02", "--no-bias"),
            [
                "none",
                "rank 1 of 2",
                "≈ 0.0111111",
                "≈: a yardstick, for a class alone in its count",
                "Lost: 1 of 3 classes (2)",
            ],
        ),
        (
            ("predict", "--counts", "500,300,100", "--lambda-z", "0.002", "--no-bias"),
            [
                "rank 2 of 2",
                "All 3 classes are kept: the first threshold is 5.56 times",
                "all classes merge at λ_z ≥ 0.0226479",
            ],
        ),
    ],
    ids=["kept", "lost", "everything", "directions", "distinct"],
)
def test_tables_say_what_is_lost_and_how_far_the_threshold_is(call, arguments, parts, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    outcome = call(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    for part in parts:
        assert part in outcome.out


def test_hundreds_of_clusters_are_cut_to_a_readable_table(call):
    outcome = call(
        "predict", "--counts", ",".join(map(str, range(10, 70))), "--lambda-z", "0.001", "--lambda-b", "0.02"
    )
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) < 40
    assert "…" in outcome.out


@pytest.mark.slow
def test_relu_features_are_certified_and_lose_classes_earlier(call):
    value = read(call(*TWO, "--lambda-z", "0.007", "--features", "relu", "--json"))
    assert value["status"] == "optimal"
    assert value["gap"] <= 1e-9
    assert value["rank"] == 0  # with features of any sign only from .00745 on
    assert value["thresholds"]["complete"] == pytest.approx(0.0067525, abs=1e-7)
    assert "stationary points" in value["thresholds"]["note"]


def test_relu_without_a_bias_has_closed_thresholds(call):
    value = read(
        call("predict", "--counts", "500,300,100", "--lambda-z", "0.01", "--no-bias", "--features", "relu", "--json")
    )
    assert set(value) == KEYS
    assert value["thresholds"]["within"] == pytest.approx(np.sqrt(np.array([500, 300, 100]) * 2 / 3) / 900)
    assert "note" not in value["thresholds"]
    assert [cluster["collapsed"] for cluster in value["clusters"]] == [False, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["tables", "json"])
def test_focal_loss_says_where_it_is_no_more_than_stationary(call, flags):
    arguments = ("--no-bias", "--loss", "focal", "--gamma", "2", *flags)
    certified = call("predict", "--counts", "50x2,10x2", "--lambda-z", "0.0075", *arguments)
    assert (certified.code, certified.err) == (0, "")
    outcome = call("predict", "--counts", "50x5,10x5", "--lambda-z", "0.02", *arguments)
    assert outcome.code == 1
    assert outcome.err.startswith("lopsided: A stationary point, the best of ")
    if flags:
        value = json.loads(outcome.out)
        assert value["status"] == "stationary"
        assert value["gap"] > 1e-3
    else:
        assert "NOT certified (stationary): at most " in outcome.out
        assert "thresholds bracketed on stationary points" in outcome.out


def test_squared_error_sees_one_direction_more(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    arguments = ("predict", "--loss", "squared-error", "--counts", "500x5,100x5", "--lambda-z", "0.003")
    value = read(call(*arguments, "--json"))
    solution = lp.UFM("500x5,100x5", 0.003, loss=lp.SquaredError()).solve()
    assert set(value) == KEYS
    assert (value["objective"], value["status"], value["rank"]) == (solution.objective, "optimal", 9)
    assert value["thresholds"]["within"] == pytest.approx([np.sqrt(500) / 3000, 1 / 300])
    np.testing.assert_array_equal(value["mean_logits"], solution.geometry.mean_logits)
    assert "rank 9 of 9;" in call(*arguments).out
    assert "rank 10 of 10;" in call(*arguments, "--no-bias").out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "lost", "merged"),
    [
        (("--counts", "900x4,100,50", "--lambda-z", "0.0055"), "4–5", [4, 5]),
        (("--counts", "500x2,100,50", "--lambda-z", "0.01", "--no-bias", "--loss", "squared-error"), "2–3", [2, 3]),
    ],
    ids=["cross-entropy", "squared-error"],
)
def test_classes_that_meet_at_the_origin_are_lost_below_any_threshold_known(call, monkeypatch, arguments, lost, merged):
    monkeypatch.setenv("COLUMNS", "200")
    value = read(call("predict", *arguments, "--json"))
    assert value["merged"] == [merged]
    assert [cluster["collapsed"] for cluster in value["clusters"]] == [False, True, True]
    assert value["thresholds"]["within"][1:] == [None, None]
    out = call("predict", *arguments).out
    assert f"classes ({lost}); the lowest of their thresholds, a yardstick for those alone in their count, is" in out
    # no row calls a class lost at a decay below the threshold that it shows
    rows = [line.split() for line in out.splitlines() if line.split()[-1:] == ["lost"]]
    assert len(rows) == 2
    assert all(float(row[row.index("≈") + 1]) <= value["lambda_z"] for row in rows)


def test_a_cluster_that_meets_another_class_at_the_origin_has_its_threshold(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = call("predict", "--counts", "900x4,100,50x3", "--lambda-z", "0.0057").out
    # below it the cluster is off the origin, and the class there alone
    assert (
        "Lost: 4 of 8 classes (4–7); the lowest of their thresholds, a yardstick for those alone in their count, is"
        " λ_z = 0.00183664" in out
    )
    below = lp.UFM("900x4,100,50x3", 0.00183663).solve()
    assert (below.status, below.geometry.merged) == ("optimal", [])
