"""The unconstrained feature model: what a user states, validated, and its classes grouped into clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.arguments import check_number, is_number
from lopsided.counts import format_counts, is_tensor, parse_counts
from lopsided.losses import LOSSES, ClassTerms, CrossEntropy, FocalLoss, Loss, SquaredError

if TYPE_CHECKING:
    from lopsided.solver import Solution
    from lopsided.theory import CriticalDecay, Thresholds

#: λ_z may differ from √(λ_w λ_h) by this relative amount before the three are called contradictory.
CONSISTENCY_TOLERANCE = 1e-6
#: The probabilities of errors are of the order of λ_z, and the gradient of its inverse, of which squares are taken:
#: beyond these sizes they come near the smallest and the largest numbers of float64.
SMALLEST_DECAY, LARGEST_DECAY = 1e-295, 1e100
#: What features may be: anything, or what a ReLU lets through.
FEATURES = ("any", "relu")


@dataclass(frozen=True, eq=False)
class Clusters:
    """Classes that the problem cannot tell apart, grouped.

    Attributes
    ----------
    counts : (J,) array of float
        Samples in each class of the cluster.
    sizes : (J,) array of float
        Classes in each cluster.
    labels : (K,) array of int
        Cluster of each class. Clusters are numbered in the order in which their first class appears.
    terms : ClassTerms
        What the loss does to the classes of each cluster: arrays of shape (J,).
    """

    counts: NDArray[np.float64]
    sizes: NDArray[np.float64]
    labels: NDArray[np.int64]
    terms: ClassTerms

    @cached_property
    def classes(self) -> list[list[int]]:
        """The class indices of each cluster, ascending."""
        order = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(self.sizes.astype(np.int64))[:-1]
        return [group.tolist() for group in np.split(order, ends)]

    @property
    def num_clusters(self) -> int:
        """Number of clusters J."""
        return len(self.counts)

    @property
    def num_samples(self) -> float:
        """Number of samples N = Σ sizes · counts."""
        return float(self.sizes @ self.counts)


@dataclass(frozen=True, eq=False)
class UFM:
    r"""Unconstrained feature model of a classifier trained on imbalanced classes.

    Minimises over classifier W, free features H (one per sample) and bias b (Hong & Ling, JMLR 2024, eq. 1)

    .. math:: \frac1N\sum_k\sum_{i\le n_k}\ell(W h_{ki}+b,k)+\frac{\lambda_w}2\|W\|_F^2
              +\frac{\lambda_h}2\|H\|_F^2+\frac{\lambda_b}2\|b\|^2,

    whose geometry depends on the decays only through :math:`\lambda_z=\sqrt{\lambda_w\lambda_h}` (and
    :math:`\lambda_b`). The factor ½ is PyTorch's: ``weight_decay=w`` on a tensor is λ = w.

    Parameters
    ----------
    counts : str or (K,) array_like or tensor
        Samples in each class: ``"500x5,100x5"``, or one whole number a class. Where a tensor is given, its device is
        where ``solve`` computes.
    lambda_z : float, optional
        Decay of the mean logits. Give it, or ``lambda_w`` and ``lambda_h``, or one of those two beside it.
    lambda_w, lambda_h : float, optional
        Decay of the classifier and of the features (the sum over all N samples). With ``lambda_z`` alone both equal it.
    lambda_b : float, default 0
        Decay of the bias. 0 leaves the bias free.
    bias : bool, default True
        Whether the last layer has a bias.
    loss : CrossEntropy or another loss, optional
        The loss; cross-entropy by default.
    features : {"any", "relu"}, default "any"
        Whether features may have any sign, or end in a ReLU: H ≥ 0. Except in closed form (no bias, cross-entropy),
        ``solve`` then finds a stationary point, with a bound on its distance from the optimum.

    Raises
    ------
    ValueError
        If an argument breaks its rule; the message names the argument, the rule and the value.

    Examples
    --------
    >>> import lopsided as lp
    >>> model = lp.UFM(counts="500x5,100x5", lambda_z=3.5e-3, lambda_b=0.02)
    >>> model.solve().geometry.merged          # past 1/300 the rare classes are lost
    [[5, 6, 7, 8, 9]]
    """

    counts: NDArray[np.int64] = field(repr=False)
    lambda_z: float
    lambda_w: float
    lambda_h: float
    lambda_b: float
    bias: bool
    loss: Loss
    features: str
    device: str | None

    def __init__(
        self,
        counts: str | ArrayLike,
        lambda_z: float | None = None,
        *,
        lambda_w: float | None = None,
        lambda_h: float | None = None,
        lambda_b: float = 0.0,
        bias: bool = True,
        loss: Loss | None = None,
        features: str = "any",
    ) -> None:
        decay_z, decay_w, decay_h = _resolve_decays(lambda_z, lambda_w, lambda_h)
        check_number("lambda_b", lambda_b, least=0, note=" (0: a free bias)")
        if not isinstance(bias, (bool, np.bool_)):
            raise ValueError(f"bias must be True or False, whether there is one; got {bias!r}")
        if not bias and lambda_b > 0:
            raise ValueError(f"lambda_b must be left out where bias=False: there is no bias to decay; got {lambda_b!r}")
        if loss is not None and not isinstance(loss, tuple(LOSSES.values())):
            known = ", ".join(kind.__name__ for kind in LOSSES.values())
            raise ValueError(f"loss must be an instance of one of: {known}; got {loss!r}")
        if features not in FEATURES:
            raise ValueError(f"features must be 'any' or 'relu' (H of at least 0); got {features!r}")
        if features != "any" and isinstance(loss, SquaredError):
            raise ValueError(f"features must be 'any' where the loss is squared error; got {features!r}")
        device = None
        if is_tensor(counts):
            device, counts = str(counts.device), counts.detach().cpu().numpy()
        settings = {
            "counts": parse_counts(counts),
            "lambda_z": decay_z,
            "lambda_w": decay_w,
            "lambda_h": decay_h,
            "lambda_b": float(lambda_b),
            "bias": bool(bias),
            "loss": CrossEntropy() if loss is None else loss,
            "features": features,
            "device": device,
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        self.counts.setflags(write=False)
        self.loss.terms(self.counts)  # refuses lengths that do not fit the counts

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.counts)

    @property
    def num_samples(self) -> int:
        """Number of samples N."""
        return sum(self.counts.tolist())  # in Python's integers: a thousand counts near the largest pass 2**63

    @property
    def num_directions(self) -> int:
        """The largest rank that the mean logits of an optimum can have.

        K − 1 where the loss does not see a shift of all logits, or a free bias takes one direction over; K for squared
        error otherwise.

        Examples
        --------
        >>> import lopsided as lp
        >>> [lp.UFM("500x5,100x5", 3e-3, bias=False, loss=loss).num_directions for loss in (None, lp.SquaredError())]
        [9, 10]
        """
        sees_all = isinstance(self.loss, SquaredError) and not (self.bias and self.lambda_b == 0)
        return self.num_classes - (not sees_all)

    @cached_property
    def clusters(self) -> Clusters:
        """Classes of equal count to which the loss does the same: the optimum treats them alike."""
        terms = self.loss.terms(self.counts)
        table = np.column_stack([self.counts, terms.table()])
        _, first, labels = np.unique(table, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        labels = np.argsort(order)[labels.ravel()]
        first = first[order]
        return Clusters(
            counts=self.counts[first].astype(np.float64),
            sizes=np.bincount(labels).astype(np.float64),
            labels=labels.astype(np.int64),
            terms=terms.take(first),
        )

    def with_lambda_z(self, lambda_z: float) -> UFM:
        """The same problem at another decay; λ_w and λ_h keep their ratio.

        Examples
        --------
        >>> import lopsided as lp
        >>> lp.UFM("500x5,100x5", lambda_w=1e-2, lambda_h=1e-4).with_lambda_z(2e-3).lambda_w
        0.02
        """
        ratio = math.sqrt(self.lambda_w / self.lambda_h)
        return UFM(
            self.counts,
            lambda_z,
            lambda_w=lambda_z * ratio if is_number(lambda_z) else None,
            lambda_b=self.lambda_b,
            bias=self.bias,
            loss=self.loss,
            features=self.features,
        )._on(self.device)

    def _on(self, device: str | None) -> UFM:
        object.__setattr__(self, "device", device)
        return self

    @property
    def is_convex(self) -> bool:
        """Whether the problem is the convex one over mean logits, which the solver certifies."""
        return self.features == "any" and not (isinstance(self.loss, FocalLoss) and self.loss.gamma > 0)

    def require_convex(self, purpose: str) -> None:
        """Refuse a problem that is not the convex one over mean logits.

        Raises
        ------
        ValueError
            If features end in a ReLU, or the loss is not convex; the message names ``purpose``.
        """
        if self.features != "any":
            raise ValueError(
                f"features must be 'any' for {purpose}, which assumes features of any sign; got {self.features!r};"
                " solve() and thresholds() of the model take it"
            )
        if not self.is_convex:
            raise ValueError(
                f"loss must be convex in the logits for {purpose}; got {self.loss!r}, which is not;"
                " solve() and thresholds() of the model take it, or set gamma=0"
            )

    def solve(self, tol: float = 1e-9, max_iterations: int = 200, *, device: str | None = None) -> Solution:
        """The certified optimum, or a stationary point that says so; see :func:`lopsided.theory.solve`."""
        from lopsided.theory import solve  # a door to a room below; see CONTRIBUTING

        return solve(self, tol=tol, max_iterations=max_iterations, device=device)

    def thresholds(self) -> Thresholds:
        """The decays at which classes merge; see :func:`lopsided.theory.thresholds`."""
        from lopsided.theory import thresholds

        return thresholds(self)

    def critical_path(self) -> list[CriticalDecay]:
        """The decays at which the rank drops, the largest first; see :func:`lopsided.theory.critical_path`."""
        from lopsided.theory import critical_path

        return critical_path(self)

    def __str__(self) -> str:
        kind = "no bias" if not self.bias else f"λ_b = {self.lambda_b:g}" if self.lambda_b else "free bias"
        features = ", ReLU features" if self.features == "relu" else ""
        return f"{self.loss.name} on {format_counts(self.counts)}{features}, λ_z = {self.lambda_z:g}, {kind}"


def _resolve_decays(
    lambda_z: float | None, lambda_w: float | None, lambda_h: float | None
) -> tuple[float, float, float]:
    """λ_z, λ_w and λ_h from whichever were given."""
    for name, value in (("lambda_z", lambda_z), ("lambda_w", lambda_w), ("lambda_h", lambda_h)):
        if value is not None:
            check_number(name, value, above=0)
    if lambda_z is None:
        if lambda_w is None or lambda_h is None:
            missing = "lambda_h" if lambda_h is None else "lambda_w"
            given = "nothing" if lambda_w is None and lambda_h is None else f"no {missing}"
            raise ValueError(f"lambda_z must be given, or both lambda_w and lambda_h; got {given}")
        lambda_z = math.sqrt(lambda_w) * math.sqrt(lambda_h)
    elif lambda_w is None and lambda_h is None:
        lambda_w = lambda_h = lambda_z
    elif lambda_w is None:
        assert lambda_h is not None
        lambda_w = lambda_z * (lambda_z / lambda_h)
    elif lambda_h is None:
        lambda_h = lambda_z * (lambda_z / lambda_w)
    else:
        implied = math.sqrt(lambda_w) * math.sqrt(lambda_h)
        if abs(lambda_z - implied) > CONSISTENCY_TOLERANCE * implied:
            raise ValueError(
                f"lambda_z must equal sqrt(lambda_w * lambda_h) = {implied:g} where all three are given;"
                f" got {lambda_z!r}; leave one out"
            )
        lambda_z = implied
    lambda_z = float(lambda_z)
    if not SMALLEST_DECAY <= lambda_z <= LARGEST_DECAY:
        raise ValueError(
            f"lambda_z must lie between {SMALLEST_DECAY:g} and {LARGEST_DECAY:g}, beyond which float64 loses digits;"
            f" got {lambda_z!r}"
        )
    return lambda_z, float(lambda_w), float(lambda_h)
