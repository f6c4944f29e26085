from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
import references
from lopsided.solver import focal_convex_from, focal_tight_from
from lopsided.solver.logit_losses import logit_loss

LOSSES = {
    "plain": lp.CrossEntropy(),
    "family": lp.CrossEntropy(
        weights=[1, 2, 0.5, 1],
        label_smoothing=0.1,
        logit_adjustment=1.5,
        margins=[0, 0.3, 1, 0],
        scales=[1, 0.5, 2, 1.2],
    ),
    "by label": lp.CrossEntropy(scales=[1, 0.5, 2, 1.2], scale_by="label", reduction="samples"),
    "focal": lp.FocalLoss(2.0),
    "weighted focal": lp.FocalLoss(0.7, weights=[1, 2, 0.5, 1]),
}
COUNTS = [40, 20, 20, 5]


def naive_focal(logits: list[float], label: int, gamma: float) -> float:
    """The definition."""
    probability = np.exp(logits[label]) / sum(np.exp(logit) for logit in logits)
    return float((1 - probability) ** gamma * -np.log(probability))


def logits_of(seed: int, spread: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(4, 4)) * spread


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.1, 1.0, 4.0]))
def test_slopes_are_those_of_the_values(loss: object, seed: int, spread: float) -> None:
    measured, logits = logit_loss(lp.UFM(COUNTS, 1.0, loss=loss)), logits_of(seed, spread)
    slopes, step = measured.evaluate(logits)[1], 1e-5
    for column in range(4):
        shift = np.zeros((4, 4))
        shift[:, column] = step
        ahead, behind = measured.evaluate(logits + shift)[0], measured.evaluate(logits - shift)[0]
        np.testing.assert_allclose(slopes[:, column], (ahead - behind) / (2 * step), atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.1, 1.0, 4.0]))
def test_conjugate_bounds_from_below_everywhere(loss: object, seed: int, spread: float) -> None:
    """Fenchel's inequality at other logits, and equality where the convex function touches the loss."""
    measured, logits = logit_loss(lp.UFM(COUNTS, 1.0, loss=loss)), logits_of(seed, spread)
    predictions = measured.predictions(logits)
    assert (predictions >= 0).all()
    np.testing.assert_allclose(predictions.sum(axis=1), 1)
    slopes = np.outer(measured.row_scales, measured.column_scales) * (predictions - measured.targets)
    conjugate = measured.conjugate(predictions)
    for other in range(5):
        elsewhere = logits_of(seed + other + 1, 3.0)
        assert (measured.evaluate(elsewhere)[0] >= np.sum(slopes * elsewhere, axis=1) - conjugate - 1e-12).all()
    edge = focal_tight_from(loss.gamma) if isinstance(loss, lp.FocalLoss) else 0.0
    tight = np.diagonal(references.softmax_rows(logits)) >= edge
    reached = np.sum(slopes * logits, axis=1) - conjugate
    np.testing.assert_allclose(reached[tight], measured.evaluate(logits)[0][tight], atol=1e-10)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_is_its_definition(gamma: float) -> None:
    logits = logits_of(3, 2.0)
    values = logit_loss(lp.UFM(COUNTS, 1.0, loss=lp.FocalLoss(gamma))).evaluate(logits)[0]
    np.testing.assert_allclose(values, [naive_focal(row, label, gamma) for label, row in enumerate(logits)])


@pytest.mark.slow
@given(gamma=st.floats(0.5, 20), others=st.lists(st.floats(-3, 3), min_size=1, max_size=5), nudge=st.floats(0.01, 0.3))
def test_focal_is_convex_in_the_logits_exactly_above_its_probability(
    gamma: float, others: list[float], nudge: float
) -> None:
    """The least eigenvalue of the Hessian, by differences of the slopes, on both sides."""
    edge = focal_convex_from(gamma)
    classes = len(others) + 1
    loss = logit_loss(lp.UFM([10] * classes, 1.0, loss=lp.FocalLoss(gamma)))
    for probability, convex in ((edge * (1 - nudge), False), (edge + (1 - edge) * nudge, True)):
        own = np.log(probability) - np.log1p(-probability) + np.log(np.sum(np.exp(others)))
        point = np.tile(np.array([own, *others]), (classes, 1))
        hessian = np.empty((classes, classes))
        for column in range(classes):
            shift = np.zeros((classes, classes))
            shift[:, column] = 1e-4
            hessian[column] = (loss.evaluate(point + shift)[1][0] - loss.evaluate(point - shift)[1][0]) / 2e-4
        least = np.linalg.eigvalsh((hessian + hessian.T) / 2)[0]
        assert (least > -1e-7 * np.abs(hessian).max()) == convex


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_the_convex_function_below_focal_touches_it_where_it_says(gamma: float) -> None:
    edge = focal_tight_from(gamma)
    assert focal_convex_from(gamma) < edge < 1
    loss = logit_loss(lp.UFM([1, 1], 1.0, loss=lp.FocalLoss(gamma)))
    for probability, tight in ((0.98 * edge, False), (1.02 * edge, True)):
        advantage = np.log(probability) - np.log1p(-probability)
        logits = np.array([[advantage, 0.0], [0.0, advantage]])
        slope = loss.predictions(logits) - loss.targets
        bound = np.sum(slope * logits, axis=1) - loss.conjugate(loss.predictions(logits))
        assert np.allclose(bound, loss.evaluate(logits)[0], rtol=0, atol=1e-13) == tight


def test_without_focusing_there_is_nothing_to_be_convex_beyond() -> None:
    assert focal_convex_from(0.0) == focal_tight_from(0.0) == 0.0
    assert focal_tight_from(1e-4) == 0.0  # its root is far below the smallest number of float64
