"""PyTorch's devices: the same answers as NumPy's, and one clear line where there is no such device."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import lopsided as lp

MODES: dict[str, dict[str, Any]] = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
WEIGHTS = np.repeat([0.5, 2.0, 1.5, 1.0], [3, 2, 1, 1])
LOSSES: dict[str, lp.CrossEntropy | lp.SquaredError] = {
    "cross-entropy": lp.CrossEntropy(),
    "every setting": lp.CrossEntropy(
        weights=WEIGHTS, label_smoothing=0.05, logit_adjustment=0.5, margins=WEIGHTS / 5, scales=WEIGHTS**0.1
    ),
    "scales by label": lp.CrossEntropy(scales=WEIGHTS**0.1, scale_by="label", reduction="samples"),
    "squared error": lp.SquaredError(weights=WEIGHTS),
}
COUNTS = "500x3,100x2,40,7"


def assert_same(found: lp.Solution, expected: lp.Solution, atol: float = 1e-12) -> None:
    """Equal answers, in NumPy's arrays and Python's numbers."""
    assert found.status == expected.status == "optimal"
    assert found.objective == pytest.approx(expected.objective, abs=1e-12)
    one, two = found.geometry, expected.geometry
    assert (one.rank, one.merged) == (two.rank, two.merged)
    for name in ("mean_logits", "bias"):
        assert type(getattr(one, name)) is np.ndarray
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=atol)
    assert type(one.class_means) is type(one.classifier) is np.ndarray
    assert type(found.singular_values) is np.ndarray
    np.testing.assert_allclose(found.singular_values, expected.singular_values, atol=100 * atol)
    for value in (found.objective, found.gap, found.clusters[0].own_logit, found.clusters[0].bias):
        assert type(value) is float
    assert [cluster.collapsed for cluster in found.clusters] == [cluster.collapsed for cluster in expected.clusters]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "name", "share"),
    # every loss with every mode and at every decay, and every mode at every decay
    [(mode, name, (0.05, 0.7, 1.1)[(i + j) % 3]) for i, name in enumerate(LOSSES) for j, mode in enumerate(MODES)],
)
def test_a_device_gives_numpy_s_answer(mode: str, name: str, share: float) -> None:
    model = lp.UFM(COUNTS, 1.0, loss=LOSSES[name], **MODES[mode])
    model = model.replaced(lambda_z=share * model.thresholds().complete)
    expected = model.solve(tol=1e-13)
    assert_same(model.solve(tol=1e-13, device="cpu"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_many_clusters_from_coarse_to_fine(mode: str) -> None:
    counts = np.arange(5, 65)
    model = lp.UFM(counts, 0.5 * np.sqrt(5) / counts.sum(), **MODES[mode])
    assert_same(model.solve(device="cpu"), model.solve(), atol=1e-9)


@pytest.mark.slow
def test_a_tensor_of_counts_is_solved_where_it_lies() -> None:
    model = lp.UFM(torch.tensor([500, 500, 100, 100]), 0.003, lambda_b=0.02)
    assert model.device == model.replaced(lambda_z=0.004).device == "cpu"
    assert type(model.counts) is np.ndarray
    plain = lp.UFM("500x2,100x2", 0.003, lambda_b=0.02)
    assert plain.device is None
    assert_same(model.solve(), plain.solve(), atol=1e-9)
    assert model.thresholds().complete == pytest.approx(plain.thresholds().complete, rel=1e-12)
    first, second = lp.solve_path(model, [0.003, 0.01]), lp.solve_path(plain, [0.003, 0.01], device="cpu")
    for one, two in zip(first, second, strict=True):
        assert_same(one, two, atol=1e-9)
    found = [drop.lambda_z for drop in model.critical_path()]
    assert found == pytest.approx([drop.lambda_z for drop in plain.critical_path()], rel=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("mode", MODES)
def test_tensors_are_judged_like_arrays(mode: str, name: str) -> None:
    rng = np.random.default_rng(0)
    model = lp.UFM(COUNTS, 0.004, loss=LOSSES[name], **MODES[mode])
    logits = rng.normal(size=(7, 7))
    bias = rng.normal(size=7) if model.bias else None
    expected = lp.certify_logits(model, logits, bias)
    tensors = [None if value is None else torch.tensor(value, requires_grad=True) for value in (logits, bias)]
    for first, second in (tensors, (tensors[0], bias), (logits, tensors[1])):
        found = lp.certify_logits(model, first, second)
        assert found.objective == pytest.approx(expected.objective, rel=1e-12)
        assert found.gap == pytest.approx(expected.gap, rel=1e-12)
        assert found.dual_norm == pytest.approx(expected.dual_norm, rel=1e-12)
        assert type(found.gap) is float


def test_half_precision_is_judged_in_float64() -> None:
    model = lp.UFM("500,100", 0.004, bias=False)
    logits = torch.tensor([[1.5, -1.5], [-0.75, 0.75]], dtype=torch.float16)
    assert lp.certify_logits(model, logits) == lp.certify_logits(model, logits.double())


@pytest.mark.parametrize("device", ["nosuch", "cuda:99", "meta", ""])
def test_no_such_device(device: str) -> None:
    model = lp.UFM("5,4", 0.1)
    for call in (lambda: model.solve(device=device), lambda: lp.solve_path(model, [0.1], device=device)):
        with pytest.raises(ValueError, match=r"^device must be one of PyTorch's with float64") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert repr(device) in str(caught.value)


def test_problems_that_are_not_convex_take_no_device() -> None:
    with pytest.raises(ValueError, match=r"^device must be left out for .*ReLU features.*; got 'cpu'$"):
        lp.UFM("5,4", 0.1, features="relu").solve(device="cpu")


ALONE = """
import json, sys, numpy, lopsided as lp

model = lp.UFM('50x2,10', 0.01, loss=lp.SquaredError())
solutions = [model.solve(), lp.UFM('50x2,10', 0.01).solve(), *lp.solve_path(model, [0.01, 0.02])]
lp.certify_logits(model, numpy.zeros((3, 3)))
told = {"with": [[solution.status for solution in solutions], "torch" in sys.modules]}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

def refused():
    for name in [name for name in sys.modules if name.partition(".")[0] == "lopsided"]:
        del sys.modules[name]
    import lopsided as lp
    model = lp.UFM('5,4', 0.1)
    status = model.solve().status
    try:
        model.solve(device='cuda')
    except ValueError as error:
        return status, str(error)

sys.meta_path.insert(0, Blocked())
told["finder"] = refused()
del sys.meta_path[0]
sys.modules["torch"] = None
told["None"] = refused()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What a process of its own told: with PyTorch, then without it in two ways, the package imported anew for each."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.slow
@pytest.mark.parametrize("block", ["finder", "None"])
def test_without_pytorch_a_device_is_refused_in_one_line(block: str, alone: dict[str, Any]) -> None:
    status, message = alone[block]
    assert status == "optimal"
    assert message.startswith("device must be left out where PyTorch is not installed; got 'cuda'")
    assert "\n" not in message


@pytest.mark.slow
def test_numpy_s_road_does_not_load_pytorch(alone: dict[str, Any]) -> None:
    assert alone["with"] == [["optimal"] * 4, False]
