"""``lopsided path``: its JSON against known numbers, its table, its figure, its exit codes."""

import dataclasses
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

import lopsided as lp
from lopsided.theory import SingularPaths, singular_paths

KNOWN = [
    (("--counts", "500x2,100x2", "--no-bias"), [0.018633900, 0.013541328, 0.008333333]),
    (("--counts", "500,300,100", "--no-bias"), [0.022647869, 0.014438574]),
    (("--counts", "500,300,100"), [0.021639118, 0.012594626]),
]
TWO = KNOWN[0][0]


def read(outcome):
    assert (outcome.code, outcome.err) == (0, "")
    return json.loads(outcome.out)


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "decays"), KNOWN)
def test_known_critical_decays_with_the_rank_on_both_sides(call, arguments, decays):
    value = read(call("path", *arguments, "--json"))
    assert set(value) == {"lambda_b", "path"}
    path = value["path"]
    assert [drop["lambda_z"] for drop in path] == pytest.approx(decays, abs=1e-9)
    assert [(drop["rank_below"], drop["rank_above"]) for drop in path] == [(k + 1, k) for k in range(len(decays))]


def test_json_names_the_classes_that_merge(call):
    value = read(call("path", "--counts", "100,500,100,500", "--no-bias", "--json"))
    assert [drop["merging"] for drop in value["path"]] == [[[1, 3]], [], [[0, 2]]]


@pytest.mark.slow
def test_settings_of_the_loss_move_the_path(call):
    value = read(call("path", "--counts", "50x2,20x3", "--weights", "1x2,3x3", "--label-smoothing", "0.1", "--json"))
    loss = lp.CrossEntropy(weights=[1, 1, 3, 3, 3], label_smoothing=0.1)
    expected = lp.UFM("50x2,20x3", 1.0, loss=loss).critical_path()
    assert [drop["lambda_z"] for drop in value["path"]] == [drop.lambda_z for drop in expected]


def test_singular_values_at_chosen_decays_are_those_of_the_optimum(call):
    value = read(call("path", *TWO, "--decays", "0.015,0.005", "--json"))
    rows = value["singular_values"]
    assert [row["lambda_z"] for row in rows] == [0.005, 0.015]
    for row in rows:
        solution = lp.UFM("500x2,100x2", row["lambda_z"], bias=False).solve()
        assert row["rank"] == solution.geometry.rank == len(row["values"])
        np.testing.assert_allclose(row["values"], solution.singular_values, rtol=1e-6)
        assert row["status"] == "optimal"
        assert row["gap"] <= 1e-9


def test_spaced_decays_surround_the_critical_ones_and_hold_them(call):
    value = read(call("path", *TWO, "--values", "--points", "9", "--json"))
    decays = [row["lambda_z"] for row in value["singular_values"]]
    critical = [drop["lambda_z"] for drop in value["path"]]
    assert len(decays) == 9 + 3
    assert set(critical) <= set(decays)
    assert decays == sorted(decays)
    assert decays[0] < min(critical) < max(critical) < decays[-1]


def test_the_search_ends_at_the_smallest_share(call):
    whole = read(call("path", *TWO, "--json"))["path"]
    some = read(call("path", *TWO, "--smallest-share", "0.6", "--json"))["path"]
    assert [drop["lambda_z"] for drop in some] == pytest.approx([drop["lambda_z"] for drop in whole[:2]], rel=1e-9)
    assert [drop["rank_below"] for drop in some] == [1, 2]


@pytest.mark.slow
def test_the_table_says_what_is_lost(call):
    outcome = call("path", *TWO)
    assert (outcome.code, outcome.err) == (0, "")
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[1] == ["0.0186339", "1", "0", "all", "classes", "merge"]
    assert rows[2] == ["0.013541328", "2", "1", "1", "direction", "between", "clusters"]
    assert rows[3] == ["0.0083333333", "3", "2", "classes", "2–3", "merge"]
    assert "Below λ_z = 0.00833333 every class is kept apart: rank 3." in outcome.out
    assert "rank is 2 of 3" in call("path", *TWO, "--smallest-share", "0.6").out
    assert "60.65  32.85  11.19" in call("path", *TWO, "--decays", "0.005").out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_figure_is_written_whole(call, tmp_path, kind):
    target = tmp_path / "new" / f"path.{kind}"
    outcome = call("path", *TWO, "--figure", str(target), "--points", "5")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"Figure: {target}" in outcome.out.replace("\n", "")
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert target.stat().st_size > 3000


