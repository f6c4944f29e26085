from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
from lopsided.theory import balanced_optimum

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@given(
    classes=st.integers(2, 30),
    count=st.integers(1, 10**6),
    position=st.floats(1e-6, 2).filter(lambda position: abs(position - 1) > 1e-6),
)
def test_certified_on_both_sides_of_the_threshold(mode: str, classes: int, count: int, position: float) -> None:
    """``position`` is the decay as a share of the threshold 1/(K√n)."""
    model = lp.UFM([count] * classes, position / (classes * np.sqrt(count)), **MODES[mode])
    geometry = balanced_optimum(model)
    certificate = lp.certify_logits(model, geometry.mean_logits, geometry.bias if model.bias else None)
    assert certificate.gap <= 1e-12 * max(1.0, certificate.objective)
    assert geometry.rank == (classes - 1 if position < 1 else 0)
    assert geometry.merged == ([] if position < 1 else [list(range(classes))])


def test_agrees_with_the_solver_in_every_quantity() -> None:
    model = lp.UFM("200x6", lambda_w=0.02, lambda_h=1e-4, lambda_b=0.02)
    solution = model.solve()
    assert solution.status == "optimal"
    compared = lp.compare(solution.geometry, balanced_optimum(model))
    assert compared.same_rank
    assert compared.same_merged
    for name in ("mean_logits", "gram_means", "gram_classifier", "cosines_means"):
        assert compared[name].relative_error < 1e-9
    np.testing.assert_allclose(balanced_optimum(model).cosines_means[0, 1], -1 / 5, rtol=1e-12)


def test_at_the_threshold_itself_everything_is_merged() -> None:
    geometry = balanced_optimum(lp.UFM("4x5", 1 / (5 * 2)))
    assert geometry.rank == 0
    np.testing.assert_array_equal(geometry.mean_logits, np.zeros((5, 5)))
    np.testing.assert_array_equal(geometry.class_means, np.zeros((5, 1)))


def test_bad_input() -> None:
    with pytest.raises(
        ValueError, match=r"^problem must have equal counts; got counts from 100 to 500; use solve\(\)$"
    ):
        balanced_optimum(lp.UFM("500,100x2", 0.01))
