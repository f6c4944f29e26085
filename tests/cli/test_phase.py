"""``lopsided phase``: the map, the boundaries, JSON, the figure, and what it refuses."""

import json
import time

import numpy as np
import pytest

from lopsided.cli import output

SECTION = ("--x", "lambda-z:0.0027:0.0075:10", "--m-a", "5", "--n-a", "500", "--m-b", "5", "--n-b", "100")
PLANE = ("--x", "lambda_z:0.002:0.012:30", "--y", "ratio:1:20:20", "--m-a", "5", "--m-b", "5", "--n-b", "100")


def test_json_has_axes_regimes_ranks_and_boundaries(call):
    outcome = call("phase", *SECTION, "--lambda-b", "0.02", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    value = json.loads(outcome.out)
    assert value["y"] is None
    assert value["x"]["values"] == pytest.approx(np.linspace(0.0027, 0.0075, 10).tolist())
    assert value["ranks"] == [[9, 9, 5, 4, 4, 4, 4, 4, 4, 0]]
    assert value["merged"] == [["", "", "B", "B", "B", "B", "B", "B", "B", "AB"]]
    assert value["regimes"][0][2] == "minority_merged"
    assert value["boundaries"]["minority"] == [[pytest.approx(1 / 300, rel=1e-12)]]
    assert value["boundaries"]["between"] == [[pytest.approx(0.003983263, abs=1e-9)]]
    assert value["boundaries"]["complete"] == [[pytest.approx(500**0.5 / 3000, rel=1e-12)]]


@pytest.mark.slow
def test_bias_modes_and_the_loss_reach_the_boundaries(call):
    def between(*flags):
        return json.loads(call("phase", *SECTION, *flags, "--json").out)["boundaries"]["between"][0][0]

    assert between("--no-bias") == pytest.approx(0.004605316, abs=1e-9)
    assert between() == pytest.approx(0.004048026, abs=1e-9)
    assert between("--no-bias", "--logit-adjustment", "1") != pytest.approx(between("--no-bias"), abs=1e-5)


def test_the_map_is_the_diagram_upside_down_and_the_table_has_its_boundaries(call):
    value = json.loads(call("phase", *PLANE, "--json").out)
    marks = {"all_apart": ".", "minority_merged": "m", "minority_zero": "0", "all_merged": "#"}
    expected = ["".join(marks[name] for name in row) for row in value["regimes"]][::-1]
    outcome = call("phase", *PLANE)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    rows = [line for line in lines if "|" in line]
    assert [row.split("|")[1] for row in rows] == expected
    assert float(rows[0].split("|")[0]) == 20
    assert "all classes have merged" in outcome.out
    first, last = (line.split() for line in (lines[-5], lines[-1]))
    assert first == ["1", "0.01", "0.01", "0.01"]
    assert [float(cell) for cell in (last[0], last[3])] == pytest.approx([20, 2000**0.5 / 10500], rel=1e-5)
    assert last[1:3] == ["-", "-"]


def test_a_log_axis(call):
    value = json.loads(call("phase", *SECTION[2:], "--x", "lambda-z:0.001:0.1:3", "--log-x", "--json").out)
    assert value["x"]["values"] == pytest.approx([0.001, 0.01, 0.1])


@pytest.mark.slow
def test_the_figure_is_written_and_named(call, tmp_path):
    target = tmp_path / "phase.svg"
    outcome = call("phase", *PLANE, "--figure", str(target))
    assert outcome.code == 0
    assert f"Figure: {target}" in outcome.out
    first = target.read_bytes()
    assert len(first) > 1000
    call("phase", *PLANE, "--figure", str(target), "--json")
    assert target.read_bytes() == first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("--x", "Missing option")),
        (("--x", "ratio:1"), ("--x must be NAME:START:STOP", "'ratio:1'", "such as ratio:1:20:40")),
        (("--x", "lambda:1:2"), ("--x must vary one of: lambda-z, ratio", "'lambda'")),
        (("--x", "ratio:1:2", "--y", "n-a:9:2"), ("--y must run upwards", "9.0 to 2.0")),
        (("--x", "ratio:1:2:1"), ("--x must have", "from 2 to", "1")),
        (("--x", "ratio:0:2"), ("--x must keep ratio between", "0.0")),
        (PLANE[:-2], ("--n-b must be given", "two of --n-a, --n-b and --ratio")),
        ((*PLANE, "--lambda-z", "1"), ("--lambda-z must be left out where it is an axis", "1.0")),
        ((*PLANE, "--n-a", "9"), ("--n-b must be left out", "determine it")),
        ((*SECTION, "--m-a", "2.5"), ("--m-a must be a whole number", "2.5")),
        ((*SECTION, "--m-a", "few"), ("--m-a", "must be a number", "'few'")),
        ((*SECTION, "--lambda-b", "-1"), ("--lambda-b", "at least 0", "-1.0")),
        ((*SECTION, "--log-y"), ("--log-y must be left out of a section", "--y")),
        ((*SECTION, "--label-smoothing", "0.1"), ("--label-smoothing must be left out", "0.1")),
        ((*SECTION, "--weights", "1,2"), ("--weights must be left out", "(1.0, 2.0)")),
        ((*SECTION, "--figure", "phase.txt"), ("--figure must end in .png", "'phase.txt'")),
        ((*SECTION, "--figure", "/proc/nosuch/phase.png"), ("--figure", "/proc/nosuch")),
    ],
)
def test_bad_input_is_refused_in_one_line(call, arguments, parts):
    outcome = call("phase", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("lopsided: ")
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part in outcome.err


def test_a_progress_bar_appears_only_after_two_seconds(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with output.patient_progress("work") as show:
        show(1, 3)
    assert capsys.readouterr().err == ""
    with output.patient_progress("work") as show:
        clock[0] += 2.5
        monkeypatch.undo()
        monkeypatch.setattr(output, "PATIENCE", -1.0)
        show(1, 3)
        show(3, 3)
    captured = capsys.readouterr()
    assert "work" in captured.err
    assert captured.out == ""
