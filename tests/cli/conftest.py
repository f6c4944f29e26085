from dataclasses import dataclass

import pytest

from lopsided.cli import main


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys):
    """The command line in this process: ``call("predict", "--counts", …)``."""

    def run(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        captured = capsys.readouterr()
        return Outcome(stop.value.code, captured.out, captured.err)

    return run
