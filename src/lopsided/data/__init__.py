"""Real data sets made lopsided. Which there are is known without torch; what is loaded are its tensors."""

from lopsided.data.imbalanced import ImbalancedData, load_data, sample_indices
from lopsided.data.sources import SOURCES

#: Names that :func:`load_data` knows.
DATA_SETS = tuple(SOURCES)

__all__ = ["DATA_SETS", "ImbalancedData", "load_data", "sample_indices"]
