"""The regularised objective, as a Lightning module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional

from lopsided.core.arguments import check_choice, check_number
from lopsided.nn.loss_modules import DataTerm
from lopsided.nn.penalties import classifier_penalty, squared_feature_norm
from lopsided.nn.sampling import place_among_processes
from lopsided.training.networks import FeatureNetwork


@dataclass(frozen=True)
class Decays:
    """The three decays of the objective, in the ½ convention of ``weight_decay``.

    Attributes
    ----------
    weight : float
        λ_w, on the classifier, and on linear layers between features and classifier.
    features : float
        λ_h, on the sum over all N samples of their squared feature norms.
    bias : float
        λ_b, on the bias; 0 leaves it free.
    """

    weight: float
    features: float
    bias: float

    def penalty(self, weights: Sequence[Tensor], bias: Tensor | None, squared_features: Tensor | float) -> Tensor:
        r"""Return :math:`\frac12(\lambda_w\|W\|_F^2+\lambda_h\|H\|_F^2+\lambda_b\|b\|^2)`, a scalar tensor.

        ``weights`` are :attr:`FeatureNetwork.decayed_weights`: what else is decayed like W, then W. ``bias`` is b,
        (K,), and ``squared_features`` are :math:`\|H\|_F^2` over all N samples.
        """
        total = classifier_penalty(weights[-1], bias, self.weight, self.bias) + 0.5 * self.features * squared_features
        for weight in weights[:-1]:
            total = total + 0.5 * self.weight * weight.square().sum()
        return total


#: What a schedule does where nothing else is asked for: the share of the steps with smaller decays, and their factor.
SCHEDULES: dict[str, tuple[float, float]] = {"cosine": (0.4, 0.03), "steps": (1 / 6, 0.1)}


@dataclass(frozen=True)
class OptimizerConfig:
    r"""How the objective is descended.

    Attributes
    ----------
    learning_rate : float
        At the start.
    optimizer : {"adam", "sgd"}
        Neither is given a weight decay: the objective has its own.
    momentum : float
        Of SGD.
    ramp : float
        Share of the steps during which λ_w and λ_h are below their values; by default the schedule's in ``SCHEDULES``.
    ramp_start : float
        The factor on λ_w and λ_h at the first step; likewise.
    schedule : {"cosine", "steps"}
        ``"cosine"``: the decays are raised geometrically, the learning rate follows half a cosine to 0. ``"steps"``,
        the schedule of Hong & Ling (2024): the decays jump to their values, the learning rate is divided by ten after a
        third and after two thirds of all steps.
    """

    learning_rate: float
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.9
    ramp: float = None  # type: ignore[assignment]  # the schedule's own
    ramp_start: float = None  # type: ignore[assignment]
    schedule: Literal["cosine", "steps"] = "cosine"

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("adam", "sgd"))
        check_choice("schedule", self.schedule, tuple(SCHEDULES))
        for name, default in zip(("ramp", "ramp_start"), SCHEDULES[self.schedule], strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("momentum", self.momentum, least=0, below=1)
        check_number("ramp", self.ramp, least=0, below=1)
        check_number("ramp_start", self.ramp_start, above=0, most=1)

    def decay_factor(self, progress: float) -> float:
        """Return the factor on λ_w and λ_h after a share ``progress`` of all steps.

        Large decays from the start can trap a network in a solution of too low a rank; raised from small ones, the
        classes separate first and then follow the optimum.

        Examples
        --------
        >>> descent = OptimizerConfig(learning_rate=0.01, ramp=0.5, ramp_start=0.01)
        >>> [descent.decay_factor(progress) for progress in (0, 0.25, 0.5, 1)]
        [0.01, 0.1, 1.0, 1.0]
        """
        if progress >= self.ramp:
            return 1.0
        if self.schedule == "steps":
            return self.ramp_start
        return float(self.ramp_start ** (1 - progress / self.ramp))

    def rate_factor(self, progress: float) -> float:
        """Return the factor on the learning rate after a share ``progress`` of all steps.

        Examples
        --------
        >>> descent = OptimizerConfig(learning_rate=0.1, optimizer="sgd", schedule="steps")
        >>> [descent.rate_factor(progress) for progress in (0, 0.4, 0.9)]
        [1.0, 0.1, 0.01]
        """
        if self.schedule == "steps":
            return 1.0 if progress < 1 / 3 else 0.1 if progress < 2 / 3 else 0.01
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


class RegularisedObjective(LightningModule):
    r"""A loss with decay on the classifier, the features and the bias.

    The loss of a batch of B out of N samples is an unbiased estimate of the objective (Hong & Ling, JMLR 2024, eq. 1)

    .. math:: \frac1B\sum_{i\in\text{batch}}\ell(Wh_i+b,y_i)+\frac{\lambda_w}2\|W\|_F^2
              +\frac{\lambda_h}2\frac NB\sum_{i\in\text{batch}}\|h_i\|^2+\frac{\lambda_b}2\|b\|^2.

    Where several processes each hold a part of a batch, B is the size of the whole batch: the mean of their gradients,
    which Lightning takes, is the gradient of one process with the whole batch, even if the parts differ in size. (Batch
    norm still sees the part of each process.)

    Where epochs are resampled, N is the number of samples that one shows, and a sample may count more or less than once
    (see ``sample_weights``): the sums over the samples are then those of the model that
    :func:`lopsided.advice.resampled` states.

    Parameters
    ----------
    network : FeatureNetwork
        What is trained.
    num_samples : int
        Number of samples in an epoch N.
    decays : Decays
        The decays, once raised.
    descent : OptimizerConfig
        Optimiser and schedules.
    data_term : DataTerm, optional
        The loss, from :func:`lopsided.nn.loss_module`; cross-entropy by default.
    sample_weights : (K,) tensor, optional
        How many samples of the model one of each class stands for, in :math:`\|H\|_F^2`; 1 by default. (The data term
        has its own.)
    """

    sample_weights: Tensor | None

    def __init__(
        self,
        network: FeatureNetwork,
        *,
        num_samples: int,
        decays: Decays,
        descent: OptimizerConfig,
        data_term: DataTerm | None = None,
        sample_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        single = None if sample_weights is None else sample_weights.float()  # all that a Mac's GPU has
        self.register_buffer("sample_weights", single, persistent=False)
        self.network = network
        self.data_term = data_term
        self.num_samples = num_samples
        self.decays = decays
        self.descent = descent
        self.total_steps = 0

    @property
    def decay_factor(self) -> float:
        """Factor on λ_w and λ_h at the present step."""
        return self.descent.decay_factor(self.global_step / max(self.total_steps, 1))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of a batch (inputs, labels)."""
        inputs, labels = batch
        decayed, features = self.network.decayed_and_last(inputs)
        logits = self.network.head(features)
        fit = functional.cross_entropy(logits, labels) if self.data_term is None else self.data_term(logits, labels)
        share = self._share_of_batch(len(labels))
        factor = self.decay_factor
        raised = Decays(factor * self.decays.weight, factor * self.decays.features, self.decays.bias)
        if self.sample_weights is not None:
            decayed = decayed * self.sample_weights.to(decayed)[labels, None].sqrt()
        squared_features = share * squared_feature_norm(decayed, self.num_samples)
        return share * fit + raised.penalty(self.network.decayed_weights, self.network.head.bias, squared_features)

    def _share_of_batch(self, size: int) -> float:
        """The samples here over those of an average process: 1 where there is one process, or all have as many."""
        processes, _ = place_among_processes()
        if processes == 1:
            return 1.0
        total = torch.tensor(size, device=self.device)
        torch.distributed.all_reduce(total)
        return processes * size / int(total)

    def configure_optimizers(self) -> Any:
        """Return the optimiser and the schedule of its learning rate, stepped at every batch."""
        self.total_steps = int(self.trainer.estimated_stepping_batches)
        parameters = self.network.parameters()
        rate = self.descent.learning_rate
        optimizer: torch.optim.Optimizer
        if self.descent.optimizer == "adam":
            optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)
        else:
            optimizer = torch.optim.SGD(parameters, lr=rate, momentum=self.descent.momentum)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.descent.rate_factor(step / self.total_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
