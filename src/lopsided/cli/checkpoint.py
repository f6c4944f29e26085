"""A model and its data from a function that the user names."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from lopsided.core.arguments import ArgumentError

if TYPE_CHECKING:
    from torch import nn


def made_by(name: str) -> tuple[nn.Module, Any, int | None]:
    """Import ``MODULE:FACTORY``, call it, and check what it returns; the current folder is searched, too.

    Raises
    ------
    ValueError
        If there is no such module or function, or it returns something else. What goes wrong inside is left to tell
        its own story.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ArgumentError("checkpoint", "must be MODULE:FACTORY, such as my_project.models:resnet", name)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that the module needs
        raise ArgumentError(
            "checkpoint",
            "must name a module that can be imported",
            got=f"{name!r}, of which {error.name!r} is not found",
        ) from None
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise ArgumentError("checkpoint", "must name a function", got=f"{name!r}, and {module_name} has no such one")
    from torch import nn

    made = factory()
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
    with open(path, "rb"):  # what is not there is told as by the system
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
