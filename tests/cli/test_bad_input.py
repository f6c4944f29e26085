"""Bad input: one line that names argument, rule and value; exit code 2; no traceback."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

COUNTS = ("--counts", "500x5,100x5")
DECAY = ("--lambda-z", "0.003")

#: Arguments; then the argument, rule and value that the line must name.
TABLE = [
    (("--counts", "", *DECAY), "--counts", "at least two classes", "''"),
    (("--counts", "0x5,100x5", *DECAY), "--counts", "positive", "0 for class 0"),
    (("--counts", "500x5,-100x5", *DECAY), "--counts", "positive", "-100 for class 5"),
    (("--counts", "-5x2", *DECAY), "--counts", "positive", "-5 for class 0"),
    (("--counts", "500,2.5", *DECAY), "--counts", "whole numbers", "2.5 for class 1"),
    (("--counts", "500,nan", *DECAY), "--counts", "finite", "nan for class 1"),
    (("--counts", "500,inf", *DECAY), "--counts", "finite", "inf for class 1"),
    (("--counts", "500", *DECAY), "--counts", "at least two classes", "'500'"),
    (("--counts", "500y5", *DECAY), "--counts", "COUNTxCLASSES", "'500y5'"),
    (("--counts", "500x5,,100", *DECAY), "--counts", "COUNTxCLASSES", "''"),
    ((*COUNTS, "--lambda-z", "0"), "--lambda-z", "above 0", "0.0"),
    ((*COUNTS, "--lambda-z", "-0.003"), "--lambda-z", "above 0", "-0.003"),
    ((*COUNTS, "--lambda-z", "nan"), "--lambda-z", "finite", "nan"),
    ((*COUNTS, "--lambda-z", "inf"), "--lambda-z", "finite", "inf"),
    ((*COUNTS, "--lambda-z", "small"), "--lambda-z", "must be a number", "'small'"),
    ((*COUNTS, "--lambda-w", "0", "--lambda-h", "1"), "--lambda-w", "above 0", "0.0"),
    ((*COUNTS, "--lambda-w", "1", "--lambda-h", "nan"), "--lambda-h", "finite", "nan"),
    ((*COUNTS, "--lambda-w", "1"), "--lambda-z", "both --lambda-w and --lambda-h", "no --lambda-h"),
    (COUNTS, "--lambda-z", "both --lambda-w and --lambda-h", "nothing"),
    (
        (*COUNTS, "--lambda-z", "1", "--lambda-w", "1", "--lambda-h", "4"),
        "--lambda-z",
        "sqrt(--lambda-w * --lambda-h) = 2",
        "1.0",
    ),
    ((*COUNTS, *DECAY, "--lambda-b", "-1"), "--lambda-b", "at least 0", "-1.0"),
    ((*COUNTS, *DECAY, "--lambda-b", "nan"), "--lambda-b", "finite", "nan"),
    ((*COUNTS, *DECAY, "--lambda-b", "0.02", "--no-bias"), "--lambda-b", "left out where --no-bias", "0.02"),
    ((*COUNTS, *DECAY, "--loss", "hinge"), "--loss", "one of: cross-entropy", "'hinge'"),
    ((*COUNTS, *DECAY, "--features", "tanh"), "--features", "'any' or 'relu'", "'tanh'"),
    ((*COUNTS, *DECAY, "--loss", "focal", "--gamma", "-1"), "--gamma", "at least 0", "-1.0"),
    (("--counts", "5x301", *DECAY, "--features", "relu"), "--counts", "at most 300 classes", "301"),
    ((*COUNTS, *DECAY, "--tol", "0"), "--tol", "must", "0.0"),
    ((*COUNTS, *DECAY, "--tol", "nan"), "--tol", "must", "nan"),
    ((*COUNTS, *DECAY, "--tol", "tight"), "--tol", "must be a number", "'tight'"),
    (DECAY, "--counts", "Missing option", ""),
    ((*COUNTS, "--lambda-z"), "--lambda-z", "requires an argument", ""),
    ((*COUNTS, *DECAY, "--lambda-q", "1"), "--lambda-q", "No such option", ""),
    ((*COUNTS, *DECAY, "extra"), "extra", "unexpected extra argument", ""),
]


def assert_one_line(code, out, err, *parts):
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("lopsided: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    for part in parts:
        assert part in err


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["tables", "json"])
@pytest.mark.parametrize(("arguments", "name", "rule", "value"), TABLE, ids=[" ".join(row[0])[-40:] for row in TABLE])
def test_predict_refuses_in_one_line(call, arguments, name, rule, value, flags):
    outcome = call("predict", *flags, *arguments)
    assert_one_line(outcome.code, outcome.out, outcome.err, name, rule, value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--counts", "500y5"), ("--counts", "COUNTxCLASSES", "'500y5'")),
        (("--counts", "5x2", "--lambda-b", "-1"), ("--lambda-b", "at least 0", "-1.0")),
        (("--counts", "5x2", "--loss", "hinge"), ("--loss", "cross-entropy", "'hinge'")),
        (("--counts", "5x2", "--lambda-z", "1"), ("--lambda-z", "No such option")),
        ((), ("--counts", "Missing option")),
    ],
)
def test_thresholds_refuses_in_one_line(call, arguments, parts):
    outcome = call("thresholds", *arguments)
    assert_one_line(outcome.code, outcome.out, outcome.err, *parts)


def test_an_unknown_command_gets_a_suggestion(call):
    outcome = call("predit")
    assert_one_line(outcome.code, outcome.out, outcome.err, "predit", "Did you mean 'predict'?")


@pytest.mark.slow
def test_a_real_process_refuses_the_same_way():
    process = subprocess.run(
        [Path(sysconfig.get_path("scripts"), "lopsided"), "predict", "--counts", "500y5", *DECAY],
        capture_output=True,
        text=True,
    )
    assert_one_line(process.returncode, process.stdout, process.stderr, "--counts cannot be read; got '500y5'")


def test_a_defect_is_not_passed_off_as_bad_input(call, monkeypatch):
    def broken(*_, **__):
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr("lopsided.model.UFM.solve", broken)
    with pytest.raises(ValueError, match="operands could not be broadcast"):
        call("predict", *COUNTS, *DECAY)
