"""What every test shares."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

# One thread each, the processes that tests start included: the arrays are small, two workers of pytest have two cores
# between them, and threads that wait for each other on a busy machine make a second of work into a minute. NumPy and
# PyTorch read these when they are loaded.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# What a shell starts in the background ignores Ctrl-C, and so do its children; the tests of Ctrl-C mean the usual.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two busy cores say nothing about a property, so no deadline; on CI a red run must be red again tomorrow.
# `make test ARGS=--hypothesis-profile=thorough` looks longer.
settings.register_profile("lopsided", deadline=None, derandomize="CI" in os.environ, print_blob=True, max_examples=20)
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=400)
settings.load_profile("lopsided")


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo, run once whichever worker of pytest needs it first: how it ended, and its folder."""
    from filelock import FileLock

    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder, ended = shared / "demo" / "report", shared / "demo" / "ended.json"
    with FileLock(shared / "demo.lock"):
        if not ended.exists():
            ended.parent.mkdir()
            program = shutil.which("lopsided", path=Path(sys.executable).parent)
            arguments = [program, "demo", "--json", "--output", str(folder)]
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=1200, check=False)
            ended.write_text(json.dumps([done.args, done.returncode, done.stdout, done.stderr]))
    return subprocess.CompletedProcess(*json.loads(ended.read_text())), folder
