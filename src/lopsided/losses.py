"""Losses, as convex functions of the logits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy, averaged over all samples: PyTorch's ``CrossEntropyLoss()``.

    Examples
    --------
    >>> import lopsided as lp
    >>> lp.UFM(counts="500x5,100x5", lambda_z=3e-3, loss=lp.CrossEntropy()).loss.name
    'cross-entropy'
    """

    @property
    def name(self) -> str:
        """Name by which the command line knows the loss."""
        return "cross-entropy"


Loss = CrossEntropy

#: Every loss by the name the command line knows it by.
LOSSES: dict[str, type[Loss]] = {"cross-entropy": CrossEntropy}
