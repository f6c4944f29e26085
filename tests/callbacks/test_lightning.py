"""The Lightning monitor logs what ``measure`` says of the features that passed, and warns where classes are lost."""

from __future__ import annotations

import csv
import math
import warnings
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from callbacks.digits import CLASSES, COUNTS, DIM, Classifier, digits, loader, trainer
from lopsided.callbacks import CollapseMonitor, CollapseWarning
from lopsided.metrics import Moments, measure
from lopsided.training import Decays, OptimizerConfig, RegularisedObjective, build_network

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning's own, of newer torch
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:.*number of training batches .* is smaller than the logging interval"),
]


def scalars(seen, model) -> dict[str, float]:
    moments = Moments(CLASSES, DIM)
    for features, labels in seen:
        moments.update(features, labels)
    values = measure(moments, model.head.weight, model.head.bias)
    found = {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}
    del found["num_classes"]
    return found | {"merged": float(sum(map(len, values["merged"])))}


def assert_logged(logged, expected, prefix, rel=1e-5):
    assert {"nc1", "nc1_trace_ratio", "nc2_etf", "nc3_etf", "nc4", "rank"} <= set(expected)
    for name, value in expected.items():
        assert float(logged[prefix + name]) == pytest.approx(value, rel=rel, abs=1e-7), name


def lightning_fit(model, monitor, *, train=None, val=None, **options):
    fitter = trainer(monitor, **options)
    fitter.fit(model, train or loader(), val)
    return fitter


