"""Many runs, each done once, whatever interrupts: on all cores of this machine, or on a Dask cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import parse_counts
from lopsided.core.files import writable_folder, write_atomically
from lopsided.data.imbalanced import check_classes
from lopsided.data.sources import Source, find_source
from lopsided.runs.apply_remedy import PlannedRun, plan_run
from lopsided.runs.configuration import Configuration
from lopsided.runs.execution import RunProgress, perform, require_training, torch_threads
from lopsided.runs.record import Run

#: The folder of the runs within that of a sweep, and the table of all.
RUNS, ROWS = "runs", "rows.jsonl"
#: A run is done when this file is in its folder: it is written last.
ROW = "row.json"
_LOCK, _CHECKPOINT = ".lock", "checkpoint.ckpt"
#: Seconds to wait for the answer of a Dask scheduler.
_PATIENCE = "20s"
#: Seconds after which a worker ends that has nothing to do, as when its sweep was killed.
_IDLE = 10

#: Called as ``progress(runs done, runs in all)``.
SweepProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Sweep:
    """What a sweep did: its rows, in the order of the configurations, and the file of JSON lines that holds them."""

    rows: tuple[dict[str, Any], ...]
    table: Path
    #: Runs that were there before.
    found: int

    def runs(self) -> list[Run]:
        """The stored runs, in the order of the rows."""
        return [Run.load(run_folder(self.table.parent, row["digest"])) for row in self.rows]


def run_sweep(
    configurations: Sequence[Configuration],
    output: str | Path,
    *,
    jobs: int = 0,
    scheduler: str | None = None,
    data_folder: str | Path | None = None,
    accelerator: str = "auto",
    progress: SweepProgress | None = None,
    epoch_progress: RunProgress | None = None,
) -> Sweep:
    """Carry out the runs that are not yet done, and collect the rows of all.

    Each run has a folder ``runs/DIGEST`` with the stored run and, written last, ``row.json``: what has one is done and
    is not repeated, whatever ended the sweep; one that was under way goes on from its last checkpoint. Several sweeps
    may share a folder. Missing data, or anything else that is in the way, is found out before the first run; a run that
    cannot be stored, as on a full disk, is an ``OSError``, and the same call goes on from there.

    ``jobs`` runs are done at a time on this machine, each on one thread (0: one a core), or all by the workers of the
    Dask scheduler with that address, which must see the folder under the same path. ``progress`` is called at the start
    and after every run, ``epoch_progress`` after every epoch of a run that is done in this process, as with one job.
    """
    require_training()
    if jobs < 0:
        raise ArgumentError("jobs", "must be a whole number of at least 0 (0: one run a core)", jobs)
    if scheduler is None and find_spec("joblib") is None:
        rule, remedy = "cannot be run side by side, since joblib is not installed", "pip install 'lopsided[train]'"
        raise ArgumentError("jobs", rule, remedy=remedy)
    if scheduler is not None and find_spec("distributed") is None:
        raise ArgumentError("scheduler", "needs Dask, which is not installed", remedy="pip install 'lopsided[cluster]'")
    missing = [entry for entry in configurations if read_row(output, entry.digest) is None]
    planned = check_data(missing, data_folder)
    root = writable_folder(output).resolve()
    work = partial(_work, root=root, data_folder=data_folder, accelerator=accelerator)
    done = found = len(configurations) - len(missing)
    if progress is not None:
        progress(done, len(configurations))
    try:
        if planned:
            for _ in _parallel(work, planned, jobs, scheduler, epoch_progress):
                done += 1
                if progress is not None:
                    progress(done, len(configurations))
    finally:
        rows = collect_rows(root)
    absent = [entry for entry in configurations if entry.digest not in rows]
    if absent:
        got = f"{str(root)!r}, in which {len(absent)} runs left nothing"
        raise ArgumentError("output", "must be a folder that the workers see under the same path", got=got)
    return Sweep(tuple(rows[entry.digest] for entry in configurations), root / ROWS, found)


def run_folder(root: str | Path, digest: str) -> Path:
    """The folder of one run within that of the sweep."""
    return Path(root) / RUNS / digest


def read_row(root: str | Path, digest: str) -> dict[str, Any] | None:
    """The row of a run, if it is done; a file that is half there counts as none.

    Examples
    --------
    >>> read_row("nowhere", "9e1cd1a6b9b7a4a6") is None
    True
    """
    try:
        row = json.loads((run_folder(root, digest) / ROW).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) and row.get("digest") == digest else None


def collect_rows(root: str | Path) -> dict[str, dict[str, Any]]:
    """The rows of all finished runs of a folder by digest, those of other sweeps too; ``rows.jsonl`` gets them all."""
    digests = sorted(path.parent.name for path in Path(root, RUNS).glob(f"*/{ROW}"))
    rows = {digest: row for digest in digests if (row := read_row(root, digest)) is not None}
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows.values())
    write_atomically(Path(root) / ROWS, text)
    return rows


def check_data(configurations: Sequence[Configuration], data_folder: str | Path | None) -> list[PlannedRun]:
    """Work out the remedies of runs, and make sure that their data are there, without loading torch."""
    for entry in configurations:  # told before anything is read
        names = _source(entry.data, data_folder, entry.image_size).class_names
        if names is not None:
            check_classes(parse_counts(entry.counts), len(names), entry.data)
    sources = {(entry.data, entry.image_size) for entry in configurations}
    available = {source: samples_a_class(source[0], data_folder, source[1]) for source in sources}
    planned = [plan_run(entry) for entry in configurations]
    for entry in (plan.applied for plan in planned):
        there, wanted = available[entry.data, entry.image_size], parse_counts(entry.counts)
        check_classes(wanted, len(there), entry.data)
        if np.any(wanted > there[: len(wanted)]):
            index = int(np.argmax(wanted > there[: len(wanted)]))
            rule = f"must be at most the training samples that {entry.data} has, {there[index]} for class {index}"
            raise ArgumentError("counts", rule, got=f"{wanted[index]} in {entry.counts}")
    return planned


def download_data(names: Iterable[str], data_folder: str | Path | None) -> None:
    """Fetch the files of data sets that are not there, from where they are published."""
    for name in dict.fromkeys(names):
        find_source(name, data_folder, True, None).read(data_folder, True)


def samples_a_class(
    data: str, data_folder: str | Path | None = None, image_size: int | None = None
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(K,) training samples that a data set has in each class.

    Examples
    --------
    >>> samples_a_class("digits")
    array([158, 162, 157, 163, 161, 162, 161, 159, 154, 160])
    """
    found = _source(data, data_folder, image_size).read(data_folder, False)
    return np.bincount(found.train.labels, minlength=len(found.class_names))


