"""``lopsided advise``: its JSON, its tables and sentences, its exit codes, and what it refuses."""

import json

import numpy as np
import pytest

import lopsided as lp

TWO = ("advise", "--counts", "500x5,100x5", "--lambda-z", "0.0035", "--lambda-b", "0.02")


@pytest.mark.slow
def test_json_is_the_library_s_own(call):
    outcome = call(*TWO, "--keep", "5-7,9", "--margin", "1.1", "--levers", "decay, class-weights", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    value = json.loads(outcome.out)
    assert set(value) == {"margin", "keep", "short", "before", "remedies", "notes"}
    expected = lp.advise(
        lp.UFM("500x5,100x5", 0.0035, lambda_b=0.02), [5, 6, 7, 9], margin=1.1, levers=["decay", "class-weights"]
    )
    assert value["keep"] == value["short"] == [5, 6, 7, 9]
    assert [one["name"] for one in value["remedies"]] == ["decay", "class-weights", "class-weights"]
    for found, remedy in zip(value["remedies"], expected.remedies, strict=True):
        assert found["works"] is True
        assert found["settings"] == remedy.settings
        assert found["after"]["gap"] <= 1e-9
        assert found["cost"]["classes"] == [0, 1, 2, 3, 4, 8]
        assert found["train_options"] == remedy.train_options
        assert found["python"] == remedy.python
    assert value["remedies"][2]["train_options"] == {
        "remedy": "class-weights:samples",
        "remedy_margin": 1.1,
        "remedy_keep": "5-7,9",
    }


@pytest.mark.slow
def test_tables_show_before_and_after_and_every_lever(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr("lopsided.cli.output.PATIENCE", 600.0)  # a busy machine must not bring the progress bar
    outcome = call(*TWO, "--margin", "1.2")
    assert (outcome.code, outcome.err) == (0, "")
    for part in [
        "5 of 10 classes to be kept lack a margin of 1.2: 5–9.",
        "as it is ",
        "0.952 ",
        "decay: λ_z of at most 0.00277778",
        "samples: 245 samples in each of classes 5–9, and at most",
        "oversampling (appearance): show samples of classes 5–9 2.45 times",
        "oversampling (sample): show samples",
        "merging: merge ",
        "class-weights (mean): weigh classes 5–9 by ",
        "class-weights (samples): weigh classes 5–9 by 1.26, divided by the number of samples",
        "scales (logit): scale classes 5–9 by 1.26",
        "scales (label): ",
        "ldam: however large",
        "the largest margin it can give to all classes is 1.05",
        "logit-adjustment: does not move the threshold",
        "Weights 1/n",
        "works",
        "fails",
        "Applied by lopsided train --remedy NAME --remedy-margin 1.2, or by lopsided.nn in Python:",
        "\nclass-weights:mean       WeightedCrossEntropy(counts, [1.0] * 5 + [1.32911",
        "\nsamples                  –\n",
    ]:
        assert part in outcome.out
    assert "LDAMLoss" not in outcome.out  # it does not work here


def test_nothing_to_mend(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    outcome = call("advise", "--counts", "500x5,100x5", "--lambda-z", "0.001", "--lambda-b", "0.02")
    assert outcome.code == 0
    assert "Nothing to change: every class to be kept has a margin of 1.414 or more." in outcome.out
    assert "decay: λ_z of at most 0.00235702" in outcome.out


def test_a_lever_that_cannot_is_a_finding(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    outcome = call(*TWO, "--levers", "logit-adjustment")
    assert outcome.code == 1
    assert "does not move the threshold" in outcome.out


@pytest.mark.slow
def test_what_a_remedy_costs_is_said(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    outcome = call(
        "advise", "--counts", "500x2,100x2", "--lambda-z", "0.013", "--keep", "2-3", "--margin", "1.8", "--levers",
        "class-weights",
    )  # fmt: skip
    assert "it costs: newly lost 0–1" in outcome.out
    misclassified = call(*TWO, "--margin", "1", "--levers", "decay")
    assert "another class is still predicted for 5 of those kept (5–9)" in misclassified.out


def test_classes_go_by_their_names(call, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "labels.npy"
    np.save(path, np.repeat(["ant", "bee", "1-2"], [500, 60, 61]))
    outcome = call("advise", "--counts", str(path), "--lambda-z", "0.012", "--keep", "bee,1-2", "--levers", "decay")
    assert outcome.code == 0
    assert "lack a margin of 1.414: 1-2, bee." in outcome.out
    refused = call("advise", "--counts", str(path), "--lambda-z", "0.012", "--keep", "cow")
    assert refused.err.startswith("lopsided: --keep must name classes, 1-2, ant, bee, or class numbers from 0 to 2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--keep", "10"), "--keep must name class numbers from 0 to 9; got 10"),
        (("--keep", "0-99999999999"), "--keep must name class numbers from 0 to 9; got '0-99999999999'"),
        (("--keep", "7-5"), "--keep must name class numbers from 0 to 9; got '7-5'"),
        (("--keep", ""), "--keep must name class numbers from 0 to 9; got ''"),
        (("--margin", "inf"), "--margin must be a finite number of at least 1"),
        (("--levers", "prayer"), "--levers must be of: decay, samples"),
        (("--feature-decay", "-1"), "--feature-decay must be a finite number above 0"),
        (("--loss", "focal"), "--loss must be convex in the logits for advise()"),
        (("--weights", "1x5,0x5"), "--weights must be finite numbers above 0"),
        (("--weights", "1x4"), "--weights must have one number a class"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, arguments, message):
    outcome = call(*TWO, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("lopsided: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
