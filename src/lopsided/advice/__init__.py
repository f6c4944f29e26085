"""Will classes be lost, and what keeps them: ``check`` and ``advise``. NumPy and SciPy alone."""

from lopsided.advice.advising import LEVERS, Advice, advise
from lopsided.advice.checking import check
from lopsided.advice.outlook import outlook_of
from lopsided.advice.remedy import Cost, Remedy
from lopsided.advice.resampling import resampled, target_counts
from lopsided.core.outlook import FADING, Outlook

__all__ = [
    "FADING",
    "LEVERS",
    "Advice",
    "Cost",
    "Outlook",
    "Remedy",
    "advise",
    "check",
    "outlook_of",
    "resampled",
    "target_counts",
]