class Snapshots(CollapseMonitor):
    """Notes what the module had seen, and its head, at each measurement."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.expected: list[dict[str, float]] = []
        self.found: list[dict[str, float]] = []
        self.steps: list[int] = []

    def _record(self, trainer: Any, pl_module: Any, **options: Any) -> None:
        self.expected.append(scalars(pl_module.seen[self.loader], pl_module))
        self.steps.append(trainer.global_step)
        super()._record(trainer, pl_module, **options)
        self.found.append(self.measurement.scalars)
        pl_module.seen[self.loader].clear()


@pytest.mark.slow
def test_training_batches_are_measured_at_each_epoch():
    model, monitor = Classifier(), Snapshots(CLASSES)
    logged = lightning_fit(model, monitor).callback_metrics
    assert len(monitor.found) == 2
    for found, expected in zip(monitor.found, monitor.expected, strict=True):
        assert_logged(found, expected, "", rel=1e-12)
        assert found["num_samples"] == sum(COUNTS)
        assert "minority_spread" in found
    assert_logged(logged, monitor.expected[-1], "train/")
    assert monitor.measurement.forecast is None  # nothing decays the classifier
    assert all(not module._forward_pre_hooks for module in model.modules())


@pytest.mark.slow
def test_validation_is_measured_without_the_sanity_check():
    model, monitor = Classifier(), Snapshots(CLASSES, loader="val")
    fitter = trainer(monitor, num_sanity_val_steps=2)
    fitter.fit(model, loader(), [loader(50), loader(10)])
    # The module saw the sanity check's batches and the second loader's as well.
    assert [found["num_samples"] for found in monitor.found] == [sum(COUNTS)] * 2
    assert monitor.measurement.geometry.counts.tolist() == COUNTS
    model.eval()
    with torch.no_grad():
        inputs, labels = digits()
        assert_logged(fitter.callback_metrics, scalars([(model.body(inputs), labels)], model), "val/", rel=1e-4)


def test_validation_alone():
    model, monitor = Classifier(), CollapseMonitor(CLASSES, loader="val", every_n_epochs=7, prefix="")
    fitter = trainer(monitor)
    fitter.validate(model, loader(), verbose=False)
    assert_logged(fitter.callback_metrics, scalars(model.seen["val"], model), "")
    assert all(not module._forward_pre_hooks for module in model.modules())


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 3])
def test_steps_are_those_of_the_optimiser_and_reach_the_logger(tmp_path, accumulate):
    model, monitor = Classifier(), Snapshots(CLASSES, every_n_steps=2)
    log = CSVLogger(tmp_path)
    fitter = lightning_fit(model, monitor, logger=log, accumulate_grad_batches=accumulate, max_epochs=3)
    steps = fitter.global_step
    assert monitor.steps == list(range(2, steps + 1, 2))
    for found, expected in zip(monitor.found, monitor.expected, strict=True):
        assert_logged(found, expected, "", rel=1e-12)
    with open(tmp_path / "lightning_logs" / "version_0" / "metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["train/nc1"]]
    assert [int(row["step"]) for row in rows] == monitor.steps
    assert float(rows[-1]["train/nc1"]) == pytest.approx(monitor.found[-1]["nc1"], rel=1e-5)
    assert float(fitter.callback_metrics["train/nc1"]) == pytest.approx(monitor.found[-1]["nc1"], rel=1e-5)


@pytest.mark.slow
def test_epochs_and_batches_in_between_pass_untouched():
    model = Classifier()
    monitor = CollapseMonitor(CLASSES, every_n_epochs=2, every_n_batches=3)
    lightning_fit(model, monitor, max_epochs=5)
    batches = len(loader())
    taken = model.seen["train"][3 * batches : 4 * batches : 3]  # of the fourth epoch
    moments = Moments(CLASSES, DIM)
    for features, labels in taken:
        moments.update(features, labels)
    assert monitor.measurement.values["num_samples"] == moments.num_samples
    assert monitor.measurement.values["nc1_trace_ratio"] == measure(moments)["nc1_trace_ratio"]


def as_mapping(samples):
    images, labels = zip(*samples, strict=True)
    return {"image": torch.stack(images), "label": torch.stack(labels)}


def as_nested(samples):
    return {"image": as_mapping(samples)["image"], "meta": {"digit": as_mapping(samples)["label"]}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("collate", "where"),
    [(as_mapping, lambda batch: batch["label"]), (as_nested, lambda batch: batch["meta"]["digit"])],
    ids=["mapping", "function"],
)
def test_batches_of_other_forms(collate, where):
    model, options = Classifier(labels_of=where), {"labels": where} if collate is as_nested else {}
    monitor = Snapshots(CLASSES, **options)
    lightning_fit(model, monitor, train=loader(collate=collate), max_epochs=1)
    assert_logged(monitor.found[0], monitor.expected[0], "", rel=1e-12)


def test_what_is_not_to_be_found_is_said_in_one_line():
    model = Classifier(labels_of=lambda batch: batch["meta"]["digit"])
    with pytest.raises(
        ValueError, match=r"^labels must be .* got a mapping with the keys 'image', 'meta'; give labels="
    ):
        lightning_fit(model, CollapseMonitor(CLASSES), train=loader(collate=as_nested))
    assert all(not module._forward_pre_hooks for module in model.modules())
    with pytest.raises(ValueError, match=r"^classifier must be a linear layer with 7 outputs"):
        lightning_fit(Classifier(), CollapseMonitor(7))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "^num_classes must be a whole number"),
        ({"loader": "test"}, "^loader must be 'train' or 'val'; got 'test'"),
        ({"on_merge": "raise"}, "^on_merge must be 'warn', 'stop' or 'ignore'; got "),
        ({"every_n_epochs": 0}, "^every_n_epochs must be a whole number"),
        ({"every_n_steps": 1.5}, "^every_n_steps must be a whole number"),
        ({"every_n_batches": True}, "^every_n_batches must be a whole number"),
        ({"loader": "val", "every_n_steps": 5}, "^every_n_steps must be left out where loader='val'"),
        ({"counts": "500x5"}, "^counts must have one entry a class, 10; got 5"),
        ({"lambda_w": -1.0}, "^lambda_w must be a finite number of at least 0"),
        ({"call": -3}, "^call must be"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        CollapseMonitor(**{"num_classes": CLASSES, **arguments})
    assert "\n" not in str(caught.value)


def regularised(share: float, epochs: int = 30, **options: Any) -> tuple[Any, CollapseMonitor]:
    """Train at a share of the decay at which the rare classes merge; the loss has the decays."""
    threshold = math.sqrt(min(COUNTS)) / sum(COUNTS)
    network = build_network("mlp", (1, 8, 8), CLASSES, hidden=(64,), dim=32)
    lambda_w = 0.05
    objective = RegularisedObjective(
        network,
        num_samples=sum(COUNTS),
        decays=Decays(weight=lambda_w, features=(share * threshold) ** 2 / lambda_w, bias=0.0),
        descent=OptimizerConfig(learning_rate=0.01, ramp=0.0),
    )
    monitor = CollapseMonitor(CLASSES, lambda_w=lambda_w, **options)
    fitter = trainer(monitor, max_epochs=epochs)
    fitter.fit(objective, loader(110))
    return fitter, monitor


@pytest.mark.slow
def test_no_alarm_below_the_threshold():
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapseWarning)
        fitter, monitor = regularised(0.5)
    assert monitor.alarms == []
    assert monitor.measurement.values["decay_ratio"] == pytest.approx(0.5, rel=0.05)
    assert fitter.current_epoch == 30
    assert monitor.measurement.values["merged"] == []


@pytest.mark.slow
def test_alarm_past_the_threshold():
    with pytest.warns(CollapseWarning, match=r"step \d+: class") as caught:
        _, monitor = regularised(1.3, epochs=60, counts=COUNTS)
    named = {k for alarm in monitor.alarms for k in alarm.classes}
    assert named == {5, 6, 7, 8, 9}
    assert all("lower the weight decay" in str(w.message) for w in caught if w.category is CollapseWarning)
    values = monitor.measurement.values
    assert values["decay_ratio"] == pytest.approx(1.3, rel=0.05)
    assert values["lambda_z"] == pytest.approx(1.3 * math.sqrt(10) / 550, rel=0.05)
    assert values["merged"] == [[5, 6, 7, 8, 9]]
    assert monitor.measurement.forecast.lost == [[5, 6, 7, 8, 9]]


@pytest.mark.slow
def test_early_stop_comes_before_the_merge():
    with pytest.warns(CollapseWarning):
        fitter, monitor = regularised(1.3, on_merge="stop")
    assert fitter.current_epoch < 15
    assert monitor.alarms
    assert monitor.measurement.values["merged"] != [[5, 6, 7, 8, 9]]


@pytest.mark.slow
def test_alarms_may_be_left_to_the_caller():
    fitter, monitor = regularised(1.3, epochs=15, on_merge="ignore")  # a warning would be an error
    assert monitor.alarms
    assert fitter.current_epoch == 15


@pytest.mark.slow
def test_the_optimisers_decay_is_found():
    model, monitor = Classifier(weight_decay=0.01), CollapseMonitor(CLASSES, counts=COUNTS)
    lightning_fit(model, monitor)
    decay = monitor.measurement.decay
    assert (decay.lambda_w, decay.lambda_b) == (0.01, 0.01)
    squares = sum(float(f.double().square().sum()) for f, _ in model.seen["train"][-len(loader()) :])
    expected = 0.01 * float(model.head.weight.detach().double().norm()) / math.sqrt(squares)
    assert decay.lambda_z == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_counts_of_the_training_set_stand_in_for_a_sample():
    """A tenth of the batches tells the decay of the whole set."""
    model = Classifier(weight_decay=0.01)
    monitor = CollapseMonitor(CLASSES, counts=COUNTS, every_n_batches=3)
    lightning_fit(model, monitor, max_epochs=1, train=loader(16))
    whole = sum(float(f.double().square().sum()) for f, _ in model.seen["train"])
    expected = 0.01 * float(model.head.weight.detach().double().norm()) / math.sqrt(whole)
    assert monitor.measurement.decay.lambda_z == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
def test_a_resumed_run_goes_on_watching(tmp_path):
    first = CollapseMonitor(CLASSES)
    fitter = lightning_fit(Classifier(), first)
    fitter.save_checkpoint(tmp_path / "run.ckpt")
    model, second, other = Classifier(), CollapseMonitor(CLASSES), CollapseMonitor(CLASSES, loader="val")
    resumed = trainer(second, other, max_epochs=3)
    resumed.fit(model, loader(), ckpt_path=tmp_path / "run.ckpt")
    assert len(second.recorder.watch.state_dict()["distances"]) == 3
    assert other.recorder.watch.state_dict()["distances"] == []
    assert second.measurement.values["num_samples"] == sum(COUNTS)


def test_a_classifier_among_others_is_told_by_the_first_batch():
    model = Classifier()
    model.body = nn.Sequential(nn.Linear(64, CLASSES), nn.ReLU(), nn.Linear(CLASSES, DIM))
    monitor = CollapseMonitor(CLASSES, loader="val")
    lightning_fit(model, monitor, max_epochs=1, val=loader())
    assert monitor.measurement.geometry.class_means.shape == (CLASSES, DIM)


def test_state_of_monitors_is_kept_apart():
    keys = {CollapseMonitor(CLASSES, **options).state_key for options in ({}, {"loader": "val"}, {"prefix": "x"})}
    assert len(keys) == 3
