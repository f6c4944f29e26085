"""The Makefile says what is missing, and installs nothing twice."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # The suite may itself run under make, whose settings a make below it would take over.
    own = ("MAKE", "PYTHON", "VENV", "ARGS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def interpreter(folder: Path, script: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac',
            "needs Python 3.11 or newer; {0} is Python 3.9.2",
        ),
        (
            'case "$2" in *version_info*) ;; *) exit 1;; esac',
            "cannot make virtual environments; install its venv module",
        ),
    ],
    ids=["old", "no-venv"],
)
def test_a_python_that_will_not_do_is_named(tmp_path, script, message):
    python = interpreter(tmp_path, script)
    process = make("demo", f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert process.returncode == 2
    assert message.format(python) in process.stderr
    assert not (tmp_path / "venv").exists()


def test_a_missing_python_is_named(tmp_path):
    process = make("test", f"PYTHON={tmp_path}/none", f"VENV={tmp_path}/venv")
    assert process.returncode == 2
    assert f"{tmp_path}/none not found; install Python 3.11 or newer" in process.stderr


def test_an_environment_that_is_there_is_used_at_once(tmp_path):
    (tmp_path / "bin").mkdir()
    interpreter(tmp_path / "bin", "exit 1")
    (tmp_path / ".installed-train").touch()
    process = make("--dry-run", "demo", f"VENV={tmp_path}")
    assert process.stdout.split() == [f"{tmp_path}/bin/lopsided", "demo"]


def test_the_whole_suite_leaves_no_test_out_and_the_check_the_slow_ones(tmp_path):
    (tmp_path / "bin").mkdir()
    interpreter(tmp_path / "bin", "exit 1")
    for extra in ("test", "dev"):
        (tmp_path / f".installed-{extra}").touch()
    whole, *more = make("--dry-run", "test", f"VENV={tmp_path}", "ARGS=-k counts").stdout.splitlines()
    assert not more
    assert whole.startswith(f"{tmp_path}/bin/python -m pytest ")
    assert whole.endswith(" --durations 10 -k counts")
    assert " -m " not in whole.removeprefix(f"{tmp_path}/bin/python -m pytest")
    lint = make("--dry-run", "lint", f"VENV={tmp_path}").stdout.splitlines()
    check = make("--dry-run", "check", f"VENV={tmp_path}").stdout.splitlines()
    assert check == [*lint, whole.replace("-k counts", '-m "not slow" ')]


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed(tmp_path, changed):
    (tmp_path / "bin").mkdir()
    interpreter(tmp_path / "bin", "exit 1")
    stamp = tmp_path / ".installed-train"
    stamp.touch()
    before = (ROOT / changed).stat().st_mtime - 10
    os.utime(stamp, (before, before))
    process = make("--dry-run", "demo", f"VENV={tmp_path}")
    assert "pip install" in process.stdout
    assert "--constraint constraints.txt" in process.stdout
