"""``lopsided measure``: a trained network's last layer, from a file or from the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lopsided.cli.checkpoint import gather_file, load_model_and_data, load_state, require_torch
from lopsided.cli.measurement import Measurement
from lopsided.cli.options import Features, Json, check_folder, number, takes_loss, whole_number
from lopsided.cli.output import patient_progress, print_json
from lopsided.core.arguments import ArgumentError, check_number
from lopsided.core.files import check_writable
from lopsided.core.losses import Loss

if TYPE_CHECKING:
    from lopsided.metrics import Gathered
    from lopsided.runs.record import Run

_MODEL, _PREDICTION = "A model instead of a file", "Prediction"


@takes_loss
def measure(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", help=".npz or .safetensors with features, labels, weight and bias.", show_default=False
        ),
    ] = None,
    *,
    num_classes: Annotated[
        str | None, typer.Option(metavar="K", help="Number of classes, where neither weight nor labels show it.")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="A function of no arguments that returns (model, data) or (model, data, number of classes).",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The model's state, as .safetensors.", rich_help_panel=_MODEL),
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the last layer, where it is not found by itself.", rich_help_panel=_MODEL
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="DECAY",
            help="The optimiser's, on the last layer: estimate the decay of the features, predict, compare.",
            rich_help_panel=_PREDICTION,
        ),
    ] = None,
    bias_decay: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="DECAY",
            help="On the last layer's bias; 0 where it is free. The weight decay by default.",
            rich_help_panel=_PREDICTION,
        ),
    ] = None,
    feature_decay: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="DECAY",
            help="Of the features, (λ_h/2)·Σ‖h‖², if the loss contains it; not estimated then.",
            rich_help_panel=_PREDICTION,
        ),
    ] = None,
    loss: Loss,
    features: Features = "any",
    output: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Write a report with figures there.", rich_help_panel=_PREDICTION),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a network's last layer: how far its classes have collapsed, and which are lost.

    FILE holds features (N, d), labels (N,), weight (K, d) and bias (K,); without a weight only the features are
    measured. It is read in parts, so it may be larger than memory. With --weight-decay the network is compared with
    the optimum at its own decay.

    Exits with 1 where a class is lost, or the prediction could not be certified.

    Example:

    lopsided measure features.npz --weight-decay 0.0005
    """
    _check(file, checkpoint, state, classifier, weight_decay, bias_decay, feature_decay, output)
    classes = None if num_classes is None else whole_number("num_classes", num_classes, 1)
    name = file or str(checkpoint)
    gathered = gather_file(file, classes) if file is not None else _from_model(name, state, classifier, classes)
    result = _judge(gathered, name, weight_decay, bias_decay, feature_decay, loss, features)
    report = None if output is None or result.run is None else _write(output, result.run, result.verdict)
    if as_json:
        print_json(result.as_object(report))
    else:
        result.show(report)
    if result.solution is not None and result.solution.status != "optimal":
        typer.echo(f"lopsided: {result.solution.message}", err=True)
        raise typer.Exit(1)
    if result.outlook.lost:
        raise typer.Exit(1)


def _check(
    file: str | None,
    checkpoint: str | None,
    state: str | None,
    classifier: str | None,
    weight_decay: float | None,
    bias_decay: float | None,
    feature_decay: float | None,
    output: str | None,
) -> None:
    """What can be refused before anything is read or imported."""
    if (file is None) == (checkpoint is None):
        found = "neither" if file is None else "both"
        raise ArgumentError("file", "must be given, or --checkpoint in its place", got=found)
    for name, value in (("state", state), ("classifier", classifier)):
        if value is not None and checkpoint is None:
            raise ArgumentError(name, "must come with --checkpoint, whose model it is about", value)
    for name, decay in (("bias_decay", bias_decay), ("feature_decay", feature_decay)):
        if decay is not None and weight_decay is None:
            raise ArgumentError(name, "must come with --weight-decay, without which nothing is predicted", decay)
    for name, decay in (("weight_decay", weight_decay), ("feature_decay", feature_decay)):
        if decay is not None:
            check_number(name, decay, above=0)
    if bias_decay is not None:
        check_number("bias_decay", bias_decay, least=0, note=" (0: a free bias)")
    if output is not None:
        if weight_decay is None:
            raise ArgumentError("output", "must come with --weight-decay: a report compares with a prediction", output)
        check_writable(check_folder(output))
    require_torch("file" if file is not None else "checkpoint")


def _from_model(name: str, state: str | None, classifier: str | None, num_classes: int | None) -> Gathered:
    model, data, told = load_model_and_data(name)
    if state is not None:
        load_state(model, state)
    from lopsided.metrics import gather_from_model

    total = len(data.dataset) if hasattr(getattr(data, "dataset", None), "__len__") else _length(data)
    with patient_progress("measuring") as progress:
        try:
            return gather_from_model(
                model,
                data,
                num_classes or told,
                classifier=classifier,
                progress=lambda done: progress(done, total or done + 1),
            )
        except ArgumentError as error:
            if error.argument not in ("data", "features", "labels", "model", "call"):
                raise
            raise ArgumentError("checkpoint", f"must return what can be measured: {error}") from None


def _length(data: Any) -> int:
    from torch.utils.data import Dataset

    return len(data) if isinstance(data, Dataset) and hasattr(data, "__len__") else 0


def _judge(
    gathered: Gathered,
    name: str,
    weight_decay: float | None,
    bias_decay: float | None,
    feature_decay: float | None,
    loss: Loss,
    features: str,
) -> Measurement:
    from lopsided.metrics import effective_decay
    from lopsided.metrics import measure as measure_moments
    from lopsided.metrics.effective_decay import require_every_class
    from lopsided.runs.record import Run

    moments, weight, bias = gathered.moments, gathered.weight, gathered.bias
    geometry = moments.geometry(weight, bias)
    if weight_decay is None:
        return Measurement(geometry, measure_moments(moments, weight, bias), gathered.class_accuracy)
    if weight is None:
        raise ArgumentError("weight_decay", "must come with a weight, which is what it decays", got=f"none in {name!r}")
    if bias is None and bias_decay:
        raise ArgumentError("bias_decay", "must be left out where there is no bias", bias_decay)
    decay = effective_decay(moments, weight, bias, weight_decay=weight_decay, bias_decay=bias_decay)
    try:
        require_every_class(geometry.counts)
        solution = decay.model(geometry.counts, loss=loss, features=features, lambda_h=feature_decay).solve()
    except ArgumentError as error:
        if error.argument != "counts":
            raise
        raise ArgumentError("weight_decay", f"cannot be used for a prediction: {error}") from None
    model = solution.problem
    run = Run(
        name=Path(name).stem or "network",
        settings={
            "counts": model.counts,
            "lambda_z": model.lambda_z,
            "lambda_w": model.lambda_w,
            "lambda_h": model.lambda_h,
            "lambda_b": model.lambda_b if model.bias else None,
            "effective_decay": decay.to_dict(),
        },
        predicted=solution.geometry,
        measured=geometry,
        certificate={**solution.certificate(), "message": solution.message},
        measures=measure_moments(moments, weight, bias, predicted=solution.geometry),
    )
    return Measurement(geometry, run.measures, gathered.class_accuracy, decay, feature_decay, solution, run)


def _write(output: str, run: Run, lead: str) -> Path:
    """Write the report, with a progress bar where it takes long."""
    from lopsided.report import write_report

    title = f"{run.name}: measured"
    with patient_progress("drawing") as progress:
        return write_report(output, title, lead, [run], on_figure=lambda _, done, planned: progress(done - 1, planned))
