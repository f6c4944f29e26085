"""What a trained network's file tells ``lopsided check``: its counts and, with its weight decay, λ_z."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from lopsided.core.arguments import ArgumentError, check_number
from lopsided.core.count_sources import ClassCounts
from lopsided.core.counts import format_counts


@dataclass(frozen=True)
class CheckpointCounts:
    """What a trained network's last layer tells: the counts of its labels, its decays, and how far they hold."""

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
    """Read a file of features, labels, weight and bias, and tell its decays; the other arguments are refused.

    Raises
    ------
    ValueError
        If the file is not sound, a class has no samples, or what is given contradicts it.
    """
    for name, value in (("lambda_z", lambda_z), ("feature_decay", feature_decay)):
        if value is not None:
            raise ArgumentError(name, "must be left out with --checkpoint, which tells it", value)
    if weight_decay is None:
        raise ArgumentError("weight_decay", "must be given with --checkpoint", got="nothing")
    check_number("weight_decay", weight_decay, above=0, note=" with --checkpoint")
    if not bias:
        raise ArgumentError("bias", "must be left to the file with --checkpoint, which has one or not", got="--no-bias")
    if find_spec("torch") is None:
        raise ArgumentError(
            "checkpoint", "cannot be read, since torch is not installed", file, remedy="pip install 'lopsided[measure]'"
        )
    from lopsided.data.feature_file import open_features

    try:
        with open_features(file) as source:
            from lopsided.metrics import effective_decay, gather

            if source.weight is None:
                raise ArgumentError("file", "must hold the classifier's weight beside features and labels", file)
            gathered = gather(
                source.batches(), source.num_classes, source.dim, source.weight, source.bias, source="file"
            )
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
