"""Two real workers of DDP over gloo log what one would who had seen the samples of both."""

from __future__ import annotations

import socket

import pytest
import torch

from callbacks.digits import CLASSES, DIM
from callbacks.two_trainers import main
from lopsided.metrics import Moments, measure
from processes import run_two_workers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainers")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    paths = [folder / f"{rank}.pt" for rank in range(2)]
    run_two_workers(main, [(rank, port, path) for rank, path in enumerate(paths)])
    return [torch.load(path, weights_only=True) for path in paths]


@pytest.mark.parametrize("part", ["train", "val"])
def test_both_measure_the_samples_of_both(answers, part):
    moments = Moments(CLASSES, DIM)
    for answer in answers:
        for features, labels in answer["seen"][part]:
            moments.update(features, labels)
    expected = measure(moments, *answers[0]["head"])
    assert expected["num_samples"] == 550
    for answer in answers:
        for name, value in expected.items():
            found = answer["values"][part][name]
            assert found == (pytest.approx(value, rel=1e-10, abs=1e-12) if isinstance(value, float) else value), name
            if isinstance(value, (int, float)) and name != "num_classes":
                assert answer["logged"][f"{part}/{name}"] == pytest.approx(value, rel=1e-5, abs=1e-7), name


def test_both_see_the_same_alarms(answers):
    assert answers[0]["watch"] == answers[1]["watch"]
    assert answers[0]["values"] == answers[1]["values"]
    assert "decay_ratio" in answers[0]["values"]["train"]
