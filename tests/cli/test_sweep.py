"""``lopsided sweep`` and ``lopsided train`` in this process, on digits and a few epochs."""

import json

import pytest

CONFIG = """
data = "digits"
counts = "30x2,6x2"
lambda_b = 0.02
epochs = 3
hidden = [16]
dim = 8
[grid]
lambda_z = [0.003, 0.02]
"""
RUN = (
    "--data",
    "digits",
    "--counts",
    "30x2,6x2",
    "--lambda-z",
    "0.003",
    "--epochs",
    "3",
    "--hidden",
    "16",
    "--dim",
    "8",
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.slow
def test_a_sweep_and_the_same_again(call, tmp_path, config):
    folder = str(tmp_path / "out")
    first = call("sweep", config, "--output", folder, "--jobs", "1", "--json")
    assert first.code == 0, first.err
    found = json.loads(first.out)
    assert (found["found"], found["outcomes"]) == (0, {"trained": 2})
    assert [run["lambda_z"] for run in found["runs"]] == [0.003, 0.02]
    assert len((tmp_path / "out" / "rows.jsonl").read_text().splitlines()) == 2
    again = call("sweep", config, "--output", folder, "--jobs", "1")
    assert again.code == 0
    assert "2 of them were stored before" in again.out
    assert "lambda_z" in again.out
    assert "lambda_w" not in again.out
    assert str(tmp_path / "out" / "rows.jsonl") in again.out.replace("\n", "")


@pytest.mark.slow
def test_options_replace_what_the_file_says(call, tmp_path, config):
    outcome = call(
        "sweep",
        config,
        "--output",
        str(tmp_path / "out"),
        "--jobs",
        "1",
        "--lambda-z",
        "0.01",
        "--epochs",
        "1",
        "--json",
    )
    (run,) = json.loads(outcome.out)["runs"]
    assert (run["lambda_z"], run["epochs"]) == (0.01, 1)


@pytest.mark.slow
def test_a_diverged_run_is_a_finding(call, tmp_path, config):
    outcome = call(
        *("sweep", config, "--output", str(tmp_path / "out"), "--jobs", "1"),
        *("--optimizer", "sgd", "--learning-rate", "1e30"),
    )
    assert outcome.code == 1
    assert "2 diverged" in outcome.out


@pytest.mark.slow
def test_train_from_options_and_from_a_file_is_the_same_run(call, tmp_path, config):
    folder = str(tmp_path / "out")
    first = call("train", *RUN, "--lambda-b", "0.02", "--output", folder, "--json")
    assert first.code == 1, first.err  # three epochs do not reach the optimum, which is a finding
    found = json.loads(first.out)
    assert found["findings"]
    assert found["row"]["epochs_done"] == 3
    second = call("train", config, "--lambda-z", "0.003", "--output", folder)
    assert second.code == 1
    assert "epochs" not in second.err.replace("1/1", "")  # nothing was trained again
    assert found["row"]["digest"] in second.out.replace("\n", "")
    assert "mean logits" in second.out
    assert found["remedy"] is None
    assert "Remedy" not in second.out


@pytest.mark.slow
def test_train_says_what_a_remedy_changed(call, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    lost = [*RUN, "--lambda-z", "0.04", "--output", str(tmp_path / "out")]
    works = call("train", *lost, "--remedy", "class-weights:samples", "--remedy-keep", "2-3", "--remedy-margin", "1.1")
    assert works.out.startswith("Remedy class-weights:samples: weigh classes 2–3 by 1.29"), works.err
    (stored,) = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("run.json")]
    assert stored["settings"]["remedy_keep"] == "2-3"
    nearest = call("train", *lost, "--remedy", "logit-adjustment")
    for part in (
        "Remedy logit-adjustment: does not move the threshold",
        ". Nearest, and applied: adjust logits by τ = 1 times the log frequencies inside the loss.",
    ):
        assert part in nearest.out
    again = json.loads(call("train", *lost, "--remedy", "logit-adjustment", "--json").out)
    assert again["row"]["remedy"] == "logit-adjustment"
    assert again["remedy"]["works"] is False
    assert again["remedy"]["change"].startswith("adjust logits by τ = 1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("train",), ("--data must be given",)),
        (("train", *RUN, "--lambda-z", "-1"), ("--lambda-z must be a finite number above 0", "-1.0")),
        (("train", *RUN, "--epochs", "few"), ("--epochs must be a whole number of at least 1", "'few'")),
        (("train", *RUN, "--network", "mpl"), ("--network must be one of", "'mpl'")),
        (
            ("train", *RUN, "--counts", "300x2"),
            ("--counts must be at most the training samples that digits has", "300"),
        ),
        (("train", *RUN, "--output", " "), ("--output must name a folder",)),
        (("train", "{config}"), ("config must state one run; got 2", "lopsided sweep")),
        (("sweep", "nowhere.toml"), ("config must be a TOML file; cannot read 'nowhere.toml'", "No such file")),
        (("sweep", "{config}", "--seed", "-1"), ("--seed must be a whole number of at least 0", "-1")),
        (("sweep", "{config}", "--jobs", "-1"), ("--jobs must be", "-1")),
        (("sweep", "{broken}"), ("key 'lamda_z' does not exist; the nearest is 'lambda_z'", "broken.toml")),
        (("sweep",), ("Missing argument 'CONFIG'",)),
    ],
)
def test_bad_input(call, tmp_path, monkeypatch, config, arguments, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.toml").write_text(CONFIG.replace("lambda_z", "lamda_z"))
    places = {"config": config, "broken": str(tmp_path / "broken.toml")}
    outcome = call(*(argument.format(**places) for argument in arguments))
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("lopsided: ") == 1
    assert "Traceback" not in outcome.err
    for part in parts:
        assert part in outcome.err
