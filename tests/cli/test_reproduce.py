"""``lopsided reproduce`` in this process, on digits and two epochs."""

import json

import pytest

TINY = ("--data", "digits", "--epochs", "2", "--hidden", "16", "--dim", "10", "--jobs", "1")


@pytest.mark.slow
def test_two_figures_share_their_runs_and_are_judged(call, tmp_path):
    folder = tmp_path / "out"
    outcome = call("reproduce", "fig1,fig3", *TINY, "--output", str(folder), "--json")
    assert outcome.code == 1, outcome.err  # two epochs reach nothing
    found = json.loads(outcome.out)
    assert found["holds"] is False
    assert len(list((folder / "runs").iterdir())) == len(found["figures"]["fig1"]["rows"]) == 3
    for row in found["figures"]["fig1"]["rows"]:
        assert row["figure"] == "fig1"
        assert row["asked_counts"] == "5000x4,4000x3,3000x3"
        assert row["num_samples"] < 1600
        assert {"derived_seed", "version_torch", "commit"} <= set(row)
    assert {check["run"] for check in found["checks"]} == {"fig1", "fig3"}
    assert (folder / "fig3" / "figure.png").read_bytes().startswith(b"\x89PNG")
    again = call("reproduce", "fig1,fig3", *TINY, "--output", str(folder))
    assert again.code == 1
    assert "3/3" in again.err
    assert "claims hold" in again.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("fig10",), ("lopsided: figure must be one of: fig1, fig2", "'fig10'")),
        (("fig5", "--scale", "tiny"), ("--scale must be one of: small, full", "'tiny'")),
        (("fig5", "--epochs", "0"), ("--epochs must be a whole number", "0")),
        (("fig5", "--data", "digits", "--scale", "full"), ("--counts must be at most the training samples", "500")),
        (("fig5", "--output", ""), ("--output must name a folder",)),
    ],
)
def test_bad_input(call, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    outcome = call("reproduce", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part in outcome.err
    assert not list(tmp_path.iterdir())
