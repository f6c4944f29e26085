"""Lightning's loop, made to say nothing of itself, to leave no files but those asked for, and to let Ctrl-C through."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from lopsided.training.batches import Batches
from lopsided.training.checkpoints import Checkpointer, epochs_in_checkpoint
from lopsided.training.objective import RegularisedObjective
from lopsided.training.recording import Recorder


def fit(
    objective: RegularisedObjective,
    batches: Batches,
    recorder: Recorder,
    settings: Mapping[str, Any],
    checkpoint: str | Path | None,
    logger: Logger | Sequence[Logger] | None,
    epochs: int,
    accelerator: str,
    devices: int,
) -> None:
    """Run Lightning's loop on an objective, from its checkpoint where there is one.

    The arguments are those of :func:`lopsided.training.train`; ``settings`` is what decides the run, as
    :class:`lopsided.training.checkpoints.Checkpointer` stores it.
    """
    callbacks: list[Callback] = [recorder]
    resume = None
    if checkpoint is not None:
        path = Path(checkpoint)
        callbacks.append(Checkpointer(path, settings))
        if path.exists():
            batches.skip(epochs_in_checkpoint(path, settings))
            resume = path
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet():
        trainer = Trainer(
            accelerator=accelerator,
            devices=devices,
            strategy="auto" if devices == 1 else "ddp",
            max_epochs=epochs,
            callbacks=callbacks,
            logger=False if logger is None else list(logger) if isinstance(logger, Sequence) else logger,
            log_every_n_steps=1,
            enable_checkpointing=checkpoint is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with _interruptible():
            trainer.fit(objective, batches, ckpt_path=resume, weights_only=True)
    if not hasattr(recorder, "evaluation"):  # the checkpoint was of a run that had ended
        recorder.measure(objective)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Lightning says about itself; warnings about what it was given pass."""
    loggers = [logging.getLogger(f"lightning.{part}.utilities.rank_zero") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            # Lightning's own use of a torch class that newer torch releases rename.
            warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn the exit that Lightning makes of Ctrl-C back into KeyboardInterrupt, and heed further ones again."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if in_main_thread and handler is not None:  # None: installed by a host program, out of Python's reach
            signal.signal(signal.SIGINT, handler)
