"""Resampled training: which samples an epoch shows, and the model whose sums they estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from lopsided.advice import resampled
from lopsided.core.count_sources import ClassCounts
from lopsided.data import ImbalancedData
from lopsided.model import UFM
from lopsided.nn.loss_modules import DataTerm, loss_module
from lopsided.nn.sampling import ClassSampler


@dataclass(frozen=True, eq=False)
class Resampling:
    r"""The epochs of a sampler as samples of the model that describes them.

    The model of :func:`lopsided.advice.resampled` has sums over :math:`n_k` samples of class k: those shown, where
    features are penalised per appearance; the distinct ones, with class weights, where they are penalised per sample.
    Whatever is at hand (a batch of an epoch, the data set itself) holds :math:`m_k` of a class, so each of these stands
    for :math:`n_k/m_k` of the model. Both conventions, in training and in measuring, are this one rule.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.advice import resampled
    >>> problem, sampler = lp.UFM("4,2", 0.1), ClassSampler([0, 0, 0, 0, 1, 1], "all")
    >>> for feature_penalty_per in ("appearance", "sample"):
    ...     resampling = Resampling(sampler, resampled(problem, sampler.counts, feature_penalty_per))
    ...     print(resampling.sample_weights(sampler.counts), resampling.sample_weights(problem.counts))
    tensor([1., 1.], dtype=torch.float64) tensor([1., 2.], dtype=torch.float64)
    tensor([1.0000, 0.5000], dtype=torch.float64) tensor([1., 1.], dtype=torch.float64)
    """

    sampler: ClassSampler  # what an epoch shows
    model: UFM  # what training on it solves

    def sample_weights(self, counts: NDArray[Any]) -> Tensor:
        """Return how many samples of the model one of each class stands for, (K,), where ``counts`` are at hand."""
        return torch.from_numpy(self.model.counts / counts)

    def data_term(self, counts: NDArray[Any]) -> DataTerm:
        """Return the data term of the model, estimated from a set of samples with these ``counts``."""
        return loss_module(self.model.loss, self.model.counts, counts)

    @classmethod
    def of(
        cls, problem: UFM, data: ImbalancedData, sampling_strategy: Any, feature_penalty_per: str, seed: int
    ) -> Resampling:
        """Return how ``data``, of which ``problem`` is the model as it is, is shown by a strategy."""
        known = ClassCounts(data.counts, data.class_names, data.name)
        sampler = ClassSampler(data.labels, sampling_strategy, counts=known, seed=seed)
        return cls(sampler, resampled(problem, sampler.counts, feature_penalty_per))

    @property
    def rows(self) -> Tensor:
        """The samples of an epoch that training does not show, in their own order; batch norm is measured on them."""
        return self.sampler.order(0).sort().values
