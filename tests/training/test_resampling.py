"""Training on resampled epochs: it solves the problem that the theory states for it, in both conventions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import lopsided as lp
from lopsided.advice import resampled
from lopsided.data import load_data, sample_indices
from lopsided.nn import ClassSampler
from lopsided.training import (
    Decays,
    FreeFeatures,
    OptimizerConfig,
    RegularisedObjective,
    build_network,
    refresh_batch_norm,
    train,
)
from lopsided.training.batches import Augmentation, Batches
from lopsided.training.resampling import Resampling

CONVENTIONS = ["appearance", "sample"]
LOSSES = {
    "plain": lp.CrossEntropy(),
    "weighted": lp.CrossEntropy(weights=[1, 2, 3], logit_adjustment=0.5, label_smoothing=0.1),
    "by samples": lp.CrossEntropy(weights=[1, 2, 3], reduction="samples", margins=[0, 0.1, 0.2]),
    "squares": lp.SquaredError(weights=[3, 2, 1]),
    "focal": lp.FocalLoss(gamma=1.5),
}


def naive_objective(loss, penalised, counts, shown, logits, features, rest):
    """Written out over the samples, each with the times it appears: the two conventions from their words."""
    labels = np.repeat(np.arange(len(counts)), counts)
    times = (shown / counts)[labels]
    terms = loss.terms(shown if penalised == "appearance" else counts)
    weight = np.ones(len(counts)) if loss.weights is None else np.array(loss.weights)
    total = weight @ shown if loss.reduction == "mean" else shown.sum()
    value = rest
    for x, h, k, c in zip(logits, features, labels, times, strict=True):
        y = terms.row_scales[k] * terms.column_scales * x + terms.offsets
        y[k] -= terms.margins[k]
        log_share = y - np.log(np.exp(y).sum())
        target = np.full(len(y), terms.smoothing / len(y))
        target[k] += 1 - terms.smoothing
        if isinstance(loss, lp.SquaredError):
            one = 0.5 * np.sum((x - np.eye(len(y))[k]) ** 2)
        elif isinstance(loss, lp.FocalLoss):
            one = -((1 - np.exp(log_share[k])) ** loss.gamma) * log_share[k]
        else:
            one = -target @ log_share
        value += c * weight[k] * one / total + 0.2 / 2 * (c if penalised == "appearance" else 1) * (h @ h)
    return value


def test_the_weights_of_samples_go_to_devices_without_double_precision():
    weights = torch.tensor([1.0, 0.3], dtype=torch.float64)
    decays, descent = Decays(weight=0.3, features=0.2, bias=0.1), OptimizerConfig(0.1)
    module = RegularisedObjective(
        FreeFeatures(4, 2), num_samples=4, decays=decays, descent=descent, sample_weights=weights
    )
    assert {buffer.dtype for buffer in module.buffers()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("penalised", CONVENTIONS)
@pytest.mark.parametrize("name", list(LOSSES))
def test_an_epoch_averages_to_the_objective(name, penalised):
    """Whole factors, so that one epoch has every sample equally often; its batches are of equal size."""
    loss, counts, shown = LOSSES[name], np.array([6, 3, 2]), np.array([6, 6, 8])
    data = sample_indices(counts)
    network = FreeFeatures(11, 3, seed=3).double()
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.3, -0.2, 0.5]))
    problem = lp.UFM(counts, lambda_w=0.3, lambda_h=0.2, lambda_b=0.1, loss=loss)
    resampling = Resampling.of(problem, data, shown.tolist(), penalised, seed=1)
    objective = RegularisedObjective(
        network,
        num_samples=20,
        decays=Decays(weight=0.3, features=0.2, bias=0.1),
        descent=OptimizerConfig(learning_rate=0.1, ramp=0.0),
        data_term=resampling.data_term(shown),
        sample_weights=resampling.sample_weights(shown),
    )
    batches = Batches(data, 5, 0, Augmentation(), resampling.sampler)
    found = [objective.training_step(batch, 0).item() for batch in batches]
    weight, bias, table = (
        parameter.detach().numpy() for parameter in (network.head.weight, network.head.bias, network.table)
    )
    rest = 0.3 / 2 * np.sum(weight**2) + 0.1 / 2 * np.sum(bias**2)
    expected = naive_objective(loss, penalised, counts, shown, table @ weight.T + bias, table, rest)
    assert len(found) == 4
    assert np.mean(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("penalised", CONVENTIONS)
@pytest.mark.parametrize("shown", ["12x4", "6x2,7x2", "12,6,3,1"])
def test_free_features_end_at_the_optimum_of_the_resampled_problem(shown, penalised):
    """More, fewer, and a factor that is not whole: which samples appear once more is drawn anew every epoch."""
    data = sample_indices("12x2,3x2")
    decays = {"lambda_w": 0.07, "lambda_h": 0.07, "lambda_b": 0.05}
    result = train(
        FreeFeatures(30, 4),
        data,
        **decays,
        epochs=250,
        learning_rate=2.0 if shown == "12x4" else 1.0,
        optimizer="sgd",
        ramp=0.0,
        sampling_strategy=shown,
        feature_penalty_per=penalised,
        measure_every=250,
    )
    expected = resampled(lp.UFM(data.counts, **decays), lp.parse_counts(shown), penalised).solve()
    assert result.history[-1]["objective"] == pytest.approx(expected.objective, rel=1e-5)
    assert lp.compare(expected.geometry, result.geometry)["mean_logits"].relative_error < 0.01
    assert result.geometry.counts.tolist() == expected.geometry.counts.tolist()
    assert result.prediction.objective == pytest.approx(expected.objective, rel=1e-9)
    assert result.findings == ()
    plain = lp.UFM(data.counts, **decays).solve()
    assert plain.objective != pytest.approx(expected.objective, rel=1e-3)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", "150x5,30x5")


RARE = [5, 6, 7, 8, 9]
#: λ_z = 0.0065 lies above √30/900, where the rare classes are lost.
DECAYS = {"lambda_w": 0.065, "lambda_h": 0.00065, "lambda_b": 0.02}


def train_digits(digits, **settings):
    network = build_network("mlp", digits.input_shape, 10, hidden=(256,), dim=16)
    return train(network, digits, **DECAYS, epochs=90, batch_size=150, learning_rate=0.01, **settings)


@pytest.mark.slow
def test_rare_digits_are_lost_as_they_are(digits):
    result = train_digits(digits)
    assert result.geometry.merged == result.prediction.geometry.merged == [RARE]
    assert max(result.class_accuracy[index] for index in RARE) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("penalised", CONVENTIONS)
def test_rare_digits_are_kept_at_the_factor_that_advise_gives(digits, penalised):
    problem = lp.UFM(digits.counts, **DECAYS)
    advice = lp.advise(problem, keep=RARE, margin=1.4, levers=["oversampling"])
    wanted = np.ceil(np.multiply(advice.remedy("oversampling", penalised).settings["factors"], digits.counts))
    result = train_digits(digits, sampling_strategy=wanted, feature_penalty_per=penalised)
    predicted = resampled(problem, wanted, penalised).solve()
    comparison = lp.compare(predicted.geometry, result.geometry)
    assert result.geometry.merged == predicted.geometry.merged == []
    assert comparison["mean_logits"].relative_error < 0.04
    assert comparison["gram_means"].relative_error < 0.04
    assert result.history[-1]["objective"] == pytest.approx(predicted.objective, rel=0.005)
    assert min(result.class_accuracy) == 1.0
    assert result.findings == ()


def test_batch_norm_has_the_statistics_of_the_mix_that_is_shown(digits):
    network = build_network("mlp", digits.input_shape, 10, hidden=(32,), dim=12)
    sampler = ClassSampler(digits.labels, dict.fromkeys(range(5, 10), 1200))
    refresh_batch_norm(network, digits.inputs, Resampling(sampler, lp.UFM(sampler.counts, 0.1)).rows)
    layer = network.body[2]
    with torch.no_grad():
        inside = network.body[1](network.body[0](digits.inputs)).double()
    weights = torch.from_numpy(sampler.counts / digits.counts)[digits.labels][:, None]
    mean = (weights * inside).sum(dim=0) / weights.sum()
    torch.testing.assert_close(layer.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
    assert (mean - inside.mean(dim=0)).norm() > 0.1 * mean.norm()
    variance = (weights * (inside - mean) ** 2).sum(dim=0) / (weights.sum() - 1)
    torch.testing.assert_close(layer.running_var.double(), variance, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_resampled_run_that_is_resumed_ends_as_one_that_never_stopped(digits, tmp_path):
    data = load_data("digits", "20x3,6x3")
    settings = {"lambda_w": 0.05, "lambda_h": 0.001, "epochs": 6, "batch_size": 16, "learning_rate": 0.01}
    settings |= {"sampling_strategy": {5: 17, 0: 9}, "feature_penalty_per": "sample", "measure_every": 2}

    def network():
        return build_network("mlp", data.input_shape, 6, hidden=(16,), dim=8)

    def stop(done, planned, row):
        if done == 3:
            raise KeyboardInterrupt

    whole = train(network(), data, **settings)
    path = tmp_path / "run.ckpt"
    with pytest.raises(KeyboardInterrupt):
        train(network(), data, **settings, checkpoint=path, progress=stop)
    with pytest.raises(ValueError, match=r"its feature_penalty_per is sample, not appearance"):
        train(network(), data, **{**settings, "feature_penalty_per": "appearance"}, checkpoint=path)
    again = train(network(), data, **settings, checkpoint=path)
    assert [row["objective"] for row in again.history] == [row["objective"] for row in whole.history]


def test_classes_are_called_by_their_names(digits):
    named = dataclasses.replace(digits, class_names=tuple("abcdefghij"))
    problem = lp.UFM(digits.counts, 0.1)
    resampling = Resampling.of(problem, named, {"j": 77}, "appearance", seed=0)
    assert resampling.model.counts.tolist() == [150] * 5 + [30] * 4 + [77]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling_strategy": "some"}, r"^sampling_strategy must be one of"),
        ({"sampling_strategy": {11: 50}}, r"^sampling_strategy must name classes"),
        ({"sampling_strategy": "150x9"}, r"^sampling_strategy must have one count a class"),
        ({"feature_penalty_per": "epoch"}, r"^feature_penalty_per must be 'appearance' or 'sample'; got 'epoch'"),
    ],
)
def test_bad_arguments_are_named(digits, settings, message):
    network = build_network("mlp", digits.input_shape, 10)
    with pytest.raises(ValueError, match=message):
        train(network, digits, lambda_w=0.1, lambda_h=0.1, epochs=1, learning_rate=0.1, **settings)
