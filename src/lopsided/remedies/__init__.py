"""Will classes be lost, and what keeps them: ``check``, ``advise``, and the remedies.

``ClassSampler`` needs torch, which is loaded on first use.
"""

from typing import TYPE_CHECKING, Any

from lopsided.remedies.advising import LEVERS, Advice, advise
from lopsided.remedies.checking import check
from lopsided.remedies.directions import largest_cosine, simplex_directions
from lopsided.remedies.outlook import FADING, Outlook
from lopsided.remedies.remedy import Cost, Remedy
from lopsided.remedies.targets import resampled, target_counts

if TYPE_CHECKING:
    from lopsided.remedies.sampling import ClassSampler

__all__ = [
    "FADING",
    "LEVERS",
    "Advice",
    "ClassSampler",
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


def __getattr__(name: str) -> Any:
    if name == "ClassSampler":
        from lopsided.remedies.sampling import ClassSampler

        return ClassSampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
