"""Where a head comes to rest, found without the optimiser whose decay is tested."""

from __future__ import annotations

import torch
from torch.nn import functional


def samples():
    """(60, 5) features and their labels, of three classes."""
    torch.manual_seed(0)
    return torch.randn(60, 5).double(), torch.arange(60) % 3


def rest(head, features, labels, lambda_w, lambda_b=0.0):
    """Put a linear head where cross-entropy with the penalties of the model is least."""
    search = torch.optim.LBFGS(
        head.parameters(), max_iter=500, tolerance_grad=1e-11, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def objective():
        search.zero_grad()
        value = functional.cross_entropy(head(features), labels) + 0.5 * lambda_w * head.weight.square().sum()
        if head.bias is not None:
            value = value + 0.5 * lambda_b * head.bias.square().sum()
        value.backward()
        return value

    search.step(objective)


def step_from_rest(optimizer, head, loss):
    """How far one step moves any entry of a head."""
    before = [parameter.detach().clone() for parameter in head.parameters()]
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()
    return max(
        (after.detach() - start).abs().max().item() for after, start in zip(head.parameters(), before, strict=True)
    )
