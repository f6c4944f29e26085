"""The experiments that the paper leaves open: what they plan, and their judges, which tell good from bad."""

import dataclasses
import json

import numpy as np
import pytest

from lopsided.paper.generalisation import class_table, rank_correlation, within
from lopsided.paper.groups import group_label, recognised_as_predicted
from lopsided.paper.plans import NEXT, plan
from lopsided.paper.reproduction import judge_experiment
from lopsided.report import figure_reproduction, write_reproduction
from lopsided.runs.apply_remedy import apply_remedy
from lopsided.training.building import INITIALISATIONS
from trained import as_trained, changed


def carried_out(name, chosen=slice(None)):
    """An experiment whose networks ended where they were predicted to."""
    experiment = plan(name, changes={"data": "digits"})
    experiment = dataclasses.replace(experiment, points=experiment.points[chosen])
    return experiment, [as_trained(point, experiment) for point in experiment.points]


@pytest.fixture(scope="module")
def initialisation():
    return carried_out("initialisation", slice(0, None, 5))


@pytest.fixture(scope="module")
def generalisation():
    return carried_out("generalisation", slice(0, None, 2))


def claims(checks):
    return {check.claim: check for check in checks}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEXT)
@pytest.mark.parametrize("scale", ["small", "full"])
def test_every_experiment_is_a_configuration(name, scale):
    experiment = plan(name, scale, changes={"data": "digits"})
    assert len(experiment.points) > 5
    assert {point.fitted.network for point in experiment.points} == {"mlp" if scale == "small" else "resnet18"}
    if scale == "small":
        for point in experiment.points:
            assert apply_remedy(point.fitted).model.num_samples <= 2000


def test_initialisations_are_all_there_with_many_seeds_on_both_sides_of_a_threshold():
    points = [point.asked for point in plan("initialisation", changes={"data": "digits"}).points]
    assert {run.initialisation for run in points} == set(INITIALISATIONS)
    assert len({run.seed for run in points}) == 5
    within = points[0].model.thresholds().within.min()
    assert min(run.lambda_z for run in points) < within < max(run.lambda_z for run in points)


def test_losses_are_those_asked_for():
    experiment = plan("losses", changes={"data": "digits"})
    labels = [group_label(point.fitted.settings, experiment.by) for point in experiment.points]
    assert list(dict.fromkeys(labels)) == [
        "weights 1x5,2.236x5",
        "weights 1x5,5x5",
        "weights 1x5,2.236x5, reduction samples",
        "focal, gamma 1",
        "label_smoothing 0.1",
        "logit_adjustment 1",
        "margins 0.3344x5,0.5x5",
        "scales 1x5,2x5",
        "squared-error",
    ]


@pytest.mark.slow
def test_networks_at_the_optimum_hold_every_claim(initialisation):
    judged = judge_experiment(*initialisation)
    assert len(judged.checks) == 2 + 4 * len(INITIALISATIONS)
    assert all(check.holds for check in judged.checks)


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"mean_logits_error": 0.11}, "default: mean logits as predicted"),
        ({"mean_logits_error": None}, "default: mean logits as predicted"),
        ({"class_accuracy": [1.0] * 5 + [0.0] * 5}, "default: classes recognised as predicted"),
    ],
)
def test_what_differs_in_a_group_is_what_does_not_hold(initialisation, change, claim):
    experiment, runs = initialisation
    checks = judge_experiment(experiment, [changed(runs[0], **change), *runs[1:]]).checks
    assert [check.claim for check in checks if not check.holds] == [claim]


def test_a_run_that_diverged_agrees_with_nothing(initialisation):
    experiment, runs = initialisation
    checks = judge_experiment(experiment, [changed(runs[0], outcome="diverged"), *runs[1:]]).checks
    failed = [check.claim for check in checks if not check.holds]
    assert failed[0] == "no run diverges or sticks"
    assert len(failed) == 5
    assert all(claim.startswith("default: ") for claim in failed[1:])


def test_a_group_that_merges_elsewhere_is_found(initialisation):
    experiment, runs = initialisation
    wrong = changed(runs[0], run=dataclasses.replace(runs[0].run, measured=runs[1].run.predicted))
    checks = claims(judge_experiment(experiment, [wrong, *runs[1:]]).checks)
    assert checks["default: merged classes as predicted"].found == "1 of 2"
    assert not checks["default: rank as predicted"].holds


def test_runs_next_to_a_threshold_are_not_judged(initialisation):
    experiment, runs = initialisation
    near = [changed(entry, near_threshold=entry.row["initialisation"] == "he") for entry in runs]
    checks = judge_experiment(experiment, near).checks
    assert not [check for check in checks if check.claim.startswith("he:")]
    assert all(check.holds for check in checks)


def test_ties_may_end_either_way(initialisation):
    _, runs = initialisation
    merged = runs[1]  # the rare classes have merged: their leads are those over the common classes
    assert (merged.predicted_lead[:5] > 0).all()
    assert (merged.predicted_lead[5:] <= 0).all()
    assert recognised_as_predicted(merged)
    assert not recognised_as_predicted(changed(merged, class_accuracy=[1.0] * 10))


