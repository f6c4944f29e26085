"""Phase diagrams: the paper's figures as sections, and the solver at their points and on both sides of a boundary."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import lopsided as lp
from lopsided.theory import Axis, PhaseDiagram, Regime, phase_diagram

SIZES = ("m_a", "n_a", "m_b", "n_b")
MODES: dict[str, dict[str, Any]] = {"no bias": {"bias": False}, "penalised": {"lambda_b": 0.02}, "free": {}}

#: Axis; what is fixed; where the rarer classes merge, and all; what these are to be to.
FIGURES = {
    "5": (Axis("lambda_z", 0.0027, 0.0075, 10), {"m_a": 5, "n_a": 500, "m_b": 5, "n_b": 100}, 1 / 300, 0.00745, 5e-6),
    "6": (Axis("lambda_z", 0.0037, 0.0102, 10), {"m_a": 3, "n_a": 500, "m_b": 7, "n_b": 100}, 0.004545, 0.010164, 6e-7),
    "7": (Axis("n_a", 100, 1400, 53), {"m_a": 5, "m_b": 5, "n_b": 100, "lambda_z": 0.005}, 300, 1392, 1),
    "8": (Axis("n_a", 100, 4200, 42), {"m_a": 3, "m_b": 7, "n_b": 100, "lambda_z": 0.005}, 433, 3964, 1),
}


def crossing(diagram: PhaseDiagram, name: str) -> float:
    """The one crossing of a section."""
    (values,) = diagram.crossings[name]
    (value,) = values
    return float(value)


@pytest.mark.slow
@pytest.mark.parametrize(("axis", "fixed", "minority", "complete", "tolerance"), FIGURES.values(), ids=FIGURES)
def test_figures_of_the_paper_are_sections(axis, fixed, minority, complete, tolerance):
    section = phase_diagram(axis, lambda_b=0.02, **fixed)
    assert section.shape == (1, len(axis.values))
    assert crossing(section, "minority") == pytest.approx(minority, abs=tolerance)
    assert crossing(section, "complete") == pytest.approx(complete, abs=tolerance)
    places = [crossing(section, name) for name in ("minority", "between", "complete")]
    expected = np.searchsorted(places, axis.values, side="right")
    np.testing.assert_array_equal(section.regimes[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["7", "8"])
def test_crossings_along_a_count_solve_the_threshold_equations(figure):
    axis, fixed, *_ = FIGURES[figure]
    section = phase_diagram(axis, lambda_b=0.02, **fixed)

    def samples(n_a):
        return fixed["m_a"] * n_a + fixed["m_b"] * fixed["n_b"]

    assert samples(crossing(section, "minority")) * 0.005 == pytest.approx(math.sqrt(fixed["n_b"]), rel=1e-12)
    complete = crossing(section, "complete")
    assert samples(complete) * 0.005 == pytest.approx(math.sqrt(complete), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("axis", "fixed"), [row[:2] for row in FIGURES.values()], ids=FIGURES)
def test_the_solver_on_both_sides_of_each_crossing(axis, fixed, mode):
    section = phase_diagram(axis, **fixed, **MODES[mode])
    assert [len(found) for found in section.crossings.pop("majority")] == [0]  # of logit adjustment only
    for name, values in section.crossings.items():
        place = float(values[0][0])
        step = 1e-5 * place if axis.name == "lambda_z" else 0.5
        sides = [place - step, place + step] if step < 0.5 else [math.floor(place - 1e-6), math.ceil(place + 1e-6)]
        found = []
        for value in sides:
            at = {key: float(quantity) for key, quantity in section.quantities(value).items()}
            counts = np.repeat([at["n_a"], at["n_b"]], [int(at["m_a"]), int(at["m_b"])])
            found.append(lp.UFM(counts, at["lambda_z"], **MODES[mode]).solve(tol=1e-11).geometry)
        rare = list(range(fixed["m_a"], fixed["m_a"] + fixed["m_b"]))
        if name == "minority":
            assert [rare in geometry.merged for geometry in found] == [False, True]
        if name == "between":
            assert found[0].rank - found[1].rank == 1
        if name == "complete":
            assert found[0].rank > 0
            assert found[1].merged == [list(range(fixed["m_a"] + fixed["m_b"]))]


DIAGRAMS = {
    "decay and ratio": (Axis("lambda_z", 5e-4, 0.03, 25, log=True), Axis("ratio", 0.5, 12.5, 25), (4, None, 3, 50)),
    "sizes": (Axis("n_a", 10, 900, 25), Axis("n_b", 10, 900, 25, log=True), (4, None, 3, None)),
    "class numbers": (Axis("m_a", 1, 9), Axis("m_b", 1, 12), (None, 300, None, 100)),
    "class number and size": (Axis("m_b", 1, 20), Axis("n_a", 30, 2000, 25), (2, None, None, 90)),
    "size and decay": (Axis("n_b", 20, 3000, 25), Axis("lambda_z", 5e-4, 0.02, 25), (1, 200, 5, None)),
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("x", "y", "sizes"), DIAGRAMS.values(), ids=DIAGRAMS)
def test_random_points_agree_with_the_solver(x, y, sizes, mode):
    fixed = {name: value for name, value in zip(("m_a", "n_a", "m_b", "n_b"), sizes, strict=True) if value}
    if "lambda_z" not in (x.name, y.name):
        fixed["lambda_z"] = 0.012
    diagram = phase_diagram(x, y, **fixed, **MODES[mode])
    rng = np.random.default_rng(11)
    seen = set()
    for regime in Regime:  # every regime of the diagram gets its share of points
        points = np.argwhere(diagram.regimes == regime)
        for row, column in rng.permutation(points)[:2]:
            geometry = lp.solve(diagram.problem(row, column)).geometry
            assert geometry.rank == diagram.ranks[row, column]
            assert geometry.merged == diagram.merged(row, column)
            seen.add(regime)
    assert len(seen) >= 3


def test_no_data_set_has_fractional_counts():
    section = phase_diagram(Axis("ratio", 1.01, 2, 4), m_a=2, m_b=2, n_b=50, lambda_z=0.01)
    with pytest.raises(ValueError, match=r"^counts must be whole numbers; got 50.5 for class 0"):
        section.problem(0, 0)


def test_logit_adjustment_moves_the_boundary_between_the_clusters_only():
    axis, fixed, *_ = FIGURES["5"]
    plain, adjusted = (phase_diagram(axis, **fixed, loss=lp.CrossEntropy(logit_adjustment=tau)) for tau in (0.0, 1.0))
    assert crossing(plain, "minority") == crossing(adjusted, "minority")
    assert abs(crossing(plain, "between") - crossing(adjusted, "between")) < 1e-12  # a free bias undoes it
    plain, adjusted = (
        phase_diagram(axis, **fixed, bias=False, loss=lp.CrossEntropy(logit_adjustment=tau)) for tau in (0.0, 1.0)
    )
    place = crossing(adjusted, "between")
    assert abs(crossing(plain, "between") - place) > 1e-4
    ranks = [
        lp.UFM("500x5,100x5", place * f, bias=False, loss=lp.CrossEntropy(logit_adjustment=1.0)).solve().geometry.rank
        for f in (1 - 1e-5, 1 + 1e-5)
    ]
    assert ranks == [5, 4]


@pytest.mark.slow
@pytest.mark.parametrize("mode", [{"bias": False}, {"lambda_b": 2.0}], ids=["no bias", "penalised"])
@pytest.mark.parametrize(("sizes", "rare"), [((8, 400, 3, 3), "B"), ((1, 3, 3, 401), "")], ids=["many", "a single one"])
def test_against_the_counts_an_adjustment_tells_apart_clusters_that_have_merged(sizes, rare, mode):
    """A sample of the few is then told from the many by its logits' level alone, long after all fellows are lost."""
    loss = lp.CrossEntropy(logit_adjustment=-1.5)
    m_a, n_a, m_b, n_b = sizes
    section = phase_diagram(
        Axis("lambda_z", 1e-4, 0.1, 60, log=True), **dict(zip(SIZES, sizes, strict=True)), **mode, loss=loss
    )
    assert Regime.BOTH_MERGED in section.regimes
    assert crossing(section, "majority") == pytest.approx(math.sqrt(max(n_a, n_b)) / (m_a * n_a + m_b * n_b), rel=1e-12)
    names = section.to_dict()["merged"][0]
    for column in range(0, 60, 3):
        geometry = lp.solve(section.problem(0, column)).geometry
        assert geometry.rank == section.ranks[0, column]
        assert geometry.merged == section.merged(0, column)
        if section.regimes[0, column] == Regime.BOTH_MERGED:
            assert names[column] == ("A,B" if rare else "B")


