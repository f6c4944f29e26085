"""From the runs of an experiment to claims with verdicts: those of all experiments, and those of each kind."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from lopsided.paper.checks import Check, share
from lopsided.paper.generalisation import judge_generalisation
from lopsided.paper.groups import judge_groups
from lopsided.paper.judge_figures import judge_axis, judge_collapse, judge_mean_logits
from lopsided.paper.plans import Experiment
from lopsided.paper.remedy_table import judge_remedies
from lopsided.paper.results import FinishedRun, Reproduction

#: The judge of each kind of experiment.
JUDGES: dict[str, Callable[[Experiment, Sequence[FinishedRun]], Reproduction]] = {
    "axis": judge_axis,
    "nc1": judge_collapse,
    "mean_logits": judge_mean_logits,
    "groups": judge_groups,
    "generalisation": judge_generalisation,
    "remedies": judge_remedies,
}


def judge_experiment(experiment: Experiment, runs: Sequence[FinishedRun]) -> Reproduction:
    """Judge the runs of an experiment against what was predicted for each.

    Parameters
    ----------
    experiment : Experiment
    runs : sequence of FinishedRun
        One a point.

    Returns
    -------
    Reproduction
        The first two claims are of every experiment: predictions certified, and no run diverged or stuck.
    """
    found = JUDGES[experiment.kind](experiment, runs)
    return replace(found, checks=(_certified(experiment.name, runs), _sound(experiment.name, runs), *found.checks))


def _certified(name: str, runs: Sequence[FinishedRun]) -> Check:
    """Every prediction has its gap."""
    certificates = [entry.run.certificate for entry in runs]
    certified = [certificate["status"] == "optimal" for certificate in certificates]
    gaps = [certificate["gap"] for certificate in certificates if certificate["gap"] is not None]
    found = f"{share(certified)}, gap ≤ {max(gaps, default=math.nan):.1g}"
    return Check(name, "every prediction is certified", "all optimal", found, all(certified))


def _sound(name: str, runs: Sequence[FinishedRun]) -> Check:
    """No run diverged, and none stuck at a rank below the optimum's."""
    states = Counter(filter(None, map(_trouble, runs)))
    none = f"0 of {len(runs)}"
    found = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return Check(name, "no run diverges or sticks", none, found or none, not states)


def _trouble(entry: FinishedRun) -> str:
    if not entry.ended:
        return "diverged"
    return "stuck at too low a rank" if "rank-deficient" in entry.row["findings"] else ""