@pytest.mark.slow
def test_predictions_are_ranked_class_by_class(generalisation):
    _, runs = generalisation
    table = class_table(runs)
    assert len(table.accuracy) == 10 * len(runs)
    assert not (table.lost & table.kept).any()
    np.testing.assert_array_equal(table.lost[table.lost], table.predicted["lead"][table.lost] < 0)
    everything = np.ones(len(table.accuracy), dtype=bool)
    for counts in (False, True):
        found = within(table, table.accuracy, everything, counts=counts)
        assert len(found) > 0
        np.testing.assert_allclose(found, 1.0)  # a quantity ranks itself
        np.testing.assert_allclose(within(table, -table.accuracy, everything, counts=counts), -1.0)
    counted = dataclasses.replace(table, accuracy=table.predicted["count"].astype(float))
    assert len(within(counted, counted.accuracy, everything, counts=True)) == 0  # nothing but the count: nothing left
    assert len(within(counted, counted.accuracy, everything)) > 0


def test_rank_correlation_is_pearsons_of_the_ranks():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=30), generator.normal(size=30)
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    assert rank_correlation(first, second) == pytest.approx(np.corrcoef(*ranks)[0, 1])


@pytest.mark.slow
def test_test_accuracy_is_judged_against_predictions(generalisation):
    experiment, runs = generalisation
    judged = judge_experiment(experiment, runs)
    checks = claims(judged.checks)
    assert checks["a class predicted to be lost is lost on test samples"].holds
    assert checks["a class predicted to be kept is kept on test samples"].holds
    assert checks["lead of the own logit ranks test accuracy, over all classes and runs"].holds
    # where everything that is kept is recognised perfectly there is nothing to rank
    assert not [claim for claim in checks if claim.endswith("over decays, where it is predicted to be kept")]
    assert judged.notes[0].startswith("Of the test samples of classes predicted to be lost, 0.0 % are")
    turned = [
        changed(entry, test_class_accuracy=[1 - value for value in entry.row["test_class_accuracy"]]) for entry in runs
    ]
    checks = claims(judge_experiment(experiment, turned).checks)
    assert not checks["a class predicted to be lost is lost on test samples"].holds
    assert not checks["a class predicted to be kept is kept on test samples"].holds
    assert not checks["lead of the own logit ranks test accuracy, over all classes and runs"].holds


def remedies():
    experiment = plan("remedies", changes={"data": "digits"})
    wanted = (None, "decay", "merging", "logit-adjustment")
    chosen = tuple(
        point
        for point in experiment.points
        if point.fitted.remedy in wanted and point.fitted.head == "linear" and point.fitted.stated_loss is None
    )
    experiment = dataclasses.replace(experiment, points=chosen)
    return experiment, [as_trained(point, experiment) for point in chosen]


@pytest.mark.slow
def test_remedies_are_judged_and_put_in_a_table():
    experiment, runs = remedies()
    helped = ("decay", "merging")
    runs = [changed(entry, test_accuracy_rare=0.5 if entry.row["remedy"] in helped else 0.0) for entry in runs]
    judged = judge_experiment(experiment, runs)
    assert all(check.holds for check in judged.checks)
    found = claims(judged.checks)
    assert found["as it is: test accuracy of rare classes, predicted lost"].target == "≤ 5 %"
    assert found["merging: test accuracy of rare classes, predicted kept"].target == "≥ 20 %"
    (table,) = judged.tables
    assert [line[0] for line in table.lines] == ["as it is", "decay", "merging", "logit-adjustment"]
    assert [line[1] for line in table.lines] == ["lost", "kept", "kept", "tied"]
    assert [line[4] for line in table.lines] == ["3 of 3"] * 4
    assert table.lines[1][5] == "50.0 ± 0.0 %"
    wrong = [changed(entry, test_accuracy_rare=0.1) for entry in runs]
    checks = judge_experiment(experiment, wrong).checks
    assert sum(not check.holds for check in checks) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["initialisation", "generalisation", "remedies"])
def test_the_folder_of_an_experiment(name, tmp_path):
    result = judge_experiment(*(remedies() if name == "remedies" else carried_out(name, slice(0, None, 10))))
    assert figure_reproduction(result).axes
    text = write_reproduction(tmp_path, [result]).read_text()
    for note in result.notes:
        assert note in text
    for table in result.tables:
        assert table.to_markdown() in text
    verdict = json.loads((tmp_path / name / "verdict.json").read_text())
    assert verdict["notes"] == list(result.notes)
    assert len(verdict["tables"]) == len(result.tables)


@pytest.mark.parametrize("change", [{"sampling_strategy": "all"}, {"merged_classes": [[8, 9]]}])
def test_what_is_shown_or_merged_of_the_samples_does_not_change_their_counts(change):
    plain = plan("fig5", changes={"data": "digits"}).points[0]
    changed = plan("fig5", changes={"data": "digits", **change}).points[0]
    assert changed.fitted.counts == plain.fitted.counts == "155x5,31x5"
    assert changed.fitted.lambda_z == plain.fitted.lambda_z