@pytest.mark.slow
def test_fractional_counts_stand_for_whole_ones_at_another_decay():
    diagram = phase_diagram(
        Axis("lambda_z", 1e-3, 0.02, 6), Axis("ratio", 1.25, 9.25, 3), m_a=4, m_b=3, n_b=33, lambda_b=0.02
    )
    for row, ratio in enumerate(diagram.y.values):
        for column, decay in enumerate(diagram.x.values):
            counts = np.repeat([33 * ratio * 4, 33 * 4], [4, 3])
            model = lp.UFM(counts, decay / 2, lambda_b=0.02)
            assert model.solve().geometry.rank == diagram.ranks[row, column]


@pytest.mark.slow
def test_a_class_of_its_own_is_never_merged_but_may_vanish():
    section = phase_diagram(Axis("lambda_z", 1e-3, 0.03, 60), m_a=3, n_a=200, m_b=1, n_b=20, lambda_b=0.02)
    regimes = set(section.regimes[0].tolist())
    assert regimes == {Regime.ALL_APART, Regime.MINORITY_ZERO, Regime.ALL_MERGED}
    assert len(section.crossings["minority"][0]) == 0
    column = int(np.flatnonzero(section.regimes[0] == Regime.MINORITY_ZERO)[0])
    geometry = lp.solve(section.problem(0, column)).geometry
    assert section.merged(0, column) == geometry.merged == []
    np.testing.assert_allclose(geometry.mean_logits[3], 0, atol=1e-9)


