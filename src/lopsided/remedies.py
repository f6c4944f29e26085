"""The former home of what is now in :mod:`lopsided.advice` (NumPy) and :mod:`lopsided.nn` (PyTorch): the old names."""

from lopsided.core.exports import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    "lopsided",
    advice="FADING LEVERS Advice Cost Outlook Remedy advise check resampled target_counts",
    nn="CDTLoss ClassSampler DataTerm FixedHead FocalLossModule LDAMLoss LDTLoss LogitAdjustedLoss VSLoss"
    " WeightedCrossEntropy classifier_penalty decay_groups feature_penalty loss_module predicted_head simplex_etf_head",
    theory="largest_cosine simplex_directions",
)
