from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
from lopsided.theory import seli_limit, seli_polar_factor

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}


def direction(logits: np.ndarray) -> np.ndarray:
    return logits / np.linalg.norm(logits)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "within"),
    [
        ("no bias", (-0.0923350, -0.1342374)),
        ("penalised", (-0.0923350, -0.1342374)),
        ("free", (-0.1703666, -0.0482619)),
    ],
)
def test_solver_approaches_the_limit(mode: str, within: tuple[float, float]) -> None:
    """The error falls as 1/log(1/λ): even at 1e-290 it is seen in the third digit."""
    limit = seli_limit(lp.UFM("200x5,100x5", 1.0, **MODES[mode]))
    assert (limit.cosines_means[0, 1], limit.cosines_means[5, 6]) == pytest.approx(within, abs=1e-7)
    scaled = []
    for exponent in (20, 80, 290):
        solution = lp.UFM("2x5,1x5", 10.0**-exponent / np.sqrt(15), **MODES[mode]).solve()
        assert solution.status == "optimal"
        geometry = solution.geometry
        errors = [
            geometry.cosines_means - limit.cosines_means,
            geometry.cosines_classifier - limit.cosines_classifier,
            direction(geometry.mean_logits) - direction(limit.mean_logits),
        ]
        scaled.append(exponent * max(np.abs(error).max() for error in errors))
    assert max(scaled) < 1.0
    assert scaled[2] == pytest.approx(scaled[1], rel=0.05)


def test_cosines_at_the_smallest_decay() -> None:
    geometry = lp.UFM("2x5,1x5", 1e-290 / np.sqrt(15), bias=False).solve().geometry
    assert geometry.cosines_means[0, 1] == pytest.approx(-0.092838, abs=5e-7)
    assert geometry.cosines_means[5, 6] == pytest.approx(-0.133666, abs=5e-7)


@pytest.mark.slow
@pytest.mark.parametrize("scale_by", ["logit", "label"])
def test_scaled_losses_approach_their_limit(scale_by: str) -> None:
    loss = lp.CrossEntropy(scales=[1, 2, 3, 1], scale_by=scale_by)
    limit = seli_limit(lp.UFM("50,30,20,3", 1.0, bias=False, loss=loss))
    scaled = []
    for exponent in (6, 12, 20):
        solution = lp.UFM("50,30,20,3", 10.0**-exponent, bias=False, loss=loss).solve(tol=1e-12)
        assert solution.status == "optimal"
        scaled.append(exponent * np.abs(solution.geometry.cosines_means - limit.cosines_means).max())
    assert max(scaled) < 0.9
    assert scaled[2] == pytest.approx(scaled[1], rel=0.02)


@pytest.mark.slow
@given(
    classes=st.lists(
        st.tuples(st.integers(1, 10**6), st.floats(0.05, 20), st.floats(0.05, 20)), min_size=2, max_size=9
    ),
    free=st.booleans(),
)
def test_the_dual_point_proves_optimality(classes: list[tuple[int, float, float]], free: bool) -> None:
    """All margins are 1, and the polar factor is a non-negative combination of the margin constraints."""
    counts, labels, logits = (list(values) for values in zip(*classes, strict=True))
    if free:
        model = lp.UFM(counts, 1.0)
        geometry = seli_limit(model)
        np.testing.assert_allclose(np.sqrt(counts) @ seli_polar_factor(model), 0, atol=1e-8)
        outputs = geometry.mean_logits + geometry.bias
        margins = np.diag(outputs)[:, None] - outputs
    else:
        model = lp.UFM(counts, 1.0, bias=False, loss=lp.CrossEntropy(scales=logits))
        outputs = seli_limit(model).mean_logits * np.array(logits)
        margins = np.diag(outputs)[:, None] - outputs
        by_label = lp.UFM(counts, 1.0, bias=False, loss=lp.CrossEntropy(scales=labels, scale_by="label"))
        own = seli_limit(by_label).mean_logits * np.array(labels)[:, None]
        np.testing.assert_allclose(own, np.eye(len(counts)) - 1 / len(counts), atol=1e-9)
    off = ~np.eye(len(counts), dtype=bool)
    np.testing.assert_allclose(margins[off], 1, rtol=1e-7)
    polar = seli_polar_factor(model)
    assert polar[off].max() < 1e-9
    np.testing.assert_allclose(np.linalg.svd(polar, compute_uv=False)[:-1], 1, rtol=1e-9)


@pytest.mark.parametrize(("sizes", "counts"), [((5, 5), (200, 100)), ((2, 7), (1000, 3)), ((1, 3), (9, 4))])
def test_two_clusters_in_closed_form(sizes: tuple[int, int], counts: tuple[int, int]) -> None:
    """W Wᵀ = √n_A C_A ⊕ √n_B C_B + √μ uuᵀ with μ = (m_A n_B + m_B n_A)/K, and the means' Gram its pseudo-inverse."""
    (first, second), (many, few) = sizes, counts
    number = first + second
    geometry = seli_limit(lp.UFM([many] * first + [few] * second, 1.0, bias=False))
    expected = np.zeros((number, number))
    expected[:first, :first] = np.sqrt(many) * (np.eye(first) - 1 / first)
    expected[first:, first:] = np.sqrt(few) * (np.eye(second) - 1 / second)
    contrast = np.sqrt(first * second / number) * np.r_[np.full(first, 1 / first), np.full(second, -1 / second)]
    expected += np.sqrt((first * few + second * many) / number) * np.outer(contrast, contrast)
    np.testing.assert_allclose(geometry.gram_classifier, expected, atol=1e-10)
    np.testing.assert_allclose(geometry.gram_means, np.linalg.pinv(expected, hermitian=True), atol=1e-10)


def test_label_scales_of_root_counts_make_the_classifier_a_simplex() -> None:
    counts = [1000, 200, 30, 4]
    loss = lp.CrossEntropy(scales=list(np.sqrt(counts)), scale_by="label")
    limit = seli_limit(lp.UFM(counts, 1.0, bias=False, loss=loss))
    np.testing.assert_allclose(limit.cosines_classifier[~np.eye(4, dtype=bool)], -1 / 3, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (lp.CrossEntropy(label_smoothing=0.1), {}, r"label_smoothing must be 0: .*; got 0.1"),
        (lp.CrossEntropy(scales=[1, 2]), {}, r"scales must be left out where the bias is free .* or penalise it"),
    ],
)
def test_bad_input(loss: lp.CrossEntropy, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        seli_limit(lp.UFM("5,4", 1.0, loss=loss, **options))
