"""What docs/ says is there and is so: the tests it names, its links, its commands with their output, its numbers."""

from __future__ import annotations

import ast
import doctest
import functools
import io
import json
import re
import runpy
import shlex
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from lopsided.cli import main

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
THEORY = ["theory.md", "theory-closed-forms.md", "theory-limits.md", "method.md"]


def statements(page: str) -> list[tuple[int, str]]:
    """The number of each statement of a page, with the text up to the next."""
    parts = re.split(r"^\*\*Statement (\d+)", PAGES[page], flags=re.MULTILINE)
    return [(int(number), text) for number, text in zip(parts[1::2], parts[2::2], strict=True)]


def named_tests(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(tests/[\w/]+\.py)::(\w+)", text)


@functools.cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def sessions() -> list[tuple[str, str]]:
    """Commands after a ``$``, each with the output shown below it."""
    found = []
    for text in PAGES.values():
        for block in re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = session.partition("\n")
                found.append((command, output))
    return found


@functools.cache
def output_of(command: str) -> str:
    """What a Python script of the repository prints."""
    program, *arguments = shlex.split(command)
    assert program == "python"
    script, out, err = ROOT / arguments[0], io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", [str(script), *arguments[1:]])
        patch.setattr(sys, "path", [str(script.parent), *sys.path])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(script), run_name="__main__")
    assert (stop.value.code or 0, err.getvalue()) == (0, "")
    return out.getvalue()


def headings(text: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_statements_are_numbered_in_one_sequence():
    numbers = [number for page in THEORY for number, _ in statements(page)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 30
    for text in PAGES.values():
        for reference in re.findall(r"statements? (\d+)", text):
            assert int(reference) <= len(numbers)


@pytest.mark.parametrize("page", THEORY)
def test_every_statement_names_a_test(page):
    for number, text in statements(page):
        assert named_tests(text), f"statement {number} of {page} names no test"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_tests_that_are_named_exist(page):
    for path, name in named_tests(PAGES[page]):
        assert (ROOT / path).is_file(), path
        assert name in functions(path), f"{path}::{name}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)]*)\)", PAGES[page]):
        if "://" in link:
            continue
        target = ROOT / "docs" / link if link else ROOT / "docs" / page
        assert target.is_file(), f"{page}: {link}"
        if anchor:
            assert anchor in headings(target.read_text(encoding="utf-8")), f"{page}: {link}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_mathematics_is_fenced_as_github_reads_it(page):
    """Dollars come in pairs on each line; a backslash before punctuation would be eaten between them."""
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    for line in re.sub(r"`[^`\n]*`", "", text).splitlines():
        assert line.count("$") % 2 == 0, line
        for formula in re.findall(r"\$([^$]*)\$", line):
            assert not re.search(r"\\[^a-zA-Z]", formula), formula
            assert formula == formula.strip(), formula


@pytest.mark.slow
@pytest.mark.parametrize(("command", "expected"), sessions())
def test_commands_print_what_is_shown(command, expected, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    if command.startswith("lopsided "):
        with pytest.raises(SystemExit):
            main(shlex.split(command)[1:])
        output = capsys.readouterr().out
    else:
        output = output_of(command)
    assert output.split() == expected.split()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's own, of newer torch
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if ">>> " in text])
def test_python_examples_print_what_is_shown(page):
    examples = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    runner.run(doctest.DocTestParser().get_doctest(examples, {}, page, page, 0))
    assert runner.tries > 0
    assert runner.failures == 0


def test_numbers_come_from_a_command_or_a_test():
    """Every number of four decimals or more, wherever it stands in docs/."""
    known = output_of("python examples/differences.py")
    known += "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    tokens = {token.lstrip("0") for token in re.findall(r"\d*\.\d{4,}", known)}
    found = [
        (page, number)
        for page, text in PAGES.items()
        for number in re.findall(r"\d*\.\d{4,}", text.split("```console")[0])
    ]
    assert len(found) >= 10
    for page, number in found:
        assert number.lstrip("0") in tokens, f"{page}: {number}"


@pytest.mark.slow
def test_commands_without_output_run(capsys):
    """0, or 1 for a finding; and the one of Theorem 3(a) prints the number that the page tells of."""
    commands = re.findall(r"^    (lopsided .+)$", "\n".join(PAGES.values()), re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            main(shlex.split(command)[1:])
        assert stop.value.code in (0, 1)
        output = capsys.readouterr().out
        if "--no-bias" in command:
            assert json.loads(output)["mean_logits"][5][6] == pytest.approx(0.103419, abs=5e-7)
