"""The example script: in this process, where PyTorch is loaded already."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "paper_own_way.py"


@pytest.mark.slow
def test_every_check_of_the_example_holds(capfd):
    with pytest.raises(SystemExit) as ended:  # a warning would be an error
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 0
    printed, errors = capfd.readouterr()
    assert errors == ""
    assert printed.count(" ok ") == 7
    assert "FAILS" not in printed
