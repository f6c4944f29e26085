"""What the README says is what the program does: its Python, its commands with their output, its links."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from lopsided.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.fixture(autouse=True)
def _width_of_the_page(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def sessions() -> list[tuple[str, str]]:
    """Commands after a ``$``, each with the output shown below it."""
    found = []
    for block in blocks("console"):
        for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = session.partition("\n")
            found.append((command, output))
    return found


def table_commands() -> list[str]:
    return re.findall(r"^\| `(lopsided [^`]*)`", README, re.MULTILINE)


def run(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    program, *arguments = shlex.split(command)
    assert program == "lopsided"
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code, capsys.readouterr().out


def test_the_python_prints_what_is_shown():
    text = "\n".join(blocks("python"))
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report: list[str] = []
    runner.run(doctest.DocTestParser().get_doctest(text, {}, "README", "README.md", 0), out=report.append)
    assert runner.tries >= 5
    assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize(("command", "expected"), sessions())
def test_commands_print_what_is_shown(command, expected, capsys):
    code, output = run(command, capsys)
    assert code == 0
    assert output.split() == expected.split()


@pytest.mark.slow
def test_the_table_names_every_command_and_each_line_of_it_is_understood(capsys):
    code, help_text = run("lopsided --help", capsys)
    assert code == 0
    listed = re.findall(r"^│ (\w+) ", help_text.partition("Commands")[2], re.MULTILINE)
    assert sorted(command.split()[1] for command in table_commands()) == sorted(listed)
    for command in table_commands():
        code, _ = run(f"{command} --help", capsys)
        assert code == 0


@pytest.mark.parametrize(
    "command", [command for command in table_commands() if command.split()[1] in ("predict", "thresholds")]
)
def test_quick_commands_of_the_table_run(command, capsys):
    code, output = run(command, capsys)
    assert code == 0
    assert output


def test_make_targets_exist():
    targets = re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", README)
    local = [link for link in links if "://" not in link]
    assert "docs/images/demo.png" in local
    for link in local:
        assert (ROOT / link).is_file(), link
