"""Remedies by name: what they change in a run, and that a trained network is then as advised."""

import numpy as np
import pytest

from lopsided.advice import FADING, LEVERS, advise
from lopsided.advice.outlook import outlook_of
from lopsided.runs.apply_remedy import advised, apply_remedy
from lopsided.runs.configuration import Configuration
from lopsided.runs.execution import perform

RUN = {"data": "digits", "counts": "100x5,20x5", "lambda_z": 0.0105, "lambda_b": 0.01, "decay_ratio": 30.0}
NAMES = sorted({f"{lever.name}:{lever.convention}".rstrip(":") for lever in LEVERS})


def test_a_run_without_a_remedy_is_as_it_was():
    run = Configuration(**RUN)
    assert advised(run) is None
    assert apply_remedy(run) is run


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_remedy_of_advise_leads_to_the_problem_that_it_solved(name):
    run = Configuration(**RUN, remedy=name)
    remedy, applied = advised(run), apply_remedy(run)
    assert applied.remedy is None
    assert applied != run.replace(remedy=None)
    ours, theirs = applied.model, remedy.problem
    assert ours.lambda_z == pytest.approx(theirs.lambda_z)
    # whole samples are shown: within one a class
    np.testing.assert_allclose(ours.counts, theirs.counts, atol=1)
    np.testing.assert_allclose(
        ours.solve().geometry.mean_logits, theirs.solve().geometry.mean_logits, rtol=0.02, atol=0.02
    )
    if remedy.works:
        assert not outlook_of(ours).lost


def test_a_remedy_gives_the_margin_that_is_asked_for():
    run = Configuration(**RUN, remedy="decay", remedy_margin=1.7)
    applied = apply_remedy(run)
    assert outlook_of(applied.model).margins.min() == pytest.approx(1.7, rel=1e-6)
    shared = {**RUN, "lambda_w": 0.1, "lambda_h": 0.001}
    del shared["lambda_z"], shared["decay_ratio"]
    both = apply_remedy(Configuration(**shared, remedy="decay"))
    assert both.lambda_w / both.lambda_h == pytest.approx(100)


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "margin"), [("all", 1.2), ([6, 7, 8, 9], 1.1), ([0, 5, 6, 8], FADING)])
def test_what_advise_says_to_ask_for_is_what_it_found(keep, margin):
    plain = Configuration(**RUN)
    levers = ["decay", "merging", "class-weights", "oversampling"]
    for remedy in advise(plain.model, keep, margin=margin, levers=levers).remedies:
        again = advised(Configuration(**RUN, **remedy.train_options))
        assert again.settings == remedy.settings
        assert again.change == remedy.change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"remedy": "prayer"}, "remedy must be of: decay, .*; got 'prayer'"),
        ({"remedy": "scales:often"}, "remedy must be one of scales, scales:logit, scales:label; got 'scales:often'"),
        ({"remedy": "decay:often"}, "remedy must be decay alone, which has one convention; got 'decay:often'"),
        ({"remedy": "prayer:often"}, "remedy must be of: decay, .*; got 'prayer'"),
        ({"remedy": "decay", "lambda_z": 1e-4}, "remedy must be left out: every class to be kept has a margin of"),
        ({"remedy": "decay", "remedy_keep": "8-10"}, "remedy_keep must name class numbers from 0 to 9; got '8-10'"),
        ({"remedy": "decay", "remedy_keep": "cat"}, "remedy_keep must name class numbers from 0 to 9; got 'cat'"),
        ({"remedy": "decay", "remedy_keep": "0", "remedy_margin": 1}, "remedy must be left out: every class to be"),
        ({"remedy": "decay", "loss": "focal"}, "loss must be convex in the logits"),
        ({"remedy": "scales", "loss": "squared-error"}, "remedy 'scales' cannot be applied: .* has no scales"),
    ],
)
def test_a_remedy_that_cannot_be(change, message):
    run = Configuration(**{**RUN, **change})
    with pytest.raises(ValueError, match=f"^{message}"):
        apply_remedy(run)


def test_settings_of_remedies_keep_their_rules():
    with pytest.raises(ValueError, match=r"^remedy_margin must be left out without a remedy; got 2"):
        Configuration(**RUN, remedy_margin=2.0)
    with pytest.raises(ValueError, match=r"^remedy_keep must be left out without a remedy; got 5-9"):
        Configuration(**RUN, remedy_keep="5-9")
    with pytest.raises(ValueError, match=r"^merged_classes must be groups of at least two classes"):
        Configuration(**RUN, merged_classes=[[1, 2], [2, 3]])
    with pytest.raises(ValueError, match=r"^merged_classes must name classes from 0 to 9, each once; got 10"):
        Configuration(**RUN, merged_classes=[[1, 10]])


@pytest.mark.slow
def test_classes_trained_as_one():
    run = Configuration(**RUN, remedy="merging", epochs=150, hidden=[64], dim=16, batch_size=150)
    stored, row = perform(run)
    assert stored.name == run.digest
    assert row["remedy"] == "merging"
    assert row["merged_classes"] == [list(group) for group in apply_remedy(run).merged_classes]
    assert stored.measured.num_classes == 10 - sum(len(group) - 1 for group in row["merged_classes"])
    assert stored.comparison.same_merged
    assert stored.comparison["mean_logits"].relative_error < 0.1
    assert row["remedy_works"] is True
    assert row["test_accuracy_rare"] > 0.7  # of the group: the classes in it are one
