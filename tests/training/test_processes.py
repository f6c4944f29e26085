"""Two real processes over gloo take the steps of one process with the whole batch."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from processes import run_two_workers
from training.two_processes import main, one_of_two


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What one process ended with, and each of two."""
    folder, port = tmp_path_factory.mktemp("processes"), free_port()
    files = [folder / name for name in ("one.npz", "first.npz", "second.npz")]
    run_two_workers(one_of_two, [(rank, port, files[1 + rank]) for rank in range(2)])
    main(1, str(files[0]))
    return [dict(np.load(file)) for file in files]


@pytest.mark.slow
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
