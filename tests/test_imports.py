"""What is loaded when, and which room may use which."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lopsided"

#: From the ground up: a room uses only rooms named before it, and itself.
ROOMS = (
    "arguments",
    "counts",
    "count_sources",
    "losses",
    "geometry",
    "comparison",
    "problem",
    "solver",
    "theory",
    "data",
    "metrics",
    "callbacks",
    "remedies",
    "training",
    "experiments",
    "report",
    "cli",
)
HEAVY = {"torch", "lightning", "pytorch_lightning", "torchmetrics", "transformers", "matplotlib", "sklearn", "cvxpy"}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    """Every module of a room; the package's own front door re-exports, so it stands outside the order."""
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def imports_at_the_top(body: list[ast.stmt]) -> list[str]:
    """Modules imported when a module is: not inside functions, and not for the type checker only."""
    found: list[str] = []
    for node in body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found += imports_at_the_top(node.orelse)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            for block in ("body", "orelse", "finalbody"):
                found += imports_at_the_top(getattr(node, block, []))
            for handler in getattr(node, "handlers", []):
                found += imports_at_the_top(handler.body)
    return found


def test_every_room_has_its_place_in_the_order():
    assert {room_of(path) for path in modules()} <= set(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_run_one_way(path):
    allowed = set(ROOMS[: ROOMS.index(room_of(path)) + 1])
    for name in imports_at_the_top(ast.parse(path.read_text()).body):
        package, _, rest = name.partition(".")
        if package != "lopsided":
            continue
        room = rest.partition(".")[0]
        if room not in ROOMS:  # a name of the front door, which imports everything up to the solver
            assert room_of(path) == "cli", f"{name}: import from the room itself, not from the front door"
        else:
            assert room in allowed, f"{room_of(path)} may not use {room}"


def test_the_order_is_not_vacuous():
    used = imports_at_the_top(ast.parse((SOURCE / "problem.py").read_text()).body)
    assert "lopsided.counts.parse_counts" in used
    assert not any(name.startswith("lopsided.solver") for name in used)  # imported for the type checker, and in a door


def loaded_by(code: str) -> set[str]:
    process = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint()\nprint(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in json.loads(process.stdout.splitlines()[-1])}


RUN = """
import contextlib
from lopsided.cli import main
with contextlib.suppress(SystemExit):
    main({arguments!r}.split())
"""


@pytest.mark.parametrize(
    "code",
    [
        "import lopsided",
        RUN.format(arguments="--version"),
        RUN.format(arguments="--help"),
        RUN.format(arguments="predict --counts 500x5,100x5 --lambda-z 0.003"),
        RUN.format(arguments="predict --counts 500x5,100x5 --lambda-z 0.003 --json"),
        RUN.format(arguments="thresholds --counts 500x5,100x5"),
        RUN.format(arguments="check --counts cifar10-lt:100 --lambda-z 0.001"),
        RUN.format(arguments="advise --counts 500x5,100x5 --lambda-z 0.0035 --levers decay,class-weights"),
        "import lopsided.report, lopsided.experiments.demo",
        RUN.format(arguments="demo --data nosuch"),
        RUN.format(arguments="demo --counts 9x11"),
        RUN.format(arguments="demo --output /proc/self/demo"),
        RUN.format(arguments="measure /nosuch.npz"),
        RUN.format(arguments="measure pyproject.toml"),
    ],
    ids=[
        "package",
        "version",
        "help",
        "predict",
        "predict-json",
        "thresholds",
        "check",
        "advise",
        "report",
        "data",
        "counts",
        "output",
        "no-file",
        "bad-file",
    ],
)
def test_answers_need_neither_torch_nor_matplotlib(code):
    loaded = loaded_by(code)
    assert "numpy" in loaded
    assert not loaded & HEAVY


def test_the_monitor_of_one_trainer_does_not_load_the_other():
    assert not loaded_by("from lopsided.callbacks import CollapseRecorder") & {"lightning", "accelerate"}
    loaded = loaded_by("from lopsided.callbacks import CollapseMonitor")
    assert "lightning" in loaded
    assert "accelerate" not in loaded  # which transformers has for its Trainer


def test_json_does_not_wait_for_the_tables():
    assert "rich" not in loaded_by(RUN.format(arguments="predict --counts 50x2,10 --lambda-z 0.01 --json"))
