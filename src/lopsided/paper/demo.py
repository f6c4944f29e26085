"""The main job on real data: predict three geometries, train three networks, measure them, compare."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.comparison import COLLAPSED_NC1
from lopsided.core.counts import format_counts, parse_counts
from lopsided.core.files import check_writable
from lopsided.core.outlook import Outlook
from lopsided.model import UFM
from lopsided.paper.bundled import read_bundled, small_scale
from lopsided.paper.checks import Check, name_groups
from lopsided.runs.configuration import KEYS, Configuration, configure
from lopsided.runs.execution import perform, require_training, torch_threads
from lopsided.runs.record import Run
from lopsided.runs.sweep import check_data

#: Relative Frobenius error of the mean logits that the demo allows itself where no class is to merge.
LARGEST_ERROR = 0.04
#: Called as ``progress(stage, done, total)``, often.
DemoProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Demo:
    """What the demo did and found: its runs, one a decay, rising; and whether the target holds, claim by claim."""

    title: str
    lead: str
    runs: tuple[Run, ...]
    checks: tuple[Check, ...]


def run_demo(
    data: str = "digits",
    counts: str | None = None,
    *,
    seed: int = 0,
    output: str | Path | None = None,
    progress: DemoProgress | None = None,
) -> Demo:
    """Predict, train, measure and compare the runs of :func:`demo_configurations`.

    Each is stored as soon as it is done, in ``runs/NAME`` of the folder ``output``. What is wrong with the arguments is
    said before torch is imported.
    """
    configurations = demo_configurations(data, counts, seed=seed)
    require_training()
    if output is not None:
        check_writable(output)
    planned = check_data(list(configurations.values()), None)
    runs = []
    with torch_threads(1):
        for name, plan in zip(configurations, planned, strict=True):
            run, _ = perform(plan, progress=None if progress is None else partial(progress, name))
            runs.append(dataclasses.replace(run, name=name))
            if output is not None:
                runs[-1].save(Path(output, "runs", name))
    checks = tuple(check for run in runs for check in judge(run))
    return Demo(f"{data}: predicted, trained, measured", _lead(configurations["below"]), tuple(runs), checks)


def demo_configurations(data: str = "digits", counts: str | None = None, *, seed: int = 0) -> dict[str, Configuration]:
    """The runs of the demo, by the names that :func:`decays_to_show` gives to their decays.

    ``figures/demo.toml`` has the data sets; network and descent are those of the figures at small scale.

    Examples
    --------
    >>> runs = demo_configurations("digits")
    >>> [(name, run.counts, round(run.lambda_z, 5)) for name, run in runs.items()]
    [('below', '150x5,30x5', 0.00304), ('between', '150x5,30x5', 0.0091), ('above', '150x5,30x5', 0.01565)]
    """
    stated = read_bundled("demo")
    if data not in stated:
        raise ArgumentError("data", f"must be one of the known data sets: {', '.join(stated)}", data)
    scale = {key: value for key, value in read_bundled("scales")[small_scale(data)].items() if key in KEYS}
    settings = {**scale, **stated[data]}
    if counts is not None:
        settings["counts"] = format_counts(parse_counts(counts))
    decays = decays_to_show(settings["counts"], settings["lambda_b"])
    return {name: configure({**settings, "lambda_z": lambda_z, "seed": seed}) for name, lambda_z in decays.items()}


def decays_to_show(counts: str, lambda_b: float) -> dict[str, float]:
    """Decays λ_z below, between and above the collapse thresholds of some counts.

    Half the lowest threshold; the geometric mean of the lowest and the highest, left out where they are one; and 15 %
    over the highest, beyond which nothing is left.

    Examples
    --------
    >>> {name: round(value, 5) for name, value in decays_to_show("150x5,30x5", 0.02).items()}
    {'below': 0.00304, 'between': 0.0091, 'above': 0.01565}
    >>> list(decays_to_show("90x10", 0.02))
    ['below', 'above']
    """
    thresholds = UFM(counts, lambda_z=1.0, lambda_b=lambda_b).thresholds()
    highest = float(thresholds.complete)
    lowest = float(np.nanmin([*thresholds.within, highest]))
    decays = {"below": lowest / 2}
    if lowest < 0.95 * highest:
        decays["between"] = math.sqrt(lowest * highest)
    return {**decays, "above": 1.15 * highest}


def judge(run: Run) -> list[Check]:
    """Compare a run of the demo with the demo's target.

    The prediction is certified and the classes merge as predicted. Where any class is left, its samples have collapsed;
    where no class is to merge, the mean logits are as predicted; where the optimum itself classifies every class
    correctly, every training sample is fitted.
    """
    names = run.settings["class_names"]
    claims = []
    status, gap = run.certificate["status"], run.certificate["gap"]
    claims.append(("prediction certified", "optimal", f"{status}, gap {gap:.1g}", status == "optimal"))
    target, found = (name_groups(geometry.merged, names) for geometry in (run.predicted, run.measured))
    claims.append(("merged as predicted", target, found, run.comparison.same_merged))
    if run.predicted.rank > 0:
        nc1 = run.measures["nc1_rank_aware"]
        found = f"{'undefined' if nc1 is None else format(nc1, '.2g')}, rank-aware"
        small = nc1 is not None and nc1 < COLLAPSED_NC1
        claims.append(("each class collapses", f"NC1 below {COLLAPSED_NC1:g}", found, small))
    if not run.predicted.merged:
        error = run.comparison["mean_logits"].relative_error
        target, found = f"at most {_percent(LARGEST_ERROR)} off", f"{_percent(error)} off"
        claims.append(("mean logits as predicted", target, found, error <= LARGEST_ERROR))
    if (
        Outlook.measured(run.predicted).logit_gap.min() > 0
    ):  # strong decay takes the largest logit from rare classes first
        accuracy = run.measures["train_accuracy"]
        claims.append(("every sample fitted", "100 %", _percent(accuracy), accuracy == 1.0))
    return [Check(run.name, *claim) for claim in claims]


def _lead(configuration: Configuration) -> str:
    counts = configuration.model.counts
    widths = "-".join(map(str, (*(configuration.hidden or ()), configuration.dim)))
    return (
        f"{counts.sum()} images of {configuration.data} in {len(counts)} classes ({configuration.counts}). "
        f"Predicted from the counts and the decays alone; measured in a multilayer perceptron ({widths}, batch norm in "
        f"the hidden layers) after {configuration.epochs} epochs at each decay, seed {configuration.seed}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
