"""Will classes be lost, and what keeps them: ``check``, ``advise``, and the remedies."""

from lopsided.remedies.advising import LEVERS, Advice, advise
from lopsided.remedies.checking import check
from lopsided.remedies.directions import largest_cosine, simplex_directions
from lopsided.remedies.outlook import FADING, Outlook
from lopsided.remedies.remedy import Cost, Remedy
from lopsided.remedies.targets import resampled, target_counts

__all__ = [
    "FADING",
    "LEVERS",
    "Advice",
    "Cost",
    "Outlook",
    "Remedy",
    "advise",
    "check",
    "largest_cosine",
    "resampled",
    "simplex_directions",
    "target_counts",
]
