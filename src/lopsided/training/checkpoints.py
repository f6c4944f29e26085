"""Checkpoints: written whole or not at all, read without unpickling code, and refused where they are another run's."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lopsided.core.arguments import ArgumentError
from lopsided.training.recording import Recorder

#: What reading raises where a file is no checkpoint of ours, or a part of one.
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError, StopIteration),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)


class Checkpointer(Checkpoint):
    """Stores the run, after every measured epoch, in one file.

    A new checkpoint is written beside the old one and takes its place once it is whole, so that a run killed at any
    moment leaves a good one. ``settings``, of numbers and text, are what decides the run: compared when it is resumed.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self._path = path
        self._settings = dict(settings)

    def state_dict(self) -> dict[str, Any]:
        """The settings."""
        return {"settings": self._settings}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a checkpoint if this epoch was measured and all is finite."""
        recorder = next(callback for callback in trainer.callbacks if isinstance(callback, Recorder))  # type: ignore[attr-defined]
        row = recorder.history[-1]
        if row["epoch"] != trainer.current_epoch + 1 or not row["objective"] < float("inf"):
            return
        unfinished = self._path.with_name(self._path.name + ".unfinished")
        try:
            trainer.save_checkpoint(unfinished, weights_only=False)
            if trainer.is_global_zero:
                os.replace(unfinished, self._path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror or str(error), str(self._path)) from None


def epochs_in_checkpoint(path: Path, settings: Mapping[str, Any]) -> int:
    """Return the epochs done in a checkpoint, refused where it is damaged or one of its settings is another run's."""
    try:
        stored_bytes = io.BytesIO(path.read_bytes())
    except OSError as error:
        reason = str(error.strerror or error)
        raise ArgumentError("checkpoint", f"{str(path)!r} must be readable", remedy=reason) from None
    try:
        content = torch.load(stored_bytes, map_location="cpu", weights_only=True)
        states = content["callbacks"]
        stored = next(state["settings"] for key, state in states.items() if key.startswith(Checkpointer.__name__))
        history = next(state["history"] for key, state in states.items() if key.startswith(Recorder.__name__))
    except _DAMAGE:
        rule = f"{str(path)!r} must be a whole checkpoint of this package"
        raise ArgumentError("checkpoint", rule, remedy="delete it to start again") from None
    for setting in (*settings, *stored):
        ours, theirs = settings.get(setting), stored.get(setting)
        if ours != theirs:
            rule = f"{str(path)!r} must be of the same run, to go on with it"
            remedy = f"its {setting} is {theirs}, not {ours}; delete it or name another file"
            raise ArgumentError("checkpoint", rule, remedy=remedy)
    return int(history[-1]["epoch"])
