"""One configuration carried out: data, prediction, training, measurement; and the row that tells of it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import merged_places, parse_counts
from lopsided.core.geometry import MERGE_ABSOLUTE_TOLERANCE, Geometry
from lopsided.core.plain_values import plain
from lopsided.data import ImbalancedData, load_data
from lopsided.model import UFM
from lopsided.runs.apply_remedy import PlannedRun, plan_run
from lopsided.runs.configuration import Configuration
from lopsided.runs.provenance import describe_machine, source_commit
from lopsided.runs.record import Run

if TYPE_CHECKING:
    from lopsided.core.solution import Solution
    from lopsided.training import TrainingResult

#: A run whose decay is within this share of a threshold is drawn, not judged.
NEAR_THRESHOLD = 0.05
#: Called as ``progress(epochs done, epochs planned)`` after every epoch.
RunProgress = Callable[[int, int], None]


def require_training() -> None:
    """Make sure that what trains networks is installed, without loading it."""
    for package in ("torch", "lightning"):
        if find_spec(package) is None:
            raise ArgumentError(
                "data",
                f"cannot be trained on, since {package} is not installed",
                remedy="pip install 'lopsided[train]'",
            )


def perform(
    run: Configuration | PlannedRun,
    *,
    data_folder: str | Path | None = None,
    accelerator: str = "auto",
    checkpoint: str | Path | None = None,
    progress: RunProgress | None = None,
) -> tuple[Run, dict[str, Any]]:
    """Carry out one configuration, or a plan where its remedy has been worked out already.

    Where the file ``checkpoint`` exists the run goes on from it. Returned are the run, named by the digest of what was
    asked for, and its row: flat but for lists, with ``digest``, ``outcome``, every setting, ``derived_seed``, what was
    predicted (``predicted_…``) and measured, the codes of the findings, wall time in ``seconds``, ``commit``,
    ``machine_…`` and ``version_…``.
    """
    from lopsided.training import build_network, train

    started = time.perf_counter()
    plan = run if isinstance(run, PlannedRun) else plan_run(run)
    asked, configuration, seed = plan.asked, plan.applied, plan.asked.derived_seed
    samples = load_data(
        configuration.data,
        configuration.counts,
        seed=seed,
        root=data_folder,
        image_size=configuration.image_size,
    )
    if configuration.merged_classes:
        samples = samples.merged(configuration.merged_classes)
    network = build_network(
        configuration.network,
        samples.input_shape,
        samples.num_classes,
        dim=configuration.dim,
        hidden=configuration.hidden,
        last_features=configuration.features,  # type: ignore[arg-type]
        bias=configuration.bias,
        initialisation=configuration.initialisation,
        head=configuration.head,  # type: ignore[arg-type]
        model=configuration.model,
        extra_layers=configuration.extra_layers,
        seed=seed,
    )
    result = train(
        network,
        samples,
        **configuration.decays,
        **configuration.descent,
        loss=configuration.stated_loss,
        features=configuration.model.features,  # type: ignore[arg-type]
        sampling_strategy=configuration.sampling_strategy,
        feature_penalty_per=configuration.feature_penalty_per or "appearance",  # type: ignore[arg-type]
        seed=seed,
        checkpoint=checkpoint,
        accelerator=accelerator,
        progress=None if progress is None else lambda done, planned, _: progress(done, planned),
    )
    asking = {name: getattr(asked, name) for name in ("remedy", "remedy_margin", "remedy_keep")}
    settings = {**configuration.settings, **configuration.decays, **asking, "derived_seed": seed}
    stored = Run(
        name=asked.digest,
        settings={**settings, "counts": samples.counts, "class_names": samples.class_names},
        predicted=result.prediction.geometry,
        measured=result.geometry,
        certificate={**result.prediction.certificate(), "message": result.prediction.message},
        measures={**result.measures, "train_accuracy": result.train_accuracy},
        history=result.history,
        findings=[str(finding) for finding in result.findings],
    )
    row = {
        "digest": asked.digest,
        "outcome": "diverged" if result.diverged else "trained",
        **settings,
        "lambda_z": configuration.model.lambda_z,
        "findings": [entry.code for entry in result.findings],
        "near_threshold": is_near_threshold(network.predict, result.model, stored.predicted.merged),
        **_outcome(stored, samples),
        **_accuracies(result, parse_counts(asked.counts), configuration.merged_classes),
        "remedy_works": plan.remedy_works,
        "seconds": time.perf_counter() - started,
        "commit": source_commit(),
        **{f"machine_{name}": value for name, value in describe_machine().items()},
        **{f"version_{name}": value for name, value in stored.versions.items()},
    }
    return stored, plain(row, "row")


@contextlib.contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Keep torch to some threads.

    One is best for steps of a millisecond, which gain little from more; and on busy cores wait for each other.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_near_threshold(predict: Callable[[UFM], Solution], model: UFM, merged: list[list[int]]) -> bool:
    """Whether a little more or less decay would have other classes merge than those that are predicted to.

    There a class lingers between merged and apart, since what would tell them apart has almost no weight in the
    objective.

    Examples
    --------
    >>> models = [UFM("500x5,100x5", decay) for decay in (0.003, 0.0033, 0.0036)]
    >>> [is_near_threshold(UFM.solve, model, model.solve().geometry.merged) for model in models]  # 1/300 is one
    [False, True, False]
    """
    return any(
        predict(model.replaced(lambda_z=factor * model.lambda_z)).geometry.merged != merged
        for factor in (1 - NEAR_THRESHOLD, 1 + NEAR_THRESHOLD)
    )


def rarest_classes(counts: np.ndarray[Any, Any]) -> list[int]:
    """Indices of the classes with the smallest count.

    Examples
    --------
    >>> rarest_classes(np.array([5, 5, 1, 1])), rarest_classes(np.array([5, 5]))
    ([2, 3], [0, 1])
    """
    return [int(index) for index in np.flatnonzero(counts == np.min(counts))]


def mean_cosine(geometry: Geometry, classes: list[int]) -> float:
    """Mean cosine between the mean logits of different classes of a group; 1 where all of them have merged.

    NaN where fewer than two of them have mean logits longer than ``MERGE_ABSOLUTE_TOLERANCE``: what is nearly zero has
    no direction that would mean something.

    Examples
    --------
    >>> simplex = Geometry([5, 5, 5], np.eye(3) - 1 / 3, np.eye(3))
    >>> round(mean_cosine(simplex, [0, 1]), 6)
    -0.5
    """
    logits = geometry.mean_logits[classes]
    norms = np.linalg.norm(logits, axis=1)
    kept = norms > MERGE_ABSOLUTE_TOLERANCE
    if kept.sum() < 2:
        return math.nan
    directions = logits[kept] / norms[kept, None]
    number = len(directions)
    return float((np.sum(directions @ directions.T) - number) / (number * (number - 1)))


def _accuracies(
    result: TrainingResult, counts: np.ndarray[Any, Any], merged: tuple[tuple[int, ...], ...] | None
) -> dict[str, Any]:
    """Accuracy of each class, and its mean over what were the rarest classes before any remedy, and over the others.

    Of classes merged by a remedy each has the accuracy of all.
    """
    rare = rarest_classes(counts)
    classes = np.array(result.test_class_accuracy or np.full(result.model.num_classes, np.nan))
    found = classes[merged_places(merged, len(counts))]
    others = np.setdiff1d(np.arange(len(found)), rare)
    return {
        "class_accuracy": result.class_accuracy,
        "test_accuracy": result.test_accuracy,
        "test_class_accuracy": result.test_class_accuracy,
        "test_accuracy_rare": float(found[rare].mean()),
        "test_accuracy_common": float(found[others].mean()) if len(others) else math.nan,
    }


def _outcome(run: Run, samples: ImbalancedData) -> dict[str, Any]:
    """The numbers of a run that are worth a column."""
    from lopsided.metrics import minority_spread

    rare = rarest_classes(samples.counts)
    columns: dict[str, Any] = {
        "num_samples": samples.num_samples,
        "epochs_done": run.history[-1]["epoch"],
        "objective": run.history[-1]["objective"],
        "predicted_objective": run.certificate["objective"],
        "gap": run.certificate["gap"],
        "status": run.certificate["status"],
        "same_rank": run.comparison.same_rank,
        "same_merged": run.comparison.same_merged,
        "mean_logits_error": run.comparison["mean_logits"].relative_error,
        "bias_error": run.comparison["bias"].relative_error,
        "rare_cosine": mean_cosine(run.measured, rare),
        "predicted_rare_cosine": mean_cosine(run.predicted, rare),
        "predicted_minority_spread": minority_spread(run.predicted),
        "predicted_rank": run.predicted.rank,
        "predicted_merged": run.predicted.merged,
    }
    taken = ("num_classes", "num_samples", "counts")
    return columns | {name: value for name, value in run.measures.items() if name not in taken}
