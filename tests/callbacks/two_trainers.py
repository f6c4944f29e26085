"""One of two workers of Lightning's DDP; run in a process of its own by the tests, not a test itself."""

import os
import warnings
from pathlib import Path

import torch

from callbacks.digits import CLASSES, Classifier, loader, trainer
from lopsided.callbacks import CollapseMonitor


def main(rank: int, port: str, result: Path) -> None:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE="2", LOCAL_RANK=str(rank), NODE_RANK="0", RANK=str(rank)
    )
    model, monitor = Classifier(weight_decay=0.01), CollapseMonitor(CLASSES)
    validation = CollapseMonitor(CLASSES, loader="val")
    fitter = trainer(monitor, validation, strategy="ddp", devices=2, max_epochs=2)
    fitter.fit(model, loader(32), loader(50))
    last = len(model.seen["train"]) // 2
    torch.save(
        {
            "seen": {"train": model.seen["train"][last:], "val": model.seen["val"][len(model.seen["val"]) // 2 :]},
            "head": (model.head.weight.detach(), model.head.bias.detach()),
            "values": {"train": monitor.measurement.values, "val": validation.measurement.values},
            "logged": {name: float(value) for name, value in fitter.callback_metrics.items()},
            "watch": monitor.recorder.watch.state_dict(),
        },
        result,
    )
    torch.distributed.destroy_process_group()
