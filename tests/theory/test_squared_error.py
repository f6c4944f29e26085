from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
import references
from lopsided.theory import squared_error_optimum


def residual(model: lp.UFM, geometry: lp.Geometry) -> np.ndarray:
    """(K, K) minus the gradient in A = D^{1/2} Z over λ: diag(√n)(I − outputs)/(Nλ)."""
    outputs = geometry.mean_logits + geometry.bias
    scale = np.sqrt(model.counts)[:, None] / (model.num_samples * model.lambda_z)
    return scale * (np.eye(model.num_classes) - outputs)


@pytest.mark.slow
@pytest.mark.parametrize("bias", [False, True])
@given(
    counts=st.lists(st.integers(1, 10**5), min_size=2, max_size=9),
    position=st.floats(1e-3, 1.5),
)
def test_optimality(bias: bool, counts: list[int], position: float) -> None:
    """The subgradient condition ‖M‖ ≤ 1, ⟨M, A⟩ = ‖A‖_*, and Σ n_k (z_k + b − e_k) = 0 where the bias is free."""
    model = lp.UFM(counts, position * np.sqrt(max(counts)) / sum(counts), bias=bias)
    geometry = squared_error_optimum(model)
    matrix = residual(model, geometry)
    stretched = np.sqrt(model.counts)[:, None] * geometry.mean_logits
    nuclear = np.linalg.svd(stretched, compute_uv=False).sum()
    assert np.linalg.norm(matrix, ord=2) <= 1 + 1e-9
    assert np.sum(matrix * stretched) == pytest.approx(nuclear, rel=1e-9, abs=1e-9)
    if bias:
        outputs = geometry.mean_logits + geometry.bias
        np.testing.assert_allclose(model.counts @ outputs, model.counts, rtol=1e-9, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("decay", [0.002, 0.008, 0.02])
def test_against_cvxpy(bias: bool, decay: float) -> None:
    model = lp.UFM("500,100x2,30x2", decay, bias=bias)
    geometry = squared_error_optimum(model)
    value, logits = references.squared_error_by_cvxpy(model.counts, decay, bias=bias)
    root = np.sqrt(model.counts)[:, None]
    own = 0.5 * np.sum((root * (geometry.mean_logits + geometry.bias - np.eye(5))) ** 2) / model.num_samples
    own += decay * np.linalg.svd(root * geometry.mean_logits, compute_uv=False).sum()
    assert own == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(geometry.mean_logits, logits, atol=1e-3)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("factor", "lost"), [(1 - 1e-6, False), (1 + 1e-6, True)])
def test_rare_classes_merge_at_their_threshold(bias: bool, factor: float, lost: bool) -> None:
    model = lp.UFM("500x3,100x4", factor * 10 / 1900, bias=bias)
    geometry = squared_error_optimum(model)
    assert geometry.merged == ([[3, 4, 5, 6]] if lost else [])
    distance = np.linalg.norm(geometry.mean_logits[3] - geometry.mean_logits[4])
    assert (distance < 1e-12) == lost
    assert geometry.rank == np.linalg.matrix_rank(geometry.mean_logits, tol=1e-10)


def test_everything_is_lost_in_the_end() -> None:
    for bias in (False, True):
        geometry = squared_error_optimum(lp.UFM("500x2,100", 1.0, bias=bias))
        assert (geometry.rank, geometry.merged) == (0, [[0, 1, 2]])
    np.testing.assert_allclose(geometry.bias, [5 / 11, 5 / 11, 1 / 11])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"^lambda_b must be 0 \(a free bias\), or .*; got 0.5$"):
        squared_error_optimum(lp.UFM("5,4", 0.1, lambda_b=0.5))
