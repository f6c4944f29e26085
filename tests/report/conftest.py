import numpy as np
import pytest
from sklearn.datasets import load_digits

from lopsided import Geometry
from lopsided.paper.checks import Check
from lopsided.runs import Run


def digits_geometry(counts: list[int], shift: float = 0.0) -> Geometry:
    """Class means of real digits, whitened, with the nearest-mean classifier; the last two classes merged by hand."""
    digits = load_digits(n_class=len(counts))
    inputs = digits.data - digits.data.mean(axis=0)
    means = np.array([inputs[digits.target == k][:count].mean(axis=0) for k, count in enumerate(counts)]) / 20 + shift
    means[-1] = means[-2]
    return Geometry(counts, means, means, np.linspace(-1, 1, len(counts)))


@pytest.fixture
def digits_run() -> Run:
    """The rare classes stand between the common ones, so that the display order is not the class order."""
    counts = [10, 90, 90, 10, 10]
    return Run(
        "between",
        {"lambda_z": 0.009, "class_names": ["zero", "one", "<i>two</i>", "$three$", "4"]},
        digits_geometry(counts),
        digits_geometry(counts, shift=0.01),
        certificate={"objective": 1.0, "gap": 1e-12, "status": "optimal"},
        measures={"nc1_rank_aware": 0.004, "nc1": 4e9},
        history=[
            {"epoch": 0, "objective": 3.0, "nc1_rank_aware": 2.0, "train_accuracy": 0.2},
            {"epoch": 10, "objective": 2.0, "nc1_rank_aware": None, "train_accuracy": 0.9},
            {"epoch": 20, "objective": 1.01, "nc1_rank_aware": 0.004, "train_accuracy": 1.0},
        ],
        findings=["the loss rose <b>once</b>"],
    )


@pytest.fixture
def collapsed_run() -> Run:
    """Nothing is left of any class, in the prediction exactly."""
    counts = [10, 90, 90, 10, 10]
    zero = np.zeros((5, 5))
    bias = np.array([-1.0, 0.5, 0.5, -1.0, -1.0])
    predicted = Geometry(counts, zero, zero, bias, rank=0, merged=[[0, 1, 2, 3, 4]])
    measured = Geometry(counts, zero + 1e-4, np.eye(5) * 1e-4, 1.1 * bias)
    return Run("above", {"lambda_z": 0.02}, predicted, measured)


@pytest.fixture
def checks() -> list[Check]:
    return [
        Check("between", "the rare classes merge", "3 = 4", "3 = 4", holds=True),
        Check("above", "mean logits <b>", "at most 4 %", "5 %", holds=False),
    ]
