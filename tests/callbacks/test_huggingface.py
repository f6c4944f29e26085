"""The Trainer monitor logs what ``measure`` says of the features that passed; models are built from a configuration."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    Trainer,
    TrainingArguments,
)

from lopsided.callbacks import CollapseWarning, TrainerCollapseMonitor
from lopsided.metrics import Moments, measure

CLASSES, DIM, SAMPLES, BATCH = 3, 16, 45, 8
COUNTS = [20, 20, 5]


class Sentences(torch.utils.data.Dataset):
    def __init__(self, tokens: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.tensor([0, 1] * 20 + [2] * 5)
        self.words = torch.randint(3, 20, (SAMPLES, 6), generator=generator)
        self.words[:, 0] = self.labels + 1
        self.tokens = tokens

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        label = self.labels[index]
        if self.tokens:  # the first word has the label, padding has none
            label = torch.cat([label[None], self.words[index, 1:5] % CLASSES, torch.tensor([-100])])
        return {"input_ids": self.words[index], "attention_mask": torch.ones(6, dtype=torch.long), "labels": label}


def model(kind: Any = BertForSequenceClassification) -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20,
        hidden_size=DIM,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=DIM,
        num_labels=CLASSES,
        max_position_embeddings=8,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return kind(config)


def trainer(tmp_path, network, *callbacks, data=None, **options) -> Trainer:
    defaults = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": BATCH,
        "learning_rate": 1e-2,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_strategy": "no",
        "save_strategy": "no",
        "dataloader_pin_memory": False,
    }
    arguments = TrainingArguments(output_dir=str(tmp_path), **{**defaults, **options})
    data = data or Sentences()
    return Trainer(model=network, args=arguments, train_dataset=data, eval_dataset=data, callbacks=list(callbacks))


def scalars(features, labels, head) -> dict[str, float]:
    moments = Moments(CLASSES, DIM)
    moments.update(features, labels)
    values = measure(moments, head.weight, head.bias)
    found = {name: value for name, value in values.items() if isinstance(value, (int, float))}
    del found["num_classes"]
    return found


def entered(network, data) -> tuple[Tensor, Tensor]:
    """What enters the head, of the whole data set, in evaluation mode."""
    batch = torch.utils.data.default_collate([data[i] for i in range(len(data))])
    labels = batch.pop("labels")
    network.eval()
    with torch.no_grad():
        hidden = network.bert(**batch)
    return (hidden.last_hidden_state if data.tokens else hidden.pooler_output), labels


@pytest.mark.slow
def test_evaluation_is_measured(tmp_path):
    network = model()
    monitor = TrainerCollapseMonitor(CLASSES, loader="val")
    fitter = trainer(tmp_path, network, eval_strategy="epoch")
    monitor.attach(fitter)
    fitter.train()
    rows = [row for row in fitter.state.log_history if "eval_nc1" in row]
    assert [row["epoch"] for row in rows] == [1.0, 2.0]
    for name, value in scalars(*entered(network, Sentences()), network.classifier).items():
        assert rows[-1][f"eval_{name}"] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert all(not m._forward_pre_hooks and not m._forward_hooks for m in network.modules())


@pytest.mark.slow
def test_training_batches_are_measured_at_epochs(tmp_path):
    network, seen = model(), []
    monitor = TrainerCollapseMonitor(CLASSES, counts=COUNTS)
    fitter = trainer(tmp_path, network, weight_decay=0.1, optim="sgd", learning_rate=1e-3)
    monitor.attach(fitter)
    network.dropout.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    labels: list[Tensor] = []
    network.register_forward_pre_hook(lambda module, args, batch: labels.append(batch["labels"]), with_kwargs=True)
    fitter.train()
    batches = math.ceil(SAMPLES / BATCH)
    (first, last) = [row for row in fitter.state.log_history if "nc1" in row]
    assert (first["step"], last["step"]) == (batches, 2 * batches)
    assert first["num_samples"] == last["num_samples"] == SAMPLES
    expected = scalars(torch.cat(seen[batches:]), torch.cat(labels[batches:]), network.classifier)
    for name, value in expected.items():
        assert last[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
    squares = float(torch.cat(seen[batches:]).double().square().sum())
    decay = 0.1 * float(network.classifier.weight.detach().double().norm()) / math.sqrt(squares)
    assert last["lambda_z"] == pytest.approx(decay, rel=1e-6)


@pytest.mark.slow
def test_steps_accumulation_and_a_monitor_on_its_own(tmp_path):
    monitor = TrainerCollapseMonitor(CLASSES, every_n_steps=2, every_n_batches=2)
    fitter = trainer(tmp_path, model(), monitor, gradient_accumulation_steps=2, max_steps=4)
    with pytest.warns(UserWarning, match="for its loggers call monitor.attach"):
        fitter.train()
    rows = [row for row in fitter.state.log_history if "nc1_trace_ratio" in row]
    assert [row["step"] for row in rows] == [2, 4]
    assert rows[0]["num_samples"] == 2 * BATCH  # of four batches before the second step


@pytest.mark.slow
def test_tokens(tmp_path):
    data = Sentences(tokens=True)
    network = model(BertForTokenClassification)
    fitter = trainer(tmp_path, network, data=data)
    TrainerCollapseMonitor(CLASSES).attach(fitter)
    with pytest.raises(
        ValueError, match=r"^features must have shape .* got \(8, 6, 16\) at 'classifier'; give reduce="
    ):
        fitter.train()
    monitor = TrainerCollapseMonitor(
        CLASSES, loader="val", reduce=lambda h: h.flatten(0, 1), labels=lambda batch: batch["labels"].flatten()
    )
    network = model(BertForTokenClassification)
    fitter = trainer(tmp_path, network, data=data, eval_strategy="epoch", num_train_epochs=1)
    monitor.attach(fitter)
    fitter.train()
    features, labels = entered(network, data)
    kept = labels.flatten() != -100
    expected = scalars(features.flatten(0, 1)[kept], labels.flatten()[kept], network.classifier)
    assert monitor.measurement.values["num_samples"] == 5 * SAMPLES
    assert monitor.measurement.values["nc1"] == pytest.approx(expected["nc1"], rel=1e-4)


@pytest.mark.slow
def test_lost_classes_stop_training(tmp_path):
    """A classifier that is pulled to zero loses all classes, and the run ends there."""
    network = model()
    nn.init.orthogonal_(network.classifier.weight, gain=30.0)
    monitor = TrainerCollapseMonitor(CLASSES, on_merge="stop")
    fitter = trainer(
        tmp_path, network, optim="sgd", learning_rate=1e-2, weight_decay=10.0, num_train_epochs=40, max_grad_norm=0.0
    )
    monitor.attach(fitter)
    with pytest.warns(CollapseWarning, match="lower the weight decay"):
        fitter.train()
    assert monitor.alarms
    assert fitter.state.epoch < 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loader": "eval"}, "^loader must be 'train' or 'val'; got 'eval'"),
        ({"on_merge": None}, "^on_merge must be 'warn', 'stop' or 'ignore'; got "),
        ({"every_n_steps": 0}, "^every_n_steps must be a whole number"),
        ({"loader": "val", "every_n_steps": 2}, "^every_n_steps must be left out where loader='val'"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TrainerCollapseMonitor(CLASSES, **arguments)
