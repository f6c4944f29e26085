"""Training real networks, and the model itself, by the objective whose optimum the theory certifies.

Needs torch and Lightning, which ``pip install lopsided[train]`` brings.
"""

from lopsided.data import ImbalancedData, load_data, sample_indices
from lopsided.training.diagnosis import Finding, diagnose
from lopsided.training.evaluation import Evaluation, evaluate, refresh_batch_norm
from lopsided.training.networks import NETWORKS, FeatureNetwork, FreeFeatures, MultilayerPerceptron, build_network
from lopsided.training.objective import Decays, Descent, RegularisedObjective
from lopsided.training.recording import Progress
from lopsided.training.trainer import TrainingResult, train

__all__ = [
    "NETWORKS",
    "Decays",
    "Descent",
    "Evaluation",
    "FeatureNetwork",
    "Finding",
    "FreeFeatures",
    "ImbalancedData",
    "MultilayerPerceptron",
    "Progress",
    "RegularisedObjective",
    "TrainingResult",
    "build_network",
    "diagnose",
    "evaluate",
    "load_data",
    "refresh_batch_norm",
    "sample_indices",
    "train",
]
