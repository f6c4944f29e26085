"""Sweeps: each run once, whatever happens to the process, the disk or a single run."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import sysconfig
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from lopsided.runs import Run, execution, sweep
from lopsided.runs.grids import expand, read_configurations
from lopsided.runs.sweep import read_row, run_folder, run_sweep

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "lopsided")
TINY = {"data": "digits", "counts": "30x2,6x2", "lambda_b": 0.02, "epochs": 3, "hidden": [16], "dim": 8}


def tiny(**grid):
    return expand({**TINY, "grid": {"lambda_z": [0.003], **grid}})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return run_sweep(tiny(seed=[0, 1]), folder, jobs=1), folder


@pytest.mark.slow
def test_a_row_says_what_was_asked_what_came_out_and_where_it_was_made(done):
    result, folder = done
    for run, row in zip(tiny(seed=[0, 1]), result.rows, strict=True):
        assert row["digest"] == run.digest
        assert row["derived_seed"] == run.derived_seed
        assert {name: row[name] for name in TINY} == TINY
        assert row["outcome"] == "trained"
        assert row["status"] == "optimal"
        assert row["seconds"] > 0
        assert {"commit", "machine_processor", "machine_cores", "version_lopsided", "version_torch"} <= set(row)
        assert not any(isinstance(value, dict) for value in row.values())  # one column each
        stored = Run.load(run_folder(folder, run.digest))
        assert stored.settings["derived_seed"] == run.derived_seed
        assert row["nc1"] == stored.measures["nc1"]
        assert row["mean_logits_error"] == stored.comparison["mean_logits"].relative_error
    assert [json.loads(line) for line in result.table.read_text().splitlines()] == sorted(
        result.rows, key=lambda row: row["digest"]
    )


@pytest.mark.slow
def test_resampled_runs_are_predicted_by_the_model_of_what_they_show(tmp_path):
    """More samples than the data set has of a class may be shown, since they are shown again."""
    runs = tiny(sampling_strategy=["30x2,999x2"], feature_penalty_per=["appearance", "sample"])
    rows = run_sweep(runs, tmp_path, jobs=1).rows
    for run, row in zip(runs, rows, strict=True):
        assert row["sampling_strategy"] == "30x2,999x2"
        assert row["predicted_objective"] == pytest.approx(run.model.solve().objective, rel=1e-9)
        assert row["num_samples"] == 72
    assert rows[0]["predicted_objective"] != pytest.approx(rows[1]["predicted_objective"], rel=1e-3)


def test_nothing_is_left_but_results(done):
    _, folder = done
    names = {path.name.partition("-")[0] for path in folder.rglob("*") if path.is_file()}
    assert names == {"rows.jsonl", "row.json", "run.json", "arrays", ".lock"}


def test_finished_runs_are_not_repeated_and_new_ones_are_added(done, tmp_path, monkeypatch):
    _, folder = done
    monkeypatch.setattr(sweep, "perform", None)  # would fail if called
    seen = []
    again = run_sweep(tiny(seed=[0, 1]), folder, jobs=1, progress=lambda *state: seen.append(state))
    assert again.found == 2
    assert seen == [(2, 2)]


@pytest.mark.slow
def test_the_same_run_comes_out_the_same_elsewhere(done, tmp_path):
    result, _ = done
    (row,) = run_sweep(tiny(), tmp_path, jobs=1).rows
    same = [name for name in row if name not in ("seconds", "commit")]
    assert {name: row[name] for name in same} == {name: result.rows[0][name] for name in same}


@pytest.mark.slow
def test_a_run_that_diverges_is_recorded_and_the_sweep_goes_on(tmp_path):
    runs = expand({**TINY, "lambda_z": 0.003, "optimizer": "sgd", "grid": {"learning_rate": [1e30, 0.01]}})
    result = run_sweep(runs, tmp_path, jobs=1)
    assert [row["outcome"] for row in result.rows] == ["diverged", "trained"]
    assert "loss-not-finite" in result.rows[0]["findings"]
    assert result.rows[0]["objective"] is None
    assert run_sweep(runs, tmp_path, jobs=1).found == 2


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", '{"digest": "', "[]", '{"digest": "another"}'])
def test_half_a_row_counts_as_none(tmp_path, content, monkeypatch):
    (run,) = tiny()
    folder = run_folder(tmp_path, run.digest)
    folder.mkdir(parents=True)
    (folder / "row.json").write_text(content)
    (folder / "run.json").write_text("{")
    (folder / ".row.json.1.tmp").write_text("x")
    assert read_row(tmp_path, run.digest) is None
    assert run_sweep([run], tmp_path, jobs=1).found == 0
    assert read_row(tmp_path, run.digest)["outcome"] == "trained"
    assert not list(folder.glob(".row*"))


class StoppedError(Exception):
    pass


def stop_after(epochs):
    def stop(done, planned):
        if done == epochs:
            raise StoppedError

    return stop


@pytest.mark.slow
def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path):
    (run,) = tiny(epochs=[8])
    with pytest.raises(StoppedError):
        run_sweep([run], tmp_path, jobs=1, epoch_progress=stop_after(5))
    seen = []
    (row,) = run_sweep([run], tmp_path, jobs=1, epoch_progress=lambda done, _: seen.append(done)).rows
    assert seen[0] > 1
    (whole,) = run_sweep([run], tmp_path / "whole", jobs=1).rows
    assert row["objective"] == whole["objective"]
    assert not list(tmp_path.rglob("checkpoint*"))


@pytest.mark.slow
def test_half_a_checkpoint_is_ignored(tmp_path):
    (run,) = tiny(epochs=[8])
    with pytest.raises(StoppedError):
        run_sweep([run], tmp_path, jobs=1, epoch_progress=stop_after(5))
    (checkpoint,) = run_folder(tmp_path, run.digest).glob("checkpoint*")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    seen = []
    (row,) = run_sweep([run], tmp_path, jobs=1, epoch_progress=lambda done, _: seen.append(done)).rows
    assert seen == list(range(1, 9))
    assert row["outcome"] == "trained"


@pytest.mark.slow
def test_a_full_disk_ends_the_sweep_and_leaves_finished_runs_whole(tmp_path, monkeypatch):
    runs = tiny(seed=[0, 1, 2])
    write, written = sweep.write_atomically, []

    def full(path, content):
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, content)

    monkeypatch.setattr(sweep, "write_atomically", full)
    with pytest.raises(OSError, match="No space left") as caught:
        run_sweep(runs, tmp_path, jobs=1)
    assert caught.value.filename == str(run_folder(tmp_path, runs[1].digest) / "row.json")
    monkeypatch.undo()
    assert [read_row(tmp_path, run.digest) is not None for run in runs] == [True, False, False]
    assert run_sweep(runs, tmp_path, jobs=1).found == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jobs": -1}, "jobs must be a whole number of at least 0"),
        ({"output": "/proc/self/none"}, "output must be a folder that can be written"),
        ({"runs": {"data": "mnist"}}, "data must be one of the known data sets"),
        ({"runs": {"counts": "170x5,30x5"}}, "counts must be at most the training samples that digits has"),
        ({"runs": {"counts": "9x11"}}, "counts must name at most the 10 classes of digits"),
    ],
)
def test_bad_input_is_found_before_anything_is_trained(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(execution, "load_data", None)
    runs = expand({**TINY, "lambda_z": 0.003, "dim": 32, **arguments.pop("runs", {})})
    with pytest.raises(ValueError, match=f"^{message}"):
        run_sweep(runs, **{"output": tmp_path, "jobs": 1, **arguments})
    assert not list(tmp_path.iterdir())


def test_missing_data_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.delenv("LOPSIDED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="apt-get install dataset-fashion-mnist"):
        run_sweep(
            expand({**TINY, "lambda_z": 0.003, "data": "fashion-mnist"}), tmp_path / "out", data_folder=tmp_path / "no"
        )


@pytest.mark.slow
def test_a_dask_cluster_does_the_same(done, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        result = run_sweep(tiny(), tmp_path, scheduler=cluster.scheduler_address)
    same = [name for name in result.rows[0] if name not in ("seconds", "commit")]
    assert {name: result.rows[0][name] for name in same} == {name: done[0].rows[0][name] for name in same}


def test_a_scheduler_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "_PATIENCE", "1s")
    with pytest.raises(
        ValueError, match=r"^scheduler must be the address of a Dask scheduler .* got 'tcp://127.0.0.1:1'"
    ):
        run_sweep(tiny(), tmp_path, scheduler="tcp://127.0.0.1:1")


CONFIG = """
data = "digits"
counts = "30x2,6x2"
lambda_z = 0.003
lambda_b = 0.02
epochs = 40
[grid]
seed = [0, 1, 2]
"""


def start(folder, *program, jobs):
    (folder / "sweep.toml").write_text(CONFIG)
    command = [*program, "sweep", "sweep.toml", "--output", "out", "--jobs", str(jobs), "--json"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def wait_until(happened, process, folder):
    deadline = time.monotonic() + 600
    while not happened():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finished(folder):
    """The rows that are there: name, content, and the moment they were written."""
    paths = sorted((folder / "out" / "runs").glob("*/row.json"))
    return {path.parent.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_without_losing_or_repeating_a_run(tmp_path):
    with start(tmp_path, PROGRAM, jobs=1) as process:
        wait_until(lambda: finished(tmp_path), process, tmp_path)
        process.kill()
        assert process.wait(timeout=600) == -signal.SIGKILL
    before = finished(tmp_path)
    assert 1 <= len(before) < 3
    assert "Traceback" not in (tmp_path / "log").read_text()
    # In this process, which has loaded torch already.
    again = run_sweep(read_configurations(tmp_path / "sweep.toml"), tmp_path / "out", jobs=1)
    assert again.found == len(before)
    after = finished(tmp_path)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before  # not even written again
    for name, (content, _) in after.items():
        row = json.loads(content)
        assert row["outcome"] == "trained"
        assert math.isfinite(row["objective"])
        assert Run.load(tmp_path / "out" / "runs" / name).name == name
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert not list((tmp_path / "out").rglob("*.ckpt"))


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_the_workers_of_a_sweep_end_with_it(tmp_path, monkeypatch, end):
    """They would hold the locks of their runs otherwise; Ctrl-C reaches them too, as from a terminal."""
    checkpoints = partial((tmp_path / "out").rglob, "checkpoint.ckpt")
    with start(tmp_path, sys.executable, Path(__file__).with_name("waiting_sweep.py"), jobs=2) as process:
        # Both workers are at runs that do not end.
        wait_until(lambda: finished(tmp_path) and len(list(checkpoints())) == 2, process, tmp_path)
        if end == signal.SIGINT:
            os.killpg(process.pid, end)
        else:
            process.send_signal(end)
        assert process.wait(timeout=600) == (130 if end == signal.SIGINT else -end)
    before = finished(tmp_path)
    assert len(before) == 1
    assert "Traceback" not in (tmp_path / "log").read_text()
    monkeypatch.setattr(sweep, "perform", perform_at_once)
    again = run_sweep(read_configurations(tmp_path / "sweep.toml"), tmp_path / "out", jobs=1)
    assert again.found == 1
    after = finished(tmp_path)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before
    outcomes = [json.loads(after[name][0])["outcome"] for name in after if name not in before]
    assert outcomes == ["done here"] * 2  # and no worker went on to the end of its run
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert not list(checkpoints())


def perform_at_once(run, **_):
    stored = SimpleNamespace(save=lambda folder: (folder / "run.json").write_text("{}"))
    return stored, {"digest": run.asked.digest, "outcome": "done here"}
