"""The runs of the demo: a real network against the certified optimum, on both sides of both thresholds."""

from __future__ import annotations

import pytest

import lopsided as lp
from lopsided.paper.bundled import read_bundled
from lopsided.paper.demo import demo_configurations
from lopsided.runs import Run

RARE, ALL = [[5, 6, 7, 8, 9]], [list(range(10))]


@pytest.fixture(scope="module")
def runs(demo):
    _, folder = demo
    return {name: Run.load(folder / "runs" / name) for name in demo_configurations()}


@pytest.mark.parametrize("name", read_bundled("demo"))
def test_the_decays_lie_on_the_three_sides_of_the_thresholds(name):
    runs = demo_configurations(name)
    thresholds = runs["below"].model.thresholds()
    rare, complete = min(thresholds.within), thresholds.complete
    assert runs["below"].lambda_z < rare < runs["between"].lambda_z < complete < runs["above"].lambda_z


@pytest.mark.parametrize("name", read_bundled("demo"))
def test_network_and_descent_are_those_of_the_figures_at_small_scale(name):
    (scale,) = (table for scale, table in read_bundled("scales").items() if scale != "full" and table["data"] == name)
    for run in demo_configurations(name).values():
        assert (run.data, list(run.hidden), run.dim) == (name, scale["hidden"], scale["dim"])
        assert {key: run.descent[key] for key in run.descent if key in scale} == {
            key: scale[key] for key in ("epochs", "batch_size", "learning_rate")
        }
        assert run.model.lambda_w / run.lambda_z == pytest.approx(scale["decay_ratio"])


def test_other_counts_and_seeds_are_other_runs():
    stated, others = demo_configurations(), demo_configurations(counts="90x4,30x2", seed=3)
    assert [run.counts for run in others.values()] == ["90x4,30x2"] * 3
    assert {run.seed for run in others.values()} == {3}
    assert not {run.derived_seed for run in others.values()} & {run.derived_seed for run in stated.values()}


@pytest.mark.parametrize("name", ["below", "between"])
def test_mean_logits_are_as_predicted(runs, name):
    comparison = runs[name].comparison
    assert comparison["mean_logits"].relative_error <= 0.02
    assert comparison["gram_means"].relative_error <= 0.04
    assert comparison["gram_classifier"].relative_error <= 0.02
    assert comparison["bias"].relative_error <= 0.02
    assert comparison.same_rank


@pytest.mark.parametrize(("name", "merged"), [("below", []), ("between", RARE), ("above", ALL)])
def test_the_predicted_classes_merge(runs, name, merged):
    run = runs[name]
    assert run.predicted.merged == run.measured.merged == merged
    assert run.findings == []


def test_below_the_thresholds_the_terminal_phase_is_reached(runs):
    assert runs["below"].measures["train_accuracy"] == 1.0
    assert runs["below"].measures["nc1"] < 1e-2
    assert runs["between"].measures["nc1_rank_aware"] < 1e-2


def test_above_complete_collapse_all_logits_vanish(runs):
    assert abs(runs["above"].measured.mean_logits).max() < 0.02


def test_no_network_beats_the_certified_optimum(runs):
    for run in runs.values():
        decays = {name: run.settings[name] for name in ("lambda_w", "lambda_h", "lambda_b")}
        excess = run.history[-1]["objective"] / lp.UFM(run.settings["counts"], **decays).solve().objective - 1
        assert -1e-6 < excess < 2e-3
