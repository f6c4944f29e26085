"""What a tensor of a pass costs in decay, and why nothing may be known of it."""

from __future__ import annotations

from dataclasses import dataclass


class NotDescribedError(Exception):
    """The way back from the head ends in something that these rules do not bound.

    Attributes
    ----------
    end : str
        ``"none"``, ``"deep"`` or ``"unknown"``.
    reason : str
        A clause for a person.
    layers : int
        Linear layers on the way, where it is ``"deep"``.
    """

    def __init__(self, end: str, reason: str, layers: int = 0) -> None:
        super().__init__(reason)
        self.end, self.reason, self.layers = end, reason, layers


@dataclass(frozen=True)
class Norm:
    """A normalisation that the features come from.

    Attributes
    ----------
    kind : str
        ``"batch-norm"``, ``"layer-norm"``, ``"group-norm"`` or ``"rms-norm"``.
    scale, shift : str or None
        Names of its parameters.
    positions : int
        Entries of a sample that share a scale.
    """

    kind: str
    scale: str | None
    shift: str | None
    positions: int


@dataclass(frozen=True)
class Cost:
    """What a tensor costs.

    Attributes
    ----------
    best : float
        The least ρ with E ≤ 2ρR; infinite where it costs nothing.
    worst : float or None
        The ρ that is reached when one branch and one position alone carry everything; None where nothing is known.
    centred : float or None
        The same as ``best`` for the energy about the mean, when only scales are paid for; None where there is no bound.
    exact : bool
        Whether E = 2ρR at the least R, wherever the layers before can make any normalised features.
    nonnegative : bool
        Whether its entries are at least 0.
    even : bool
        Whether the bound holds for each position alone.
    norms : tuple of Norm
        The normalisations.
    branches : int
        Normalised branches that are added, at most.
    pooled : int
        Positions that are averaged, or of which the largest is taken; 1 where there are none.
    relu : bool
        Whether a ReLU, and no other activation, is passed.
    remarks : tuple of str
        What else is on the way.
    """

    best: float
    worst: float | None
    centred: float | None
    exact: bool
    nonnegative: bool
    even: bool
    norms: tuple[Norm, ...]
    branches: int = 1
    pooled: int = 1
    relu: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def parameters(self) -> frozenset[str]:
        """Names of the scales and shifts."""
        return frozenset(name for norm in self.norms for name in (norm.scale, norm.shift) if name is not None)

    @property
    def end(self) -> str:
        """The name of this end."""
        kinds = {norm.kind for norm in self.norms}
        if kinds != {"batch-norm"}:
            return kinds.pop() if len(kinds) == 1 else "mixed"
        if self.branches > 1:
            return "residual"
        if self.pooled > 1:
            return "pooled"
        if any("activation" in remark for remark in self.remarks):
            return "batch-norm+activation"
        return "batch-norm+relu" if self.relu else "batch-norm"
