"""Will classes be lost, and what keeps them: ``check``, ``advise``, and the remedies.

Advice needs NumPy alone. The remedies as PyTorch modules are loaded on first use, with torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lopsided.remedies.advising import LEVERS, Advice, advise
from lopsided.remedies.checking import check
from lopsided.remedies.directions import largest_cosine, simplex_directions
from lopsided.remedies.outlook import FADING, Outlook
from lopsided.remedies.remedy import Cost, Remedy
from lopsided.remedies.targets import resampled, target_counts

if TYPE_CHECKING:
    from lopsided.remedies.heads import FixedHead, predicted_head, simplex_etf_head
    from lopsided.remedies.loss_modules import DataTerm, loss_module
    from lopsided.remedies.optimizer_groups import decay_groups
    from lopsided.remedies.penalties import classifier_penalty, feature_penalty
    from lopsided.remedies.published_losses import (
        CDTLoss,
        FocalLossModule,
        LDAMLoss,
        LDTLoss,
        LogitAdjustedLoss,
        VSLoss,
        WeightedCrossEntropy,
    )
    from lopsided.remedies.sampling import ClassSampler

#: The file of each name that needs torch.
_TORCH = {
    "CDTLoss": "published_losses",
    "ClassSampler": "sampling",
    "DataTerm": "loss_modules",
    "FixedHead": "heads",
    "FocalLossModule": "published_losses",
    "LDAMLoss": "published_losses",
    "LDTLoss": "published_losses",
    "LogitAdjustedLoss": "published_losses",
    "VSLoss": "published_losses",
    "WeightedCrossEntropy": "published_losses",
    "classifier_penalty": "penalties",
    "decay_groups": "optimizer_groups",
    "feature_penalty": "penalties",
    "loss_module": "loss_modules",
    "predicted_head": "heads",
    "simplex_etf_head": "heads",
}

__all__ = [
    "FADING",
    "LEVERS",
    "Advice",
    "CDTLoss",
    "ClassSampler",
    "Cost",
    "DataTerm",
    "FixedHead",
    "FocalLossModule",
    "LDAMLoss",
    "LDTLoss",
    "LogitAdjustedLoss",
    "Outlook",
    "Remedy",
    "VSLoss",
    "WeightedCrossEntropy",
    "advise",
    "check",
    "classifier_penalty",
    "decay_groups",
    "feature_penalty",
    "largest_cosine",
    "loss_module",
    "predicted_head",
    "resampled",
    "simplex_directions",
    "simplex_etf_head",
    "target_counts",
]


def __getattr__(name: str) -> Any:
    if name in _TORCH:
        return getattr(import_module(f"lopsided.remedies.{_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
