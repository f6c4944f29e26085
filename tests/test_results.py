"""The committed results: whole, made by commits of this project, and told as they are."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from lopsided.paper.plans import EXPERIMENTS, NEXT

RESULTS = Path(__file__).parents[1] / "docs" / "results"
#: The table of verdicts of each set of results, with its rows.
SETS = {"verdicts.md": "rows.jsonl", "verdicts-digits.md": "rows-digits.jsonl"}


def verdicts(name):
    """Experiment, claim, predicted, measured and verdict of every claim."""
    lines = (RESULTS / name).read_text(encoding="utf-8").splitlines()
    start = lines.index("| experiment | claim | predicted | measured | holds? |")
    return [tuple(cell.strip() for cell in line.strip("| ").split(" | ")) for line in lines[start + 2 :]]


def rows(name):
    return [json.loads(line) for line in (RESULTS / name).read_text(encoding="utf-8").splitlines()]


def test_every_experiment_has_its_verdicts_rows_and_figure():
    assert {verdict[0] for verdict in verdicts("verdicts.md")} == set(EXPERIMENTS)
    assert {row["figure"] for row in rows("rows.jsonl")} == set(EXPERIMENTS)
    for name in (*EXPERIMENTS, "remedies-digits"):
        assert (RESULTS / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", SETS)
def test_as_many_rows_as_runs_are_told_of(name):
    told = re.findall(r"^- \*\*(\w+)\*\*.*?: (\d+) runs of", (RESULTS / name).read_text(encoding="utf-8"), re.MULTILINE)
    found = Counter(row["figure"] for row in rows(SETS[name]))
    assert {experiment: int(number) for experiment, number in told} == found


@pytest.mark.parametrize("name", SETS.values())
def test_rows_say_what_made_them(name):
    for row in rows(name):
        assert re.fullmatch(r"[0-9a-f]{40}", row["commit"])
        assert row["outcome"] in ("trained", "diverged")
        assert {"derived_seed", "version_torch", "machine_cores", "gap", "status"} <= set(row)


def test_what_does_not_hold_is_said_in_the_readme():
    """Each claim that fails, by its name, and no other."""
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    section = text.partition("## What does not hold")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `([\w-]+)` \| ([^|]+?) \|", section, re.MULTILINE))
    failed = {(entry[0], entry[1]) for entry in verdicts("verdicts.md") if entry[4] != "yes"}
    failed |= {(f"{entry[0]}-digits", entry[1]) for entry in verdicts("verdicts-digits.md") if entry[4] != "yes"}
    assert told == failed


def test_the_numbers_of_claims_are_those_of_the_verdicts():
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([\w-]+)` \| (\d+) of (\d+) \|", text, re.MULTILINE)
    for name, holds, number in told:
        entries = [
            entry
            for entry in verdicts("verdicts-digits.md" if name.endswith("-digits") else "verdicts.md")
            if entry[0] == name.removesuffix("-digits")
        ]
        assert (int(holds), int(number)) == (sum(entry[4] == "yes" for entry in entries), len(entries)), name
    assert {name for name, *_ in told} == {*NEXT, "remedies-digits", *EXPERIMENTS}
