"""Training: reproducible, silent, interruptible, and honest about runs that go wrong."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import lopsided as lp
from lopsided.data import load_data, sample_indices
from lopsided.training import DivergenceError, FreeFeatures, RegularisedObjective, build_network, train

DECAYS = {"lambda_w": 0.03, "lambda_h": 0.0003, "lambda_b": 0.02}


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", "40x3,10x3")


def small(data, seed=0):
    return build_network("mlp", data.input_shape, data.num_classes, hidden=(32,), dim=8, seed=seed)


@pytest.mark.slow
def test_the_result_is_of_one_piece(digits):
    network = small(digits)
    seen = []
    result = train(
        network,
        digits,
        **DECAYS,
        epochs=12,
        batch_size=64,
        learning_rate=0.01,
        measure_every=5,
        progress=lambda done, planned, row: seen.append((done, planned, row["epoch"])),
    )
    assert result.network is network
    assert [row["epoch"] for row in result.history] == [0, 5, 10, 12]
    assert seen == [(epoch, 12, 12 if epoch == 12 else epoch - epoch % 5) for epoch in range(1, 13)]
    assert result.epochs == 12
    last = result.history[-1]
    assert last["train_accuracy"] == result.train_accuracy
    assert last["nc1"] == result.measures["nc1"]
    assert last["decay_factor"] == 1.0
    assert result.history[0]["decay_factor"] == pytest.approx(0.03)
    assert result.history[0]["batch_objective"] is None
    assert result.moments.counts.tolist() == result.geometry.counts.tolist() == digits.counts.tolist()
    np.testing.assert_allclose(result.geometry.classifier, network.head.weight.detach().numpy())
    assert result.model.counts.tolist() == digits.counts.tolist()
    assert (result.model.lambda_w, result.model.lambda_h, result.model.lambda_b) == (0.03, 0.0003, 0.02)


def test_the_objective_of_the_history_is_that_of_the_geometry(digits):
    """Objective = loss + penalties, the latter from the measured weights and features."""
    result = train(small(digits), digits, **DECAYS, epochs=3, learning_rate=0.01)
    last = result.history[-1]
    with torch.no_grad():
        features = result.network.eval().features(digits.inputs).double()
    penalty = 0.5 * (
        0.03 * np.sum(result.geometry.classifier**2)
        + 0.0003 * float(features.square().sum())
        + 0.02 * np.sum(result.geometry.bias**2)
    )
    assert last["objective"] == pytest.approx(last["loss"] + penalty, rel=1e-6)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_disturbs_no_one(digits):
    before = torch.get_rng_state()
    runs = [
        train(small(digits), digits, **DECAYS, epochs=4, batch_size=50, learning_rate=0.01, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = ([row["objective"] for row in run.history] for run in runs)
    assert first == again
    assert first[0] == other[0]
    assert first[1:] != other[1:]


def test_batches_are_equal_within_one_and_cover_every_sample(digits, monkeypatch):
    """150 samples in batches of at most 64: no last batch of a few, on which batch norm would be noise."""
    seen = []
    step = RegularisedObjective.training_step

    def spy(self, batch, index):
        seen.append(batch[0])
        return step(self, batch, index)

    monkeypatch.setattr(RegularisedObjective, "training_step", spy)
    train(small(digits), digits, **DECAYS, epochs=1, batch_size=64, learning_rate=0.01)
    assert [len(batch) for batch in seen] == [50, 50, 50]
    first, passed = ([image.numpy().tobytes() for image in images] for images in (digits.inputs, torch.cat(seen)))
    assert passed != first
    assert sorted(passed) == sorted(first)


@pytest.mark.slow
def test_a_bias_free_head_is_predicted_without_bias():
    data = sample_indices("8x3,4x3")
    result = train(
        FreeFeatures(36, 6, bias=False),
        data,
        lambda_w=0.02,
        lambda_h=0.02,
        epochs=300,
        learning_rate=3.0,
        optimizer="sgd",
        ramp=0.0,
    )
    assert result.model.bias is False
    solution = result.model.solve()
    assert lp.compare(solution.geometry, result.geometry)["mean_logits"].relative_error < 1e-4
    assert result.findings == ()


def test_a_diverging_run_stops_and_says_so():
    data = sample_indices("10x4")
    result = train(
        FreeFeatures(40, 4),
        data,
        lambda_w=0.02,
        lambda_h=0.02,
        epochs=500,
        learning_rate=100.0,
        optimizer="sgd",
        ramp=0.0,
        measure_every=50,
    )
    assert result.epochs < 500
    assert result.history[-1]["epoch"] == result.epochs
    assert math.isnan(result.history[-1]["objective"])
    assert [finding.code for finding in result.findings] == ["loss-not-finite"]
    assert np.isfinite(result.geometry.mean_logits).all()


@pytest.mark.slow
def test_a_run_too_short_to_collapse_says_so(digits):
    result = train(small(digits), digits, **DECAYS, epochs=5, learning_rate=0.003)
    codes = [finding.code for finding in result.findings]
    assert "no-collapse" in codes
    assert "far-from-optimum" in codes


@pytest.mark.slow
def test_ctrl_c_goes_through_and_leaves_things_whole(digits):
    network = small(digits)
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(done, planned, row):
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(network, digits, **DECAYS, epochs=1000, learning_rate=0.01, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert train(network, digits, **DECAYS, epochs=2, learning_rate=0.01).epochs == 2


QUIET = """
import logging, lopsided.training as training
levels = [logging.getLogger(f"lightning.{part}.utilities.rank_zero").level for part in ("pytorch", "fabric")]
data = training.load_data("digits", "20x5,5x5")
network = training.build_network("mlp", data.input_shape, 10)
training.train(network, data, lambda_w=0.03, lambda_h=3e-4, epochs=2, batch_size=40, learning_rate=0.01)
assert levels == [logging.getLogger(f"lightning.{part}.utilities.rank_zero").level for part in ("pytorch", "fabric")]
"""


@pytest.mark.slow
def test_training_says_nothing_warns_of_nothing_and_leaves_no_file(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1; got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1; got 1.5"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0; got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be a finite number above 0; got nan"),
        ({"momentum": 1.0}, r"momentum must be a finite number in \[0, 1\); got 1.0"),
        ({"ramp": 1.0}, r"ramp must be a finite number in \[0, 1\); got 1.0"),
        ({"ramp_start": 0.0}, r"ramp_start must be a finite number in \(0, 1\]; got 0.0"),
        ({"schedule": "line"}, "schedule must be 'cosine' or 'steps'; got 'line'"),
        ({"devices": 0}, "devices must be a whole number of at least 1; got 0"),
        ({"on_divergence": "hide"}, "on_divergence must be 'record' or 'raise'; got 'hide'"),
        ({"optimizer": "lion"}, "optimizer must be 'adam' or 'sgd'; got 'lion'"),
        ({"lambda_h": 0.0}, "lambda_h must be a finite number above 0; got 0.0"),
        ({"lambda_b": -1.0}, "lambda_b must be a finite number of at least 0"),
    ],
)
def test_bad_arguments_are_named(digits, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(small(digits), digits, **{**DECAYS, "epochs": 1, "learning_rate": 0.01, **arguments})


def test_a_network_for_other_classes_is_refused(digits):
    network = build_network("mlp", digits.input_shape, 5)
    with pytest.raises(ValueError, match="one logit a class of the data, 6; got 5"):
        train(network, digits, **DECAYS, epochs=1, learning_rate=0.01)


def test_counts_that_contradict_the_labels_are_refused(digits):
    wrong = dataclasses.replace(digits, counts=digits.counts[::-1].copy())
    with pytest.raises(ValueError, match="counts must be the numbers of labels"):
        train(small(digits), wrong, **DECAYS, epochs=1, learning_rate=0.01)


def test_inputs_that_are_not_finite_are_refused(digits):
    inputs = digits.inputs.clone()
    inputs[7, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="features must be finite"):
        train(small(digits), dataclasses.replace(digits, inputs=inputs), **DECAYS, epochs=1, learning_rate=0.01)


@pytest.mark.slow
def test_a_run_that_diverges_is_an_error_where_asked():
    data = sample_indices("10x4")
    descent = {"epochs": 500, "learning_rate": 100.0, "optimizer": "sgd", "ramp": 0.0}
    with pytest.raises(DivergenceError, match=r"the loss was not finite in epoch .*; lower the learning rate") as error:
        train(FreeFeatures(40, 4), data, lambda_w=0.02, lambda_h=0.02, **descent, on_divergence="raise")
    result = error.value.result
    assert result.diverged
    assert result.epochs < 500
    assert np.isfinite(result.geometry.mean_logits).all()


@pytest.mark.slow
def test_a_run_stuck_at_too_low_a_rank_says_so():
    """Classifier and features that share a subspace never leave it; from a full start the same descent arrives."""
    data = sample_indices("8x2,4x2")
    findings = {}
    for directions in (2, 4):
        network = FreeFeatures(24, 4, seed=1)
        with torch.no_grad():
            network.table[:, directions:] = 0
            network.head.weight[:, directions:] = 0
        result = train(
            network,
            data,
            lambda_w=0.03,
            lambda_h=0.03,
            lambda_b=0.05,
            epochs=150,
            learning_rate=4.0,
            optimizer="sgd",
            ramp=0.0,
        )
        assert (result.geometry.rank, result.model.solve().geometry.rank) == (min(directions, 3), 3)
        findings[directions] = [finding.code for finding in result.findings]
    assert "rank-deficient" in findings[2]
    assert findings[4] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [
        lp.CrossEntropy(weights=[1, 1, 2, 2]),
        lp.CrossEntropy(margins=[0.1, 0.1, 0.5, 0.5], label_smoothing=0.05),
        lp.CrossEntropy(logit_adjustment=1.0, scales=[1, 1, 0.8, 0.8]),
        lp.SquaredError(),
        lp.FocalLoss(gamma=1.0),
    ],
    ids=["weighted", "ldam-smoothed", "vs", "squared", "focal"],
)
def test_free_features_reach_the_optimum_of_the_loss_they_are_trained_by(loss):
    data = sample_indices("8x2,4x2")
    result = train(
        FreeFeatures(24, 4),
        data,
        lambda_w=0.02,
        lambda_h=0.02,
        lambda_b=0.05,
        epochs=230,
        learning_rate=2.0,
        optimizer="sgd",
        ramp=0.0,
        batch_size=24,
        loss=loss,
        measure_every=230,
    )
    solution = result.model.solve()
    assert result.history[-1]["objective"] == pytest.approx(solution.objective, rel=1e-5)
    assert lp.compare(solution.geometry, result.geometry)["mean_logits"].relative_error < 2e-3


def test_features_that_are_not_negative_have_a_prediction_of_their_own(digits):
    network = build_network("mlp", digits.input_shape, 6, hidden=(16,), last_features="relu")
    result = train(network, digits, **DECAYS, epochs=1, learning_rate=0.01, features="relu")
    assert result.model.features == "relu"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "resnet18", "vgg11"])
def test_convolutional_networks_train(name):
    data = load_data("digits", "6x2")
    network = build_network(name, data.input_shape, 2)
    result = train(network, data, **DECAYS, epochs=2, learning_rate=1e-3, crop=1)
    assert result.epochs == 2
    assert result.history[-1]["objective"] < math.inf


@pytest.mark.slow
def test_the_papers_schedule_is_followed(digits):
    result = train(
        small(digits),
        digits,
        **DECAYS,
        epochs=12,
        learning_rate=0.1,
        optimizer="sgd",
        schedule="steps",
        measure_every=1,
    )
    assert [row["decay_factor"] for row in result.history] == [0.1, 0.1] + [1.0] * 11
    rates = [row["learning_rate"] for row in result.history]
    assert rates == pytest.approx([0.1] * 4 + [0.01] * 4 + [0.001] * 5)
