"""A trained network: its file of features, or its model and data from a function that the user names."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lopsided.cli.output import patient_progress
from lopsided.core.arguments import ArgumentError
from lopsided.core.factories import load_factory

if TYPE_CHECKING:
    from torch import nn

    from lopsided.metrics import Gathered


def require_torch(argument: str) -> None:
    """Refuse what cannot be measured on this machine, before anything is read."""
    if find_spec("torch") is None:
        raise ArgumentError(
            argument, "cannot be measured, since torch is not installed", remedy="pip install 'lopsided[measure]'"
        )


def gather_file(file: str, num_classes: int | None = None, *, classifier: bool = False) -> Gathered:
    """Read a file of features in parts, with a progress bar where it takes long; ``classifier``: it must hold one.

    Raises
    ------
    ArgumentError
        About ``file``, if it is not sound.
    """
    from lopsided.data.feature_file import open_features

    with open_features(file, num_classes) as source:
        from lopsided.metrics import gather

        if classifier and source.weight is None:
            raise ArgumentError("file", "must hold the classifier's weight beside features and labels", file)
        with patient_progress("measuring") as progress:
            return gather(
                source.batches(),
                source.num_classes,
                source.dim,
                source.weight,
                source.bias,
                progress=lambda done: progress(done, source.num_samples),
                source="file",
            )


def load_model_and_data(name: str) -> tuple[nn.Module, Any, int | None]:
    """Call ``MODULE:FACTORY``, and check that it returns a model, data and perhaps the number of classes.

    Raises
    ------
    ValueError
        If there is no such function, or it returns something else. What goes wrong inside is raised as it is.
    """
    from torch import nn

    made = load_factory(name, "checkpoint")()
    sound = isinstance(made, tuple) and len(made) in (2, 3) and isinstance(made[0], nn.Module)
    if not sound or (len(made) == 3 and not isinstance(made[2], int)):
        parts = ", ".join(type(part).__name__ for part in made) if isinstance(made, tuple) else type(made).__name__
        raise ArgumentError(
            "checkpoint",
            "must return (model, data) or (model, data, number of classes), the model a torch.nn.Module",
            got=f"({parts}) from {name}",
        )
    return made[0], made[1], made[2] if len(made) == 3 else None


def load_state(model: nn.Module, path: str) -> None:
    """Load a model's state from ``.safetensors``, which can run no code.

    Raises
    ------
    ValueError
        If the file is none, or does not fit the model.
    OSError
        If it cannot be opened.
    """
    with open(path, "rb"):  # a file that is not there is the system's error
        pass
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_model
    except ImportError:
        raise ArgumentError(
            "state", "cannot be read without safetensors", remedy="pip install 'lopsided[measure]'"
        ) from None
    try:
        load_model(model, path)
    except SafetensorError as error:
        raise ArgumentError(
            "state",
            "must be a whole .safetensors file",
            got=f"{path!r} ({error})",
            remedy="write it with safetensors.torch.save_model",
        ) from None
    except RuntimeError as error:  # keys or shapes that do not fit
        raise ArgumentError(
            "state", "must fit the model", got=f"{path!r}: {' '.join(str(error).split())[:300]}"
        ) from None
