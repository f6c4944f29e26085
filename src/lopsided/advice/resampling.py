r"""Resampling: how many samples of each class an epoch shows, in imbalanced-learn's words, and what that does.

Showing the samples of class k :math:`c_k` times each makes the loss :math:`\frac1{N'}\sum_kc_k\sum_i\ell_{ki}` with
:math:`N'=\sum c_kn_k`. What follows depends on what the feature decay counts:

- **per appearance** (:math:`\frac{\lambda_h}2\sum_kc_k\sum_i\|h_{ki}\|^2`; a penalty on the features of each batch):
  the model of :math:`c_kn_k` samples. In that model the loss is convex in the mean logits and the optimum of a class
  does not change when its features are replaced by their mean, so that copies may as well have features of their own:
  both have the same minimum. A class is lost from :math:`\sqrt{c_kn_k}/N'` on.
- **per sample** (:math:`\frac{\lambda_h}2\sum_k\sum_i\|h_{ki}\|^2`; each distinct sample once): the objective is that
  of class weights :math:`c_k` divided by their sum over the samples, word for word, so a class is lost from
  :math:`c_k\sqrt{n_k}/N'` on.

For a class that is repeated the second is :math:`\sqrt{c_k}` times the first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lopsided.core.arguments import ArgumentError, check_choice
from lopsided.core.count_sources import ClassCounts, read_counts
from lopsided.core.counts import parse_terms
from lopsided.core.problem import Problem

Stated = TypeVar("Stated", bound=Problem)

#: The words of imbalanced-learn, each with the classes that it raises to the count of the largest.
STRATEGIES: dict[str, Callable[[NDArray[np.int64]], NDArray[np.bool_]]] = {
    "minority": lambda counts: np.arange(len(counts)) == np.argmin(counts),
    "not minority": lambda counts: np.arange(len(counts)) != np.argmin(counts),
    "not majority": lambda counts: np.arange(len(counts)) != np.argmax(counts),
    "all": lambda counts: np.ones(len(counts), dtype=bool),
}
STRATEGIES["auto"] = STRATEGIES["not majority"]
#: What the feature decay may count: a sample as often as an epoch shows it, or once.
FEATURE_PENALTY_PER = ("appearance", "sample")
#: Labels beyond which a callable is not handed one a sample.
MOST_LABELS = 10**8


def target_counts(
    counts: str | ArrayLike | ClassCounts, sampling_strategy: Any, *, undersample: bool = False
) -> NDArray[np.int64]:
    """Counts after resampling, asked for in the ways of imbalanced-learn's over-samplers and a few more.

    Parameters
    ----------
    counts : str, (K,) array_like or ClassCounts
        Counts as they are.
    sampling_strategy : dict, str, float, callable or (K,) array_like
        - dict: class (number or name) → samples wanted; other classes stay as they are.
        - ``"minority"``, ``"not minority"``, ``"not majority"``, ``"all"``, ``"auto"`` (= ``"not majority"``): which
          classes are raised to the count of the largest.
        - float in (0, 1], for two classes: samples of the smaller over those of the larger.
        - callable: given one label a sample, returns such a dict.
        - samples wanted of every class: an array, or text such as ``"500x2,250x2"``.
        - text of a dict or a float: ``"2:250,3:200"``, ``"0.5"``.
    undersample : bool, default False
        Whether fewer samples may be asked for than there are.

    Returns
    -------
    (K,) array of int64

    Raises
    ------
    ValueError
        If a class is unknown, a count is not whole or below what is there, or the strategy is none of these.

    Examples
    --------
    >>> target_counts("500x2,100x2", "minority")               # the first of the smallest
    array([500, 500, 500, 100])
    >>> target_counts("500x2,100x2", {2: 250, 3: 200})
    array([500, 500, 250, 200])
    """
    found = read_counts(counts)
    known = found.counts
    if isinstance(sampling_strategy, str):
        if sampling_strategy in STRATEGIES:
            return np.where(STRATEGIES[sampling_strategy](known), known.max(), known)
        sampling_strategy = _from_text(sampling_strategy)
    if callable(sampling_strategy):
        if known.sum() > MOST_LABELS:
            raise ArgumentError(
                "sampling_strategy", f"must be a dict where there are more than {MOST_LABELS} samples", got="a callable"
            )
        labels = np.arange(len(known)) if found.names is None else np.array(found.names)
        sampling_strategy = sampling_strategy(np.repeat(labels, known))
        if not isinstance(sampling_strategy, Mapping):
            raise ArgumentError("sampling_strategy", "must return a dict where it is callable", sampling_strategy)
    if isinstance(sampling_strategy, (list, tuple, np.ndarray)):
        listed = np.asarray(sampling_strategy, dtype=object)
        if listed.shape != known.shape:
            raise ArgumentError(
                "sampling_strategy",
                f"must have one count a class where it is a list, {len(known)}",
                got=f"shape {listed.shape}",
            )
        sampling_strategy = dict(enumerate(listed.tolist()))
    if isinstance(sampling_strategy, Mapping):
        return _from_mapping(found, sampling_strategy, undersample)
    if isinstance(sampling_strategy, (int, float, np.number)) and not isinstance(sampling_strategy, bool):
        return _from_ratio(known, float(sampling_strategy))
    raise ArgumentError(
        "sampling_strategy",
        f"must be a dict, a float, a callable, counts or one of: {', '.join(STRATEGIES)}",
        sampling_strategy,
    )


def _from_text(text: str) -> dict[str, float] | list[float] | float:
    """What a text that is none of the words stands for: a share, CLASS:SAMPLES terms, or counts."""
    if ":" in text:
        wanted: dict[str, float] = {}
        for term in text.split(","):
            name, _, count = term.rpartition(":")
            try:
                wanted[name.strip()] = float(count)
            except ValueError:
                raise ArgumentError(
                    "sampling_strategy",
                    "cannot be read",
                    got=f"{term!r} in {text!r}",
                    remedy="write CLASS:SAMPLES terms with commas",
                ) from None
        return wanted
    with contextlib.suppress(ValueError):
        return float(text)
    if not text[:1].isdigit():
        raise ArgumentError(
            "sampling_strategy", f"must be one of: {', '.join(STRATEGIES)}, counts, a dict, a float or a callable", text
        )
    return list(parse_terms(text, "sampling_strategy", "write COUNTxCLASSES terms, such as 500x2,250x2"))


def _from_mapping(found: ClassCounts, wanted: Mapping[Any, Any], undersample: bool) -> NDArray[np.int64]:
    targets = found.counts.copy()
    for name, count in wanted.items():
        (index,) = class_indices([name], len(targets), found.names, "sampling_strategy")
        number = isinstance(count, (int, float, np.number)) and not isinstance(count, bool)
        least = 1 if undersample else found.counts[index]
        if not number or not math.isfinite(count) or count != int(count) or count < least:
            rule = "ask for" if undersample else "keep all samples,"
            raise ArgumentError(
                "sampling_strategy", f"must {rule} a whole number of at least {least} for class {name}", count
            )
        targets[index] = int(count)
    return targets


def _from_ratio(counts: NDArray[np.int64], ratio: float) -> NDArray[np.int64]:
    if len(counts) != 2:
        raise ArgumentError(
            "sampling_strategy",
            "must not be a float unless there are two classes",
            len(counts),
            remedy="write a dict",
        )
    wanted = int(ratio * counts.max()) if 0 < ratio <= 1 else 0
    if wanted < counts.min():
        least = counts.min() / counts.max()
        raise ArgumentError("sampling_strategy", f"must be a share from {least:.6g}, as it is, to 1", ratio)
    return np.where(np.arange(2) == np.argmin(counts), wanted, counts)


def resampled(problem: Stated, targets: ArrayLike, feature_penalty_per: str = "appearance") -> Stated:
    """The problem that training on resampled data solves; the docstring of this module has the proof.

    Parameters
    ----------
    problem : Problem
        On the samples as they are, with cross-entropy or squared error.
    targets : (K,) array_like
        Samples of each class that an epoch shows; with ``feature_penalty_per="sample"`` they need not be whole.
    feature_penalty_per : {"appearance", "sample"}
        Whether the feature decay counts a sample as often as it appears, or once. A logit adjustment is by the
        frequencies of the samples that it counts.

    Returns
    -------
    Problem

    Examples
    --------
    >>> import lopsided as lp
    >>> model = lp.UFM("500x2,100x2", 1e-2)
    >>> [float(resampled(model, [500] * 4, how).thresholds().within[-1]) for how in ("appearance", "sample")]
    [0.01118, 0.025]
    """
    check_choice("feature_penalty_per", feature_penalty_per, FEATURE_PENALTY_PER)
    if feature_penalty_per == "appearance":
        return problem.replaced(counts=targets)
    shown = np.asarray(targets, dtype=np.float64)
    factors = shown / problem.counts
    weights = factors * problem.terms.weights
    if problem.loss.reduction == "samples":
        weights = weights * problem.num_samples / shown.sum()
    return problem.replaced(loss=dataclasses.replace(problem.loss, weights=tuple(weights.tolist())))


def class_indices(wanted: Any, num_classes: int, names: tuple[str, ...] | None, argument: str) -> list[int]:
    """Class numbers of classes named by number or by name.

    Examples
    --------
    >>> class_indices(["cat", 1], 2, ("cat", "dog"), "keep")
    [0, 1]
    """
    lookup = {} if names is None else {name: index for index, name in enumerate(names)}
    found = []
    for one in wanted:
        number = int(one) if isinstance(one, (int, np.integer)) and not isinstance(one, bool) else None
        if isinstance(one, str) and one in lookup:
            found.append(lookup[one])
        elif names is None and isinstance(one, str) and one.isdigit() and int(one) < num_classes:
            found.append(int(one))
        elif number is not None and 0 <= number < num_classes:
            found.append(number)
        else:
            known = f"class numbers from 0 to {num_classes - 1}"
            if names is not None:
                known = f"classes, {', '.join(names[:6])}{', …' if num_classes > 6 else ''}, or {known}"
            raise ArgumentError(argument, f"must name {known}", one)
    return found


def parse_classes(text: str, num_classes: int, names: tuple[str, ...] | None) -> str | list[int | str]:
    """Classes as typed: ``all``, or names, numbers and ranges of numbers with commas between; names are not checked.

    Examples
    --------
    >>> parse_classes("cat, 5-7", 10, None)
    ['cat', 5, 6, 7]
    """
    if text.strip() == "all":
        return "all"
    found: list[int | str] = []
    for term in (part.strip() for part in text.split(",")):
        span = re.fullmatch(r"(\d+)[-–](\d+)", term)
        if span is not None and (names is None or term not in names):
            first, last = int(span[1]), int(span[2])
            if first > last or last >= num_classes:
                raise ArgumentError("keep", f"must name class numbers from 0 to {num_classes - 1}", term)
            found += range(first, last + 1)
        elif term.isdigit() and (names is None or term not in names):
            found.append(int(term))
        else:
            found.append(term)
    return found
