r"""The penalties of the model as terms of a batch's loss, in the ½ convention of :class:`lopsided.UFM`.

No optimiser's weight decay reaches the features: :math:`\lambda_h` is a term of the loss or it is nothing. (Without it
a trained network has one implicitly, see :func:`lopsided.metrics.effective_decay`.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from lopsided.core.arguments import ArgumentError, check_number


def feature_penalty(features: Tensor, lambda_h: float, *, num_samples: int) -> Tensor:
    r"""Return :math:`\frac{\lambda_h}2\frac NB\sum_{i\in\text{batch}}\|h_i\|^2`, the feature decay seen from a batch.

    Its mean over evenly drawn batches is :math:`\frac{\lambda_h}2\|H\|_F^2` over all N samples, each counted once.
    Under a sampler that repeats samples it counts each appearance, with N those that an epoch shows; *Resampled epochs*
    in ``docs/preventing.md`` has both conventions.

    Parameters
    ----------
    features : (B, d) tensor
        What enters the classifier, with its graph. float16 and bfloat16 are raised to float32, in which the sum of
        squares does not overflow.
    lambda_h : float
        λ_h, at least 0.
    num_samples : int
        N, the number of training samples; under a sampler, of those that an epoch shows, of all processes together.

    Returns
    -------
    scalar tensor
        To be added to the loss of the batch, a mean over its samples.

    Examples
    --------
    >>> feature_penalty(torch.ones(4, 3), 0.01, num_samples=100)           # .005 · 100 · 3
    tensor(1.5000)
    """
    check_number("lambda_h", lambda_h, least=0)
    return 0.5 * lambda_h * squared_feature_norm(features, num_samples)


def squared_feature_norm(features: Tensor, num_samples: int) -> Tensor:
    r"""Estimate :math:`\|H\|_F^2` over all N samples from a batch of B: N/B times the batch's own."""
    if features.ndim != 2 or len(features) == 0:
        raise ArgumentError("features", "must have shape (B, d), one row a sample", tuple(features.shape))
    if num_samples < 1:
        raise ArgumentError("num_samples", "must be the number of training samples, at least 1", num_samples)
    raised = features if features.dtype == torch.float64 else features.float()
    return raised.square().sum() * (num_samples / len(features))


def classifier_penalty(weight: Tensor, bias: Tensor | None, lambda_w: float, lambda_b: float = 0.0) -> Tensor:
    r"""Return :math:`\frac{\lambda_w}2\|W\|_F^2+\frac{\lambda_b}2\|b\|^2`, where the optimiser's decay is no penalty.

    AdamW's is none: give the classifier ``weight_decay=0`` there, as ``decay_groups(model, lambda_w=0)`` does, and add
    this to the loss. Beside a decay in the optimiser it would count twice. W is (K, d), b (K,) or None.

    Examples
    --------
    >>> classifier_penalty(torch.ones(2, 3), torch.ones(2), 0.1, 0.05)     # .05 · 6 + .025 · 2
    tensor(0.3500)
    """
    check_number("lambda_w", lambda_w, least=0)
    check_number("lambda_b", lambda_b, least=0)
    total = 0.5 * lambda_w * weight.square().sum()
    return total if bias is None or lambda_b == 0 else total + 0.5 * lambda_b * bias.square().sum()
