"""What is loaded when, and which room may use which."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lopsided"

#: From the ground up: a room uses only rooms named before it, and itself. The package's front door stands outside.
ROOMS = (
    "core",
    "solver",
    "theory",
    "model",
    "advice",
    "nn",
    "metrics",
    "callbacks",
    "data",
    "training",
    "runs",
    "paper",
    "report",
    "cli",
)
HEAVY = {"torch", "lightning", "pytorch_lightning", "torchmetrics", "transformers", "matplotlib", "sklearn", "cvxpy"}
#: What may wait inside a function until it is needed: what is heavy, and what not every installation has.
MAY_WAIT = HEAVY | {
    "accelerate",
    "dask",
    "datasets",
    "distributed",
    "filelock",
    "joblib",
    "pandas",
    "PIL",
    "pyarrow",
    "rich",
    "safetensors",
}


def name_of(path: Path) -> str:
    parts = ("lopsided", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}


def imports_of(body: list[ast.stmt], inside_functions: bool = False) -> list[str]:
    """Modules that a body imports: when it is imported itself (not for the type checker only), or inside functions."""
    found: list[str] = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if inside_functions:
                found += [name for entry in ast.walk(node) for name in named_by(entry)]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found += imports_of(node.orelse, inside_functions)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            for block in ("body", "orelse", "finalbody"):
                found += imports_of(getattr(node, block, []), inside_functions)
            for handler in getattr(node, "handlers", []):
                found += imports_of(handler.body, inside_functions)
        elif not inside_functions:
            found += named_by(node)
    return found


def named_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        # a name of a package may be one of its modules
        return [
            full if (full := f"{node.module}.{alias.name}") in MODULES else str(node.module) for alias in node.names
        ]
    return []


def room_of(module: str) -> str:
    return module.split(".")[1] if module != "lopsided" else "lopsided"


@cache
def weight_of(module: str) -> frozenset[str]:
    """The packages from outside that importing a module loads, this package's own modules followed."""
    if not module.startswith("lopsided"):
        return frozenset({module.partition(".")[0]})
    return frozenset().union(*(weight_of(name) for name in imports_of(MODULES[module].body)))


def test_imports_run_one_way():
    assert {room_of(module) for module in MODULES} == {"lopsided", *ROOMS}
    wrong = [
        f"{module} uses {name}"
        for module, tree in MODULES.items()
        if module != "lopsided"
        for name in imports_of(tree.body) + imports_of(tree.body, inside_functions=True)
        if name.startswith("lopsided")
        and (name == "lopsided" or ROOMS.index(room_of(name)) > ROOMS.index(room_of(module)))
        and not (name == "lopsided" and room_of(module) == "cli")  # for its version
    ]
    assert wrong == []


def test_no_files_import_each_other():
    uses = {
        module: {name for name in imports_of(tree.body) if name.startswith("lopsided.")}
        for module, tree in MODULES.items()
    }
    rooms = {f"lopsided.{room}" for room in ROOMS}  # a room's front door loads its files, which may not come through it
    order: list[str] = []
    while left := {module: names for module, names in uses.items() if module not in order}:
        free = [module for module, names in left.items() if names <= {*order, module}]
        assert free, f"a circle, among {sorted(left)}"
        order += free
    assert rooms <= set(order)


def test_imports_wait_inside_functions_for_their_weight_only():
    wrong = [
        f"{module} imports {name} inside a function"
        for module, tree in MODULES.items()
        for name in imports_of(tree.body, inside_functions=True)
        if not weight_of(name) & MAY_WAIT
    ]
    assert wrong == []


def test_the_order_is_not_vacuous():
    used = imports_of(MODULES["lopsided.model"].body)
    assert "lopsided.theory" in used
    assert "torch" in weight_of("lopsided.metrics")
    assert "matplotlib" not in weight_of("lopsided")


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
        "import lopsided.report, lopsided.paper.demo",
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
