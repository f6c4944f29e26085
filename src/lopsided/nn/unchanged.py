"""Running a model so that nobody can tell afterwards: flags, buffers, attributes and random state are put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in training mode and keeps no gradients; outside, it is as it was.

    What is put back: every module's attributes (training flags, weights that ``spectral_norm`` writes anew in each
    pass), the values of all buffers (running statistics, counters, power iterations), and the random state of the CPU
    and of the devices that hold parameters. Parameters and their gradients are not touched. Hooks of the model run as
    in any pass.
    """
    modules = list(model.modules())
    attributes = [dict(module.__dict__) for module in modules]
    registered = [dict(module._buffers) for module in modules]
    values = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    devices = sorted({tensor.device.index or 0 for tensor in model.parameters() if tensor.device.type == "cuda"})
    with torch.random.fork_rng(devices), torch.no_grad():
        try:
            model.train()  # through the model's own train(), which may keep some layers frozen
            yield
        finally:
            for module, kept, buffers in zip(modules, attributes, registered, strict=True):
                module.__dict__.clear()
                module.__dict__.update(kept)
                module._buffers.clear()
                module._buffers.update(buffers)
            for buffer, value in values:
                buffer.copy_(value)
