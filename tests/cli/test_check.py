"""``lopsided check``: its JSON, its tables and sentences, its exit codes, and what it refuses."""

import json

import numpy as np
import pytest

import lopsided as lp

TWO = ("check", "--counts", "500x5,100x5", "--lambda-b", "0.02")
KEYS = {
    "lambda_z",
    "complete",
    "fading_margin",
    "lost",
    "fading",
    "merged",
    "at_origin",
    "status",
    "gap",
    "assumptions",
    "classes",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decay", "code", "lost", "fading"),
    [
        ("0.002", 0, [], []),
        ("0.003", 0, [], [5, 6, 7, 8, 9]),
        ("0.0034", 1, [5, 6, 7, 8, 9], []),
        ("0.008", 1, list(range(10)), []),
    ],
)
def test_json_and_exit_code(call, decay, code, lost, fading):
    outcome = call(*TWO, "--lambda-z", decay, "--json")
    assert (outcome.code, outcome.err) == (code, "")
    value = json.loads(outcome.out)
    assert set(value) == KEYS
    assert (value["lost"], value["fading"], value["status"]) == (lost, fading, "optimal")
    assert value["merged"] == ([lost] if lost else [])
    found = lp.check("500x5,100x5", float(decay), lambda_b=0.02)
    assert [entry["margin"] for entry in value["classes"]] == found.margins.tolist()
    assert [entry["state"] for entry in value["classes"]] == list(found.states)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (("--lambda-z", "0.002"), 0, ["kept", "All 10 classes are kept: the first threshold is 1.67 times"]),
        (("--lambda-z", "0.003"), 0, ["fading", "No class is lost, but 5 of 10 are fading (5–9)", "1.11 times"]),
        (("--lambda-z", "0.0033"), 0, ["samples of 5 of them are given to another class"]),
        (
            ("--weight-decay", "0.007", "--feature-decay", "0.00175"),
            1,
            ["Lost: 5 of 10 classes (5–9)", "below λ_z = 0.00333333, 0.952 times"],
        ),
        (("--lambda-z", "0.006"), 1, ["Lost: 5 of 10 classes (5–9)", "Their means are zero"]),
        (("--lambda-z", "0.01"), 1, ["Everything is lost", "below λ_z = 0.00745356, 0.745 times"]),
        (
            ("--weight-decay", "0.0005"),
            0,
            ["or λ_h ≥", "0.02222", "Unknown: no class is lost below a feature decay of 0.02222", "‖W‖/‖H‖ = 6.667"],
        ),
    ],
)
def test_tables_say_what_is_lost_and_how_far_that_is(call, monkeypatch, arguments, code, parts):
    monkeypatch.setenv("COLUMNS", "300")
    outcome = call(*TWO, *arguments)
    assert (outcome.code, outcome.err) == (code, "")
    for part in ["0–4", "5–9", "500", *parts]:
        assert part in outcome.out


def test_equal_counts_have_one_limit(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    outcome = call("check", "--counts", "100x4", "--weight-decay", "0.001")
    assert outcome.code == 0
    assert "all classes are lost from a feature decay of 0.625 on, none before" in outcome.out


def test_names_of_classes_are_shown_and_long_ones_cut(call, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    labels = ["cat"] * 50 + ["[red]dog"] * 5 + ["eel"] * 5 + ["a name that is longer than any column should be"]
    np.save(tmp_path / "labels.npy", np.array(labels))
    outcome = call("check", "--counts", str(tmp_path / "labels.npy"), "--lambda-z", "0.05")
    assert outcome.code == 1
    assert "[red]dog, eel" in outcome.out
    assert "a name that is longer t…" in outcome.out
    value = json.loads(call("check", "--counts", str(tmp_path / "labels.npy"), "--lambda-z", "0.05", "--json").out)
    assert [entry["name"] for entry in value["classes"]][1:] == [
        "a name that is longer than any column should be",
        "cat",
        "eel",
    ]


@pytest.mark.slow
def test_a_long_table_is_cut(call):
    outcome = call("check", "--counts", "cifar100-lt:100", "--lambda-z", "0.0002", "--lambda-b", "0.02")
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) < 45
    assert "…" in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "lost"),
    [("all", []), ("9:500", [5, 6, 7, 8]), ("minority", [6, 7, 8, 9]), ("5:130,6:130", [7, 8, 9])],
)
def test_resampling_first(call, strategy, lost):
    outcome = call(*TWO, "--lambda-z", "0.0034", "--sampling-strategy", strategy, "--json")
    assert json.loads(outcome.out)["lost"] == lost
    assert outcome.code == bool(lost)