@pytest.mark.slow
def test_progress_reaches_its_end_and_decays_share_their_thresholds():
    calls: list[tuple[int, int]] = []
    phase_diagram(
        Axis("lambda_z", 1e-3, 0.03, 300),
        Axis("n_a", 100, 1000, 100),
        m_a=3, m_b=2, n_b=20, progress=lambda *done: calls.append(done),
    )  # fmt: skip
    assert calls == [(100, 100)]
    calls.clear()
    phase_diagram(
        Axis("n_a", 100, 1000, 300), Axis("n_b", 10, 90, 81), m_a=3, m_b=2, lambda_z=0.01, bias=False,
        progress=lambda *done: calls.append(done),
    )  # fmt: skip
    assert calls[-1] == (300 * 81, 300 * 81)
    assert len(calls) > 1


def test_json_is_plain_and_complete():
    diagram = phase_diagram(
        Axis("lambda_z", 1e-3, 0.03, 4), Axis("ratio", 0.5, 2, 3), m_a=3, m_b=2, n_b=20, lambda_b=0.02
    )
    value = json.loads(json.dumps(diagram.to_dict(), allow_nan=False))
    assert value["x"] == {"name": "lambda_z", "log": False, "values": diagram.x.values.tolist()}
    assert value["fixed"] == {"m_a": 3.0, "m_b": 2.0, "n_b": 20.0}
    assert np.shape(value["regimes"]) == np.shape(value["ranks"]) == np.shape(value["merged"]) == (3, 4)
    for row in range(3):
        for column in range(4):
            merged = diagram.merged(row, column)
            expected = "" if not merged else "AB" if len(merged[0]) == 5 else "A" if merged[0][0] == 0 else "B"
            assert value["merged"][row][column] == expected
            assert value["regimes"][row][column] in value["legend"]
    assert value["boundaries"]["along"] == "x"
    for name in ("minority", "between", "complete"):
        assert len(value["boundaries"][name]) == 3


DECAY = Axis("lambda_z", 1e-3, 1e-2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Axis("decay", 1, 2), r"axis must vary one of: lambda_z, ratio, .*; got 'decay'"),
        (lambda: Axis("lambda_z", 0, 2), r"axis must keep lambda_z between .*; got 0"),
        (lambda: Axis("n_a", 2, math.nan), r"axis must keep n_a between 1 and .*; got nan"),
        (lambda: Axis("n_a", 5, 5), r"axis must run upwards, .*; got 5 to 5"),
        (lambda: Axis("n_a", 5, 9, 1), r"axis must have a whole number of points from 2 to 5000; got 1"),
        (lambda: Axis.parse("ratio:1", argument="y"), r"y must be NAME:START:STOP or .*; got 'ratio:1'"),
        (lambda: Axis.parse("ratio:1:x", argument="y"), r"y must be NAME:START:STOP or .*; got 'ratio:1:x'"),
        (lambda: Axis.parse("ratio:9:2", argument="y"), r"y must run upwards, .*; got 9.0 to 2.0"),
        (lambda: phase_diagram(DECAY, DECAY), r"y must vary another quantity than x; got lambda_z twice; .*"),
        (lambda: phase_diagram(DECAY, m_a=2, n_a=9, n_b=3), r"m_b must be given, .*; got neither"),
        (lambda: phase_diagram(DECAY, m_a=2, m_b=2, n_b=3), r"n_a must be given: two of .*; got \['n_b'\]"),
        (lambda: phase_diagram(DECAY, m_a=2, m_b=2), r"n_b must be given: two of .*; got none"),
        (lambda: phase_diagram(DECAY, m_a=2, m_b=2, n_a=4, n_b=2, ratio=2), r"ratio must be left out: .*; got all"),
        (lambda: phase_diagram(DECAY, lambda_z=1.0), r"lambda_z must be left out where it is an axis; got 1.0"),
        (lambda: phase_diagram(DECAY, m_a=2.5, m_b=2, n_a=4, n_b=2), r"m_a must be a whole number; got 2.5; .*"),
        (lambda: phase_diagram(DECAY, m_a=0, m_b=2, n_a=4, n_b=2), r"m_a must be a number between 1 and .*; got 0"),
        (
            lambda: phase_diagram(DECAY, m_a=2, m_b=2, n_a=4, n_b=2, lambda_b=-1),
            r"lambda_b must be a finite number of at least 0 .*; got -1",
        ),
        (
            lambda: phase_diagram(DECAY, m_a=2, m_b=2, n_a=4, n_b=2, loss=lp.CrossEntropy(label_smoothing=0.1)),
            r"label_smoothing must be left out of a phase diagram, .*; got 0.1; .*",
        ),
        (
            lambda: phase_diagram(DECAY, m_a=2, m_b=2, n_a=4, n_b=2, loss=lp.CrossEntropy(weights=[1, 2])),
            r"weights must be left out of a phase diagram, .*; got \(1.0, 2.0\); .*",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
