"""Two real processes over gloo take the steps of one process with the whole batch."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


SCRIPT = Path(__file__).with_name("two_processes.py")


def start(rank, port, result):
    place = {"WORLD_SIZE": 2, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), "2", str(result)],
        env={**os.environ, **{name: str(value) for name, value in place.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What one process ended with, and each of two."""
    folder, port = tmp_path_factory.mktemp("processes"), free_port()
    files = [folder / name for name in ("one.npz", "first.npz", "second.npz")]
    processes = [start(rank, port, files[1 + rank]) for rank in range(2)]
    runpy.run_path(str(SCRIPT))["main"](1, str(files[0]))
    for process in processes:
        try:
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
        assert process.returncode == 0, errors
    return [dict(np.load(file)) for file in files]


@pytest.mark.parametrize("name", ["step", "run", "fixed", "shown"])
def test_two_processes_do_what_one_does(runs, name):
    """One step on parts of 31 and 30 samples is the gradient; a run of many is all that follows from it."""
    one, *two = ({key: value for key, value in run.items() if key.startswith(name)} for run in runs)
    assert len(one) == 6
    for other in two:
        for key, value in one.items():
            if not key.endswith("batches"):
                np.testing.assert_allclose(other[key], value, rtol=1e-11, atol=1e-13, err_msg=key)
            else:
                np.testing.assert_allclose(other[key], value, rtol=1e-6, err_msg=key)
