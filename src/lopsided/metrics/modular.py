"""The torchmetrics face of the measures: the same numbers with the life cycle that training loops expect.

Loaded on first use, since torchmetrics brings Matplotlib and SciPy's signal processing along. Every class takes the
arguments of :class:`~lopsided.metrics.MomentMetric` (``num_classes``, ``dim``, ``classifier``, ``scatter`` and those of
``torchmetrics.Metric``), and the ones listed with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lopsided.core.arguments import ArgumentError, check_choice
from lopsided.core.geometry import Geometry
from lopsided.metrics.alignment import minority_spread, nc2_etf, nc2_etf_classifier, nc3_etf, nc4
from lopsided.metrics.moment_metric import MomentMetric
from lopsided.metrics.predicted import nc2_predicted, nc2_predicted_classifier, nc3_predicted, require_same_classes
from lopsided.metrics.summary import measure
from lopsided.metrics.variability import (
    cdnv,
    nc1,
    nc1_rank_aware,
    nc1_trace_ratio,
    nc1_unweighted,
    nc1_weighted,
)

#: NC1 by the name of its convention.
CONVENTIONS: dict[str, Callable[..., float]] = {
    "paper": nc1,
    "unweighted": nc1_unweighted,
    "weighted": nc1_weighted,
    "trace_ratio": nc1_trace_ratio,
    "rank_aware": nc1_rank_aware,
}


class _Predicted(MomentMetric):
    """A metric that may be told what the theory predicts for the classes, to measure the distance from it."""

    def __init__(
        self, num_classes: int, dim: int, *args: Any, predicted: Geometry | None = None, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, dim, *args, **kwargs)
        if predicted is not None:
            require_same_classes(num_classes, predicted)
        self.predicted = predicted


class NeuralCollapse(_Predicted):
    """Every measure of neural collapse at once: :func:`measure` with the life cycle of a torchmetrics metric.

    Parameters
    ----------
    predicted : Geometry, optional
        What the theory predicts for these classes, to measure the distance from it.

    Examples
    --------
    >>> import torch
    >>> from lopsided.metrics import NeuralCollapse
    >>> head = torch.nn.Linear(2, 3)
    >>> metric = NeuralCollapse(num_classes=3, dim=2, classifier=head)
    >>> for _ in range(4):
    ...     metric.update(torch.randn(32, 2), torch.randint(0, 3, (32,)))
    >>> values = metric.compute()
    >>> values["num_samples"], {"nc1", "nc2_etf", "nc3_etf", "nc4", "rank", "merged"} <= set(values)
    (128, True)
    """

    def compute(self) -> dict[str, Any]:
        """Return the dictionary of :func:`measure`."""
        return measure(self.gathered(), *self.weight_and_bias(), predicted=self.predicted)

    def plot(self, val: dict[str, Any] | Sequence[dict[str, Any]] | None = None, ax: Any = None) -> Any:
        """Plot the measures that are single numbers, of one result or a series; parameters as in torchmetrics."""
        results = self.compute() if val is None else val
        if isinstance(results, dict):
            return self._plot(_numbers(results), ax)
        return self._plot([_numbers(result) for result in results], ax)


class _SingleValue(MomentMetric):
    """A metric whose value is one number."""

    def compute(self) -> Tensor:
        """Return the value: a float64 scalar on the metric's device, NaN or infinite where it is not defined."""
        return torch.tensor(self._value(), dtype=torch.float64, device=self.device)

    def _value(self) -> float:
        raise NotImplementedError

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Plot one value or a series; parameters as in torchmetrics."""
        return self._plot(val, ax)


class NC1(_SingleValue):
    """Within-class variability, in the convention named.

    Parameters
    ----------
    convention : {"paper", "unweighted", "weighted", "trace_ratio", "rank_aware"}, optional
        :func:`nc1`, :func:`nc1_unweighted`, :func:`nc1_weighted`, :func:`nc1_trace_ratio` or :func:`nc1_rank_aware`;
        the last goes by the rank of the mean logits where there is a classifier, of the class means otherwise.
    corrected : bool, optional
        Whether to correct the bias of few samples a class.

    Examples
    --------
    >>> import torch
    >>> from torchmetrics import MetricCollection
    >>> from lopsided.metrics import CDNV, NC1
    >>> metrics = MetricCollection({"nc1": NC1(2, 1), "ratio": NC1(2, 1, convention="trace_ratio"), "cdnv": CDNV(2, 1)})
    >>> metrics.update(torch.tensor([[0.9], [1.1], [-0.9], [-1.1]]), torch.tensor([0, 0, 1, 1]))
    >>> {name: round(float(value), 3) for name, value in metrics.compute().items()}
    {'cdnv': 0.003, 'nc1': 0.005, 'ratio': 0.01}
    >>> metrics.compute_groups  # one state, updated once
    {0: ['cdnv', 'nc1', 'ratio']}
    """

    def __init__(
        self, num_classes: int, dim: int, *args: Any, convention: str = "paper", corrected: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, dim, *args, **kwargs)
        check_choice("convention", convention, tuple(CONVENTIONS))
        if convention != "trace_ratio" and not self._shape[2]:
            raise ArgumentError(
                "scatter", "must be kept to invert Σ_B", False, remedy="or choose convention='trace_ratio'"
            )
        self.convention, self.corrected = convention, corrected

    def _value(self) -> float:
        moments = self.gathered()
        if self.convention == "rank_aware":
            rank = moments.geometry(*self.weight_and_bias()).rank
            return nc1_rank_aware(moments, rank, corrected=self.corrected)
        return CONVENTIONS[self.convention](moments, corrected=self.corrected)


class CDNV(_SingleValue):
    """Class-distance normalised variance over all pairs of classes: :func:`cdnv`.

    Parameters
    ----------
    corrected : bool, optional
        Whether to correct the bias of few samples a class.
    """

    def __init__(self, num_classes: int, dim: int, *args: Any, corrected: bool = False, **kwargs: Any) -> None:
        super().__init__(num_classes, dim, *args, **kwargs)
        self.corrected = corrected

    def _value(self) -> float:
        return cdnv(self.gathered(), corrected=self.corrected)


class NC2(_Predicted, _SingleValue):
    """Distance of class means or classifier from the simplex or from the predicted geometry.

    Parameters
    ----------
    of : {"means", "classifier"}, optional
        What is measured.
    predicted : Geometry, optional
        Measure against this instead of the simplex: :func:`nc2_predicted` instead of :func:`nc2_etf`.
    """

    plot_upper_bound = math.sqrt(2)

    def __init__(self, num_classes: int, dim: int, *args: Any, of: str = "means", **kwargs: Any) -> None:
        super().__init__(num_classes, dim, *args, **kwargs)
        check_choice("of", of, ("means", "classifier"))
        self.of = of

    def _value(self) -> float:
        geometry = self.geometry()
        if self.predicted is None:
            return nc2_etf(geometry) if self.of == "means" else nc2_etf_classifier(geometry)
        distance = nc2_predicted if self.of == "means" else nc2_predicted_classifier
        return distance(geometry, self.predicted)


class NC3(_Predicted, _SingleValue):
    """Distance of the classifier from duality with the class means, or from the predicted relation between the two.

    Parameters
    ----------
    predicted : Geometry, optional
        Measure against this: :func:`nc3_predicted` instead of :func:`nc3_etf`.
    """

    plot_upper_bound = 2.0

    def _value(self) -> float:
        geometry = self.geometry()
        return nc3_etf(geometry) if self.predicted is None else nc3_predicted(geometry, self.predicted)


class NC4(_SingleValue):
    """Share of classes whose own mean the classifier, with its bias, gives to another class: :func:`nc4`."""

    plot_upper_bound = 1.0

    def _value(self) -> float:
        return nc4(self.geometry())


class MinoritySpread(_SingleValue):
    """How far apart the rare classes still are, in units of the common ones: :func:`minority_spread`.

    Parameters
    ----------
    minority : sequence of int, optional
        The rare classes; those of the smallest count seen if not given.
    """

    higher_is_better = True

    def __init__(
        self, num_classes: int, dim: int, *args: Any, minority: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, dim, *args, **kwargs)
        self.minority = minority

    def _value(self) -> float:
        return minority_spread(self.geometry(), self.minority)


def _numbers(values: dict[str, Any]) -> dict[str, Tensor]:
    """The entries worth plotting: measures that are single numbers, NaN where they have no value."""
    return {
        name: torch.tensor(math.nan if value is None else float(value))
        for name, value in values.items()
        if (value is None or isinstance(value, (int, float))) and not name.startswith("num_")
    }
