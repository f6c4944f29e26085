import dataclasses
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from lopsided import Geometry
from lopsided.runs import Run
from lopsided.runs.record import installed_versions


def make_run(seed: int = 0, **changes) -> Run:
    random = np.random.default_rng(seed)
    counts = np.array([30, 30, 5])
    predicted = Geometry(counts, random.normal(size=(3, 3)), random.normal(size=(3, 3)), random.normal(size=3))
    measured = Geometry(counts, random.normal(size=(3, 7)), random.normal(size=(3, 7)), rank=2, merged=[[0, 1]])
    values = {
        "name": "sträuße & λ",
        "settings": {"counts": counts, "lambda_z": 0.1 + 0.2, "class_names": ["a", "b", "c"], "bias": True},
        "predicted": predicted,
        "measured": measured,
        "certificate": {"objective": 1 / 3, "gap": 1e-13, "status": "optimal"},
        "measures": {"nc1": np.float64(1e-3), "cdnv": np.inf, "merged": [(0, 1)]},
        "history": [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": np.nan}],
        "findings": ["loss rose"],
    }
    return Run(**(values | changes))


def test_reads_back_equal(tmp_path):
    run = make_run()
    folder = run.save(tmp_path / "deep" / "er")
    loaded = Run.load(folder)
    assert loaded == run
    for name in ("counts", "class_means", "classifier", "bias", "mean_logits"):
        for geometry in ("predicted", "measured"):
            np.testing.assert_array_equal(
                getattr(getattr(loaded, geometry), name), getattr(getattr(run, geometry), name)
            )
    assert (loaded.measured.rank, loaded.measured.merged) == (2, [[0, 1]])
    assert loaded.settings["lambda_z"] == 0.1 + 0.2
    assert loaded.measures == {"nc1": 1e-3, "cdnv": None, "merged": [[0, 1]]}
    assert loaded.versions == installed_versions()
    assert sorted(path.name[:7] for path in folder.iterdir()) == ["arrays-", "run.jso"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"settings": {}},
        {"findings": []},
        {"versions": {"python": "2.7"}},
        {"measured": Geometry([30, 30, 5], np.zeros((3, 7)), np.ones((3, 7)))},
        {"predicted": Geometry([30, 30, 5], np.ones((3, 2)))},
    ],
)
def test_runs_that_differ_in_one_part_are_unequal(changes):
    assert make_run() == make_run()
    assert make_run(**changes) != make_run()
    assert make_run() != "a run"


def test_measured_features_without_classifier_and_absent_class(tmp_path):
    means = [[1.0, 2.0], [np.nan, np.nan]]
    run = make_run(predicted=Geometry([3, 0], means), measured=Geometry([3, 0], means))
    loaded = Run.load(run.save(tmp_path))
    assert loaded == run
    assert not loaded.measured.has_classifier


def test_saving_again_replaces_the_run_and_leaves_no_old_arrays(tmp_path):
    make_run(0).save(tmp_path)
    second = make_run(1)
    second.save(tmp_path)
    assert Run.load(tmp_path) == second
    assert len(list(tmp_path.iterdir())) == 2


def test_the_document_is_strict_json(tmp_path):
    make_run().save(tmp_path)

    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert document["certificate"]["objective"] == 1 / 3
    assert document["history"][1]["loss"] is None


def _error(folder) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        Run.load(folder)
    return str(caught.value)


def test_missing_run(tmp_path):
    assert "cannot read" in _error(tmp_path)
    assert "cannot read" in _error(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 1, 100, -2])
def test_truncated_document(tmp_path, keep):
    make_run().save(tmp_path)
    path = tmp_path / "run.json"
    path.write_bytes(path.read_bytes()[:keep])
    assert "truncated" in _error(tmp_path)


@pytest.mark.parametrize("content", [b"[1, 2]", b'{"format": "elsewhere"}', b"{}", b'"text"'])
def test_foreign_document(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    assert "not 'lopsided run 1'" in _error(tmp_path)


def test_document_that_is_not_text(tmp_path):
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x00")
    assert "not JSON" in _error(tmp_path)


@pytest.mark.parametrize("part", ["settings", "arrays", "sha256", "predicted", "history"])
def test_document_without_a_part(tmp_path, part):
    make_run().save(tmp_path)
    path = tmp_path / "run.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    del document[part]
    path.write_text(json.dumps(document), encoding="utf-8")
    assert part in _error(tmp_path)


def test_truncated_and_missing_arrays(tmp_path):
    make_run().save(tmp_path)
    (arrays,) = tmp_path.glob("arrays-*.npz")
    arrays.write_bytes(arrays.read_bytes()[:-10])
    assert "truncated or changed" in _error(tmp_path)
    arrays.unlink()
    assert "lacks its arrays" in _error(tmp_path)


def test_pickled_arrays_are_refused_even_with_a_right_checksum(tmp_path):
    import hashlib

    make_run().save(tmp_path)
    (arrays,) = tmp_path.glob("arrays-*.npz")
    np.savez(arrays, predicted_counts=np.array([print], dtype=object))
    path = tmp_path / "run.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["sha256"] = hashlib.sha256(arrays.read_bytes()).hexdigest()
    path.write_text(json.dumps(document), encoding="utf-8")
    assert "allow_pickle" in _error(tmp_path)


def test_arrays_outside_the_folder_are_not_read(tmp_path):
    make_run().save(tmp_path / "elsewhere")
    make_run().save(tmp_path / "run")
    (arrays,) = (tmp_path / "run").glob("arrays-*.npz")
    arrays.unlink()
    path = tmp_path / "run" / "run.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["arrays"] = f"../elsewhere/{document['arrays']}"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert "lacks its arrays" in _error(tmp_path / "run")


def test_something_that_json_cannot_hold_is_named():
    with pytest.raises(
        ValueError, match=r"settings\['network'\]\[0\] must be numbers, text, lists or dicts; got object"
    ):
        make_run(settings={"network": [object()]})


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_run().name = "other"


_OVERWRITE = """
import sys
from lopsided.runs import Run
folder, *others = sys.argv[1:]
runs = [Run.load(other) for other in others]
while True:
    for run in runs:
        run.save(folder)
    print("saved", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_process_killed_while_saving_leaves_a_whole_run(tmp_path, end):
    runs = [make_run(0), make_run(1)]
    sources = [str(run.save(tmp_path / f"source-{index}")) for index, run in enumerate(runs)]
    target = tmp_path / "target"
    runs[0].save(target)
    command = [sys.executable, "-c", _OVERWRITE, str(target), *sources]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            for _ in range(5):  # in the midst of it
                assert process.stdout.readline() == "saved\n"
            process.send_signal(end)
            process.wait(timeout=600)
        finally:
            process.kill()
    assert Run.load(target) in runs
