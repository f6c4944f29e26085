r"""The decay that acts on a trained network's features, read off the network itself.

Few training runs penalise features: what holds them is the decay of all the layers before. But where classifier and
features both are stationary, as they are at the optimum of the unconstrained feature model, the sizes of both tell what
decay of the features would have the same effect, and :math:`\lambda_z` with it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError, check_number
from lopsided.core.comparison import Comparison, compare
from lopsided.core.counts import class_ranges
from lopsided.core.geometry import Geometry
from lopsided.core.losses import Loss
from lopsided.metrics.moments import Moments, TensorLike
from lopsided.model import UFM

Array = NDArray[np.float64]

#: Up to this mismatch of the two Grams a network is said to be in balance.
BALANCED = 0.1
#: Directions of the classifier with less than this share of its strongest one's square say nothing about the decay.
_HEARD = 0.01


@dataclass(frozen=True)
class EffectiveDecay:
    r"""The decays of the unconstrained feature model that has this network's sizes of classifier and features.

    Attributes
    ----------
    lambda_w : float
        Decay of the classifier, as given.
    lambda_h : float
        Decay of the features that balances it: :math:`\lambda_w\|W\|_F^2/\|H\|_F^2`, all N samples in H.
    lambda_z : float
        :math:`\sqrt{\lambda_w\lambda_h}=\lambda_w\|W\|_F/\|H\|_F`.
    lambda_b : float or None
        Decay of the bias, 0 where it is free; None where there is no bias.
    mismatch : float
        How far :math:`\lambda_wW^\top W` is from :math:`\lambda_hH^\top H`, between 0 and 1: the norm of the difference
        over :math:`\sqrt{\|\cdot\|_F^2+\|\cdot\|_F^2}` of the two. 0 at a stationary point, 1 where they have no
        direction in common.
    lambda_z_range : tuple of float
        The least and the largest :math:`\lambda_z` that a single direction of the classifier tells, of those with at
        least 1 % of the strongest one's square, and the estimate itself. All are one at a stationary point.
    implied_lambda_w : float or None
        The decay for which the classifier would be stationary along itself, with features as they are and under plain
        cross-entropy: :math:`-\langle W,\nabla_W\rangle/\|W\|_F^2`, the gradient at the class means. It needs no
        statement by the user, so one far from ``lambda_w`` says that the network is still on its way, that the decay is
        another one, or that the loss is. None where the features do not tell.
    """

    lambda_w: float
    lambda_h: float
    lambda_z: float
    lambda_b: float | None
    mismatch: float
    lambda_z_range: tuple[float, float]
    implied_lambda_w: float | None

    @property
    def balanced(self) -> bool:
        """Whether the mismatch is at most 0.1, so that the estimate may be relied on."""
        return self.mismatch <= BALANCED

    @property
    def statement(self) -> str:
        """How far the estimate is to be trusted, in a sentence.

        Examples
        --------
        >>> EffectiveDecay(0.01, 0.0001, 0.001, 0.0, 0.02, (0.00098, 0.00103), 0.01).statement
        'λ_z = 0.001 (single directions say 0.00098 to 0.00103): classifier and features are in balance, off by 2 %.'
        """
        low, high = self.lambda_z_range
        said = f"λ_z = {self.lambda_z:.4g} (single directions say {low:.3g} to {high:.3g})"
        off = f"off by {100 * self.mismatch:.2g} %"
        if self.balanced:
            return f"{said}: classifier and features are in balance, {off}."
        return (
            f"{said}: classifier and features are not in balance, {off}. The network is at no stationary point of the"
            " model: train longer, or take the range for what is known."
        )

    def model(
        self, counts: Any, *, loss: Loss | None = None, features: str = "any", lambda_h: float | None = None
    ) -> UFM:
        """The model of this network, for the samples in each class and the loss that it was trained with.

        Arguments are those of :class:`lopsided.UFM`; ``lambda_h`` where it is known, the estimate otherwise.
        """
        return UFM(
            counts,
            lambda_w=self.lambda_w,
            lambda_h=self.lambda_h if lambda_h is None else lambda_h,
            lambda_b=self.lambda_b or 0.0,
            bias=self.lambda_b is not None,
            loss=loss,
            features=features,
        )

    def compare(self, measured: Geometry, *, loss: Loss | None = None, features: str = "any") -> Comparison:
        """Solve the model of this network and set it beside the network, measured on all its training samples.

        Says the relative errors, and which classes are lost in theory and in fact (``predicted.merged``,
        ``measured.merged``). A ``ValueError`` refuses a class without samples, of whose classifier the model does not
        say what becomes.
        """
        require_every_class(measured.counts)
        return compare(self.model(measured.counts, loss=loss, features=features).solve().geometry, measured)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        ends = [value if math.isfinite(value) else None for value in self.lambda_z_range]
        return asdict(self) | {"lambda_z_range": ends, "balanced": self.balanced}


def require_every_class(counts: NDArray[Any]) -> None:
    """Refuse to predict where a class has no samples."""
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        raise ArgumentError(
            "counts",
            "must be at least 1 in every class for a prediction",
            got=f"none in class{'es' if len(absent) > 1 else ''} {class_ranges(absent.tolist())}",
            remedy="measure without one",
        )


def effective_decay(
    measured: Moments | Geometry,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    *,
    weight_decay: float,
    bias_decay: float | None = None,
    has_bias: bool | None = None,
) -> EffectiveDecay:
    r"""Estimate the decay of the features, and λ_z, from a network's last layer and its weight decay.

    At every stationary point of the unconstrained feature model :math:`\lambda_wW^\top W=\lambda_hH^\top H` (multiply
    the two conditions :math:`\lambda_wW=-G^\top H` and :math:`\lambda_hH=-GW` by each other's unknown; G is the
    gradient at the logits). The traces give :math:`\lambda_h`, the rest of the equation how well it holds.

    Parameters
    ----------
    measured : Moments or Geometry
        The network, over all the samples it was trained on and in evaluation mode. With a Geometry, or Moments that
        hold traces only, samples are taken to lie at their class means where directions are compared.
    weight, bias : (K, d) and (K,) tensor or array, optional
        Of the last layer; to be left out beside a Geometry, which has its own.
    weight_decay : float
        :math:`\lambda_w` in PyTorch's convention (with a ½); :func:`optimizer_decays` reads it from an optimiser.
    bias_decay : float, optional
        :math:`\lambda_b`; 0 where the bias is left free. The weight decay by default, since an optimiser that is given
        all parameters decays the bias, too.
    has_bias : bool, optional
        Whether the last layer has a bias. By default it has one where ``bias`` is given, and a Geometry's, too, whose
        bias of zeros may mean either.

    Raises
    ------
    ValueError
        If classifier or features are zero, which tells nothing.

    Examples
    --------
    >>> import lopsided as lp
    >>> from lopsided.metrics import effective_decay
    >>> model = lp.UFM("500x5,100x5", lambda_w=0.03, lambda_h=3e-4, lambda_b=0.02)
    >>> decay = effective_decay(model.solve().geometry, weight_decay=0.03, bias_decay=0.02)
    >>> round(decay.lambda_z, 9), decay.balanced, round(decay.implied_lambda_w, 9)
    (0.003, True, 0.03)
    """
    check_number("weight_decay", weight_decay, above=0)
    if bias_decay is not None:
        check_number("bias_decay", bias_decay, least=0, note=" (0: a free bias)")
    if isinstance(measured, Moments):
        geometry = measured.geometry(weight, bias)
        has_bias = bias is not None if has_bias is None else has_bias
        squared_features = float(_squares(geometry) + measured.state.traces.sum())
        scatter = measured.state.scatter.cpu().numpy() if measured.has_scatter else None
    else:
        geometry = measured
        if weight is not None or bias is not None:
            raise ArgumentError("weight", "must be left out, with bias, where a Geometry is given, which has its own")
        has_bias = has_bias is not False
        squared_features, scatter = float(_squares(geometry)), None
    if not geometry.has_classifier:
        raise ArgumentError("weight", "must be given: the decay is read off the sizes of classifier and features")
    squared_weight = float(np.sum(geometry.classifier**2))
    if squared_weight == 0 or squared_features == 0:
        found = "a weight of zero" if squared_weight == 0 else "features of zero"
        raise ArgumentError("weight", "and features must not be zero: their sizes tell the decay", got=found)
    lambda_h = weight_decay * squared_weight / squared_features
    lambda_z = weight_decay * math.sqrt(squared_weight / squared_features)
    mismatch, shares = _balance(geometry, scatter)
    directions = [lambda_z, *(lambda_z * math.sqrt(share) for share in shares)]
    return EffectiveDecay(
        lambda_w=float(weight_decay),
        lambda_h=lambda_h,
        lambda_z=lambda_z,
        lambda_b=(float(weight_decay) if bias_decay is None else float(bias_decay)) if has_bias else None,
        mismatch=mismatch,
        lambda_z_range=(min(directions), max(directions)),
        implied_lambda_w=_implied(geometry),
    )


def _squares(geometry: Geometry) -> float:
    """‖H‖² of samples at their class means."""
    present = geometry.counts > 0
    return float(geometry.counts[present] @ np.sum(geometry.class_means[present] ** 2, axis=1))


def _balance(geometry: Geometry, scatter: Array | None) -> tuple[float, Array]:
    """The mismatch of WᵀW and HᵀH at equal traces, and their quotient along each direction of W that counts."""
    present = geometry.counts > 0
    means = geometry.class_means[present] * np.sqrt(geometry.counts[present])[:, None]
    gram = means.T @ means
    if scatter is not None:
        gram = gram + (scatter + scatter.T) / 2
    weight = geometry.classifier / np.linalg.norm(geometry.classifier)
    gram /= np.trace(gram)
    own = weight.T @ weight
    mismatch = float(np.linalg.norm(own - gram) / math.hypot(np.linalg.norm(own), np.linalg.norm(gram)))
    _, sizes, directions = np.linalg.svd(weight, full_matrices=False)
    heard = sizes**2 >= _HEARD * sizes[0] ** 2
    seen = np.einsum("rd,de,re->r", directions[heard], gram, directions[heard])
    with np.errstate(divide="ignore"):
        quotients: Array = sizes[heard] ** 2 / seen
    return mismatch, quotients


def _implied(geometry: Geometry) -> float | None:
    """λ_w for which W is stationary along itself, under cross-entropy with samples at their class means."""
    present = geometry.counts > 0
    logits = geometry.mean_logits[present]
    outputs = logits + geometry.bias
    outputs = outputs - outputs.max(axis=1, keepdims=True)
    wrong = np.exp(outputs)
    wrong /= wrong.sum(axis=1, keepdims=True)
    own = np.arange(len(wrong)), np.flatnonzero(present)
    wrong[own] = 0.0
    wrong[own] = -wrong.sum(axis=1)  # 1 − p_kk loses its digits as p_kk nears 1
    shares = geometry.counts[present] / geometry.counts.sum()
    pull = -float(shares @ np.sum(wrong * logits, axis=1))
    return pull / float(np.sum(geometry.classifier**2)) if pull > 0 else None
