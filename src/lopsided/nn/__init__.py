"""Remedies as PyTorch modules, and what an optimiser decays: losses, heads, samplers, parameter groups.

Needs torch, which ``pip install lopsided[measure]`` brings; it is loaded on first use.
"""

from typing import TYPE_CHECKING

from lopsided.core.exports import lazy_exports

if TYPE_CHECKING:
    from lopsided.nn.decays import Decays as Decays
    from lopsided.nn.heads import FixedHead as FixedHead
    from lopsided.nn.heads import predicted_head as predicted_head
    from lopsided.nn.heads import simplex_etf_head as simplex_etf_head
    from lopsided.nn.loss_modules import DataTerm as DataTerm
    from lopsided.nn.loss_modules import loss_module as loss_module
    from lopsided.nn.optimizer_decay import DecayWarning as DecayWarning
    from lopsided.nn.optimizer_decay import OptimizerDecays as OptimizerDecays
    from lopsided.nn.optimizer_decay import optimizer_decays as optimizer_decays
    from lopsided.nn.optimizer_groups import decay_groups as decay_groups
    from lopsided.nn.penalties import classifier_penalty as classifier_penalty
    from lopsided.nn.penalties import feature_penalty as feature_penalty
    from lopsided.nn.published_losses import CDTLoss as CDTLoss
    from lopsided.nn.published_losses import FocalLossModule as FocalLossModule
    from lopsided.nn.published_losses import LDAMLoss as LDAMLoss
    from lopsided.nn.published_losses import LDTLoss as LDTLoss
    from lopsided.nn.published_losses import LogitAdjustedLoss as LogitAdjustedLoss
    from lopsided.nn.published_losses import VSLoss as VSLoss
    from lopsided.nn.published_losses import WeightedCrossEntropy as WeightedCrossEntropy
    from lopsided.nn.reading import read_decays as read_decays
    from lopsided.nn.sampling import ClassSampler as ClassSampler

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    decays="Decays",
    heads="FixedHead predicted_head simplex_etf_head",
    loss_modules="DataTerm loss_module",
    optimizer_decay="DecayWarning OptimizerDecays optimizer_decays",
    optimizer_groups="decay_groups",
    penalties="classifier_penalty feature_penalty",
    published_losses="CDTLoss FocalLossModule LDAMLoss LDTLoss LogitAdjustedLoss VSLoss WeightedCrossEntropy",
    reading="read_decays",
    sampling="ClassSampler",
)
