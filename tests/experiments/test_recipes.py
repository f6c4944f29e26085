"""The recipe for the digits: a real network against the certified optimum, on both sides of both thresholds."""

from __future__ import annotations

import pytest

import lopsided as lp
from lopsided.experiments.recipes import RECIPES

RARE, ALL = [[5, 6, 7, 8, 9]], [list(range(10))]


@pytest.fixture(scope="module")
def digits():
    return RECIPES["digits"].load()


@pytest.fixture(scope="module")
def results(digits):
    recipe = RECIPES["digits"]
    return {name: recipe.train(digits, decay) for name, decay in recipe.lambda_z.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_the_decays_lie_on_the_three_sides_of_the_thresholds(name):
    recipe = RECIPES[name]
    thresholds = lp.UFM(recipe.counts, recipe.lambda_z["below"], lambda_b=recipe.lambda_b).thresholds()
    rare, complete = min(thresholds.within), thresholds.complete
    assert recipe.lambda_z["below"] < rare < recipe.lambda_z["between"] < complete < recipe.lambda_z["above"]


@pytest.mark.parametrize("name", RECIPES)
def test_the_ratio_of_the_decays_leaves_their_product(name):
    decays = RECIPES[name].decays(0.005)
    assert lp.UFM("5x2", **decays).lambda_z == pytest.approx(0.005)


@pytest.mark.parametrize("name", ["below", "between"])
def test_mean_logits_are_as_predicted(results, name):
    result = results[name]
    comparison = lp.compare(result.model.solve().geometry, result.geometry)
    assert comparison["mean_logits"].relative_error <= 0.02
    assert comparison["gram_means"].relative_error <= 0.04
    assert comparison["gram_classifier"].relative_error <= 0.02
    assert comparison["bias"].relative_error <= 0.02
    assert comparison.same_rank


@pytest.mark.parametrize(("name", "merged"), [("below", []), ("between", RARE), ("above", ALL)])
def test_the_predicted_classes_merge(results, name, merged):
    result = results[name]
    assert result.model.solve().geometry.merged == result.geometry.merged == merged
    assert result.findings == ()


def test_below_the_thresholds_the_terminal_phase_is_reached(results):
    assert results["below"].train_accuracy == 1.0
    assert results["below"].measures["nc1"] < 1e-2
    assert results["between"].measures["nc1_rank_aware"] < 1e-2


def test_above_complete_collapse_all_logits_vanish(results):
    assert abs(results["above"].geometry.mean_logits).max() < 0.02


def test_no_network_beats_the_certified_optimum(results):
    for result in results.values():
        excess = result.history[-1]["objective"] / result.model.solve().objective - 1
        assert -1e-6 < excess < 2e-3
