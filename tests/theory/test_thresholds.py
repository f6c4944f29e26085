from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import brentq

import lopsided as lp

COMPLETE = {
    ("500,300,100", "no bias"): 0.0226478695,
    ("500,300,100", "free"): 0.0216391179,
    ("500,300,100", "penalised"): 0.0216409886,
    ("300,100", "no bias"): 0.0353553391,
    ("300,100", "free"): 0.0306186218,
    ("300,100", "penalised"): 0.0306275146,
}
MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}


@pytest.mark.parametrize(("counts", "mode"), COMPLETE)
def test_complete_collapse(counts: str, mode: str) -> None:
    found = lp.UFM(counts, 1.0, **MODES[mode]).thresholds()
    assert found.complete == pytest.approx(COMPLETE[counts, mode], abs=5e-11)
    assert np.isnan(found.within).all()


@pytest.mark.parametrize(("mode", "power"), [("no bias", 0), ("free", 1)])
def test_complete_collapse_solves_the_secular_equation(mode: str, power: int) -> None:
    """The largest root of Σ 1/(n − μ) = 0 without a bias, of Σ n/(n − μ) = 0 with a free one."""
    counts = np.array([700.0, 500.0, 120.0, 90.0, 3.0])
    root = brentq(lambda mu: np.sum(counts**power / (counts - mu)), 500 + 1e-9, 700 - 1e-9, xtol=1e-12)
    found = lp.UFM(counts, 1.0, **MODES[mode]).thresholds().complete
    assert found == pytest.approx(np.sqrt(root) / counts.sum(), rel=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_shared_largest_count_collapses_last_and_with_everything(mode: str) -> None:
    found = lp.UFM("500x5,100x5", 1.0, **MODES[mode]).thresholds()
    assert found.complete == pytest.approx(np.sqrt(500) / 3000, rel=1e-12)
    np.testing.assert_allclose(found.within, [np.sqrt(500) / 3000, 1 / 300], rtol=1e-12)


@pytest.mark.parametrize(
    ("counts", "minority", "complete"),
    [("500x5,100x5", 1 / 300, 0.0074535599), ("500x3,100x7", 0.0045454545, 0.0101639450)],
)
def test_paper_figures_five_and_six(counts: str, minority: float, complete: float) -> None:
    found = lp.UFM(counts, 1.0, lambda_b=0.02).thresholds()
    assert found.within[1] == pytest.approx(minority, abs=1e-9)
    assert found.complete == pytest.approx(complete, abs=1e-9)


@pytest.mark.slow
def test_paper_figures_seven_and_eight() -> None:
    """At λ_z = .005 and 100 samples in the rare classes: the majority counts at which they, then all, collapse."""
    for sizes, minority, complete in (((5, 5), 300.0, 1392.0), ((3, 7), 433.3, 3964.0)):

        def excess(count: float, which: int, sizes: tuple[int, int] = sizes) -> float:
            counts = np.repeat([round(count), 100], sizes)
            found = lp.UFM(counts, 1.0, lambda_b=0.02).thresholds()
            return (found.within[1] if which == 0 else found.complete) - 0.005

        assert brentq(excess, 101, 900, args=(0,), xtol=1) == pytest.approx(minority, abs=2)
        assert brentq(excess, 900, 9000, args=(1,), xtol=1) == pytest.approx(complete, abs=2)


@pytest.mark.slow
@pytest.mark.parametrize("counts", ["1,10,100,1000000000", "500x5,100x5", "7,5,3"])
def test_a_penalised_bias_lies_between_none_and_free(counts: str) -> None:
    complete = [lp.UFM(counts, 1.0, lambda_b=decay).thresholds().complete for decay in (1e-12, 1e-6, 1e-2, 1.0, 1e9)]
    free = lp.UFM(counts, 1.0).thresholds().complete
    none = lp.UFM(counts, 1.0, bias=False).thresholds().complete
    assert complete[0] == pytest.approx(free, rel=1e-6)
    assert complete[-1] == pytest.approx(none, rel=1e-6)
    assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(complete))


def test_order_follows_the_clusters() -> None:
    model = lp.UFM("100,500,100,7,500", 1.0)
    found = model.thresholds()
    np.testing.assert_array_equal(found.counts, [100, 500, 7])
    np.testing.assert_allclose(found.within, [10 / 1207, np.sqrt(500) / 1207, np.nan])
    assert found.to_dict()["within"][2] is None
