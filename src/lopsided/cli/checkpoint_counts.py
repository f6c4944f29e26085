"""What ``lopsided check`` takes from a trained network's file: its counts and, with its weight decay, λ_z."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lopsided.cli.checkpoint import gather_file, require_torch
from lopsided.core.arguments import ArgumentError, check_number
from lopsided.core.count_sources import ClassCounts
from lopsided.core.counts import format_counts


@dataclass(frozen=True)
class CheckpointCounts:
    """What a trained network's file determines: the counts of its labels, its decays, and how far they hold."""

    counts: ClassCounts
    lambda_z: float
    lambda_b: float | None
    statement: str


def read_checkpoint(
    file: str,
    given: ClassCounts | None,
    lambda_z: float | None,
    weight_decay: float | None,
    feature_decay: float | None,
    bias: bool,
) -> CheckpointCounts:
    """Read a file of features, labels, weight and bias, and work out its decays; the other arguments are refused.

    Raises
    ------
    ValueError
        If the file is not sound, a class has no samples, or what is given contradicts it.
    """
    for name, value in (("lambda_z", lambda_z), ("feature_decay", feature_decay)):
        if value is not None:
            raise ArgumentError(name, "must be left out with --checkpoint, whose file determines it", value)
    if weight_decay is None:
        raise ArgumentError("weight_decay", "must be given with --checkpoint", got="nothing")
    check_number("weight_decay", weight_decay, above=0, note=" with --checkpoint")
    if not bias:
        raise ArgumentError("bias", "must be left out with --checkpoint, whose file has one or not", got="--no-bias")
    require_torch("checkpoint")
    from lopsided.metrics import effective_decay

    try:
        gathered = gather_file(file, classifier=True)
    except ArgumentError as error:
        raise error.renamed(file="checkpoint") from None
    counts = gathered.moments.counts.cpu().numpy().astype(np.int64)
    if (counts == 0).any():
        raise ArgumentError(
            "checkpoint", "must hold samples of every class", got=f"none of class {int(np.argmin(counts))} in {file!r}"
        )
    if given is not None and not np.array_equal(given.counts, counts):
        raise ArgumentError(
            "counts",
            f"must be those of the checkpoint's labels, {format_counts(counts)}",
            got=str(format_counts(given.counts)),
            remedy="leave --counts out",
        )
    decay = effective_decay(gathered.moments, gathered.weight, gathered.bias, weight_decay=weight_decay)
    names = None if given is None else given.names
    return CheckpointCounts(ClassCounts(counts, names, file), decay.lambda_z, decay.lambda_b, decay.statement)
