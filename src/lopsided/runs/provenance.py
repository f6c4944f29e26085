"""Where a result comes from: the machine it was made on, and the commit of the source that made it."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]


@functools.cache
def source_commit() -> str | None:
    """The commit of this package's source, with ``+changes`` where files differ from it.

    None where the package does not run from a git checkout of its own, as after an ordinary installation; the version
    then says as much.

    Examples
    --------
    >>> commit = source_commit()
    >>> commit is None or len(commit.removesuffix("+changes")) == 40
    True
    """
    # An installed package may lie in someone else's repository, untracked: that commit would say nothing about it.
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git("rev-parse", "HEAD")
    return commit and commit + ("+changes" if _git("status", "--porcelain", "--", ".") else "")


def describe_machine() -> dict[str, Any]:
    """What a run's speed, and its last digits, depend on: system, processor, cores and accelerator.

    The accelerator is None where torch is not loaded or sees none. No name of a host or a user.

    Examples
    --------
    >>> sorted(describe_machine())[:3]
    ['accelerator', 'cores', 'processor']
    """
    torch = sys.modules.get("torch")
    accelerator = None if torch is None or not torch.cuda.is_available() else torch.cuda.get_device_name()
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "accelerator": accelerator,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """Output of git in the package's folder; None where there is no git or it refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
