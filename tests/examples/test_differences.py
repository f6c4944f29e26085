"""The example script, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "differences.py"


@pytest.mark.slow
def test_every_claim_holds_and_the_numbers_are_the_known_ones():
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), "--json"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert all(difference["holds"] for difference in found)
    numbers = {difference["title"]: difference["numbers"] for difference in found}
    assert len(numbers) == 9
    known = {
        ("Rare classes' mean logit", "no bias"): 0.103419,
        ("Cosines in the limit", "lambda_z sqrt(N) = 1e-290: means, rare classes"): -0.133666,
        ("Cosines in the limit", "limit: means, common classes"): -0.092335,
        ("The example 3 3 4", "N lambda_z"): 195,
        ("Clusters told apart", "penalised, lambda_b 0.02"): 0.003983263,
        ("Complete collapse", "H >= 0, at most"): 0.0067525457,
    }
    for (title, name), value in known.items():
        (group,) = (group for full_title, group in numbers.items() if full_title.startswith(title))
        assert group[name] == pytest.approx(value, rel=1e-5)
