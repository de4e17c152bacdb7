"""A whole data set: many sequences on several workers, resumable, each whole or absent.

A sequence is rendered into a folder of its own, checked there by the public validator, and only
then moved to its place. What is drawn depends on the seed and the sequence's number alone; a
data set ends with the same bytes after any number of crashes and on any number of workers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from cellsynth.errors import (
    BundleError,
    CellsynthError,
    InputError,
    InUseError,
    StorageError,
    TopologyError,
)
from cellsynth.field.model import CellModel
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.formats.ctc import CTCWriter
from cellsynth.formats.ctc_names import sequence_name
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.storage import remove, storing
from cellsynth.geometry import Grid
from cellsynth.presets.bundle import Bundle, read_bundle
from cellsynth.presets.versions import versions
from cellsynth.rendering.sequence import LabelledSequence, draw_cell
from cellsynth.sampling.strategies import Strategy

__all__ = ["Event", "GenerateOptions", "Summary", "generate"]

MANIFEST = "dataset.json"
FORMAT = "cellsynth-dataset"
PART = ".part-"
# Frames that wait to be compressed and written, per worker: bounds memory.
WAITING = 3

Record = dict[str, Any]


@dataclass(frozen=True)
class GenerateOptions:
    """What to generate.

    Attributes:
        grid: Voxels of every frame.
        n_frames: Frames of a sequence; they span the preset's time whatever their number.
        rotation: ``random`` is uniform on SO(3); ``none``; or Euler angles XYZ in radians.
        strategy: Latent sampling instead of the preset's.
        seed: With the sequence's number, decides everything drawn.
        dense: Ask the field at every voxel; the same masks, hundreds of times slower.
    """

    grid: Grid
    n_frames: int
    rotation: Literal["random", "none"] | tuple[float, float, float] = "random"
    strategy: Strategy | None = None
    seed: int = 0
    dense: bool = False

    def frame_interval_s(self, model_frames: int, model_interval_s: float | None) -> float | None:
        """Seconds between frames when ``n_frames`` span the time of the preset's own."""
        if model_interval_s is None or self.n_frames < 2 or model_frames < 2:
            return model_interval_s
        return model_interval_s * (model_frames - 1) / (self.n_frames - 1)


@dataclass(frozen=True)
class Event:
    """Progress: a ``frame`` was rendered, a ``sequence`` is in place, or one is ``redrawn``."""

    kind: Literal["frame", "sequence", "redrawn"]
    sequence: int


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
    workers: int | None = None,
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
        workers: Processes; one per core by default, one on a GPU. Never changes the result.
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
    with _locked(out):
        manifest = _open_manifest(out, bundle, options, resume=resume, overwrite=overwrite)
        _remove_parts(out)
        records: dict[str, Record] = manifest["sequences"]
        done = [n for n in records if (out / f"{n}_GT").is_dir()]
        for name in set(records) - set(done):
            del records[name]
        todo = [i for i in range(count) if sequence_name(i + 1) not in records]
        for i in todo:
            # In place but not in the manifest: killed between the two. It is made again.
            remove(out / f"{sequence_name(i + 1)}_GT")
        try:
            _write_manifest(out, manifest)
            for i, record in _rendered(bundle, out, options, todo, workers, device, on_event):
                records[sequence_name(i + 1)] = record
                _write_manifest(out, manifest)
                if on_event:
                    on_event(Event("sequence", i))
        except BaseException:
            _remove_parts(out)
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
            renderer = _SequenceRenderer(bundle, out, options, device, threads, notify)
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