def _source(data: str, data_folder: str | Path | None, image_size: int | None) -> Source:
    try:
        return find_source(data, data_folder, False, image_size)
    except ArgumentError as error:
        raise error.renamed(root="data_folder") from None


def _parallel(
    work: Callable[..., None],
    planned: Sequence[PlannedRun],
    jobs: int,
    scheduler: str | None,
    progress: RunProgress | None,
) -> Iterator[None]:
    """Start the runs and yield as each one ends, in whatever order."""
    from joblib import Parallel, delayed, parallel_config  # type: ignore[import-untyped, unused-ignore]

    if scheduler is not None:
        with _dask_client(scheduler) as client, parallel_config(backend="dask", client=client):
            yield from Parallel(return_as="generator_unordered", batch_size=1)(
                delayed(work)(entry) for entry in planned
            )
        return
    number = min(jobs or os.cpu_count() or 1, len(planned))
    if number == 1:
        for entry in planned:
            work(entry, progress=progress)
            yield
        return
    with parallel_config(backend="loky", inner_max_num_threads=1, idle_worker_timeout=_IDLE):
        results = Parallel(n_jobs=number, return_as="generator_unordered", batch_size=1, pre_dispatch=number)(
            delayed(_in_worker)(work, entry, os.getpid()) for entry in planned
        )
        with contextlib.closing(results):
            yield from results


def _in_worker(work: Callable[..., None], entry: PlannedRun, parent: int) -> None:
    """One run in a process of its own, which Ctrl-C does not reach: the parent takes it and ends its workers.

    Otherwise it could strike in a destructor, where Python prints and forgets it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work(entry, progress=partial(_end_with_parent, parent))


@contextlib.contextmanager
def _dask_client(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        rule = "must be the address of a Dask scheduler that answers, such as tcp://127.0.0.1:8786"
        raise ArgumentError("scheduler", rule, got=f"{address!r} ({reason})") from None
    with client:
        yield client


def _work(planned: PlannedRun, *, root: Path, **options: Any) -> None:
    """Do one run, with the options of :func:`lopsided.runs.execution.perform`, and store it."""
    from filelock import FileLock

    digest = planned.asked.digest
    folder = writable_folder(run_folder(root, digest))
    carry_out = partial(perform, planned, checkpoint=folder / _CHECKPOINT, **options)
    # The lock is the kernel's, so it goes when its holder is killed. It keeps a worker that outlived its sweep, and
    # another sweep over the same folder, from doing the run a second time.
    with FileLock(folder / _LOCK):
        if read_row(root, digest) is not None:
            return
        _clear(folder, keep=(_LOCK, _CHECKPOINT))
        with torch_threads(1):
            try:
                run, row = carry_out()
            except ArgumentError as error:
                if error.argument != "checkpoint":
                    raise
                _clear(folder, keep=(_LOCK,))  # a damaged one, or an older version's: not worth more than a new start
                run, row = carry_out()
        run.save(folder)
        write_atomically(folder / ROW, json.dumps(row, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        (folder / _CHECKPOINT).unlink(missing_ok=True)


def _end_with_parent(parent: int, done: int, planned: int) -> None:
    """End a worker at the next epoch once the sweep that it works for is gone."""
    if os.getppid() != parent:
        os._exit(1)


def _clear(folder: Path, keep: tuple[str, ...]) -> None:
    """Remove what an interrupted run left: it has no row, so nothing of it counts but what it can go on from."""
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink()
