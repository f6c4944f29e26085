"""``lopsided thresholds``: the decays at which classes merge."""

from __future__ import annotations

import numpy as np

from lopsided.cli.options import Bias, Counts, Features, Json, LambdaB, bias_decay, takes_loss
from lopsided.cli.output import console, print_json, shown_rows
from lopsided.core.count_sources import read_counts
from lopsided.core.counts import class_ranges
from lopsided.core.losses import Loss
from lopsided.model import UFM


@takes_loss
def thresholds(
    counts: Counts,
    *,
    lambda_b: LambdaB = 0.0,
    bias: Bias = True,
    loss: Loss,
    features: Features = "any",
    as_json: Json = False,
) -> None:
    """The decays λ_z at which classes merge: within each group of equal counts, and all together.

    Example:

    lopsided thresholds --counts 500x5,100x5 --lambda-b 0.02
    """
    # The thresholds are values of λ_z, so they do not depend on the one that a model must have.
    model = UFM(read_counts(counts).counts, lambda_z=1.0, lambda_b=lambda_b, bias=bias, loss=loss, features=features)
    found = model.thresholds()
    clusters = model.clusters
    if as_json:
        print_json(
            {
                "lambda_b": bias_decay(model),
                "thresholds": found.to_dict(),
                "clusters": [
                    {"count": int(count), "classes": classes}
                    for count, classes in zip(clusters.counts, clusters.classes, strict=True)
                ],
            }
        )
        return

    from rich.table import Table

    table = Table("classes", box=None, header_style="bold", padding=(0, 2))
    for heading in ("samples each", "merge at λ_z ≥"):
        table.add_column(heading, justify="right")
    for row in shown_rows(clusters.num_clusters):
        if row is None:
            table.add_row("…", "…", "…")
            continue
        value = found.within[row]
        table.add_row(
            class_ranges(clusters.classes[row]),
            f"{clusters.counts[row]:.0f}",
            "see path" if np.isnan(value) else f"{value:.6g}",  # alone in its count: merges at the origin, or with all
        )
    table.add_row(f"all {model.num_classes}", f"N = {model.num_samples}", f"{found.complete:.6g}", style="bold")
    terminal = console()
    terminal.print(table)
    if found.note:
        terminal.print(f"{found.note[0].upper()}{found.note[1:]}.", style="dim")
    terminal.print("Weight decay w on the classifier and h on the features is λ_z = √(w h).", style="dim")
