"""The handwritten digits of scikit-learn made lopsided, and a small network in a LightningModule."""

from __future__ import annotations

import functools
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

COUNTS = [100] * 5 + [10] * 5
CLASSES, DIM = len(COUNTS), 16


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    images, labels = map(torch.as_tensor, load_digits(return_X_y=True))
    chosen = torch.cat([torch.where(labels == k)[0][:count] for k, count in enumerate(COUNTS)])
    chosen = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))]
    return images[chosen].float() / 16, labels[chosen]


def loader(batch: int = 64, collate: Any = None) -> DataLoader:
    return DataLoader(TensorDataset(*digits()), batch_size=batch, collate_fn=collate)


class Classifier(LightningModule):
    """Keeps all that entered its head, with the labels: what a monitor is to have measured."""

    def __init__(self, weight_decay: float = 0.0, labels_of: Any = lambda batch: batch[1]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, DIM))
            self.head = nn.Linear(DIM, CLASSES)
        self.weight_decay, self.labels_of = weight_decay, labels_of
        self.seen: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "val": []}

    def _step(self, batch: Any, part: str) -> Tensor:
        inputs = batch[0] if isinstance(batch, (tuple, list)) else batch["image"]
        features, labels = self.body(inputs), self.labels_of(batch)
        self.seen[part].append((features.detach(), labels))
        return nn.functional.cross_entropy(self.head(features), labels)

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: Any, batch_index: int, dataloader_idx: int = 0) -> None:
        self._step(batch, "val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=self.weight_decay)


def trainer(*callbacks: Any, **options: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return Trainer(callbacks=list(callbacks), **{**defaults, **options})
