"""Every convex loss: against an independent solver, by its certificate, and on both sides of its thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lopsided as lp
import references

COUNTS = np.repeat([50, 20, 5], [2, 3, 2])
CLASSES = len(COUNTS)
MODES: dict[str, dict[str, Any]] = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
INVERSE = (1 / COUNTS) / np.mean(1 / COUNTS)
RISING = np.repeat([0.1, 0.3, 0.6], [2, 3, 2])
PRIOR = np.log(COUNTS / COUNTS.sum())

#: The loss, and the same written out for the independent solver.
LOSSES: dict[str, tuple[lp.CrossEntropy, dict[str, Any]]] = {
    "weights, PyTorch's mean": (
        lp.CrossEntropy(weights=INVERSE),
        {"weights": INVERSE, "normaliser": float(INVERSE @ COUNTS)},
    ),
    "weights, over the samples": (lp.CrossEntropy(weights=INVERSE, reduction="samples"), {"weights": INVERSE}),
    "label smoothing": (lp.CrossEntropy(label_smoothing=0.1), {"smoothing": 0.1}),
    "logit adjustment": (lp.CrossEntropy(logit_adjustment=1.0), {"offsets": PRIOR}),
    "margins": (lp.CrossEntropy(margins=RISING), {"margins": RISING}),
    "scales by logit": (lp.CrossEntropy(scales=1 + RISING), {"scales": np.tile(1 + RISING, (CLASSES, 1))}),
    "scales by label": (
        lp.CrossEntropy(scales=1 + RISING, scale_by="label"),
        {"scales": np.tile(1 + RISING, (CLASSES, 1)).T},
    ),
    "vector scaling": (
        lp.CrossEntropy(scales=1 + RISING, logit_adjustment=0.7),
        {"scales": np.tile(1 + RISING, (CLASSES, 1)), "offsets": 0.7 * PRIOR},
    ),
    "all at once": (
        lp.CrossEntropy(
            weights=INVERSE,
            reduction="samples",
            label_smoothing=0.05,
            logit_adjustment=0.5,
            margins=RISING,
            scales=1 + RISING,
        ),
        {
            "weights": INVERSE,
            "smoothing": 0.05,
            "offsets": 0.5 * PRIOR,
            "margins": RISING,
            "scales": np.tile(1 + RISING, (CLASSES, 1)),
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode", "share"),
    # every loss with every mode and with both decays, and every mode with both
    [(name, mode, (0.1, 0.6)[(i + j) % 2]) for i, name in enumerate(LOSSES) for j, mode in enumerate(MODES)],
)
def test_agrees_with_an_independent_solver(name: str, mode: str, share: float) -> None:
    loss, written_out = LOSSES[name]
    settings = MODES[mode]
    lambda_z = share * lp.UFM(COUNTS, 1.0, loss=loss, **settings).thresholds().complete
    model = lp.UFM(COUNTS, lambda_z, loss=loss, **settings)
    solution = model.solve()
    assert solution.status == "optimal"
    assert solution.gap <= 1e-9 * max(1.0, solution.objective)
    geometry = solution.geometry
    assert lp.certify_logits(model, geometry.mean_logits, geometry.bias).gap <= 1e-9 * max(1.0, solution.objective)
    value, logits, _ = references.ufm_by_cvxpy(COUNTS, lambda_z, **settings, **written_out)
    assert solution.objective <= value + 1e-12
    assert solution.objective == pytest.approx(value, abs=3e-7)
    np.testing.assert_allclose(geometry.mean_logits, logits, atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode", "cluster"),
    # every loss with every mode and every cluster, and every mode with every cluster
    [(name, mode, (i + j) % 3) for i, name in enumerate(LOSSES) for j, mode in enumerate(MODES)],
)
def test_clusters_merge_exactly_at_their_threshold(name: str, mode: str, cluster: int) -> None:
    loss, settings = LOSSES[name][0], MODES[mode]
    model = lp.UFM(COUNTS, 1.0, loss=loss, **settings)
    group, threshold = model.clusters.classes[cluster], model.thresholds().within[cluster]
    for factor, lost in ((1 - 1e-4, False), (1 + 1e-4, True)):
        solution = lp.UFM(COUNTS, threshold * factor, loss=loss, **settings).solve()
        assert solution.status == "optimal"
        assert any(set(group) <= set(found) for found in solution.geometry.merged) is lost


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_everything_collapses_exactly_at_the_threshold(name: str, mode: str) -> None:
    loss, settings = LOSSES[name][0], MODES[mode]
    complete = lp.UFM(COUNTS, 1.0, loss=loss, **settings).thresholds().complete
    below = lp.UFM(COUNTS, complete * (1 - 1e-4), loss=loss, **settings).solve()
    above = lp.UFM(COUNTS, complete * (1 + 1e-4), loss=loss, **settings).solve()
    assert below.status == above.status == "optimal"
    assert below.geometry.rank > 0
    assert above.geometry.rank == 0


def test_inverse_weights_reverse_the_order_of_collapse() -> None:
    """(500², 100²), weights normalised to mean 1 over the classes: 1/n and n^−1/2."""
    counts = np.repeat([500, 100], 2)
    for power, expected in ((1.0, [0.011180340, 0.025]), (0.5, [0.015450850, 0.015450850])):
        weights = counts**-power / np.mean(counts**-power)
        model = lp.UFM(counts, 1.0, loss=lp.CrossEntropy(weights=weights))
        assert model.thresholds().within == pytest.approx(expected, abs=1e-8)


def test_an_integer_weight_is_a_repeated_label() -> None:
    """Weight 3 over the samples is a loss three times as large."""
    plain = lp.UFM("40x2,10x3", 0.01, bias=False).solve()
    tripled = lp.UFM("40x2,10x3", 0.03, bias=False, loss=lp.CrossEntropy(weights=[3] * 5, reduction="samples")).solve()
    np.testing.assert_allclose(tripled.geometry.mean_logits, plain.geometry.mean_logits, atol=1e-7)
    mean = lp.UFM("40x2,10x3", 0.01, bias=False, loss=lp.CrossEntropy(weights=[3] * 5)).solve()
    assert plain.status == tripled.status == mean.status == "optimal"
    np.testing.assert_allclose(mean.geometry.mean_logits, plain.geometry.mean_logits, atol=1e-7)


def test_equal_counts_with_unequal_weights_are_two_clusters() -> None:
    model = lp.UFM("50x4", 0.05, loss=lp.CrossEntropy(weights=[1, 1, 4, 4]))
    assert model.clusters.classes == [[0, 1], [2, 3]]
    assert model.solve().status == "optimal"


def test_probabilities_are_those_inside_the_loss() -> None:
    loss = LOSSES["all at once"][0]
    solution = lp.UFM(COUNTS, 0.003, loss=loss, lambda_b=0.02).solve()
    assert solution.status == "optimal"
    logits = (1 + RISING) * (solution.geometry.mean_logits + solution.geometry.bias) + 0.5 * PRIOR - np.diag(RISING)
    np.testing.assert_allclose(solution.probabilities(), references.softmax_rows(logits), atol=1e-12)
    np.testing.assert_allclose(solution.probabilities([4]), references.softmax_rows(logits)[[4]], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": [1, 0]}, "weights must be finite numbers above 0, one a class; got 0 for class 1"),
        ({"weights": [1, float("nan")]}, "weights must be"),
        ({"weights": "ab"}, "weights must be"),
        ({"weights": [[1, 2]]}, "weights must be"),
        ({"margins": [-1, 0]}, "margins must be"),
        ({"scales": [1, -2]}, "scales must be"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be a number in \[0, 1\)"),
        ({"label_smoothing": -0.1}, "label_smoothing must be"),
        ({"logit_adjustment": float("inf")}, "logit_adjustment must be"),
        ({"reduction": "sum"}, "reduction must be"),
        ({"scale_by": "row"}, "scale_by must be"),
    ],
)
def test_bad_losses_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lp.CrossEntropy(**arguments)


def test_lengths_must_fit_the_counts() -> None:
    with pytest.raises(ValueError, match="weights must have one number a class, 3 like counts; got 2"):
        lp.UFM("5,4,3", 0.1, loss=lp.CrossEntropy(weights=[1, 2]))
