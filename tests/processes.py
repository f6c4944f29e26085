"""Fresh processes for tests: what importing loads, and workers that compute together."""

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def loaded_by(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded once it has run the code."""
    process = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint()\nprint(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in json.loads(process.stdout.splitlines()[-1])}


def run_two_workers(main: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
    """Run a function in two processes at once, which may wait for each other; an error in either is raised here.

    The processes are forked off one that has loaded PyTorch and the trainers once for all tests, and has no threads.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning.pytorch", "torchmetrics"])
    assert len(arguments) == 2
    with context.Pool(2, maxtasksperchild=1) as pool:  # leaving it ends whoever still waits
        pool.starmap_async(main, arguments, chunksize=1).get(timeout=120)
