"""Stopped and started again, a run ends as if it had never stopped; what is not its checkpoint is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

import lopsided as lp
from lopsided.data import load_data
from lopsided.training import build_network, train

SETTINGS = {
    "lambda_w": 0.03,
    "lambda_h": 0.0003,
    "lambda_b": 0.02,
    "epochs": 12,
    "batch_size": 40,
    "learning_rate": 0.01,
    "measure_every": 4,
    "loss": lp.CrossEntropy(label_smoothing=0.1),
    "crop": 1,
    "flip": True,
}


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", "30x3,8x3")


def small(data, **settings):
    return build_network("mlp", data.input_shape, data.num_classes, **{"hidden": (16,), "dim": 8, **settings})


def stop_after(epoch):
    def progress(done, planned, row):
        if done == epoch:
            raise KeyboardInterrupt

    return progress


def stopped(digits, path, epoch=6, **changes):
    with pytest.raises(KeyboardInterrupt):
        train(small(digits), digits, **{**SETTINGS, **changes}, checkpoint=path, progress=stop_after(epoch))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_a_run_that_is_resumed_ends_as_one_that_never_stopped(digits, tmp_path, optimizer, schedule):
    settings = {**SETTINGS, "optimizer": optimizer, "schedule": schedule}
    whole = train(small(digits), digits, **settings)
    path = tmp_path / "runs" / "last.ckpt"
    stopped(digits, path, optimizer=optimizer, schedule=schedule)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]

    steps = []
    resumed = train(
        small(digits, seed=5),
        digits,
        **settings,
        checkpoint=path,
        progress=lambda done, planned, row: steps.append(done),
    )
    assert steps == list(range(5, 13))  # from the fourth epoch, the last that was measured
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name
    without_time = [
        [{name: value for name, value in row.items() if name != "seconds"} for row in run.history]
        for run in (whole, resumed)
    ]
    assert without_time[0] == without_time[1]
    assert np.array_equal(resumed.geometry.mean_logits, whole.geometry.mean_logits)
    assert np.all(np.diff([row["seconds"] for row in resumed.history]) > 0)


@pytest.mark.slow
def test_a_finished_run_is_only_read_again(digits, tmp_path):
    path = tmp_path / "last.ckpt"
    first = train(small(digits), digits, **SETTINGS, checkpoint=path)
    written = path.read_bytes()
    again = train(small(digits, seed=5), digits, **SETTINGS, checkpoint=path)
    assert path.read_bytes() == written
    assert again.epochs == 12
    assert again.history == first.history
    assert np.array_equal(again.geometry.mean_logits, first.geometry.mean_logits)
    assert again.findings == first.findings


@pytest.mark.slow
def test_a_checkpoint_half_written_leaves_the_one_before(digits, tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    stopped(digits, path)
    before = path.read_bytes()

    def full(checkpoint, file, *rest):
        file.write(b"half a checkpoint")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space left on device") as error:
            train(small(digits), digits, **SETTINGS, checkpoint=path)
    assert error.value.filename == str(path)
    assert path.read_bytes() == before
    assert train(small(digits), digits, **SETTINGS, checkpoint=path).epochs == 12


def test_a_place_that_cannot_be_written_is_named(digits):
    with pytest.raises(OSError, match=r"/proc/self/last.ckpt"):
        train(small(digits), digits, **SETTINGS, checkpoint="/proc/self/last.ckpt")


def test_a_run_that_diverges_keeps_its_last_finite_checkpoint(digits, tmp_path):
    path = tmp_path / "last.ckpt"
    settings = {**SETTINGS, "optimizer": "sgd", "learning_rate": 1e4, "measure_every": 1}
    for _ in range(2):  # the second goes on from the checkpoint, and ends as the first
        result = train(small(digits, hidden=()), digits, **settings, checkpoint=path)
        assert result.diverged
        assert math.isnan(result.history[-1]["objective"])
        assert result.epochs == len(result.history) - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda_w": 0.04}, "its lambda_w is 0.03, not 0.04"),
        ({"seed": 1}, "its seed is 0, not 1"),
        ({"loss": lp.SquaredError()}, "its loss is CrossEntropy.*, not SquaredError"),
        ({"flip": False}, "its flip is True, not False"),
    ],
)
def test_another_runs_checkpoint_is_refused(digits, tmp_path, changes, message):
    path = tmp_path / "last.ckpt"
    stopped(digits, path)
    with pytest.raises(ValueError, match=rf"checkpoint '.*last.ckpt' must be of the same run.*{message}"):
        train(small(digits), digits, **{**SETTINGS, **changes}, checkpoint=path)


@pytest.mark.slow
def test_another_networks_checkpoint_is_refused(digits, tmp_path):
    path = tmp_path / "last.ckpt"
    stopped(digits, path)
    with pytest.raises(ValueError, match=r"must be of the same run.*its parameters"):
        train(small(digits, dim=9), digits, **SETTINGS, checkpoint=path)


@pytest.mark.slow
def test_a_checkpoint_of_other_samples_in_the_same_counts_is_refused(digits, tmp_path):
    path = tmp_path / "last.ckpt"
    stopped(digits, path)
    others = load_data("digits", "30x3,8x3", seed=1)
    with pytest.raises(ValueError, match=rf"its samples is {digits.fingerprint}, not {others.fingerprint}"):
        train(small(others), others, **SETTINGS, checkpoint=path)


def test_more_processes_than_samples_in_a_batch_are_refused(digits):
    with pytest.raises(ValueError, match=r"^devices must be at most the samples in the smallest batch, 1; got 2"):
        train(small(digits), digits, **{**SETTINGS, "batch_size": 1}, devices=2)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused_and_never_unpickled(digits, tmp_path):
    path = tmp_path / "last.ckpt"
    stopped(digits, path)
    whole = path.read_bytes()
    trap = torch.nn.Linear(2, 2)  # a pickled object, which could run code of its own
    for damage in (whole[: len(whole) // 2], b"", b"nothing of the kind"):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match="must be a whole checkpoint"):
            train(small(digits), digits, **SETTINGS, checkpoint=path)
    torch.save({"callbacks": trap}, path)
    with pytest.raises(ValueError, match="must be a whole checkpoint"):
        train(small(digits), digits, **SETTINGS, checkpoint=path)


@pytest.mark.slow
def test_loggers_are_given_what_is_measured(digits, tmp_path):
    logger = CSVLogger(tmp_path, name="run", version=0)
    result = train(small(digits), digits, **SETTINGS, logger=logger)
    lines = (tmp_path / "run" / "version_0" / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert [int(row["epoch"]) for row in rows] == [0, 4, 8, 12]
    assert [float(row["objective"]) for row in rows] == [row["objective"] for row in result.history]
