"""Singular values split by what they tell apart, against the whole matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lopsided as lp
from lopsided.theory import singular_paths
from lopsided.theory.spectrum import BATCH

CASES: list[tuple[str, dict[str, Any]]] = [
    ("500x2,100x2", {"bias": False}),
    ("20x4", {}),
    ("90,70x3,70,20,8x2", {}),
    ("60x4,20x3,5", {"lambda_b": 0.02, "loss": lp.CrossEntropy(weights=[1] * 4 + [2] * 3 + [3], label_smoothing=0.1)}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "settings"), CASES)
def test_the_parts_together_are_the_singular_values_of_the_whole(counts: str, settings: dict[str, Any]) -> None:
    model = lp.UFM(counts, 1.0, **settings)
    complete = model.thresholds().complete
    decays = (complete * np.array([1.1, 0.05, 0.4, 0.8, 0.4])).tolist()
    paths = singular_paths(model, decays)
    assert paths.decays.tolist() == sorted(set(decays))
    repeated = np.maximum(model.clusters.sizes.astype(int) - 1, 0)
    for row, solution in enumerate(paths.solutions):
        weighted = np.sqrt(model.counts)[:, None] * solution.geometry.mean_logits
        whole = np.linalg.svd(weighted, compute_uv=False)[:-1]
        parts = np.concatenate([np.repeat(paths.within[row], repeated), paths.between[row]])
        np.testing.assert_allclose(np.sort(parts)[::-1], whole, atol=1e-7 * (1 + whole[0]))
        assert np.count_nonzero(parts > 0) == solution.geometry.rank
    assert np.array_equal(np.isnan(paths.within[0]), model.clusters.sizes == 1)


def test_every_curve_ends_where_the_path_says() -> None:
    model = lp.UFM("500x2,100x2", 1.0, bias=False)
    paths = singular_paths(
        model, [drop.lambda_z * (1 + side) for drop in model.critical_path() for side in (-1e-4, 1e-4)]
    )
    alive = np.column_stack([paths.within, paths.between]) > 0
    assert alive.sum(axis=1).tolist() == [3, 2, 2, 1, 1, 0]


def test_progress_is_told_batch_by_batch() -> None:
    told: list[tuple[int, int]] = []
    total = BATCH + 2
    singular_paths(lp.UFM("5,3", 1.0), np.geomspace(0.01, 1, total), lambda *done: told.append(done))
    assert told == [(BATCH, total), (total, total)]


def test_what_is_not_convex_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^features must be 'any' for singular_paths"):
        singular_paths(lp.UFM("5,3", 1.0, features="relu"), [0.1])
