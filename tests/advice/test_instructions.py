"""The line of Python that every remedy comes with puts in place what was solved."""

from typing import Any

import numpy as np
import pytest
import torch

import lopsided as lp
from lopsided import nn
from lopsided.advice.instructions import LONGEST_LINE
from lopsided.nn import optimizer_decays

COUNTS = "500x5,100x5"
LOSSES = [
    lp.CrossEntropy(),
    lp.CrossEntropy(weights=[1.0] * 5 + [1.05] * 5, reduction="samples"),
    lp.CrossEntropy(label_smoothing=0.05, logit_adjustment=0.5),
    lp.SquaredError(),
]


def evaluated(remedy: lp.Remedy, **given: Any) -> Any:
    """What the line of a remedy gives, with nothing known but what a user has."""
    known = {name: getattr(nn, name) for name in nn.__all__}
    known |= {"CrossEntropy": lp.CrossEntropy, "SquaredError": lp.SquaredError, "torch": torch, "remedy": remedy}
    return eval(remedy.python.removeprefix("labels = "), {**known, **given})


def assert_same_loss(found: Any, wanted: Any, counts: Any) -> None:
    numbers = lp.parse_counts(counts)
    ours, theirs = found.terms(numbers), wanted.terms(numbers)
    np.testing.assert_allclose(ours.table(), theirs.table(), rtol=1e-12)
    assert ours.normaliser == pytest.approx(theirs.normaliser, rel=1e-12)
    assert ours.smoothing == theirs.smoothing


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_line_makes_the_loss_that_was_solved(loss):
    levers = ["class-weights", "scales", "logit-adjustment"]
    margin = 1.2
    if loss == lp.CrossEntropy():  # the search for LDAM's margins takes a second, and longer for those out of reach
        levers.append("ldam")
        margin = 1.0
    advice = lp.advise(lp.UFM(COUNTS, 0.0035, lambda_b=0.02, loss=loss), margin=margin, levers=levers)
    tried = set()
    for remedy in advice.remedies:
        if remedy.problem is None:
            continue
        module = evaluated(remedy, counts=COUNTS)
        assert isinstance(module, torch.nn.Module)
        assert_same_loss(module.loss, remedy.problem.loss, COUNTS)
        tried.add(remedy.name)
    assert "class-weights" in tried
    if loss == lp.CrossEntropy():
        lines = {remedy.name: remedy.python.partition("(")[0] for remedy in advice.remedies}
        assert lines["class-weights"] == "WeightedCrossEntropy"
        assert (lines["ldam"], lines["logit-adjustment"]) == ("LDAMLoss", "LogitAdjustedLoss")


def test_a_line_shows_and_merges_the_samples_that_were_solved():
    advice = lp.advise(lp.UFM(COUNTS, 0.0035, lambda_b=0.02), margin=1.2, levers=["oversampling", "merging", "samples"])
    labels = torch.arange(10).repeat_interleave(torch.tensor(lp.parse_counts(COUNTS)))
    for convention in ("appearance", "sample"):
        remedy = advice.remedy("oversampling", convention)
        shown = evaluated(remedy, labels=labels).counts
        np.testing.assert_allclose(shown / lp.parse_counts(COUNTS), remedy.settings["factors"], atol=0.01)
        assert (shown / lp.parse_counts(COUNTS) >= np.array(remedy.settings["factors"]) * (1 - 1e-9)).all()
    merging = advice.remedy("merging")
    np.testing.assert_array_equal(evaluated(merging, labels=labels).bincount(), merging.problem.counts)
    assert advice.remedy("samples").python == ""


@pytest.mark.parametrize(("bias", "lambda_b"), [(True, 0.0), (True, 0.02), (False, 0.0)])
def test_a_line_sets_the_weight_decay_and_leaves_that_of_the_bias(bias, lambda_b):
    problem = lp.UFM(COUNTS, lambda_w=0.07, lambda_h=0.000175, bias=bias, lambda_b=lambda_b)
    remedy = lp.advise(problem, margin=1.2, levers=["decay"]).remedy("decay")
    model = torch.nn.Linear(12, 10, bias=bias)
    groups = evaluated(remedy, model=model, lambda_w=0.07)
    of_weight = [group for group in groups if group["name"] == "classifier weight"]
    assert [group["weight_decay"] for group in groups if group not in of_weight] == [lambda_b] * bias
    found = optimizer_decays(torch.optim.SGD(of_weight, lr=0.1), model).lambda_w
    assert found == pytest.approx(remedy.settings["lambda_w_alone"], rel=1e-5)
    assert np.sqrt(found * 0.000175) == pytest.approx(remedy.problem.lambda_z, rel=1e-5)


@pytest.mark.slow
def test_many_numbers_are_named_and_not_written():
    counts = list(range(400, 200, -4)) + list(range(199, 100, -2))
    advice = lp.advise(lp.UFM(counts, 0.0005), margin=1.2, levers=["class-weights", "oversampling", "merging"])
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    for remedy in advice.remedies:
        assert 0 < len(remedy.python) <= LONGEST_LINE
        assert "remedy." in remedy.python
        found = evaluated(remedy, labels=labels, counts=counts)
        if remedy.name == "class-weights":
            assert_same_loss(found.loss, remedy.problem.loss, counts)
        elif remedy.name == "merging":
            np.testing.assert_array_equal(found.bincount(), remedy.problem.counts)
        else:
            assert found.counts.tolist() == remedy.settings["shown"]


def test_a_lever_that_has_nothing_to_propose_has_no_line():
    advice = lp.advise(lp.UFM(COUNTS, 0.0035, loss=lp.SquaredError()), margin=40, levers=["scales"])
    assert advice.remedies
    for remedy in advice.remedies:
        assert (remedy.python, remedy.train_options) == ("", {})
        assert remedy.to_dict()["python"] is None
