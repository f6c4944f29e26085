"""The demo as a user runs it: a real process, on real data, judged by what it leaves behind."""

import inspect
import json
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lopsided.runs import Run

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "lopsided")


@pytest.mark.slow
def test_the_target_holds_on_real_digits(demo):
    done, folder = demo
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["holds"] is True
    assert found["report"] == str(folder / "report.html")
    assert len(found["checks"]) == 10
    below, between, above = found["runs"]
    errors = {row["quantity"]: row["relative_error"] for row in below["comparison"]}
    assert errors["mean logits"] <= 0.04
    assert errors["bias"] <= 0.04
    assert errors["Gram of means"] <= 0.08
    shown = {row["quantity"]: row["measured"] for row in below["comparison"]}
    assert shown["NC1, rank-aware"] == below["measures"]["nc1_rank_aware"]
    assert shown["NC1, the paper's"] == below["measures"]["nc1"]
    merged = [
        next(row for row in run["comparison"] if row["quantity"] == "merged classes") for run in (below, between, above)
    ]
    assert [row["predicted"] for row in merged] == [[], [[5, 6, 7, 8, 9]], [list(range(10))]]
    assert [row["measured"] for row in merged] == [row["predicted"] for row in merged]
    for run in found["runs"]:
        assert run["certificate"]["status"] == "optimal"
        assert run["certificate"]["gap"] <= 1e-9 * max(1.0, run["certificate"]["objective"])
        assert run["findings"] == []
        assert {"python", "numpy", "torch", "lopsided"} <= set(run["versions"])


def test_progress_goes_to_standard_error(demo):
    done, _ = demo
    for stage in ("training: below", "training: between", "training: above", "drawing"):
        assert stage in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


def test_the_report_and_the_runs_lie_in_the_folder(demo):
    done, folder = demo
    names = {path.name for path in folder.iterdir()}
    pictures = {f"{kind}-{run}.png" for kind in ("mean-logits", "cosines") for run in ("below", "between", "above")}
    assert names == pictures | {"overview.png", "merged-classes.png", "training.png", "report.html", "runs"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The target holds: 10 of 10 claims" in page
    assert len(re.findall(r"<td>[\d.e−]+, rank-aware</td>", page)) == 2
    assert "<td>NC1, rank-aware</td>" in page
    assert page.count("data:image/png;base64,") == len(pictures) + 3
    for run in json.loads(done.stdout)["runs"]:
        stored = Run.load(folder / "runs" / run["name"])
        assert stored.settings == run["settings"]
        assert stored.settings["class_names"] == [str(digit) for digit in range(10)]
        assert stored.history[0]["epoch"] == 0
        assert stored.history[-1]["epoch"] == stored.settings["epochs"]


def untrained(plan, progress=None):
    """A run that ends in its prediction without training, but fits only half of its samples."""
    solution = plan.applied.model.solve()
    return Run(
        "untrained",
        {"class_names": list("0123"), "lambda_z": plan.applied.lambda_z},
        solution.geometry,
        solution.geometry,
        certificate=solution.certificate(),
        measures={"nc1_rank_aware": 0.0, "train_accuracy": 0.5},
        history=[{"epoch": epoch, "objective": 1.0, "train_accuracy": 0.5} for epoch in (0, 1)],
    ), {}


@pytest.mark.slow
def test_a_missed_target_is_a_finding(call, tmp_path, monkeypatch):
    monkeypatch.setattr("lopsided.paper.demo.perform", untrained)
    monkeypatch.setattr("lopsided.report.writing.to_png", lambda _: b"")
    outcome = call("demo", "--counts", "30x2,6x2", "--output", str(tmp_path / "out"))
    assert outcome.code == 1
    assert "The target does not hold." in outcome.out
    assert "does not hold" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--data", "mnist"), ("--data must be one of the known data sets: digits, fashion-mnist", "'mnist'")),
        (("--counts", "500y5"), ("--counts", "cannot be read; got '500y5'")),
        (("--counts", "170x5,30x5"), ("--counts must be at most the training samples that digits has", "170")),
        (("--counts", "90"), ("--counts must name at least two classes",)),
        (("--counts", "9x11"), ("--counts must name at most the 10 classes of digits", "11")),
        (("--output", ""), ("--output must name a folder", "got ''")),
        (("--output", "/proc/self/demo"), ("--output must be a folder that can be written", "/proc/self/demo")),
        (("--output", __file__), ("--output must be a folder that can be written", "test_demo.py")),
        (("--seed", "-1"), ("--seed", "-1")),
        (("--seed", "one"), ("--seed", "whole number from 0", "'one'")),
    ],
)
def test_bad_input(call, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    outcome = call("demo", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("lopsided: ")
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part in outcome.err
    assert not list(tmp_path.iterdir())


def test_missing_data_say_where_they_were_looked_for(call, tmp_path, monkeypatch):
    monkeypatch.setenv("LOPSIDED_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("lopsided.data.sources._DEBIAN_FASHION_MNIST", tmp_path / "nowhere")
    outcome = call("demo", "--data", "fashion-mnist", "--output", str(tmp_path / "out"))
    assert outcome.code == 2
    assert "was not found in" in outcome.err
    assert "dataset-fashion-mnist" in outcome.err


def test_damaged_data_are_named(call, tmp_path, monkeypatch):
    monkeypatch.setenv("LOPSIDED_DATA", str(tmp_path))
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(b"no gzip")
    outcome = call("demo", "--data", "fashion-mnist", "--output", str(tmp_path / "out"))
    assert outcome.code == 2
    assert outcome.err.startswith(f"lopsided: --data file '{tmp_path}/train-images-idx3-ubyte.gz' must be a whole gzip")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_without_torch_one_line_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from lopsided.cli import main\n"
        f"main(['demo', '--output', {str(tmp_path / 'out')!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "torch is not installed; pip install 'lopsided[train]'" in done.stderr


_STUB = f"""
import resource, signal, sys
from contextlib import nullcontext
from lopsided.cli import main
from lopsided.paper import demo
from lopsided.report import writing
from lopsided.runs import Run

{inspect.getsource(untrained)}

def perform(plan, progress=None):
    if sys.argv[1] == "wait" and perform.done:
        print("started", flush=True)
        signal.pause()
    perform.done += 1
    return untrained(plan)

perform.done = 0
demo.perform, demo.torch_threads = perform, lambda _: nullcontext()
picture = bytes(20_000) + b"IEND\\xaeB`\\x82"  # nine of them fit one by one, the page that holds them all does not
writing.to_png = lambda _: picture
if sys.argv[1] != "wait":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
main(["demo", "--counts", "30x2,6x2", "--output", sys.argv[2]])
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_is_named_in_one_line_and_leaves_files_whole(tmp_path):
    folder = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", _STUB, "150000", str(folder)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == f"lopsided: {folder / 'report.html'}: File too large"
    assert done.stdout == ""
    assert sorted(Run.load(path.parent).name for path in folder.rglob("run.json")) == ["above", "below", "between"]
    pictures = [path.read_bytes() for path in folder.glob("*.png")]
    assert len(pictures) == 9
    assert all(picture.endswith(b"IEND\xaeB`\x82") for picture in pictures)
    assert not (folder / "report.html").exists()
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.slow
def test_ctrl_c_leaves_finished_runs_whole_and_nothing_half_written(tmp_path):
    folder = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", _STUB, "wait", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert out == ""
    assert Run.load(folder / "runs" / "below").name == "below"
    assert not list(folder.rglob("*.tmp"))
    assert not (folder / "report.html").exists()