class _SequenceRenderer:
    """Makes one sequence after another in this process."""

    def __init__(
        self,
        bundle: Bundle,
        out: Path,
        options: GenerateOptions,
        device: str,
        threads: int,
        notify: Callable[[Event], None],
    ) -> None:
        """Take ``threads`` cores: frames share them, PyTorch's own threads would wait for them."""
        self._threads = threads
        self._model = CellModel.from_bundle(bundle, device)
        self._out = out
        self._options = options
        self._notify = notify

    def __call__(self, index: int) -> Record:
        name = sequence_name(index + 1)
        part = self._out / f"{PART}{name}"
        attempt = 0
        while True:
            draw = draw_cell(
                self._model,
                seed=self._options.seed,
                sequence=index,
                strategy=self._options.strategy,
                rotation=_rotation(self._options.rotation),
                attempt=attempt,
                threads=self._threads,
            )
            sequence = LabelledSequence(
                self._model,
                draw,
                self._options.grid,
                self._options.n_frames,
                dense=self._options.dense,
                threads=self._threads,
            )
            try:
                self._write(part, name, index, sequence)
                break
            except TopologyError:
                # Whole on the reference grid, not on this one: as if it had not been drawn.
                remove(part)
                self._notify(Event("redrawn", index))
                attempt = draw.attempt + 1
        faults = validate_ctc(part)
        if faults:
            raise CellsynthError(f"sequence {name} came out invalid, which is a bug: {faults[0]}")
        with storing(self._out / f"{name}_GT"):
            (part / f"{name}_GT").rename(self._out / f"{name}_GT")
        remove(part)
        lineage = sequence.lineage()
        return {
            "status": "complete",
            "refused_draws": draw.attempt,
            "divisions": [
                {"label": mother.label, "frame": mother.end + 1} for mother in lineage.divisions()
            ],
            "rotation": draw.rotation.tolist(),
            "latent": [float(f"{value:.9g}") for value in draw.latent],
        }

    def _write(self, part: Path, name: str, index: int, sequence: LabelledSequence) -> None:
        """Render and write at once: frames are compressed while others are rendered."""
        options, scale = self._options, self._model.preset.scale
        room = threading.Semaphore(WAITING)
        writer = CTCWriter(
            part,
            name,
            n_frames=options.n_frames,
            voxel_size_um=options.grid.voxel_size_um(scale.half_extent_um),
            frame_interval_s=options.frame_interval_s(scale.n_frames, scale.frame_interval_s),
        )

        def write(t: int, labels: Any, offset: Any) -> None:
            try:
                writer.write_frame(t, labels, offset=offset, shape=options.grid.shape)
            finally:
                room.release()

        with writer, ThreadPoolExecutor(self._threads) as pool:
            written = []
            for t, labels, offset in sequence.frames():
                room.acquire()
                written.append(pool.submit(write, t, labels, offset))
                self._notify(Event("frame", index))
            lineage = sequence.lineage()
            for future in written:
                future.result()
            writer.finish(lineage)


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
        _worker = _SequenceRenderer(bundle, out, options, device, threads, events.put)
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


def _rotation(rotation: Literal["random", "none"] | tuple[float, float, float]) -> Any:
    if isinstance(rotation, str):
        return rotation
    from cellsynth.geometry import euler_to_matrix

    return euler_to_matrix(torch.tensor(rotation, dtype=torch.float64)).numpy()


def _open_manifest(
    out: Path, bundle: Bundle, options: GenerateOptions, *, resume: bool, overwrite: bool
) -> dict[str, Any]:
    """The manifest to fill: a new one, or the one there if it is of the same set."""
    scale = bundle.preset.scale
    fresh = {
        "format": FORMAT,
        "version": 1,
        "preset": {"name": bundle.preset.name, "sha256": bundle.sha256},
        "options": {
            "shape": list(options.grid.shape),
            "voxel_size_um": [
                round(s, 9) for s in options.grid.voxel_size_um(scale.half_extent_um)
            ],
            "frames": options.n_frames,
            "frame_interval_s": options.frame_interval_s(scale.n_frames, scale.frame_interval_s),
            "rotation": options.rotation
            if isinstance(options.rotation, str)
            else list(options.rotation),
            "strategy": options.strategy or bundle.preset.sampling.strategy,
            "seed": options.seed,
        },
        "versions": versions(),
        "sequences": {},
    }
    if not any(out.iterdir()):
        return fresh
    found = _read_manifest(out)
    if overwrite:
        # The manifest goes last: as long as anything is there, it says that it is ours.
        for path in sorted(out.iterdir(), key=lambda path: path.name == MANIFEST):
            remove(path)
        return fresh
    if not resume:
        raise InUseError(f"{out} holds a data set already; pass --resume, --overwrite or --out")
    asked = ("version", "preset", "options", "versions")
    differing = [key for key in asked if found.get(key) != fresh[key]]
    if differing:
        key = differing[0]
        raise InputError(
            f"{out} was begun with another {key}: {found.get(key)}, now {fresh[key]}; "
            "give the same again, or another --out"
        )
    return fresh | {"sequences": found["sequences"]}


def _read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of a folder that holds something; other tools have a ``dataset.json`` too."""
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (ValueError, OSError):
        found = None
    ours = isinstance(found, dict) and found.get("format") == FORMAT
    if not (ours and isinstance(found.get("sequences"), dict)):
        raise InUseError(f"{out} is in use and is no data set of ours; give another --out")
    return dict(found)


def _write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    ordered = dict(sorted(manifest["sequences"].items(), key=lambda item: int(item[0])))
    text = json.dumps(manifest | {"sequences": ordered}, indent=1, ensure_ascii=False)
    path = out / MANIFEST
    with storing(path):
        out.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)


def _remove_parts(out: Path) -> None:
    for part in out.glob(f"{PART}*"):
        remove(part)
    remove(out / f"{MANIFEST}.part")


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Nobody else writes into ``out`` meanwhile, where the system has advisory locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(f"{out} is being written by another run; wait for it") from None
        yield
    finally:
        os.close(handle)
