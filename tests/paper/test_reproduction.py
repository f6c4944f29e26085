"""The figures of the paper: their parameters, the invariance that fits them to small data, and their judges."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
from lopsided.paper import bundled, plans
from lopsided.paper.judge_figures import threshold_ratios
from lopsided.paper.plans import FIGURES, fit, plan
from lopsided.paper.reproduction import judge_experiment
from lopsided.report import figure_reproduction, write_reproduction
from lopsided.runs.configuration import configure
from trained import as_trained, changed, row


def full(name):
    return plan(name, "full", changes={"data": "digits"})  # planning alone needs no files


FIG5 = [0.0027, 0.0030, 0.0033, 0.0039, 0.0045, 0.0051, 0.0057, 0.0063, 0.0069, 0.0075]
FIG6 = [0.0037, 0.0041, 0.0045, 0.0053, 0.0062, 0.0070, 0.0078, 0.0086, 0.0094, 0.0102]
FIG7 = [100, 200, 300, 400, 600, 800, 1000, 1100, 1200, 1400]
FIG8 = [100, 400, 450, 500, 700, 1000, 1600, 2200, 2500, 2800]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "places", "classes"),
    [
        ("fig5", FIG5, 5),
        ("fig6", FIG6, 3),
        ("fig7", FIG7, 5),
        ("fig8", FIG8, 3),
        ("fig9", list(range(500, 5501, 500)), 5),
    ],
)
def test_at_full_scale_the_axes_are_the_papers(name, places, classes):
    experiment = full(name)
    assert [experiment.position(point) for point in experiment.points] == pytest.approx(places)
    for point in experiment.points:
        run = point.asked
        assert point.fitted == run
        assert (run.network, run.epochs, run.batch_size, run.optimizer) == ("resnet18", 2000, 128, "sgd")
        assert (run.momentum, run.learning_rate, run.schedule, run.lambda_b) == (0.9, 0.1, "steps", 0.01)
        counts = run.model.counts
        if len(set(counts)) > 1:
            assert sum(counts == counts.max()) == classes
        assert run.model.lambda_w == pytest.approx(10 * run.model.lambda_z)
        assert run.model.lambda_h == pytest.approx(run.model.lambda_z / 10)


def test_the_ninth_figure_keeps_ratio_and_total_decay():
    for point in full("fig9").points:
        counts = point.asked.model.counts
        assert counts.max() == 2 * counts.min()
        assert counts.sum() * point.asked.lambda_z == pytest.approx(0.1)


@pytest.mark.parametrize(("name", "counts"), [("fig1", "5000x4,4000x3,3000x3"), ("fig4", "5000x4,3000x2,1000x4")])
def test_the_first_figures_train_three_networks_on_two_data_sets(name, counts, monkeypatch):
    monkeypatch.setattr(plans, "samples_a_class", lambda *_: np.full(10, 5000))
    runs = [point.asked for point in plan(name, "full").points]
    assert {(run.data, run.network) for run in runs} == {
        (data, network) for data in ("fashion-mnist", "cifar10") for network in ("resnet18", "vgg11", "vgg13")
    }
    for run in runs:
        assert (run.counts, run.lambda_w, run.lambda_h, run.lambda_b, run.epochs) == (counts, 1e-3, 1e-6, 0.01, 1000)
    assert plan(name, "full").lead.startswith("6 runs of resnet18, vgg11, vgg13 on fashion-mnist, cifar10, full scale.")


def test_a_data_set_is_read_once_for_all_runs(monkeypatch):
    read = []
    monkeypatch.setattr(plans, "samples_a_class", lambda data, *_: read.append(data) or np.full(10, 5000))
    assert len(plan("fig1", "full").points) == 6
    assert sorted(read) == ["cifar10", "fashion-mnist"]


@pytest.mark.slow
def test_figures_of_one_data_set_share_their_runs():
    for first, second in (("fig1", "fig3"), ("fig2", "fig4")):
        runs = [[point.fitted for point in plan(name, changes={"data": "digits"}).points] for name in (first, second)]
        assert runs[0] == runs[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_fitted_runs_have_the_same_optimum(name):
    for point in plan(name, changes={"data": "digits"}).points[::4]:
        assert point.fitted.model.counts.max() <= 163
        asked, fitted = (run.model.solve() for run in (point.asked, point.fitted))
        assert asked.status == fitted.status == "optimal"
        np.testing.assert_allclose(fitted.geometry.mean_logits, asked.geometry.mean_logits, atol=1e-5)
        np.testing.assert_allclose(fitted.geometry.bias, asked.geometry.bias, atol=1e-6)
        assert threshold_ratios(row(point.fitted)) == pytest.approx(threshold_ratios(row(point.asked)))


@given(st.lists(st.integers(1, 60), min_size=2, max_size=5), st.integers(1, 40), st.integers(1, 3000))
def test_fitting_keeps_ratios_and_takes_as_many_as_there_are(shares, factor, most):
    run = configure({"data": "digits", "counts": [factor * share for share in shares], "lambda_z": 0.01})
    if most < sum(np.array(shares) // np.gcd.reduce(shares)) or max(shares) > 160:
        return
    fitted = fit(run, [160] * 10, most)
    counts, before = fitted.model.counts, run.model.counts
    assert np.array_equal(counts * before.sum(), before * counts.sum())
    assert counts.sum() <= most
    assert counts.max() <= 160
    assert fitted.lambda_z**2 * counts.sum() == pytest.approx(run.lambda_z**2 * before.sum())


def test_too_few_samples_for_the_ratios():
    run = configure({"data": "digits", "counts": "500,1", "lambda_z": 0.01})
    with pytest.raises(
        ValueError,
        match=r"^counts must be in the ratios .* at least 500,1 samples; got 160 in a class of digits; choose",
    ):
        fit(run, [160] * 10, None)
    run = configure({"data": "digits", "counts": "40,1", "lambda_z": 0.01})
    with pytest.raises(ValueError, match=r"got 160 in a class of digits, and at most 30 in all; "):
        fit(run, [160] * 10, 30)


def test_more_classes_than_there_are():
    with pytest.raises(ValueError, match=r"^counts must name at most the 10 classes of digits; got 12$"):
        plan("fig5", changes={"data": "digits", "counts": "20x12"})


def test_small_scale_takes_fashion_mnist_where_it_is_and_else_the_digits(monkeypatch):
    def missing(folder):
        raise ValueError("data is not there")

    monkeypatch.setattr(bundled, "find_fashion_mnist", missing)
    experiment = plan("fig6")
    assert {point.fitted.data for point in experiment.points} == {"digits"}
    assert "500x3,100x7 is carried out as 155x3,31x7" in experiment.lead
    monkeypatch.setattr(bundled, "find_fashion_mnist", lambda folder: None)
    monkeypatch.setattr(plans, "samples_a_class", lambda *_: np.full(10, 6000))
    experiment = plan("fig6")
    assert {(point.fitted.data, point.fitted.counts) for point in experiment.points} == {
        ("fashion-mnist", "500x3,100x7")
    }
    assert "scaled" not in experiment.lead


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fig10",), "figure must be one of: fig1"),
        (("fig5", "huge"), "scale must be one of: small, full; got 'huge'"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan(*arguments)


def carried_out(name, count=None):
    """An experiment, and its first runs, of networks that ended where they were predicted to."""
    experiment = plan(name, changes={"data": "digits"})
    return experiment, [as_trained(point, experiment) for point in experiment.points[:count]]


@pytest.fixture(scope="module")
def fig5():
    return carried_out("fig5")


def claims(checks):
    return {check.claim: check for check in checks}


@pytest.mark.slow
def test_a_network_at_the_optimum_holds_every_claim(fig5):
    checks = claims(judge_experiment(*fig5).checks)
    assert len(checks) == 9
    assert all(check.holds for check in checks.values())
    assert checks["where the rare classes merge"].found == "from 0.0039 on, not up to 0.003"
    assert checks["where all classes merge"].found == "from 0.0083 on, not up to 0.0069"


def test_both_thresholds_have_runs_on_either_side_or_say_so(fig5):
    rows = [entry.row for entry in fig5[1]]
    ratios = [threshold_ratios(entry) for entry in rows]
    assert min(ratio["rare"] for ratio in ratios) < 1 < max(ratio["rare"] for ratio in ratios)
    assert min(ratio["all"] for ratio in ratios) < 1 < max(ratio["all"] for ratio in ratios)
    assert [entry["near_threshold"] for entry in rows] == [False, False, True, *[False] * 6, True, False]


def test_a_merge_at_the_wrong_decay_is_found(fig5):
    experiment, runs = fig5
    early = runs[4].run.predicted  # the rare classes have merged there
    wrong = changed(runs[0], run=dataclasses.replace(runs[0].run, measured=early))
    checks = claims(judge_experiment(experiment, [wrong, *runs[1:]]).checks)
    assert not checks["where the rare classes merge"].holds
    assert checks["where the rare classes merge"].found.startswith("at 0.0027, 0.0039")
    assert checks["merged classes as predicted, no others"].found == "8 of 9"
    assert not checks["rank as predicted"].holds


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"outcome": "diverged"}, "no run diverges or sticks"),
        ({"findings": ["rank-deficient"]}, "no run diverges or sticks"),
        ({"rare_cosine": 0.9}, "cosine between rare classes as predicted"),
        ({"minority_spread": 0.7}, "spread of rare classes as predicted"),
        ({"mean_logits_error": 0.11}, "mean logits as predicted"),
        ({"mean_logits_error": None}, "mean logits as predicted"),
    ],
)
def test_what_differs_is_what_does_not_hold(fig5, change, claim):
    experiment, runs = fig5
    checks = judge_experiment(experiment, [changed(runs[0], **change), *runs[1:]]).checks
    assert [check.claim for check in checks if not check.holds] == [claim]


def test_an_uncertified_prediction_is_no_target(fig5):
    experiment, runs = fig5
    certificate = {**runs[0].run.certificate, "status": "stationary"}
    doubtful = changed(runs[0], run=dataclasses.replace(runs[0].run, certificate=certificate))
    checks = claims(judge_experiment(experiment, [doubtful, *runs[1:]]).checks)
    assert not checks["every prediction is certified"].holds


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fig1", "fig4"])
def test_the_judges_of_training_tell_good_from_bad(name):
    experiment, (first, second) = carried_out(name, 2)
    assert all(check.holds for check in judge_experiment(experiment, [first, second]).checks)
    slow = dataclasses.replace(
        first.run,
        measures={"nc1_rank_aware": 0.1},
        history=[{"epoch": 0, "nc1_rank_aware": 5.0}, {"epoch": 9, "nc1_rank_aware": 0.1}],
        measured=lp.Geometry(first.run.measured.counts, -first.run.measured.class_means, first.run.measured.classifier),
    )
    bad = changed(first, run=slow, train_accuracy=0.9, mean_logits_error=0.2, bias_error=0.5)
    checks = judge_experiment(experiment, [bad, second]).checks
    assert [check.holds for check in checks] == [True, True, False, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fig1", "fig4", "fig5"])
def test_the_folder_of_a_figure(name, tmp_path):
    result = judge_experiment(*carried_out(name))
    number = len(result.checks)
    assert f"{name}: {number} of {number} claims hold" in figure_reproduction(result).get_suptitle()
    table = write_reproduction(tmp_path, [result])
    assert {path.name for path in (tmp_path / name).iterdir()} == {"figure.png", "rows.jsonl", "verdict.json"}
    text = table.read_text()
    assert text.count(f"| {name} |") == number
    assert "| experiment | claim | predicted | measured | holds? |" in text


def test_at_full_scale_linear_and_relu_features_have_predictions_of_their_own():
    points = plan("relu", "full", changes={"data": "digits", "counts": "15x3,3x7"}).points
    assert [(point.fitted.features, point.fitted.model.features) for point in points[::10]] == [
        ("linear", "any"),
        ("relu", "relu"),
    ]
