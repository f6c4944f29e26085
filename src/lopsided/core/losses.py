"""Losses, as functions of the logits: convex ones, and focal loss, which is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError, check_choice, check_number, is_number
from lopsided.core.counts import as_array

Array = NDArray[np.float64]
#: What a weighted sum is divided by: the sum of the weights of all samples, or their number.
Reduction = Literal["mean", "samples"]
#: The per-class numbers of :class:`ClassTerms`, in the order of its table.
PER_CLASS = ("weights", "margins", "offsets", "row_scales", "column_scales")


@dataclass(frozen=True, eq=False)
class ClassTerms:
    r"""What a loss does to each class, in the one form that the solver knows.

    A sample of class k with logits x costs, over the normaliser,

    .. math:: w_k\Big[\log\sum_j e^{y_j} - \sum_j t_{kj} y_j\Big],\qquad
              y_j = \rho_k\gamma_j x_j + o_j - m_k [j=k],\qquad t_{kj} = (1-\varepsilon)[j=k] + \varepsilon/K.

    The arrays (K,) are w, m, o, ρ and γ, ``smoothing`` is ε; the sum over samples is divided by ``normaliser``.
    """

    weights: Array
    margins: Array
    offsets: Array
    row_scales: Array
    column_scales: Array
    smoothing: float
    normaliser: float

    def table(self) -> Array:
        """(K, 5) the per-class numbers side by side: classes of equal rows and counts are alike to the optimum."""
        return np.stack([getattr(self, name) for name in PER_CLASS], axis=1)

    def _with_table(self, table: Array) -> ClassTerms:
        return replace(self, **dict(zip(PER_CLASS, table.T, strict=True)))

    def take(self, classes: NDArray[np.int64]) -> ClassTerms:
        """The terms of some classes."""
        return self._with_table(self.table()[classes])

    def average(self, groups: NDArray[np.int64], sizes: Array) -> ClassTerms:
        """The mean terms of groups of classes, each class counted ``sizes`` times."""
        totals = [np.bincount(groups, sizes * column) for column in self.table().T]
        return self._with_table((np.array(totals) / np.bincount(groups, sizes)).T)


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy and its convex relatives; by default PyTorch's ``CrossEntropyLoss()``.

    Parameters
    ----------
    weights : sequence of K numbers, optional
        Weight of each class's samples, above 0.
    reduction : {"mean", "samples"}, default "mean"
        What the weighted sum is divided by: ``"mean"`` the sum of the weights of all samples (PyTorch's weighted
        mean), ``"samples"`` their number N.
    label_smoothing : float, default 0
        ε in [0, 1): the target is (1 − ε) on the label plus ε/K on every class.
    logit_adjustment : float, default 0
        τ: adds τ log(n_j/N) to logit j inside the loss (Menon et al. 2021).
    margins : sequence of K numbers, optional
        m_k ≥ 0, subtracted from a sample's own logit inside the loss (LDAM, Cao et al. 2019).
    scales : sequence of K numbers, optional
        δ_k > 0, multiplied with the logits inside the loss.
    scale_by : {"logit", "label"}, default "logit"
        Whose δ multiplies logit j of a sample of class k: ``"logit"`` δ_j (CDT, Ye et al. 2020; with an adjustment VS,
        Kini et al. 2021), ``"label"`` δ_k (LDT, Behnia et al. 2023).

    Examples
    --------
    >>> import lopsided as lp
    >>> loss = lp.CrossEntropy(weights=[1, 1, 5, 5], reduction="samples")
    >>> lp.UFM(counts="500x2,100x2", lambda_z=1e-2, loss=loss).thresholds().within       # w √n / N
    array([0.0186339 , 0.04166667])
    """

    #: Name by which the command line knows the loss.
    name: ClassVar[str] = "cross-entropy"
    weights: Sequence[float] | None = None
    reduction: Reduction = "mean"
    label_smoothing: float = 0.0
    logit_adjustment: float = 0.0
    margins: Sequence[float] | None = None
    scales: Sequence[float] | None = None
    scale_by: Literal["logit", "label"] = "logit"

    def __post_init__(self) -> None:
        for name in ("weights", "margins", "scales"):
            object.__setattr__(self, name, _per_class(name, getattr(self, name), zero=name == "margins"))
        check_choice("reduction", self.reduction, ("mean", "samples"))
        check_choice("scale_by", self.scale_by, ("logit", "label"))
        if not is_number(self.label_smoothing) or not 0 <= self.label_smoothing < 1:
            raise ArgumentError("label_smoothing", "must be a number in [0, 1)", self.label_smoothing)
        check_number("logit_adjustment", self.logit_adjustment)

    def terms(self, counts: NDArray[Any]) -> ClassTerms:
        """The loss on classes of these counts."""
        classes, total = len(counts), float(np.sum(counts, dtype=np.float64))
        ones = np.ones(classes)
        for name in ("weights", "margins", "scales"):
            value = getattr(self, name)
            if value is not None and len(value) != classes:
                raise ArgumentError(name, f"must have one number a class, {classes} like counts", len(value))
        weights = ones if self.weights is None else np.array(self.weights)
        scales = ones if self.scales is None else np.array(self.scales)
        return ClassTerms(
            weights=weights,
            margins=np.zeros(classes) if self.margins is None else np.array(self.margins),
            offsets=self.logit_adjustment * np.log(counts / total),
            row_scales=scales if self.scale_by == "label" else ones,
            column_scales=scales if self.scale_by == "logit" else ones,
            smoothing=float(self.label_smoothing),
            normaliser=float(weights @ counts) if self.reduction == "mean" else total,
        )


