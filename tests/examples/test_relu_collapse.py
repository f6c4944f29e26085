"""The example script, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "relu_collapse.py"


def test_relu_features_explain_the_early_collapse():
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT)], capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("everything merged") == 3  # one decay earlier with H ≥ 0 than for features of any sign
    assert "at 0.006753 for H ≥ 0" in ran.stdout
