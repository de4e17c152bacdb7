"""Sequences made one by one or by several processes: each whole or absent, whatever happens.

What a sequence is made of is the caller's; here is how a set of them is filled, how it is taken up
again, and how a worker ends. A set ends with the same bytes after any number of crashes and on
any number of workers, if a sequence depends on its number alone.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cellsynth.errors import CellsynthError, StorageError
from cellsynth.formats.manifest import remove_parts, write_manifest
from cellsynth.formats.storage import remove

__all__ = ["Made", "MakeSequence", "MakerFactory", "Record", "at_most", "cores", "fill", "made"]

Record = dict[str, Any]  # what the manifest says of a sequence
MakeSequence = Callable[[int], Record]
Made = Generator[tuple[int, Record], None, None]


# Cores that whoever called left to this process; empty is all there are.
_allowed: list[int] = []


def cores() -> int:
    """Cores that this process may use."""
    there = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        there = len(os.sched_getaffinity(0))
    return min(there, *_allowed) if _allowed else there


@contextmanager
def at_most(n: int) -> Iterator[None]:
    """Let :func:`cores` be ``n`` at most meanwhile."""
    _allowed.append(n)
    try:
        yield
    finally:
        _allowed.remove(n)


class MakerFactory(Protocol):
    """Sets up, in the process that will do the work, what makes sequences; it can be pickled."""

    def __call__(self, notify: Callable[[Any], None]) -> MakeSequence:
        """A function that makes the sequence of a number from 0, and tells ``notify`` of it."""


def fill(
    out: Path,
    manifest: dict[str, Any],
    records: dict[str, Record],
    names: Sequence[str],
    folders: Callable[[str], Sequence[Path]],
    make: Callable[[list[int]], Made],
    *,
    keep: bool,
    on_made: Callable[[int], None] = lambda _: None,
) -> int:
    """Make those sequences of a set that are not whole yet; ``out`` is locked by the caller.

    Args:
        out: Folder of the set.
        manifest: What is written to ``dataset.json`` before the first sequence and after each.
        records: The part of it that lists whole sequences by name; filled here.
        names: Sequences wanted, by number from 0.
        folders: Folders of a sequence that the maker moves into place; they are ours alone.
        make: Makes the sequences of these numbers, see :func:`made`.
        keep: Whether the folder stays if it fails before any sequence is whole.
        on_made: Told the number of each sequence once it is whole and listed.

    Returns:
        How many were made.
    """
    remove_parts(out)
    for name in set(records) - {n for n in records if all(f.exists() for f in folders(n))}:
        del records[name]
    todo = [i for i, name in enumerate(names) if name not in records]
    for i in todo:
        # In place but not in the manifest: killed between the two. It is made again.
        for folder in folders(names[i]):
            remove(folder)
    try:
        write_manifest(out, manifest)
        with closing(make(todo)) as ready:  # workers end before what they left is removed
            for i, record in ready:
                records[names[i]] = record
                write_manifest(out, manifest)
                on_made(i)
    except BaseException:
        remove_parts(out)
        if not keep and not records:
            remove(out)
        raise
    return len(todo)


def made(
    factory: MakerFactory,
    todo: Sequence[int],
    workers: int,
    notify: Callable[[Any], None],
    *,
    advice: str = "use fewer --workers and --resume",
) -> Made:
    """Records of the sequences ``todo``, in the order in which they are ready.

    Args:
        factory: Sets up a maker in each process.
        todo: Numbers of sequences.
        workers: Processes; one is this one.
        notify: Told, here, what the makers tell.
        advice: What to do where memory was too small.

    Raises:
        StorageError: A worker was ended by the system.
    """
    if workers == 1:
        make = factory(notify)
        for i in todo:
            yield i, make(i)
        return
    context = multiprocessing.get_context("spawn")
    events: Any = context.SimpleQueue()
    waiting: dict[Future[Record], int] = {}
    finished: queue.SimpleQueue[Future[Record]] = queue.SimpleQueue()
    pool = ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(factory, events, os.getpid()),
    )
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
            f"a worker was ended by the system, most likely out of memory; {advice}"
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


_worker: MakeSequence | None = None


def _start_worker(factory: MakerFactory, events: Any, parent: int) -> None:
    global _worker  # noqa: PLW0603 - a pool's initializer has no other place to leave its state
    # Ctrl-C reaches the parent, which ends us; if it was killed outright, nobody else would.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        _worker = factory(events.put)
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