class _Weighted:
    """What losses of no other setting have of cross-entropy: class weights, and what their sum is divided by."""

    weights: Sequence[float] | None
    reduction: Reduction

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", CrossEntropy(self.weights, self.reduction).weights)  # and both are checked

    def terms(self, counts: NDArray[Any]) -> ClassTerms:
        """Weights and normaliser, and which classes the loss treats alike; the other terms are cross-entropy's."""
        return CrossEntropy(self.weights, self.reduction).terms(counts)


@dataclass(frozen=True)
class FocalLoss(_Weighted):
    r"""Focal loss (Lin et al., ICCV 2017): :math:`-(1-s)^\gamma\log s`, s the softmax probability of the label.

    It is convex in the logits only where s is large enough (γ = 2: from .0578 on, see
    :func:`lopsided.solver.focal_convex_from`), so that ``solve`` looks for a stationary point and says so; its gap is a
    bound all the same, and zero up to rounding where no class's s falls below
    :func:`lopsided.solver.focal_tight_from` (γ = 2: .1633).

    Parameters
    ----------
    gamma : float, default 2
        γ ≥ 0; 0 is cross-entropy, certified as such.
    weights, reduction
        As for :class:`CrossEntropy`; the weights are the α of the paper.

    Examples
    --------
    >>> import lopsided as lp
    >>> solution = lp.UFM(counts="500x2,100x2", lambda_z=5e-3, loss=lp.FocalLoss(gamma=1.0)).solve()
    >>> solution.status, solution.gap < 1e-9         # a stationary point that turns out to be the optimum
    ('optimal', True)
    """

    name: ClassVar[str] = "focal"
    gamma: float = 2.0
    weights: Sequence[float] | None = None
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_number("gamma", self.gamma, least=0)
        super().__post_init__()


@dataclass(frozen=True)
class SquaredError(_Weighted):
    r"""Squared error to the one-hot label: :math:`\tfrac12\|x-e_k\|^2`, x the logits of a sample of class k.

    Parameters
    ----------
    weights, reduction
        As for :class:`CrossEntropy`.

    Examples
    --------
    >>> import lopsided as lp
    >>> model = lp.UFM(counts="400,100", lambda_z=0.02, bias=False, loss=lp.SquaredError())
    >>> model.solve().geometry.mean_logits.round(12)                # 1 − Nλ/√n on the diagonal, or nothing
    array([[0.5, 0. ],
           [0. , 0. ]])
    """

    name: ClassVar[str] = "squared-error"
    weights: Sequence[float] | None = None
    reduction: Reduction = "mean"


Loss = CrossEntropy | FocalLoss | SquaredError

