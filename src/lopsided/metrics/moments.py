"""Class counts, class means and within-class scatter of features, gathered in one pass and mergeable in any order."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry

#: What may be handed in wherever numbers are expected: a tensor of any device and dtype, or a NumPy array.
TensorLike: TypeAlias = Tensor | NDArray[np.generic]


class MomentState(NamedTuple):
    """The sums behind :class:`Moments`: K·d + d² numbers and two vectors, whatever the number of samples.

    Attributes
    ----------
    counts : (K,) int64
        Samples seen in each class.
    means : (K, d) float64
        Mean feature of each class; a row of zeros where the count is zero.
    traces : (K,) float64
        Sum over the samples of each class of their squared distance from the class mean.
    scatter : (d, d) float64
        Sum over all samples of ``(x − mean of its class)(x − mean of its class)ᵀ``, symmetric up to rounding; (0, 0)
        where only its traces are kept.
    """

    counts: Tensor
    means: Tensor
    traces: Tensor
    scatter: Tensor


def empty_moments(
    num_classes: int, dim: int, *, scatter: bool = True, device: torch.device | str | None = None
) -> MomentState:
    """Return the state before any sample: merged with another, it leaves that one as it is."""
    side = dim if scatter else 0
    # Tensors born in inference mode could not be updated outside it, where a validation loop may well leave them.
    with torch.inference_mode(False):
        return MomentState(
            counts=torch.zeros(num_classes, dtype=torch.int64, device=device),
            means=torch.zeros(num_classes, dim, dtype=torch.float64, device=device),
            traces=torch.zeros(num_classes, dtype=torch.float64, device=device),
            scatter=torch.zeros(side, side, dtype=torch.float64, device=device),
        )


@torch.no_grad()
def update_moments(state: MomentState, features: Tensor, labels: Tensor) -> None:
    """Add a batch to ``state`` in place; either the whole batch is added or nothing is.

    Each class's mean moves from μ to μ' and the scatter grows by Σ (x − μ)(x − μ')ᵀ, which is exact (the batch form of
    Welford's update) and costs one matrix product. Only the rows of the classes in the batch are touched.

    Parameters
    ----------
    state : MomentState
    features : (B, d) tensor
        Real, of any floating dtype, on the state's device.
    labels : (B,) int64 tensor
        Class of each sample, in 0 … K − 1, on the state's device.

    Raises
    ------
    ValueError
        If a feature is not finite, or so large that its square is not.
    """
    samples = features.to(torch.float64)
    # A sum is finite only if every term is: one cheap reduction, and the full search only when it fails.
    if not math.isfinite(samples.sum().item()):
        finite = samples.isfinite().all(dim=1)
        if not finite.all():
            index = int((~finite).int().argmax())
            value = samples[index][~samples[index].isfinite()][0].item()
            raise ArgumentError(
                "features", "must be finite", got=f"{value} in sample {index} of the batch", remedy="drop or repair it"
            )

    classes, position, added = labels.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    before = state.counts[classes]
    after = before + added
    # Temporaries are reused: at these sizes a fresh one costs more in page faults than the arithmetic on it.
    from_old = state.means.index_select(0, labels)
    torch.sub(samples, from_old, out=from_old)
    step = samples.new_zeros(len(classes), samples.shape[1]).index_add_(0, position, from_old).div_(after.unsqueeze(1))
    from_new = step.index_select(0, position)
    torch.sub(from_old, from_new, out=from_new)
    unseen = before == 0
    if unseen.any():
        # A class without samples has no mean to be measured from: its first batch is centred on its own mean.
        from_old -= step.mul(unseen.unsqueeze(1)).index_select(0, position)
    squares = torch.einsum("bd,bd->b", from_old, from_new)
    if not math.isfinite(squares.sum().item()):
        index = int(samples.abs().amax(dim=1).argmax())
        raise ArgumentError(
            "features",
            "must be small enough to be squared in float64 (below about 1e150)",
            got=f"{samples[index].abs().max().item():.3g} in sample {index} of the batch",
            remedy="rescale the features",
        )
    growth = torch.zeros_like(step[:, 0]).index_add_(0, position, squares)

    if len(state.scatter):
        state.scatter.addmm_(from_old.T, from_new)
    state.means.index_add_(0, classes, step)
    state.traces.index_add_(0, classes, growth)
    state.counts.index_copy_(0, classes, after)


@torch.no_grad()
def merge_moments(first: MomentState, second: MomentState) -> MomentState:
    """Return the state of both sets of samples together (Chan, Golub & LeVeque, 1983), changing neither argument.

    Both are of equal shapes and on one device; either may be empty.
    """
    with torch.inference_mode(False):
        counts = first.counts + second.counts
        share = second.counts.to(torch.float64) / counts.clamp(min=1)  # of two int64 the quotient would be float32
        gap = second.means - first.means
        weight = first.counts * share
        between = gap * weight.sqrt().unsqueeze(1)
        scatter = first.scatter + second.scatter
        return MomentState(
            counts=counts,
            means=first.means + gap * share.unsqueeze(1),
            traces=first.traces + second.traces + between.square().sum(dim=1),
            scatter=scatter.addmm_(between.T, between) if len(scatter) else scatter,
        )


class Moments:
    """Counts, means and within-class scatter of features by class, in float64 whatever the dtype of the features.

    One pass, any batch size and order, no mask of samples against classes; several workers' moments merge into what one
    would have gathered.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 1.
    dim : int
        Width d of the features, at least 1.
    scatter : bool, optional
        Whether to keep the (d, d) within-class scatter. Without it only its trace in each class is known, which is
        enough for everything but the NC1 that inverts Σ_B, and an update needs no matrix product.
    device : torch.device or str, optional
        Where the sums live (it must know float64, which Apple's MPS does not); features from elsewhere are copied
        there, one batch at a time. PyTorch's default device if not given.

    Examples
    --------
    >>> import torch
    >>> from lopsided.metrics import Moments
    >>> moments = Moments(num_classes=3, dim=2)
    >>> moments.update(torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]), torch.tensor([0, 0, 2]))
    >>> moments.counts.tolist()
    [2, 0, 1]
    >>> moments.means.tolist()
    [[2.0, 0.0], [nan, nan], [0.0, 5.0]]
    """

    def __init__(
        self, num_classes: int, dim: int, *, scatter: bool = True, device: torch.device | str | None = None
    ) -> None:
        for name, value in (("num_classes", num_classes), ("dim", dim)):
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise ArgumentError(name, "must be a whole number of at least 1", value)
        if device is not None and torch.device(device).type == "mps":
            raise ArgumentError("device", "must know float64, which 'mps' does not", remedy="give device='cpu'")
        self._state = empty_moments(int(num_classes), int(dim), scatter=scatter, device=device)

    @classmethod
    def from_state(cls, state: MomentState) -> Moments:
        """Moments over the sums given, which are not copied: an update changes them."""
        moments = cls.__new__(cls)
        moments._state = state
        return moments

    @property
    def state(self) -> MomentState:
        """The sums themselves, not a copy."""
        return self._state

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return self._state.means.shape[0]

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return self._state.means.shape[1]

    @property
    def has_scatter(self) -> bool:
        """Whether the within-class scatter is kept, not only its traces."""
        return len(self._state.scatter) > 0

    @property
    def device(self) -> torch.device:
        """Where the sums live."""
        return self._state.means.device

    def update(self, features: TensorLike, labels: TensorLike) -> None:
        """Add a batch of samples; a batch that is refused changes nothing.

        Parameters
        ----------
        features : (B, d) tensor or array
            One row a sample, of any real dtype. B may be 0.
        labels : (B,) tensor or array
            Class of each sample: integers in 0 … K − 1.

        Raises
        ------
        ValueError
            If a shape, dtype or label breaks its rule, or a feature is not finite; the message names the sample.
        """
        samples, classes = as_tensor(features, "features"), as_tensor(labels, "labels")
        if samples.ndim != 2 or samples.shape[1] != self.dim:
            rule = f"must have shape (B, d) with d = {self.dim}, one row a sample"
            raise ArgumentError("features", rule, tuple(samples.shape))
        if samples.is_complex():
            raise ArgumentError("features", "must be real numbers", got=str(samples.dtype))
        if classes.shape != samples.shape[:1]:
            rule = f"must have shape (B,) with B = {len(samples)}, one class index a sample"
            raise ArgumentError("labels", rule, tuple(classes.shape))
        if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
            raise ArgumentError(
                "labels", "must have an integer dtype", got=str(classes.dtype), remedy="use labels.long()"
            )
        if len(samples) == 0:
            return
        classes = classes.to(self.device).to(torch.int64)
        outside = (classes < 0) | (classes >= self.num_classes)
        if outside.any():
            index = int(outside.int().argmax())
            raise ArgumentError(
                "labels",
                f"must be class indices from 0 to {self.num_classes - 1}",
                got=f"{int(classes[index])} for sample {index} of the batch",
            )
        update_moments(self._state, samples.to(self.device), classes)

    def merge(self, other: Moments) -> None:
        """Add all the samples that ``other`` has seen; ``other`` is left as it is.

        It must be of as many classes and the same width, and keep the scatter where these moments do; it may be on any
        device, and empty.
        """
        if not isinstance(other, Moments):
            raise ArgumentError(
                "other", "must be Moments", got=type(other).__name__, remedy="of a metric take metric.gathered()"
            )
        for name in ("num_classes", "dim", "has_scatter"):
            if getattr(other, name) != getattr(self, name):
                wanted, found = getattr(self, name), getattr(other, name)
                raise ArgumentError("other", f"must have the same {name} to be merged, {wanted}", found)
        moved = MomentState(*(tensor.to(self.device) for tensor in other.state))
        self._state = merge_moments(self._state, moved)

    @property
    def counts(self) -> Tensor:
        """(K,) samples in each class, int64."""
        return self._state.counts.clone()

    @property
    def num_samples(self) -> int:
        """Number of samples N."""
        return int(self._state.counts.sum())

    @property
    def means(self) -> Tensor:
        """(K, d) class means, float64; NaN for an absent class, which has none."""
        return self._state.means.masked_fill((self._state.counts == 0).unsqueeze(1), math.nan)

    @property
    def global_mean(self) -> Tensor:
        """(d,) mean of all samples, float64; NaN before the first."""
        counts = self._state.counts.to(torch.float64)
        return counts @ self._state.means / counts.sum()

    @property
    def within_class_covariance(self) -> Tensor:
        """(d, d) Σ_W: the scatter about the class means, averaged over all N samples; NaN before the first."""
        scatter = self._state.scatter
        if not self.has_scatter:
            raise ArgumentError(
                "moments", "must hold the within-class scatter", got="traces only", remedy="make Moments(scatter=True)"
            )
        return (scatter + scatter.T) / (2 * self._state.counts.sum())

    @property
    def within_class_variances(self) -> Tensor:
        """(K,) mean squared distance from the class mean in each class (over n_k, not n_k − 1).

        NaN for an absent class, and for a class of one sample: zero there would say "collapsed" where nothing is known.
        """
        counts = self._state.counts
        return (self._state.traces / counts).masked_fill(counts < 2, math.nan)

    def geometry(self, weight: TensorLike | None = None, bias: TensorLike | None = None) -> Geometry:
        """Return the measured geometry.

        Parameters
        ----------
        weight : (K, d) tensor or array, optional
            Weight of the last linear layer, one row a class.
        bias : (K,) tensor or array, optional
            Its bias; zeros if not given.

        Returns
        -------
        Geometry
            An absent class has count 0 and a mean of NaN.

        Raises
        ------
        ValueError
            If ``weight`` or ``bias`` has another shape, or an entry that is not finite.

        Examples
        --------
        >>> import torch
        >>> from lopsided.metrics import Moments
        >>> moments = Moments(num_classes=2, dim=1)
        >>> moments.update(torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1]))
        >>> moments.geometry(weight=torch.tensor([[2.0], [-2.0]])).mean_logits
        array([[ 2., -2.],
               [-2.,  2.]])
        """
        return Geometry(
            counts=_to_numpy(self.counts),
            class_means=_to_numpy(self.means),
            classifier=_parameter("weight", weight, (self.num_classes, self.dim)),
            bias=_parameter("bias", bias, (self.num_classes,)),
        )

    def __repr__(self) -> str:
        return f"Moments(num_classes={self.num_classes}, dim={self.dim}, num_samples={self.num_samples})"


def as_tensor(values: TensorLike, name: str) -> Tensor:
    """Return a tensor without gradient, sharing memory with ``values`` where it can; ``name`` is told in errors."""
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biufc":
        raise ArgumentError(
            name, "must be a tensor or an array of numbers", got=str(array.dtype), remedy="convert it to numbers first"
        )
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    # torch takes neither another byte order nor an array read backwards, and warns about arrays it could write to
    # against their will, such as a file mapped for reading.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy())


def _to_numpy(tensor: Tensor) -> NDArray[np.generic]:
    array: NDArray[np.generic] = tensor.detach().cpu().numpy()
    return array


def _parameter(name: str, values: TensorLike | None, shape: tuple[int, ...]) -> NDArray[np.generic] | None:
    if values is None:
        return None
    array = _to_numpy(as_tensor(values, name).cpu().to(torch.float64))
    if array.shape != shape:
        rule = "(K, d), one row a class, as in torch.nn.Linear" if len(shape) == 2 else "(K,), one entry a class"
        raise ArgumentError(name, f"must have shape {rule}: {shape} here", value=array.shape)
    if not np.isfinite(array).all():
        raise ArgumentError(name, "must be finite", got=f"{np.count_nonzero(~np.isfinite(array))} entries that are not")
    return array