def test_a_share_for_two_classes(call):
    arguments = ("check", "--counts", "500,100", "--lambda-z", "0.001", "--sampling-strategy", "0.5", "--json")
    assert [entry["count"] for entry in json.loads(call(*arguments).out)["classes"]] == [500, 250]


@pytest.mark.slow
def test_an_answer_without_a_certificate_is_a_finding(call):
    outcome = call(
        "check", "--counts", "50x5,10x5", "--no-bias", "--loss", "focal", "--gamma", "2", "--lambda-z", "0.02"
    )
    assert outcome.code == 1
    assert outcome.err.startswith("lopsided: A stationary point")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A file of the optimum itself, one feature a sample."""
    problem = lp.UFM("50x3,10x3", lambda_w=0.2, lambda_h=0.002, lambda_b=0.2)
    geometry = problem.solve().geometry
    path = tmp_path_factory.mktemp("network") / "network.npz"
    np.savez(
        path,
        features=np.repeat(geometry.class_means, geometry.counts, axis=0),
        labels=np.repeat(np.arange(6), geometry.counts),
        weight=geometry.classifier,
        bias=geometry.bias,
    )
    return path


def test_a_trained_network_tells_its_own_decay(call, network):
    outcome = call("check", "--checkpoint", str(network), "--weight-decay", "0.2", "--json")
    value = json.loads(outcome.out)
    assert value["lambda_z"] == pytest.approx(0.02)
    assert value["lost"] == [3, 4, 5]  # their threshold is √10/180 = .01757
    assert "in balance" in value["assumptions"][0]
    assert outcome.code == 1
    told = call("check", "--lambda-z", str(value["lambda_z"]), "--counts", "50x3,10x3", "--lambda-b", "0.2", "--json")
    assert [entry["logit_gap"] for entry in json.loads(told.out)["classes"]] == pytest.approx(
        [entry["logit_gap"] for entry in value["classes"]], abs=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weight-decay", "0.2", "--counts", "50x6"), "--counts must be those of the checkpoint's labels, 50x3,10x3"),
        (("--weight-decay", "0.2", "--lambda-z", "0.1"), "--lambda-z must be left out with --checkpoint"),
        (
            ("--weight-decay", "0.2", "--no-bias"),
            "--bias must be left out with --checkpoint, whose file",
        ),
        ((), "--weight-decay must be given with --checkpoint; got nothing"),
    ],
)
def test_a_checkpoint_is_not_contradicted(call, network, arguments, message):
    outcome = call("check", "--checkpoint", str(network), *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_checkpoint_without_a_weight_or_a_class_is_refused(call, tmp_path):
    path = tmp_path / "features.npz"
    np.savez(path, features=np.eye(3), labels=[0, 1, 1])
    outcome = call("check", "--checkpoint", str(path), "--weight-decay", "0.1")
    assert outcome.err.startswith("lopsided: --checkpoint must hold the classifier's weight")
    np.savez(path, features=np.eye(3), labels=[0, 1, 1], weight=np.eye(3))
    outcome = call("check", "--checkpoint", str(path), "--weight-decay", "0.1")
    assert outcome.err.startswith("lopsided: --checkpoint must hold samples of every class; got none of class 2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "--lambda-z", "0.1"), "--counts must be given, or --checkpoint"),
        ((*TWO,), "--lambda-z must be given, or both --weight-decay and --feature-decay; got nothing"),
        ((*TWO, "--feature-decay", "0.1"), "got no --weight-decay"),
        ((*TWO, "--weight-decay", "-1"), "--weight-decay must be a finite number above 0; got -1.0"),
        ((*TWO, "--lambda-z", "0.1", "--margin", "0.5"), "--margin must be a finite number of at least 1"),
        ((*TWO, "--lambda-z", "0.1", "--weights", "1x5,0x5"), "--weights must be finite numbers above 0"),
        ((*TWO, "--lambda-z", "0.1", "--weights", "1x5,-2x5"), "--weights must be finite numbers above 0"),
        (
            (*TWO, "--lambda-z", "0.1", "--feature-penalty-per", "x"),
            "--feature-penalty-per must be 'appearance' or 'sample'",
        ),
        ((*TWO, "--lambda-z", "0.1", "--sampling-strategy", "12:5"), "--sampling-strategy must name class numbers"),
        ((*TWO, "--lambda-z", "0.1", "--sampling-strategy", "9:x"), "--sampling-strategy cannot be read; got '9:x'"),
        (("check", "--counts", "nowhere.csv", "--lambda-z", "0.1"), "nowhere.csv: No such file"),
        (("check", "--counts", "inaturalist2018", "--lambda-z", "0.1"), "--counts must be counts such as"),
        (
            ("predict", "--counts", "cifar10-lt:x", "--lambda-z", "0.1"),
            "--counts must have a number as the ratio of a profile",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, arguments, message):
    outcome = call(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("lopsided: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "thresholds"])
def test_other_commands_read_the_same_counts(call, tmp_path, command):
    path = tmp_path / "labels.npy"
    np.save(path, np.repeat(["ant", "bee", "cow"], [50, 50, 10]))
    more = ("--lambda-z", "0.01") if command == "predict" else ()
    from_file = call(command, "--counts", str(path), *more, "--json")
    assert json.loads(from_file.out) == json.loads(call(command, "--counts", "50x2,10", *more, "--json").out)


@pytest.mark.slow
def test_8142_classes_are_answered_in_a_few_matrices(call):
    """As many as iNaturalist 2018: the tables of a K × K matrix would be 64 million numbers."""
    outcome = call("check", "--counts", "pareto:1000x8142:1.45", "--lambda-z", "4e-5", "--lambda-b", "0.02", "--json")
    value = json.loads(outcome.out)
    assert len(value["classes"]) == 8142
    assert value["gap"] <= 1e-4
    assert {entry["state"] for entry in value["classes"]} >= {"kept", "lost"}


ORDINARY = """
import torch
from torch import nn

