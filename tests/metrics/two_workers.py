"""One of two workers that measure together; run in a process of its own by the tests, not a test itself."""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torchmetrics import MetricCollection

from lopsided.metrics import CDNV, NC1, NC2, NC3, NeuralCollapse

#: Shares of the samples that the first worker sees: uneven, all, none.
SHARES = (0.3, 1.0, 0.0)


def main(rank: int, store: Path, data: Path, result: Path) -> None:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="The ``compute`` method of metric")  # a worker without samples
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    arrays = np.load(data)
    features, labels = torch.from_numpy(arrays["features"]), torch.from_numpy(arrays["labels"])
    classes, dim = arrays["weight"].shape
    head = torch.nn.Linear(dim, classes).double()
    head.load_state_dict({name: torch.from_numpy(arrays[name]) for name in ("weight", "bias")})

    def own(share: float) -> tuple[torch.Tensor, ...]:
        cut = round(share * len(features))
        part = slice(None, cut) if rank == 0 else slice(cut, None)
        return features[part], labels[part]

    def batches(share: float) -> zip:
        return zip(*(tensor.split(16) for tensor in own(share)), strict=True)

    answers: dict[str, object] = {}
    for share in SHARES:
        metric = NeuralCollapse(classes, dim, head)
        for batch in batches(share):
            if len(batch[0]):
                metric.update(*batch)
        answers[f"share {share}"] = metric.compute()

    # Merging for an answer must not change what a worker goes on with.
    metric = NeuralCollapse(classes, dim, head)
    first, *rest = batches(0.3)
    metric.update(*first)
    metric.compute()
    for batch in rest:
        metric.update(*batch)
    answers["resumed"] = metric.compute()

    group = MetricCollection([NC1(classes, dim), CDNV(classes, dim), NC2(classes, dim), NC3(classes, dim, head)])
    for batch in batches(0.3):
        group.update(*batch)
    answers["groups"] = len(group.compute_groups)
    answers["collection"] = {name: float(value) for name, value in group.compute().items()}

    # Each step in step: the value of both workers' batches, and the state of one's own.
    stepped = MetricCollection([NC1(classes, dim, dist_sync_on_step=True), CDNV(classes, dim, dist_sync_on_step=True)])
    mine, classes_of_mine = own(0.5)
    for chunk, targets in zip(mine.chunk(3), classes_of_mine.chunk(3), strict=True):
        stepped.update(chunk[:1], targets[:1])  # forms the compute group, whose metrics share a state from then on
        answers["step"] = {name: float(value) for name, value in stepped(chunk[1:], targets[1:]).items()}
    answers["stepped"] = {name: float(value) for name, value in stepped.compute().items()}
    result.write_text(json.dumps(answers))
    torch.distributed.destroy_process_group()
