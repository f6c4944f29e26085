"""The example script, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "near_collapse.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )


@pytest.mark.slow
def test_the_derived_laws_hold_and_are_drawn(tmp_path):
    target = tmp_path / "near.svg"
    ran = run("--figure", str(target))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "The derived laws hold." in ran.stdout
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in ran.stdout.splitlines() if "│" in line]
    pairs = {row[0]: [float(cell) for cell in row[1:]] for row in rows if "," in row[0]}
    assert len(pairs) == 3
    for _, merging, near in pairs.values():
        assert 0.95 * merging < near < 1.3 * merging
    assert target.read_text().lstrip().startswith("<?xml")


@pytest.mark.slow
def test_a_figure_of_no_known_kind_is_refused_before_any_work():
    ran = run("--figure", "near.txt")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "--figure must end in .png" in ran.stderr