def network():
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
    return net, torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.05)

def layers():
    net = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 10))
    return net, torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.05), torch.randn(4, 8)

def plain():
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 10))
    return net, torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.05)

def one():
    return network()[0]
"""
SMALL = ("check", "--counts", "15x5,3x5")


@pytest.fixture
def ordinary(tmp_path, monkeypatch):
    (tmp_path / "ordinary_networks.py").write_text(ORDINARY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.delitem(__import__("sys").modules, "ordinary_networks", raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("ordinary")
def test_a_network_and_its_optimiser_are_read(call):
    outcome = call(*SMALL, "--network", "ordinary_networks:network", "--json")
    value = json.loads(outcome.out)
    assert (outcome.code, value["end"], value["exact"]) == (0, "batch-norm+relu", True)
    assert value["classes"][9]["critical_weight_decay"] == pytest.approx(np.sqrt(3 / 90), rel=0.05)
    bounded, unknown = (call(*SMALL, "--network", f"ordinary_networks:{name}") for name in ("layers", "plain"))
    assert (bounded.code, "No class is certain to be lost" in bounded.out) == (0, True)
    assert (unknown.code, "Unknown: these decays say nothing" in unknown.out) == (0, True)


@pytest.mark.usefixtures("ordinary")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ordinary_networks:one", "--network must return (model, optimizer)"),
        ("ordinary_networks:no", "--network must be MODULE:FACTORY"),
        ("no_such_module:x", "--network must be MODULE:FACTORY with a module that Python finds"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(call, name, message):
    outcome = call(*SMALL, "--network", name)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"lopsided: {message}")
    assert outcome.err.count("\n") == 1


@pytest.mark.slow
def test_a_weight_decay_alone_is_answered_for_the_usual_ends(call):
    four = ("check", "--counts", "500x2,100x2", "--lambda-b", "0.02", "--weight-decay", "5e-4")
    value = json.loads(call(*four, "--json").out)
    assert set(value["ends"]) == {"batch-norm", "batch-norm-relu", "residual:3"}
    rare = value["ends"]["batch-norm"]["classes"][3]
    assert rare["critical_weight_decay"] == pytest.approx(np.sqrt(100 / 1200))
    outcome = call(*four)
    assert outcome.code == 0
    assert "It depends on how the network ends" in outcome.out


def test_an_end_decides(call):
    outcome = call(*TWO, "--weight-decay", "0.2", "--end", "batch-norm")
    assert outcome.code == 1
    assert "Lost at this weight decay: 5 of 10 classes (5–9); the first is lost from 0.1826" in outcome.out


def test_an_end_that_a_loss_has_no_model_for_is_left_out(call):
    outcome = call(*TWO, "--weight-decay", "5e-4", "--loss", "squared-error", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert set(json.loads(outcome.out)["ends"]) == {"batch-norm", "residual:3"}
