"""One of two processes that share a sampler; run in a process of its own by the tests, not a test itself."""

import json
import os
import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from lopsided.nn import ClassSampler

#: 43 samples an epoch: an odd number, so that one is shown again.
LABELS = [0] * 20 + [1] * 7 + [2] * 3
TARGETS = {0: 20, 1: 7, 2: 16}
EPOCHS = 3


def loader() -> DataLoader:
    """Samples that are their own numbers."""
    sampler = ClassSampler(LABELS, TARGETS, seed=5)
    return DataLoader(TensorDataset(torch.arange(len(LABELS))), batch_size=8, sampler=sampler)


class Listener(LightningModule):
    """Learns nothing and remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = [[] for _ in range(EPOCHS)]
        self.kind = ""

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        self.seen[self.current_epoch] += batch[0].tolist()
        self.kind = type(self.trainer.train_dataloader.sampler).__name__
        return self.weight.square()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main(rank: int, port: str, store: Path, result: Path) -> None:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r".*does not have many workers")
    warnings.filterwarnings("ignore", message=r".*number of training batches")
    os.environ.update(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port, LOCAL_RANK=str(rank))
    answers: dict[str, object] = {}
    samples = loader()  # before there is a process group
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    answers["plain"] = []
    for epoch in range(EPOCHS):
        samples.sampler.set_epoch(epoch)
        answers["plain"].append([index for (batch,) in samples for index in batch.tolist()])
        assert len(samples) == 3
    torch.distributed.destroy_process_group()

    listener = Listener()
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(listener, loader())
    answers |= {"lightning": listener.seen, "kind": listener.kind, "rank": trainer.global_rank}
    result.write_text(json.dumps(answers))
