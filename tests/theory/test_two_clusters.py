from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lopsided as lp
import references
from lopsided.theory import two_cluster_optimum, two_cluster_threshold

MODES = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}
SIZES = st.integers(1, 12)
COUNTS = st.integers(1, 10**5)


def check_against_the_certificate(model: lp.UFM, geometry: lp.Geometry) -> None:
    certificate = lp.certify_logits(model, geometry.mean_logits, geometry.bias if model.bias else None)
    assert certificate.gap <= 1e-11 * max(1.0, certificate.objective)


def tells_clusters_apart(geometry: lp.Geometry, model: lp.UFM) -> float:
    """Largest mean logit that a cluster's samples give to the other cluster."""
    labels = model.clusters.labels
    return float(np.abs(geometry.mean_logits[labels[:, None] != labels[None, :]]).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "expected"), [("no bias", 0.004605316), ("penalised", 0.003983263), ("free", 0.004048026)]
)
def test_threshold_on_both_sides_of_it(mode: str, expected: float) -> None:
    threshold = two_cluster_threshold(lp.UFM("500x5,100x5", 1.0, **MODES[mode]))
    assert threshold == pytest.approx(expected, abs=5e-10)
    for factor, apart in ((1 - 1e-5, True), (1 + 1e-5, False)):
        model = lp.UFM("500x5,100x5", threshold * factor, **MODES[mode])
        solution = model.solve()
        assert solution.status == "optimal"
        assert solution.geometry.rank == 4 + apart
        assert (tells_clusters_apart(solution.geometry, model) > 1e-9) == apart


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", ["500x3,100x7", "100x7,500x3", "900,100x4", "900x4,100", "1x2,1000x2", "30x2,20x9"])
def test_solver_changes_rank_at_the_threshold(counts: str, mode: str) -> None:
    threshold = two_cluster_threshold(lp.UFM(counts, 1.0, **MODES[mode]))
    below, above = (
        lp.UFM(counts, threshold * factor, **MODES[mode]).solve().geometry.rank for factor in (1 - 1e-5, 1 + 1e-5)
    )
    assert below - above == 1


def test_single_classes_merge_when_everything_does() -> None:
    for mode in MODES.values():
        model = lp.UFM("300,100", 1.0, **mode)
        assert two_cluster_threshold(model) == pytest.approx(model.thresholds().complete, rel=1e-12)


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 4)
@given(
    sizes=st.tuples(SIZES, SIZES),
    counts=st.tuples(COUNTS, COUNTS),
    position=st.floats(1e-7, 0.999),
)
def test_free_bias_below_the_threshold(sizes: tuple[int, int], counts: tuple[int, int], position: float) -> None:
    assume(counts[0] != counts[1])
    given_counts = np.repeat(counts, sizes)
    threshold = two_cluster_threshold(lp.UFM(given_counts, 1.0))
    model = lp.UFM(given_counts, position * threshold)
    geometry = two_cluster_optimum(model)
    check_against_the_certificate(model, geometry)
    np.testing.assert_allclose(model.counts @ geometry.mean_logits / model.num_samples, 0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=settings().max_examples // 4)
@given(
    sizes=st.tuples(SIZES, SIZES),
    counts=st.tuples(COUNTS, COUNTS),
    position=st.floats(1.0, 30.0),
)
def test_above_the_threshold(mode: str, sizes: tuple[int, int], counts: tuple[int, int], position: float) -> None:
    assume(counts[0] != counts[1])
    given_counts = np.repeat(counts, sizes)
    threshold = two_cluster_threshold(lp.UFM(given_counts, 1.0, **MODES[mode]))
    model = lp.UFM(given_counts, position * threshold, **MODES[mode])
    check_against_the_certificate(model, two_cluster_optimum(model))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "counts", "decay"),
    [
        ("free", "500x5,100x5", 0.002),  # all classes apart
        ("free", "500x5,100x5", 0.0035),  # the rare ones merged
        ("no bias", "500x5,100x5", 0.0055),  # beyond λ*
        ("penalised", "500x5,100x5", 0.0055),
        ("free", "500x5,100x5", 0.0055),
        ("free", "100,500,100,500,500", 0.01),  # clusters interleaved
        ("penalised", "500x5,100x5", 0.008),  # everything merged
        ("no bias", "900x4,100", 0.007),  # nothing left of a single class
    ],
)
def test_agrees_with_the_solver_in_every_quantity(mode: str, counts: str, decay: float) -> None:
    model = lp.UFM(counts, lambda_z=decay, lambda_w=7 * decay, **MODES[mode])
    solution = model.solve()
    assert solution.status == "optimal"
    compared = lp.compare(solution.geometry, two_cluster_optimum(model))
    assert compared.same_rank
    assert compared.same_merged
    for name in ("mean_logits", "bias", "gram_means", "gram_classifier"):
        assert compared[name].absolute_error < 1e-5


def log_excess(model: lp.UFM, decay: float) -> float:
    """log S(λ), from its definition and the optimum in which nothing tells the clusters apart."""
    clusters = model.clusters
    leaks = np.exp(references.two_cluster_leaks(model, decay))
    parts = model.num_classes / clusters.sizes[::-1] * clusters.counts * leaks**2
    return float(np.log(parts.sum() / (clusters.num_samples * decay) ** 2))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_the_threshold_is_the_only_crossing(mode: str) -> None:
    """Proved without a bias and with a free one; with a penalised one this is what is known."""
    rng = np.random.default_rng(7)
    for _ in range(6):
        sizes, counts = rng.integers(1, 40, 2), np.ceil(10 ** rng.uniform(0, 5, 2))
        counts[1] += counts[0] == counts[1]
        options = {"lambda_b": 10 ** rng.uniform(-5, 1)} if mode == "penalised" else MODES[mode]
        model = lp.UFM(np.repeat(counts, sizes), 1.0, **options)
        threshold = two_cluster_threshold(model)
        offsets = np.concatenate([np.linspace(-12, -0.01, 10), np.linspace(0.01, 8, 10)])
        signs = [np.sign(log_excess(model, threshold * np.exp(offset))) for offset in offsets]
        assert signs == [1] * 10 + [-1] * 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: two_cluster_threshold(lp.UFM("5,4,3", 1.0)),
            r"problem must have exactly two distinct counts; got 3; use solve\(\)",
        ),
        (
            lambda: two_cluster_optimum(lp.UFM("5x3", 1.0)),
            r"problem must have exactly two distinct counts; got 1; use solve\(\)",
        ),
        (
            lambda: two_cluster_optimum(lp.UFM("500x5,100x5", 0.003, bias=False)),
            r"lambda_z must be at least the threshold 0.004605315\d* between .* not free; got 0.003; use solve\(\)",
        ),
    ],
)
def test_bad_input(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()


@pytest.mark.slow
def test_a_penalised_bias_leads_from_free_to_none_but_not_straight() -> None:
    """λ* is smallest at a finite decay of the bias: .00404803 free, .00398326 at 0.02, .00460532 without a bias."""
    found = [two_cluster_threshold(lp.UFM("500x5,100x5", 1.0, lambda_b=decay)) for decay in (1e-9, 0.02, 1, 1e6)]
    assert found[1] < found[0] < found[2] < found[3]
    assert found[0] == pytest.approx(two_cluster_threshold(lp.UFM("500x5,100x5", 1.0)), rel=1e-6)
    assert found[-1] == pytest.approx(two_cluster_threshold(lp.UFM("500x5,100x5", 1.0, bias=False)), rel=1e-6)