#: Every loss by the name the command line knows it by.
LOSSES: dict[str, type[Loss]] = {kind.name: kind for kind in (CrossEntropy, SquaredError, FocalLoss)}


@dataclass(frozen=True)
class LossSetting:
    """What a setting of a loss is: one number, one number a class, or a word; and what it does."""

    kind: Literal["number", "numbers", "word"]
    help: str


#: What is known of a setting, by the name of the field that holds it; any other one is a number.
SETTINGS: dict[str, LossSetting] = {
    "weights": LossSetting("numbers", "Weight of each class: 1x5,5x5 or 1,1,5,5."),
    "reduction": LossSetting("word", "mean divides by the sum of the weights, as PyTorch does; samples by N."),
    "label_smoothing": LossSetting("number", "Share of each label that is spread over all classes, in [0, 1)."),
    "logit_adjustment": LossSetting("number", "τ: adds τ log(n_j/N) to logit j inside the loss."),
    "margins": LossSetting("numbers", "Margin of each class, taken off its samples' own logit (LDAM)."),
    "scales": LossSetting("numbers", "Factor of each class on the logits inside the loss (CDT, VS, LDT)."),
    "scale_by": LossSetting("word", "Whose factor a logit gets: that of the logit's class, or of the sample's label."),
    "gamma": LossSetting("number", "γ: how much less samples count that are predicted well."),
}


def settings_of(loss: type[Loss]) -> list[str]:
    """The names of the settings that a loss has.

    Examples
    --------
    >>> settings_of(LOSSES["cross-entropy"])[:2]
    ['weights', 'reduction']
    """
    return [entry.name for entry in fields(loss) if entry.init]


def all_settings() -> list[str]:
    """The names of the settings that any loss of :data:`LOSSES` has, none twice."""
    return list(dict.fromkeys(name for kind in LOSSES.values() for name in settings_of(kind)))


def stated_settings(loss: Loss) -> dict[str, Any]:
    """The settings of a loss that are not at their defaults.

    Examples
    --------
    >>> stated_settings(CrossEntropy(weights=[1, 2], scale_by="label"))
    {'weights': (1.0, 2.0), 'scale_by': 'label'}
    """
    values = {entry.name: (getattr(loss, entry.name), entry.default) for entry in fields(loss) if entry.init}
    return {name: value for name, (value, default) in values.items() if value != default}


def make_loss(name: str, settings: Mapping[str, Any], read: Callable[[str, Any], Any] | None = None) -> Loss:
    """The loss of a name with some settings, each read by ``read(setting, value)`` once it is known to exist.

    Examples
    --------
    >>> make_loss("focal", {"scales": [1, 2]})
    Traceback (most recent call last):
    ...
    lopsided.core.arguments.ArgumentError: scales must be left out with loss focal, which has no such setting; ...
    """
    if name not in LOSSES:
        raise ArgumentError("loss", f"must be one of: {', '.join(LOSSES)}", name)
    for setting, value in settings.items():
        if setting not in settings_of(LOSSES[name]):
            others = " or ".join(other for other, kind in LOSSES.items() if setting in settings_of(kind))
            raise ArgumentError(
                setting,
                f"must be left out with `loss` {name}, which has no such setting",
                value,
                remedy=f"leave it out, or choose `loss` {others}",
            )
    return LOSSES[name](**(settings if read is None else {key: read(key, value) for key, value in settings.items()}))


def _per_class(name: str, values: Any, zero: bool = False) -> tuple[float, ...] | None:
    """Finite numbers above 0, one a class, or of at least 0 where ``zero`` may be among them."""
    if values is None:
        return None
    rule = f"must be finite numbers {'of at least' if zero else 'above'} 0, one a class"
    try:
        numbers = np.asarray(as_array(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(name, rule, values) from None
    if numbers.ndim != 1:
        raise ArgumentError(name, rule, got=f"an array of shape {numbers.shape}")
    broken = ~np.isfinite(numbers) | (numbers < 0) | ((numbers == 0) & (not zero))
    if broken.any():
        index = int(np.argmax(broken))
        raise ArgumentError(name, rule, got=f"{numbers[index]:g} for class {index}")
    return tuple(numbers.tolist())
