"""``lopsided thresholds``: the decays at which classes merge."""

from __future__ import annotations

from lopsided.cli.options import Bias, Counts, Features, Json, LambdaB, bias_decay, takes_loss
from lopsided.cli.output import console, fill, plain_table, print_json
from lopsided.core.count_sources import read_counts
from lopsided.core.counts import class_ranges
from lopsided.core.losses import Loss
from lopsided.model import UFM
from lopsided.theory import class_thresholds


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

    values, exact = class_thresholds(model, found)

    def cells(row: int) -> list[str]:
        first = clusters.classes[row][0]
        limit = ("" if exact[first] else "≈ ") + f"{values[first]:.6g}"
        return [class_ranges(clusters.classes[row]), f"{clusters.counts[row]:.0f}", limit]

    table = fill(plain_table("classes", "samples each", "lost at λ_z ≥"), range(clusters.num_clusters), cells)
    table.add_row(f"all {model.num_classes}", f"N = {model.num_samples}", f"{found.complete:.6g}", style="bold")
    terminal = console()
    terminal.print(table)
    if not exact.all() and not found.note:
        terminal.print(
            "≈: a yardstick, the threshold of two classes of this count; a class alone in its count merges with others"
            " where all do, or at the origin: see lopsided path.",
            style="dim",
        )
    if found.note:
        terminal.print(f"{found.note[0].upper()}{found.note[1:]}.", style="dim")
    terminal.print("Weight decay w on the classifier and h on the features is λ_z = √(w h).", style="dim")
