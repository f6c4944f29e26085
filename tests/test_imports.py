"""What is loaded when, and which room may use which."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from processes import loaded_after

SOURCE = Path(__file__).parents[1] / "src" / "lopsided"

#: From the ground up: a room uses only rooms named before it, and itself. The package's own `__init__` stands outside.
ROOMS = (
    "core",
    "solver",
    "theory",
    "forecast",
    "model",
    "advice",
    "nn",
    "remedies",
    "metrics",
    "callbacks",
    "data",
    "training",
    "runs",
    "paper",
    "report",
    "cli",
)
#: What `import lopsided` and an answer from a closed form must not load.
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
    "scipy.stats",
}
#: The command line may let SciPy wait too, for `--version` and `--help`.
MAY_WAIT_IN_CLI = MAY_WAIT | {"scipy"}


def name_of(path: Path) -> str:
    parts = ("lopsided", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}


def imports_of(node: ast.AST, place: str = "module") -> Iterator[tuple[str, str]]:
    """What a module imports, each with the place: the "module", a "function", or "typing" (for type checkers only)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, place) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            for alias in child.names:  # a name of a package may be one of its modules
                full = f"{child.module}.{alias.name}"
                yield (full if full in MODULES else str(child.module)), place
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports_of(child, "function")
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from imports_of(child, "typing")
        else:
            yield from imports_of(child, place)


IMPORTS = {module: list(imports_of(tree)) for module, tree in MODULES.items()}


def room_of(module: str) -> str:
    return module.split(".")[1]


@cache
def weight_of(module: str) -> frozenset[str]:
    """The packages from outside that importing a module loads, through modules and rooms of this package too."""
    own, outside, left = set(), set(), {module}
    while left:
        name = left.pop()
        if name not in MODULES:
            outside.update(name.split("."), [name])  # array_api_compat.torch loads torch
        elif name not in own:
            own.add(name)
            left |= {used for used, place in IMPORTS[name] if place == "module"}
            left.add(name.rpartition(".")[0] or name)
    return frozenset(outside)


def test_rooms_use_rooms_below_them_only():
    """Types too: what a room says of its arguments is part of what it knows."""
    inside = [module for module in MODULES if module != "lopsided"]
    assert {room_of(module) for module in inside} == set(ROOMS)
    wrong = [
        f"{module} uses {name}"
        for module in inside
        for name, _ in IMPORTS[module]
        if name.startswith("lopsided.") and ROOMS.index(room_of(name)) > ROOMS.index(room_of(module))
    ]
    assert wrong == []
    # nobody comes in through the front door, but for its version
    assert {module for module in inside for name, _ in IMPORTS[module] if name == "lopsided"} <= {"lopsided.cli.app"}


def test_no_files_import_each_other():
    """Wherever the import stands; a room's files come not through its own front door, which loads them."""
    uses = {
        module: {name for name, place in imports if name.startswith("lopsided.") and place != "typing"}
        for module, imports in IMPORTS.items()
    }
    while free := [module for module, names in uses.items() if not names & uses.keys()]:
        for module in free:
            del uses[module]
    assert not uses, f"in or above a circle: {sorted(uses)}"


def test_imports_wait_inside_functions_for_their_weight_only():
    wrong = [
        f"{module} imports {name} inside a function"
        for module, imports in IMPORTS.items()
        for name, place in imports
        if place == "function"
        if not weight_of(name) & (MAY_WAIT_IN_CLI if module.startswith("lopsided.cli.") else MAY_WAIT)
    ]
    assert wrong == []


def test_the_walk_sees_what_is_there():
    assert ("lopsided.theory", "module") in {(name[:15], place) for name, place in IMPORTS["lopsided.model"]}
    assert ("torch", "function") in IMPORTS["lopsided.solver.arrays"]
    assert ("lopsided.metrics.modular", "typing") in IMPORTS["lopsided.metrics"]
    assert "torch" in weight_of("lopsided.metrics")
    assert not weight_of("lopsided") & HEAVY


def command(arguments: str) -> str:
    return f"""
import contextlib
from lopsided.cli import main
with contextlib.suppress(SystemExit):
    main({arguments!r}.split())
"""


@pytest.mark.slow
def test_answers_need_neither_torch_nor_matplotlib():
    """All in one interpreter: what none of them has loaded, none of them loads."""
    steps = [
        "import lopsided",
        "from lopsided.remedies import advise",
        command("predict --counts 500x5,100x5 --lambda-z 0.003 --json"),
        command("--version"),
        command("--help"),
        command("predict --counts 500x5,100x5 --lambda-z 0.003"),
        command("thresholds --counts 500x5,100x5"),
        command("path --counts 500x5,100x5"),
        command("check --counts cifar10-lt:100 --lambda-z 0.001"),
        command("advise --counts 500x5,100x5 --lambda-z 0.0035 --levers decay,class-weights"),
        "import lopsided.report, lopsided.paper.demo",
        command("demo --data nosuch"),
        command("demo --counts 9x11"),
        command("demo --output /proc/self/demo"),
        command("measure /nosuch.npz"),
        command("measure pyproject.toml"),
    ]
    loaded = loaded_after(*steps)
    assert "numpy" in loaded[0]
    assert {step: names & HEAVY for step, names in zip(steps, loaded, strict=True) if names & HEAVY} == {}
    assert "rich" not in loaded[2]  # JSON does not wait for the tables
    assert "rich" in loaded[5]


def test_the_monitor_of_one_trainer_does_not_load_the_other():
    assert not weight_of("lopsided.callbacks") & {"lightning", "transformers", "accelerate"}
    assert weight_of("lopsided.callbacks.lightning") & {"lightning", "transformers", "accelerate"} == {"lightning"}
    assert weight_of("lopsided.callbacks.huggingface") & {"lightning", "transformers"} == {"transformers"}


@pytest.mark.slow
def test_the_old_names_of_remedies_are_found_in_their_new_homes():
    from lopsided import advice, nn, remedies, theory

    assert len(remedies.__all__) == 28
    for name in remedies.__all__:
        home = next(room for room in (advice, nn, theory) if name in room.__all__)
        assert getattr(remedies, name) is getattr(home, name)
