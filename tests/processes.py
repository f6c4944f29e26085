"""Fresh processes for tests: what importing loads, and workers that compute together."""

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def loaded_after(*steps: str) -> list[set[str]]:
    """The packages that a fresh interpreter has loaded after each of several steps."""
    names = "sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    after = f"\nprint(json.dumps({names}), file=sys.__stderr__)\n"
    code = "import json, sys\n" + "".join(step + after for step in steps)
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    loaded = [set(json.loads(line)) for line in process.stderr.splitlines() if line.startswith("[")]
    assert len(loaded) == len(steps)
    return loaded


def loaded_by(code: str) -> set[str]:
    """The packages that a fresh interpreter has loaded once it has run the code."""
    return loaded_after(code)[0]


def run_two_workers(main: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
    """Run a function in two processes at once, which may wait for each other; an error in either is raised here.

    The processes are forked off one that has loaded PyTorch and the trainers once for all tests, and has no threads.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning.pytorch", "torchmetrics"])
    assert len(arguments) == 2
    with context.Pool(2, maxtasksperchild=1) as pool:  # leaving it ends whoever still waits
        pool.starmap_async(main, arguments, chunksize=1).get(timeout=600)
