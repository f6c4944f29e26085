from __future__ import annotations

import numpy as np
import pytest

import lopsided as lp
from lopsided.theory import two_class_optimum


@pytest.mark.slow
@pytest.mark.parametrize("counts", ["300,100", "100,300", "1,100000", "50,50"])
@pytest.mark.parametrize("position", [1e-9, 0.1, 0.99, 1.0, 1.01, 3.0])
def test_two_classes_without_bias(counts: str, position: float) -> None:
    total = lp.UFM(counts, 1.0).num_samples
    model = lp.UFM(counts, position / np.sqrt(2 * total), bias=False)
    geometry = two_class_optimum(model)
    certificate = lp.certify_logits(model, geometry.mean_logits)
    assert certificate.gap <= 1e-12 * certificate.objective
    assert geometry.rank == (position < 1)
    assert model.thresholds().complete == pytest.approx(1 / np.sqrt(2 * total), rel=1e-12)


def test_bad_input() -> None:
    with pytest.raises(
        ValueError, match=r"^problem must have two classes and bias=False; got 2 classes and bias=True; use solve\(\)$"
    ):
        two_class_optimum(lp.UFM("5,4", 1.0))
