"""What every command has in common: help, version, exit codes, signals and pipes."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import typer

import lopsided
from lopsided.cli.app import app

PROGRAM = Path(sysconfig.get_path("scripts"), "lopsided")
COMMANDS = sorted(typer.main.get_command(app).commands)


def test_version(call):
    outcome = call("--version")
    assert (outcome.code, outcome.out) == (0, f"lopsided {lopsided.__version__}\n")


def test_without_a_command_the_help_is_shown(call):
    outcome = call()
    assert outcome.code == 2
    assert "Usage: lopsided" in outcome.out
    assert outcome.err == ""


def test_the_help_lists_every_command_and_the_exit_codes(call):
    outcome = call("--help")
    assert outcome.code == 0
    assert "Exit codes" in outcome.out
    for command in COMMANDS:
        assert command in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example_and_json(call, command):
    outcome = call(command, "--help")
    assert outcome.code == 0
    assert "--json" in outcome.out
    assert f"lopsided {command}" in outcome.out.split("Example:")[1]


@pytest.mark.slow
def test_an_interrupt_ends_a_process_quietly_with_130():
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, lopsided\n"
            "from lopsided.cli import main\n"
            "def wait(*_, **__):\n"
            "    print('started', flush=True)\n"
            "    signal.pause()\n"
            "lopsided.UFM.solve = wait\n"
            "main(['predict', '--counts', '5x2', '--lambda-z', '1'])\n",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--json"], []], ids=["json", "table"])
def test_a_reader_that_has_gone_is_no_error(flags):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        process = subprocess.run(
            [PROGRAM, "thresholds", "--counts", "500x20000,100x20000", *flags],  # more than a pipe's buffer holds
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (process.returncode, process.stderr) == (141, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["thresholds", "--counts", "5x2"], ["thresholds", "--counts", "5x2", "--json"], ["--help"]]
)
def test_an_output_that_takes_nothing_is_told_in_one_line(arguments):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "wb") as full:
        process = subprocess.run([PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert (process.returncode, process.stderr) == (2, "lopsided: standard output: No space left on device\n")


@pytest.mark.slow
def test_a_terminal_without_greek_letters_still_gets_its_table():
    process = subprocess.run(
        [PROGRAM, "thresholds", "--counts", "500x5,100x5"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert (process.returncode, process.stderr) == (0, b"")
    assert b"0.00333333" in process.stdout


@pytest.mark.slow
def test_a_real_process_prints_one_json_object():
    process = subprocess.run(
        [PROGRAM, "thresholds", "--counts", "500x5,100x5", "--no-bias", "--json"], capture_output=True, text=True
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert json.loads(process.stdout)["lambda_b"] is None