def test_with_a_figure_json_holds_the_values_that_it_shows(call, tmp_path):
    value = read(call("path", *TWO, "--figure", str(tmp_path / "path.svg"), "--points", "5", "--json"))
    assert len(value["singular_values"]) == 8
    assert (tmp_path / "path.svg").stat().st_size > 3000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--decays", "-1"), ("--decays must be a finite number above 0", "-1.0")),
        (("--decays", "0.1,x"), ("--decays cannot be read; got 'x'", "separated by commas")),
        (("--decays", ""), ("--decays must be one number or more",)),
        (("--points", "1"), ("--points must be a whole number from 2", "got '1'")),
        (("--points", "many"), ("--points must be a whole number", "'many'")),
        (("--smallest-share", "2"), ("--smallest-share must lie between 0 and 1", "2.0")),
        (("--figure", "a.gif"), ("--figure must end in .png, .svg, .pdf", "'a.gif'")),
        (("--figure", "/proc/self/none/a.png"), ("--figure must lie in a folder", "/proc/self/none")),
        (("--loss", "focal"), ("--loss must be convex",)),
        (("--margins", "1"), ("--margins must have one number a class", "got 1")),
    ],
)
def test_bad_input_is_refused_in_one_line(call, arguments, parts):
    outcome = call("path", "--counts", "500x2,100x2", *arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    for part in parts:
        assert part in outcome.err


def test_an_optimum_without_a_certificate_is_a_finding(call, monkeypatch):
    def uncertified(*arguments):
        paths = lp.theory.singular_paths(*arguments)
        broken = dataclasses.replace(paths.solutions[0], status="not_certified", message="Not certified: try again.")
        return SingularPaths([broken, *paths.solutions[1:]], paths.within, paths.between)

    monkeypatch.setattr("lopsided.cli.path.singular_paths", uncertified)
    outcome = call("path", *TWO, "--decays", "0.01")
    assert outcome.code == 1
    assert outcome.err == "lopsided: at λ_z = 0.01: Not certified: try again.\n"


def test_a_search_that_cannot_be_certified_says_what_to_do_and_a_defect_is_none(call, monkeypatch):
    def refuse(*_):
        raise ArithmeticError("the optimum at lambda_z = 1.0 could not be certified; narrow the search")

    monkeypatch.setattr("lopsided.cli.path.critical_path", refuse)
    outcome = call("path", *TWO)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.endswith("narrow the search: raise --smallest-share\n")
    monkeypatch.setattr("lopsided.cli.path.critical_path", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call("path", *TWO)


_SLOW = """
import signal, sys
import lopsided.core.files as files
from lopsided.cli import main
def slow(file):
    print("writing", flush=True)
    signal.pause()
files.os.fsync = slow
main(["path", "--counts", "5,3", "--points", "3", "--figure", sys.argv[1]])
"""


@pytest.mark.slow
def test_ctrl_c_while_the_figure_is_written_leaves_the_old_one(tmp_path):
    target = tmp_path / "path.png"
    target.write_bytes(b"old")
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)
    assert (process.returncode, out, err) == (130, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["path.png"]
    assert target.read_bytes() == b"old"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "decays", "ranks"),
    [
        # without a bias every class has a direction of its own, lost at √n/N
        (("--no-bias",), np.sqrt([500, 300, 100]) / 900, [(1, 0), (2, 1), (3, 2)]),
        ((), None, [(1, 0), (2, 1)]),
        # the direction that a free bias would take is the weakest, and lost early
        (("--lambda-b", "0.02"), None, [(1, 0), (2, 1), (3, 2)]),
    ],
    ids=["none", "free", "penalised"],
)
def test_squared_error_has_one_direction_more_but_with_a_free_bias(call, flags, decays, ranks):
    arguments = ("path", "--loss", "squared-error", "--counts", "500,300,100", *flags)
    path = read(call(*arguments, "--values", "--points", "5", "--json"))
    drops = path["path"]
    assert [(drop["rank_below"], drop["rank_above"]) for drop in drops] == ranks
    if decays is not None:
        assert [drop["lambda_z"] for drop in drops] == pytest.approx(decays, rel=1e-8)
    for drop in drops:
        for factor, rank in ((1 - 1e-4, drop["rank_below"]), (1 + 1e-4, drop["rank_above"])):
            model = lp.UFM(
                "500,300,100",
                drop["lambda_z"] * factor,
                loss=lp.SquaredError(),
                bias="--no-bias" not in flags,
                lambda_b=path["lambda_b"] or 0.0,
            )
            assert model.solve().geometry.rank == rank
    for row in path["singular_values"]:
        assert row["rank"] == len(row["values"])
    assert f"every class is kept apart: rank {ranks[-1][0]}." in call(*arguments).out


def test_squared_error_splits_all_its_singular_values(call):
    """The parts within and between clusters together are those of the optimum."""
    model = lp.UFM("500x3,100x2", 1.0, bias=False, loss=lp.SquaredError())
    for solution in lp.solve_path(model, [0.001, 0.006]):
        paths = singular_paths(model, [solution.problem.lambda_z])
        assert paths.between.shape == (1, 2)
        parts = np.concatenate([np.repeat(paths.within[0], [2, 1]), paths.between[0]])
        np.testing.assert_allclose(np.sort(parts[parts > 0])[::-1], solution.singular_values, rtol=1e-9)
