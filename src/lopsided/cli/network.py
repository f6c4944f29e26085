"""A network and its optimiser from a function that the user names, read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lopsided.cli.checkpoint import require_torch
from lopsided.core.arguments import ArgumentError
from lopsided.core.factories import load_factory

if TYPE_CHECKING:
    from lopsided.nn.decays import Decays

#: Side of the images that a network is tried with where its factory returns no example.
SIDE = 64


def read_network(name: str, num_samples: int) -> Decays:
    """What the optimiser's weight decay amounts to in the network, trained on so many samples.

    Raises
    ------
    ArgumentError
        About ``network``, if the factory returns something else, or an example is needed that it does not return.
    """
    require_torch("network")
    made = load_factory(name, "network")()
    from torch import nn, optim

    if not isinstance(made, tuple) or len(made) not in (2, 3) or not isinstance(made[0], nn.Module):
        raise ArgumentError("network", "must return (model, optimizer) or (model, optimizer, example input)", made)
    if not isinstance(made[1], optim.Optimizer):
        raise ArgumentError("network", "must return an optimizer of torch.optim beside the model", made[1])
    example = made[2] if len(made) == 3 else _example(made[0])
    from lopsided.nn import read_decays

    return read_decays(made[0], made[1], num_samples=num_samples, example_input=example)


def _example(model: Any) -> Any:
    """Two samples of the shape that the first layer takes, where it shows."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            return torch.randn(2, module.in_features)
        if isinstance(module, torch.nn.Conv2d):
            return torch.randn(2, module.in_channels, SIDE, SIDE)
    raise ArgumentError(
        "network", "must return an example input too, since its first layer does not show the shape of one"
    )
