"""Training real networks, and the model itself, by the objective whose optimum the theory certifies.

Needs torch and Lightning, which ``pip install lopsided[train]`` brings.
"""

from lopsided.data import ImbalancedData, load_data, sample_indices
from lopsided.nn.loss_modules import DataTerm, loss_module
from lopsided.training.batches import Augmentation
from lopsided.training.building import INITIALISATIONS, NETWORKS, build_network
from lopsided.training.convolutional import VGG, HeadedModule, ResNet18, SmallCNN
from lopsided.training.diagnosis import Finding, diagnose
from lopsided.training.evaluation import Evaluation, evaluate, refresh_batch_norm
from lopsided.training.extra_layers import ExtraLayers
from lopsided.training.networks import FeatureNetwork, FreeFeatures, MultilayerPerceptron
from lopsided.training.objective import Decays, OptimizerConfig, RegularisedObjective
from lopsided.training.recording import Progress
from lopsided.training.result import DivergenceError, TrainingResult
from lopsided.training.trainer import train

__all__ = [
    "INITIALISATIONS",
    "NETWORKS",
    "VGG",
    "Augmentation",
    "DataTerm",
    "Decays",
    "DivergenceError",
    "Evaluation",
    "ExtraLayers",
    "FeatureNetwork",
    "Finding",
    "FreeFeatures",
    "HeadedModule",
    "ImbalancedData",
    "MultilayerPerceptron",
    "OptimizerConfig",
    "Progress",
    "RegularisedObjective",
    "ResNet18",
    "SmallCNN",
    "TrainingResult",
    "build_network",
    "diagnose",
    "evaluate",
    "load_data",
    "loss_module",
    "refresh_batch_norm",
    "sample_indices",
    "train",
]
