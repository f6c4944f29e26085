"""The example script, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "paper_own_way.py"


def test_every_check_of_the_example_holds():
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT)], capture_output=True, text=True, encoding="utf-8", timeout=600
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count(" ok ") == 7
    assert "FAILS" not in ran.stdout
