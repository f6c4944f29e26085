"""How a remedy is put in place: what ``lopsided train`` calls it, and the line of Python that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from lopsided.core.counts import class_ranges
from lopsided.core.losses import CrossEntropy, Loss, stated_settings
from lopsided.core.outlook import FADING

#: A line with more letters than this names the numbers instead of writing them.
LONGEST_LINE = 160


def train_options(
    name: str, convention: str, margin: float = FADING, keep: Sequence[int] | None = None
) -> dict[str, str | float]:
    """The settings of a run that ask for a remedy: options of ``lopsided train``, keys of its files.

    ``keep`` are the classes to be kept, all by default.

    Examples
    --------
    >>> train_options("class-weights", "samples", 1.2, [5, 6, 7, 9])
    {'remedy': 'class-weights:samples', 'remedy_margin': 1.2, 'remedy_keep': '5-7,9'}
    """
    options: dict[str, str | float] = {"remedy": f"{name}:{convention}" if convention else name}
    if margin != FADING:
        options["remedy_margin"] = margin
    if keep is not None:
        options["remedy_keep"] = class_ranges(keep, cut=False).replace("–", "-").replace(" ", "")
    return options


def python_line(name: str, settings: dict[str, Any], classes: Sequence[int], loss: Loss, lambda_b: float = 0.0) -> str:
    """The call that puts a remedy in place, in the names of :mod:`lopsided.nn`; empty where no code does it.

    ``counts`` and ``labels`` stand for those of the training set, ``model`` and ``lambda_w`` for the network and its
    present weight decay. Where the numbers are many, ``remedy`` stands for the remedy that holds them. ``loss`` is the
    loss with the remedy, ``classes`` what each class becomes, ``lambda_b`` the decay of the bias, which stays as it is.

    Examples
    --------
    >>> python_line("ldam", {}, [0, 1], CrossEntropy(margins=[0.5, 1.0]))
    'LDAMLoss(counts, max_margin=1.0)'
    """
    if name == "samples":
        return ""
    if name == "decay":
        kept = f", lambda_b={lambda_b!r}" if lambda_b else ""
        return f"decay_groups(model, lambda_w={settings['factor'] ** 2:.6g} * lambda_w{kept})"
    if name == "oversampling":
        line = f"ClassSampler(labels, {repeated(settings['shown'])})"
        brief = "ClassSampler(labels, remedy.settings['shown'])"
    elif name == "merging":
        line = f"labels = torch.tensor({repeated(classes)})[labels]"
        brief = "labels = torch.tensor(remedy.classes)[labels]"
    else:
        line, brief = _loss_line(name, loss), "loss_module(remedy.problem.loss, counts)"
    return line if len(line) <= LONGEST_LINE else brief


def repeated(values: Sequence[Any]) -> str:
    """A list as Python reads it, neighbours that are equal written once.

    Examples
    --------
    >>> repeated([1.0, 1.0, 1.5, 2.0])
    '[1.0] * 2 + [1.5, 2.0]'
    """
    parts: list[str] = []
    single: list[str] = []
    for value, run in groupby(values):
        times = len(list(run))
        if times == 1:
            single.append(repr(value))
            continue
        parts += [f"[{', '.join(single)}]"] * bool(single) + [f"[{value!r}] * {times}"]
        single = []
    return " + ".join(parts + [f"[{', '.join(single)}]"] * bool(single))


def _loss_line(name: str, loss: Loss) -> str:
    stated = stated_settings(loss)
    if isinstance(loss, CrossEntropy):  # with other settings beside these, a published loss's own arguments differ
        if stated.keys() - {"reduction"} == {"weights"}:
            return f"WeightedCrossEntropy(counts, {_arguments(stated).removeprefix('weights=')})"
        if name == "ldam" and stated.keys() == {"margins"}:
            return f"LDAMLoss(counts, max_margin={max(stated['margins'])!r})"  # the rarest class has the largest
        if stated.keys() == {"logit_adjustment"}:
            return f"LogitAdjustedLoss(counts, tau={stated['logit_adjustment']!r})"
    return f"loss_module({type(loss).__name__}({_arguments(stated)}), counts)"


def _arguments(stated: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={repeated(value) if isinstance(value, tuple) else repr(value)}" for name, value in stated.items()
    )
