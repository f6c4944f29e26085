"""The example script, run as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "relu_collapse.py"


@pytest.mark.slow
def test_relu_features_explain_the_early_collapse():
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT)], capture_output=True, text=True, encoding="utf-8", timeout=600
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = [re.findall(r"[^│\s]+", line) for line in ran.stdout.splitlines() if line.startswith("│")]
    figures = {row[0]: row for row in rows}
    assert figures["5"][2:] == ["0.007454", "0.0075", "0.006753", "0.0069", "yes"]
    assert figures["6"][2:] == ["0.01016", "0.0102", "0.008706", "0.0094", "yes"]
    assert figures["7"][2:] == ["1393", "1400", "1089", "1100", "yes"]
    assert figures["8"][2:] == ["3965", "none", "2546", "2800", "yes"]
    assert "at least 61%" in ran.stdout
