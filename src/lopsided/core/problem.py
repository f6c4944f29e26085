"""The unconstrained feature model: what a user states, validated, and its classes grouped into clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.core.arguments import ArgumentError, check_number, is_number
from lopsided.core.counts import format_counts, is_tensor, parse_counts
from lopsided.core.losses import LOSSES, ClassTerms, CrossEntropy, FocalLoss, Loss, SquaredError

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
class Problem:
    """A stated problem: counts, loss, decays, bias and features, validated.

    What people state is :class:`lopsided.UFM`, which is this with the verbs ``solve``, ``thresholds`` and
    ``critical_path``; its documentation has the parameters and the formula. Rooms below the front door need the
    statement only.
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
            raise ArgumentError("bias", "must be True or False, whether there is one", bias)
        if not bias and lambda_b > 0:
            raise ArgumentError("lambda_b", "must be left out where `bias=False`: there is no bias to decay", lambda_b)
        if loss is not None and not isinstance(loss, tuple(LOSSES.values())):
            known = ", ".join(kind.__name__ for kind in LOSSES.values())
            raise ArgumentError("loss", f"must be an instance of one of: {known}", loss)
        if features not in FEATURES:
            raise ArgumentError("features", "must be 'any' or 'relu' (H of at least 0)", features)
        if features != "any" and isinstance(loss, SquaredError):
            raise ArgumentError("features", "must be 'any' where the loss is squared error", features)
        settings = {
            "counts": parse_counts(counts),
            "lambda_z": decay_z,
            "lambda_w": decay_w,
            "lambda_h": decay_h,
            "lambda_b": float(lambda_b),
            "bias": bool(bias),
            "loss": CrossEntropy() if loss is None else loss,
            "features": features,
            "device": str(counts.device) if is_tensor(counts) else None,
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        self.counts.setflags(write=False)
        _ = self.terms  # refuses lengths that do not fit the counts

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
    def terms(self) -> ClassTerms:
        """What the loss does to each class."""
        return self.loss.terms(self.counts)

    @cached_property
    def clusters(self) -> Clusters:
        """Classes of equal count to which the loss does the same: the optimum treats them alike."""
        terms = self.terms
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

    def replaced(self, **changes: Any) -> Self:
        """The same problem but for some arguments; where λ_z changes alone λ_w and λ_h keep their ratio.

        Parameters
        ----------
        **changes
            Arguments of :class:`lopsided.UFM`.

        Examples
        --------
        >>> import lopsided as lp
        >>> lp.UFM("500x5,100x5", lambda_w=1e-2, lambda_h=1e-4).replaced(lambda_z=2e-3).lambda_w
        0.02
        """
        if not changes.keys() & {"lambda_z", "lambda_w", "lambda_h"}:
            changes |= {"lambda_z": self.lambda_z, "lambda_w": self.lambda_w}
        elif is_number(lambda_z := changes.get("lambda_z")) and not changes.keys() & {"lambda_w", "lambda_h"}:
            changes["lambda_w"] = lambda_z * math.sqrt(self.lambda_w / self.lambda_h)
        elif "lambda_z" not in changes:
            changes = {"lambda_w": self.lambda_w, "lambda_h": self.lambda_h} | changes
        same = {name: getattr(self, name) for name in ("counts", "lambda_b", "bias", "loss", "features")}
        changed = type(self)(**same | changes)
        if changed.device is None:
            object.__setattr__(changed, "device", self.device)
        if not changes.keys() & {"counts", "loss"}:
            vars(changed)["clusters"] = self.clusters  # found once for all decays
        return changed

    @property
    def is_convex(self) -> bool:
        """Whether the problem is the convex one over mean logits, which the solver certifies."""
        return self.features == "any" and not (isinstance(self.loss, FocalLoss) and self.loss.gamma > 0)

    def require_convex(self, purpose: str) -> None:
        """Refuse a problem that is not the convex one over mean logits; the message names ``purpose``."""
        if self.features != "any":
            raise ArgumentError(
                "features",
                f"must be 'any' for {purpose}, which assumes features of any sign",
                self.features,
                remedy="solve() and thresholds() of the model take it",
            )
        if not self.is_convex:
            raise ArgumentError(
                "loss",
                f"must be convex in the logits for {purpose}",
                got=f"{self.loss!r}, which is not",
                remedy="solve() and thresholds() of the model take it, or set `gamma` to 0",
            )

    def require_plain_loss(self) -> None:
        """Refuse any loss but plain cross-entropy."""
        if self.loss != CrossEntropy():
            raise ArgumentError(
                "problem",
                "must have the loss CrossEntropy(), for which this closed form holds",
                self.loss,
                remedy="use solve()",
            )

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
            given = "nothing" if lambda_w is None and lambda_h is None else f"no `{missing}`"
            raise ArgumentError("lambda_z", "must be given, or both `lambda_w` and `lambda_h`", got=given)
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
            raise ArgumentError(
                "lambda_z",
                f"must equal sqrt(`lambda_w` * `lambda_h`) = {implied:g} where all three are given",
                lambda_z,
                remedy="leave one out",
            )
        lambda_z = implied
    lambda_z = float(lambda_z)
    if not SMALLEST_DECAY <= lambda_z <= LARGEST_DECAY:
        raise ArgumentError(
            "lambda_z",
            f"must lie between {SMALLEST_DECAY:g} and {LARGEST_DECAY:g}, beyond which float64 loses digits",
            lambda_z,
        )
    return lambda_z, float(lambda_w), float(lambda_h)
