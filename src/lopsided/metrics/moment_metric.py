"""What every torchmetrics class of this package shares: class moments as a state that survives all of training."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lopsided.core.arguments import ArgumentError
from lopsided.core.geometry import Geometry
from lopsided.metrics.moments import Moments, MomentState, TensorLike, empty_moments, merge_moments

#: A last layer: a module with a weight and perhaps a bias, or a function that returns both, the bias perhaps ``None``.
Classifier: TypeAlias = nn.Module | Callable[[], tuple[TensorLike, TensorLike | None]]


class MomentMetric(Metric):
    """What all metrics share: class moments in float64, and where the classifier is.

    The state is one vector of K·(d + 2) + d² numbers. Metrics of the same classes and width therefore form one compute
    group of a ``MetricCollection``, which updates it once a batch. Workers' states are merged about their own means,
    not summed, so that many workers give what one would. The state stays float64 through ``.half()``, ``.to(dtype)``
    and ``set_dtype``, and on the CPU where the device does not know float64 (Apple's MPS). An update or a forward that
    fails leaves the metric as it was.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 1.
    dim : int
        Width d of the features, at least 1.
    classifier : torch.nn.Linear or callable, optional
        The last layer, read at each ``compute``: a module with a ``weight`` (K, d) and perhaps a ``bias`` (K,), or a
        function that returns the two. It stays the caller's: it is no submodule of the metric, and ``clone`` shares
        it. May be assigned later: ``metric.classifier = model.head``.
    scatter : bool, optional
        Whether to keep the (d, d) within-class scatter, as for :class:`Moments`. Metrics share a state only with
        metrics of the same choice.
    **kwargs
        Of ``torchmetrics.Metric``. ``compute_with_cache`` is off unless set: the classifier may have changed since.
    """

    is_differentiable = False
    higher_is_better: bool | None = False
    full_state_update = False
    plot_lower_bound: float | None = 0.0

    moments: Tensor

    def __init__(
        self,
        num_classes: int,
        dim: int,
        classifier: Classifier | None = None,
        *,
        scatter: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("compute_with_cache", False)
        super().__init__(**kwargs)
        shape = Moments(num_classes, dim, scatter=scatter, device="meta")
        self._shape = shape.num_classes, shape.dim, shape.has_scatter
        empty = _pack(empty_moments(*self._shape[:2], scatter=self._shape[2]))
        self.add_state("moments", empty, dist_reduce_fx=functools.partial(_merge_packed, shape=self._shape))
        self._thin_default()
        self.classifier = classifier

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return self._shape[0]

    @property
    def dim(self) -> int:
        """Width d of the features."""
        return self._shape[1]

    @property
    def classifier(self) -> Classifier | None:
        """The last layer, or ``None``."""
        value: Classifier | None = self._classifier.value
        return value

    @classifier.setter
    def classifier(self, value: Classifier | None) -> None:
        weight = getattr(value, "weight", None)
        if value is not None and weight is None and (isinstance(value, nn.Module) or not callable(value)):
            raise ArgumentError(
                "classifier",
                "must be a module with a weight, such as torch.nn.Linear, or a function that returns weight and bias",
                got=type(value).__name__,
            )
        if isinstance(weight, Tensor) and weight.shape != self._shape[:2]:
            rule = f"must have a weight of shape (K, d), {self._shape[:2]} here"
            raise ArgumentError("classifier", rule, tuple(weight.shape))
        self._classifier = _Shared(value)

    def __setattr__(self, name: str, value: Any) -> None:
        # nn.Module would make a submodule of any module assigned, property or not, and so move and save it twice.
        if name == "classifier":
            type(self).classifier.fset(self, value)  # type: ignore[attr-defined]
        else:
            super().__setattr__(name, value)

    def update(self, features: TensorLike, labels: TensorLike) -> None:
        """Add a batch: features (B, d), what enters the last layer, and labels (B,); see :meth:`Moments.update`."""
        if self.moments.is_inference() and not torch.is_inference_mode_enabled():
            self.moments = self.moments.clone()  # a reset in a validation loop leaves what cannot be updated outside it
        Moments.from_state(_unpack(self.moments, self._shape)).update(features, labels)

    def gathered(self) -> Moments:
        """Return the moments so far, a copy: of this process, or of all while the metric is synchronised."""
        state = _unpack(self.moments.clone(), self._shape)
        return Moments.from_state(state._replace(counts=state.counts.to(torch.int64)))

    def weight_and_bias(self) -> tuple[TensorLike | None, TensorLike | None]:
        """Weight and bias of the classifier as they are now, each ``None`` where there is none."""
        source = self.classifier
        if source is None:
            return None, None
        weight = getattr(source, "weight", None)
        if weight is not None:
            return weight, getattr(source, "bias", None)
        values: tuple[TensorLike, TensorLike | None] = source()
        return values

    def geometry(self) -> Geometry:
        """Return the measured geometry, with the classifier where there is one."""
        return self.gathered().geometry(*self.weight_and_bias())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch, and return the value of that batch alone; :meth:`update` costs far less."""
        with self._unchanged_on_error():
            if self.dist_sync_on_step:
                # torchmetrics updates the state in place here, which may be shared within a compute group.
                self.moments = self.moments.clone()
            return super().forward(*args, **kwargs)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add all that another metric of the same classes and width has seen; that one is left as it is.

        Its ``metric_state``, on any device, will do as well.
        """
        if isinstance(incoming_state, MomentMetric):
            if incoming_state._shape != self._shape:
                raise ArgumentError(
                    "incoming_state",
                    f"must be of the same (`num_classes`, `dim`, `scatter`), {self._shape}",
                    incoming_state._shape,
                )
            updates, incoming_state = incoming_state.update_count, incoming_state.metric_state
        else:
            updates = 1
        state = incoming_state.get("moments") if isinstance(incoming_state, dict) else None
        if not isinstance(state, Tensor) or state.shape != self.moments.shape:
            raise ArgumentError(
                "incoming_state",
                "must be a metric of lopsided.metrics, or the metric_state of one, with a vector 'moments' of"
                f" {self.moments.numel()} numbers",
                got=type(incoming_state).__name__,
            )
        self.moments = _merge_packed(torch.stack([self.moments, state.to(self.moments)]), self._shape)
        self._update_count += updates
        self._computed = None

    def set_dtype(self, dst_type: str | torch.dtype) -> MomentMetric:
        """Return the metric unchanged: in fewer digits the moments would lose the answer as collapse proceeds."""
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        def moved(tensor: Tensor) -> Tensor:
            if fn(torch.empty(0, device=tensor.device)).device.type == "mps":
                return tensor.to("cpu")
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        super()._apply(moved, exclude_state)
        self._thin_default()
        return self

    def _thin_default(self) -> None:
        """Keep one zero, not a second state full of them, to reset to."""
        empty = self.moments.new_zeros(1)
        self._defaults["moments"] = empty.expand(self.moments.shape)

    def _wrap_update(self, update: Callable[..., None]) -> Callable[..., None]:
        wrapped = super()._wrap_update(update)

        @functools.wraps(update)
        def unchanged_on_error(*args: Any, **kwargs: Any) -> None:
            with self._unchanged_on_error():
                wrapped(*args, **kwargs)

        return unchanged_on_error

    @contextmanager
    def _unchanged_on_error(self) -> Generator[None]:
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.update(before)
            raise


class _Shared:
    """What a copy of its holder refers to as well, unless it is copied in the same go: a head along with its model."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return _Shared(memo.get(id(self.value), self.value))

    def __copy__(self) -> _Shared:
        return copy.deepcopy(self)


def _pack(state: MomentState) -> Tensor:
    return torch.cat([part.reshape(-1).to(torch.float64) for part in state])


def _unpack(packed: Tensor, shape: tuple[int, int, bool]) -> MomentState:
    """Views of a packed state; the counts stay float64, which is exact up to 2⁵³ samples."""
    num_classes, dim, scatter = shape
    side = dim if scatter else 0
    counts, means, traces, rest = torch.split(packed, [num_classes, num_classes * dim, num_classes, side * side])
    return MomentState(counts, means.view(num_classes, dim), traces, rest.view(side, side))


def _merge_packed(stacked: Tensor, shape: tuple[int, int, bool]) -> Tensor:
    """Merge packed states, one a row: what workers' states are reduced with."""
    return _pack(functools.reduce(merge_moments, [_unpack(packed, shape) for packed in stacked]))
