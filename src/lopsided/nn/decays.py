"""What an optimiser's weight decay amounts to in the model: a result with its reasons, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lopsided.core.arguments import ArgumentError
from lopsided.core.losses import Loss
from lopsided.model import UFM
from lopsided.nn.optimizer_kinds import as_optimizers
from lopsided.nn.relaxation import relaxation_times


@dataclass(frozen=True, eq=False)
class Decays:
    r"""What ordinary weight decay amounts to, for a network and its optimiser.

    Attributes
    ----------
    lambda_w : float or None
        Decay of the classifier's weight; None where decoupled decay leaves it unknown.
    lambda_b : float or None
        Decay of its bias, 0 where that is free; None where there is no bias, or as above.
    has_bias : bool
        Whether there is one.
    lambda_h : float or None
        The highest decay of features for which :math:`R(H)\ge\frac{\lambda_h}2\|H\|^2` is certain, R being what the
        layers before the head pay: 0 where they can pay nothing, None where nothing is known.
    lambda_h_range : tuple
        That and the highest that layers which can make any normalised features need; equal where exact. The second is
        None where nothing is known.
    features : {"any", "relu"}
        Whether features may have any sign.
    end : str
        The last things before the head: ``"batch-norm"``, ``"batch-norm+relu"``, ``"batch-norm+activation"``,
        ``"pooled"``, ``"residual"``, ``"layer-norm"``, ``"group-norm"``, ``"rms-norm"``, ``"mixed"``, ``"deep"``
        (linear layers behind the last normalisation), ``"none"`` (no normalisation) or ``"unknown"``.
    exact : bool
        Whether R(H) equals the formula wherever the layers before can make any normalised features.
    statement : str
        All of it in sentences.
    num_samples : int
        N, as given.
    classifier : str
        Name of the head.
    scale_parameters : tuple of str
        Names of what sets the size of features: scales and shifts of the last normalisations.
    scale_free : tuple of str
        Names of the decayed parameters whose decay costs nothing at the optimum.
    norm_decays : tuple of float or None
        Decay of the scales and of the shifts of the last normalisations, where each is one number.
    layers : int
        Linear layers between the last normalisation and the head, where the end is ``"deep"``.
    decoupled : bool
        Whether a decay that counts is decoupled from the gradient (AdamW), so that no objective has it.
    tensors : tuple of Tensor
        The classifier's weight, and those named by ``scale_parameters``.
    """

    lambda_w: float | None
    lambda_b: float | None
    has_bias: bool
    lambda_h: float | None
    lambda_h_range: tuple[float | None, float | None]
    features: str
    end: str
    exact: bool
    statement: str
    num_samples: int
    classifier: str
    scale_parameters: tuple[str, ...] = field(repr=False)
    scale_free: tuple[str, ...] = field(repr=False)
    norm_decays: tuple[float, float] | None
    layers: int
    decoupled: bool
    tensors: tuple[Tensor, ...] = field(repr=False)

    def model(self, counts: Any, *, loss: Loss | None = None) -> UFM:
        """The unconstrained feature model whose optimum bounds this network's objective from below.

        Parameters
        ----------
        counts : str or (K,) array_like
            Samples in each class; under a sampler, appearances in an epoch.
        loss : optional
            What it is trained with; cross-entropy by default.

        Raises
        ------
        ArgumentError
            If λ_h is 0 or unknown, so that there is no such model.
        """
        if not self.lambda_h or not self.lambda_w:
            raise ArgumentError("model", "must have decays of classifier and features above 0", got=self._lacking())
        return UFM(
            counts,
            lambda_w=self.lambda_w,
            lambda_h=self.lambda_h,
            lambda_b=self.lambda_b or 0.0,
            bias=self.has_bias,
            loss=loss,
            features=self.features,
        )

    def bound(self, counts: Any, *, loss: Loss | None = None, tol: float = 1e-9) -> float:
        """A certified lower bound on the objective: mean loss and half the decay times the squares of all parameters.

        No network with this end, whatever its weights, has a lower one on its training samples in training mode. It is
        the optimum of :meth:`model` less its gap. Where there is no such model, or the decay is decoupled and in no
        objective, it is 0, which no loss is below. The loss must be convex in the logits where there is dropout.

        Parameters
        ----------
        counts, loss
            As in :meth:`model`.
        tol : float, optional
            Of the solver.
        """
        if not self.lambda_h or not self.lambda_w or self.decoupled:
            return 0.0
        model = self.model(counts, loss=loss)
        solution = model.solve(tol=tol)
        certified = solution.objective - solution.gap
        if model.features == "any" or model.loss.name == "focal":
            return max(0.0, certified) if math.isfinite(certified) else 0.0
        free = model.replaced(features="any").solve(tol=tol)
        return max(free.objective - free.gap, certified if math.isfinite(certified) else 0.0)

    def relaxations(self, optimizer: Optimizer | Sequence[Optimizer], schedule: int | Sequence[float]) -> float | None:
        r"""Over how many relaxation times the decay has acted, :math:`T=\sum_t\eta_t\lambda/(1-\mu)`.

        Below .1 the decay has hardly acted and decides nothing; from 3 on sizes are settled. The least over the
        classifier's weight and the parameters that set the size of features, those without decay left out.

        Parameters
        ----------
        optimizer : Optimizer or sequence of them
            What trains the network.
        schedule : int or sequence of float
            Steps at the learning rate that the optimiser has now, or the classifier's learning rate at each step.

        Returns
        -------
        float or None
            0 where nothing is decayed; None where an adaptive optimiser with decay in the gradient has no state yet.
        """
        return relaxation_times(as_optimizers(optimizer), self.tensors, schedule)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {name: value for name, value in vars(self).items() if name != "tensors"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def _lacking(self) -> str:
        if self.lambda_w is None:
            return f"no decay of {self.classifier!r} that is known; {self.statement}"
        if self.lambda_w == 0:
            return f"no decay of {self.classifier!r}: it grows without end"
        if self.lambda_h == 0:
            return "λ_h = 0: nothing that sets the size of features is decayed, and no other decay loses a class"
        return f"an end of which λ_h is not known ({self.end}); measuring or forecasting says more"
