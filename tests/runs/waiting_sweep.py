"""`lopsided sweep` whose runs wait where others train: a program that the tests start; not a test itself.

The first seed ends at once, the others wait until they are ended, or for longer than any test.
"""

import contextlib
import time
from types import SimpleNamespace

from lopsided.cli.app import main
from lopsided.runs import sweep


def wait(entry, *, checkpoint, progress=None, **_):
    checkpoint.write_text("under way")
    epochs = 1 if entry.asked.seed == 0 else 3000
    for done in range(1, epochs + 1):
        time.sleep(0.02)
        if progress is not None:
            progress(done, epochs)
    stored = SimpleNamespace(save=lambda folder: (folder / "run.json").write_text("{}"))
    return stored, {"digest": entry.asked.digest, "outcome": "trained"}


def work(*args, **options):
    """In the worker: all as usual but the training, and torch is not loaded for it."""
    sweep.perform, sweep.torch_threads = wait, contextlib.nullcontext
    sweep._work(*args, **options)


if __name__ == "__main__":
    sweep._work = work
    main()
