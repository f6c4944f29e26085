"""The boundaries between the regimes of two clusters: their order, and the solver on both sides of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lopsided as lp
from lopsided.theory import two_cluster_boundaries
from lopsided.theory.boundaries import ClusterPair, _between

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
SIZES = st.integers(1, 12)
COUNTS = st.integers(1, 10**4)


def told_apart(geometry: lp.Geometry, sizes: tuple[int, int]) -> bool:
    """Whether any mean logit tells the first cluster from the second."""
    logits = geometry.mean_logits
    return bool(np.abs(logits[: sizes[0], sizes[0] :]).max() + np.abs(logits[sizes[0] :, : sizes[0]]).max() > 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=settings().max_examples // 4)
@given(sizes=st.tuples(SIZES, SIZES), counts=st.tuples(COUNTS, COUNTS), adjustment=st.sampled_from([0.0, 1.0, -0.5]))
def test_the_solver_changes_at_each_boundary(
    mode: str, sizes: tuple[int, int], counts: tuple[int, int], adjustment: float
) -> None:
    ratio = counts[0] / counts[1]
    assume(abs(np.log(ratio)) > 0.01)
    found = two_cluster_boundaries(sizes[0], counts[0], sizes[1], counts[1], **MODES[mode], logit_adjustment=adjustment)
    rare = int(counts[1] < counts[0])
    members = [list(range(sizes[0])), list(range(sizes[0], sum(sizes)))]
    everything = [list(range(sum(sizes)))]
    loss = lp.CrossEntropy(logit_adjustment=adjustment)

    def solved(decay: float) -> lp.Geometry:
        solution = lp.UFM(np.repeat(counts, sizes), decay, loss=loss, **MODES[mode]).solve(tol=1e-11)
        assert solution.status == "optimal"
        return solution.geometry

    below, above = 1 - 1e-5, 1 + 1e-5
    if sizes[rare] == 1:
        assert np.isnan(found.minority)
    else:
        assert members[rare] not in solved(found.minority * below).merged
        assert members[rare] in solved(found.minority * above).merged
    assert told_apart(solved(found.between * below), sizes)
    assert not told_apart(solved(found.between * above), sizes)
    assert solved(found.complete * below).rank > 0
    assert solved(found.complete * above).merged == everything


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=settings().max_examples // 4)
@given(
    problems=st.lists(
        st.tuples(SIZES, COUNTS, SIZES, COUNTS).filter(lambda drawn: drawn[1] != drawn[3]), min_size=1, max_size=5
    ),
    adjustment=st.floats(-2, 2),
    exponent=st.floats(-4, 2),
)
def test_regimes_come_in_one_order(
    mode: str, problems: list[tuple[int, int, int, int]], adjustment: float, exponent: float
) -> None:
    """The rarer classes have merged before the clusters stop being told apart."""
    options = {"lambda_b": 10**exponent} if mode == "penalised" else MODES[mode]
    drawn = np.array(problems, dtype=float)
    found = two_cluster_boundaries(*drawn.T, **options, logit_adjustment=adjustment)
    swapped = drawn[:, 1] < drawn[:, 3]
    drawn[swapped] = drawn[swapped][:, [2, 3, 0, 1]]
    common, many, rare, few = drawn.T
    pair = ClusterPair(
        *drawn.T,
        bias_decay=options.get("lambda_b", 0.0) if options.get("bias", True) else None,
        adjustment=adjustment,
    )
    unrounded = _between(pair)  # the public function rounds it up to the bound that is tested here
    total = common * many + rare * few
    assert (unrounded >= np.sqrt(few) / total * (1 - 1e-12)).all()
    np.testing.assert_allclose(found.between, unrounded, rtol=1e-12)
    assert (found.complete >= found.between).all()
    own_regime = ~np.isnan(found.majority)
    assert adjustment != 0 or not own_regime.any()
    np.testing.assert_allclose(found.majority[own_regime], (np.sqrt(many) / total)[own_regime], rtol=1e-12)
    assert (found.majority[own_regime] < found.between[own_regime]).all()
    assert (found.complete == found.between)[common == 1].all()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_arrays_are_their_elements_and_roles_may_change(mode: str) -> None:
    counts = np.array([[20, 100, 433], [900, 99, 3964]])
    found = two_cluster_boundaries(3, counts, 7, 100, **MODES[mode])
    mirrored = two_cluster_boundaries(7, 100, 3, counts, **MODES[mode])
    singles = {
        index: two_cluster_boundaries(3, counts[index], 7, 100, **MODES[mode]) for index in [(0, 0), (0, 2), (1, 1)]
    }
    for name in ("minority", "between", "complete"):
        assert getattr(found, name).shape == (2, 3)
        np.testing.assert_array_equal(getattr(found, name), getattr(mirrored, name))
        for index, boundaries in singles.items():
            single = getattr(boundaries, name)
            assert single.shape == ()
            assert single == pytest.approx(getattr(found, name)[index], rel=1e-12)


def test_equal_counts_are_one_cluster() -> None:
    for options in MODES.values():
        found = two_cluster_boundaries(3, 50, 4, 50, **options)
        values = [float(found.minority), float(found.between), float(found.complete)]
        assert values == pytest.approx([np.sqrt(50) / 350] * 3, rel=1e-14)


@pytest.mark.slow
def test_scaling_counts_and_decay_together_changes_nothing() -> None:
    small, large = (two_cluster_boundaries(5, 5.0 * scale, 5, 1.0 * scale, lambda_b=0.02) for scale in (1, 1e4))
    for name in ("minority", "between", "complete"):
        assert getattr(small, name) == pytest.approx(getattr(large, name) * 100, rel=1e-12)
