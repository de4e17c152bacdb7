"""A whole data set: many sequences on several workers, resumable, each whole or absent.

A sequence is rendered into a folder of its own, checked there by the public validator, and only
then moved to its place. What is drawn depends on the seed and the sequence's number alone; a
data set ends with the same bytes after any number of crashes and on any number of workers.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cellsynth.errors import BundleError, CellsynthError, InputError, InUseError, StorageError
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.formats.ctc_names import sequence_name
from cellsynth.formats.storage import remove
from cellsynth.presets.bundle import Bundle, read_bundle
from cellsynth.rendering.manifest import locked, open_manifest, remove_parts, write_manifest
from cellsynth.rendering.options import Event, GenerateOptions
from cellsynth.rendering.sequence_maker import Record, SequenceMaker

__all__ = ["Event", "GenerateOptions", "Summary", "generate"]


@dataclass(frozen=True)
class Summary:
    """What was made: the folder, sequences in all, of these made now, draws that were refused."""

    out: Path
    sequences: int
    made: int
    refused: int


def generate(
    bundle: Bundle,
    out: Path,
    options: GenerateOptions,
    *,
    count: int = 1,
    workers: int | None = 1,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Summary:
    """Render ``count`` new cells into a Cell Tracking Challenge data set.

    Args:
        bundle: A verified preset.
        out: Folder of the data set.
        options: What to generate.
        count: Sequences, numbered from 01.
        workers: Processes; None is one per core, or one on a GPU. Never changes the result. One
            shares its frames among the cores; more need a script that may be imported
            (``if __name__ == "__main__"``), as all of Python's processes do.
        device: Torch device of the field.
        resume: Continue a set that was begun with the same options; ``count`` may grow.
        overwrite: Replace a data set of ours.
        on_event: Told of progress.

    Raises:
        InputError: An option that cannot be used.
        InUseError: ``out`` holds something already.
        StorageError: The disk refused; whole sequences stay, and the set can be resumed.
        TopologyError: Draws keep breaking the preset's topology.
    """
    if count < 1:
        raise InputError(f"count must be at least 1, got {count}")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    if not 1 <= options.n_frames <= 10_000:
        raise InputError(f"frames must be 1 to 10000, got {options.n_frames}")
    if out.exists() and not out.is_dir():
        raise InUseError(f"{out} is a file; give another --out")
    made_folder = not out.exists()
    with locked(out):
        manifest = open_manifest(out, bundle, options, resume=resume, overwrite=overwrite)
        remove_parts(out)
        records: dict[str, Record] = manifest["sequences"]
        done = [n for n in records if (out / f"{n}_GT").is_dir()]
        for name in set(records) - set(done):
            del records[name]
        todo = [i for i in range(count) if sequence_name(i + 1) not in records]
        for i in todo:
            # In place but not in the manifest: killed between the two. It is made again.
            remove(out / f"{sequence_name(i + 1)}_GT")
        try:
            write_manifest(out, manifest)
            for i, record in _rendered(bundle, out, options, todo, workers, device, on_event):
                records[sequence_name(i + 1)] = record
                write_manifest(out, manifest)
                if on_event:
                    on_event(Event("sequence", i))
        except BaseException:
            remove_parts(out)
            if made_folder and not records:
                remove(out)
            raise
    refused = sum(record["refused_draws"] for record in records.values())
    return Summary(out, len(records), len(todo), refused)


def _rendered(
    bundle: Bundle,
    out: Path,
    options: GenerateOptions,
    todo: list[int],
    workers: int | None,
    device: str,
    on_event: Callable[[Event], None] | None,
) -> Iterator[tuple[int, Record]]:
    """Records of the sequences ``todo``, in the order in which they are ready."""
    default = 1 if device != "cpu" else cores()
    n = max(1, min(workers or default, len(todo)))
    threads = max(1, cores() // n)
    notify = on_event or (lambda _: None)
    if n == 1:
        with one_thread_each():
            renderer = SequenceMaker(bundle, out, options, device, threads, notify)
            for i in todo:
                yield i, renderer(i)
        return
    context = multiprocessing.get_context("spawn")
    events: Any = context.SimpleQueue()
    arguments = (bundle.folder, bundle.sha256, out, options, device, threads, events, os.getpid())
    waiting: dict[Future[Record], int] = {}
    finished: queue.SimpleQueue[Future[Record]] = queue.SimpleQueue()
    pool = ProcessPoolExecutor(n, mp_context=context, initializer=_start_worker, initargs=arguments)
    try:
        with _interrupts_later():
            for i in todo:
                future = pool.submit(_work, i)
                waiting[future] = i
                future.add_done_callback(finished.put)
        while waiting:
            # Not `concurrent.futures.wait`: Ctrl-C within it leaves the futures locked for good.
            ready = None
            with suppress(queue.Empty):
                ready = finished.get(timeout=0.2)
            while not events.empty():
                notify(events.get())
            if ready is not None:
                yield waiting.pop(ready), ready.result()
    except BrokenProcessPool as error:
        raise StorageError(
            "a worker was ended by the system, most likely out of memory; "
            "use fewer --workers and --resume"
        ) from error
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        if waiting:
            for process in processes:
                process.terminate()
        for process in processes:
            process.join()


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Hold Ctrl-C back; processes started meanwhile never see it, however young they are."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker: Callable[[int], Record] | None = None


def _start_worker(
    folder: Path,
    sha256: str,
    out: Path,
    options: GenerateOptions,
    device: str,
    threads: int,
    events: Any,
    parent: int,
) -> None:
    global _worker  # noqa: PLW0603 - a pool's initializer has no other place to leave its state
    # Ctrl-C reaches the parent, which ends us; if it was killed outright, nobody else would.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    try:
        bundle = read_bundle(folder)
        if bundle.sha256 != sha256:
            raise BundleError(f"{folder}: the preset was changed while it was in use")
        _worker = SequenceMaker(bundle, out, options, device, threads, events.put)
    except CellsynthError as error:
        # Raised here it would look like a worker that died: it is told with the first sequence.
        _worker = partial(_fail, error)


def _fail(error: CellsynthError, _: int) -> Record:
    raise error


def _work(index: int) -> Record:
    assert _worker is not None
    return _worker(index)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)
