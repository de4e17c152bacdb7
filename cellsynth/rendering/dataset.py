"""A whole data set: many sequences on several workers, resumable, each whole or absent.

A sequence is rendered into a folder of its own, checked there by the public validator, and only
then moved to its place. What is drawn depends on the seed and the sequence's number alone; a
data set ends with the same bytes after any number of crashes and on any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, get_args

import torch

from cellsynth.errors import BundleError, InputError, InUseError
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.formats.ctc_names import sequence_name
from cellsynth.formats.making import Made, MakerFactory, MakeSequence, fill, made
from cellsynth.formats.manifest import locked, open_manifest
from cellsynth.presets.bundle import Bundle, read_bundle
from cellsynth.rendering.manifest import describe
from cellsynth.rendering.options import Event, GenerateOptions
from cellsynth.rendering.sequence_maker import SequenceMaker, sequence_folder
from cellsynth.sampling.strategies import Strategy

__all__ = ["Event", "GenerateOptions", "MakerOfCells", "Summary", "fill_dataset", "generate"]

STRATEGIES = get_args(Strategy)


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
    """Render ``count`` new cells into a data set, a Cell Tracking Challenge one by default.

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
    manifest, n_made = fill_dataset(
        bundle,
        out,
        options,
        describe(bundle, options),
        SequenceMaker,
        count=count,
        workers=workers,
        device=device,
        resume=resume,
        overwrite=overwrite,
        on_event=on_event,
    )
    records = manifest["sequences"]
    refused = sum(record["refused_draws"] for record in records.values())
    return Summary(out, len(records), n_made, refused)


class MakerOfCells(Protocol):
    """What sets up a maker of sequences; it can be pickled."""

    def __call__(
        self,
        bundle: Bundle,
        out: Path,
        options: GenerateOptions,
        device: str,
        threads: int,
        notify: Callable[[Event], None],
    ) -> MakeSequence:
        """As :class:`~cellsynth.rendering.sequence_maker.SequenceMaker`."""


def fill_dataset(
    bundle: Bundle,
    out: Path,
    options: GenerateOptions,
    fresh: dict[str, Any],
    maker: MakerOfCells,
    *,
    count: int,
    workers: int | None,
    device: str,
    resume: bool,
    overwrite: bool,
    on_event: Callable[[Event], None] | None,
) -> tuple[dict[str, Any], int]:
    """Fill a data set with cells of a preset; arguments and errors as of :func:`generate`.

    Args:
        bundle: A verified preset.
        out: Folder of the data set.
        options: How cells are rendered.
        fresh: The manifest of a set of which nothing is made yet.
        maker: Sets up, in the process that will work, what makes a sequence.
        count: Sequences.
        workers: Processes.
        device: Torch device.
        resume: Continue.
        overwrite: Replace.
        on_event: Told of progress.

    Returns:
        The manifest as it lies on disk, and how many sequences were made now.
    """
    if count < 1:
        raise InputError(f"count must be at least 1, got {count}")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    if not 1 <= options.n_frames <= 10_000:
        raise InputError(f"frames must be 1 to 10000, got {options.n_frames}")
    if options.seed < 0:
        raise InputError(f"seed must be at least 0, got {options.seed}")
    if options.strategy not in (None, *STRATEGIES):
        raise InputError(f"strategy must be one of {', '.join(STRATEGIES)}, got {options.strategy}")
    if out.exists() and not out.is_dir():
        raise InUseError(f"{out} is a file; give another --out")
    there = out.exists()
    default = 1 if device != "cpu" else cores()
    notify = on_event or (lambda _: None)

    def make(todo: list[int]) -> Made:
        n = max(1, min(workers or default, len(todo)))
        threads = max(1, cores() // n)
        factory: MakerFactory = _Factory(
            maker, bundle.folder, bundle.sha256, out, options, device, threads
        )
        if n == 1:
            factory = partial(maker, bundle, out, options, device, threads)
        with one_thread_each():
            yield from made(factory, todo, n, notify)

    with locked(out):
        manifest = open_manifest(out, fresh, resume=resume, overwrite=overwrite)
        n_made = fill(
            out,
            manifest,
            manifest["sequences"],
            [sequence_name(i + 1) for i in range(count)],
            lambda name: [out / sequence_folder(name, options.format)],
            make,
            keep=there,
            on_made=lambda i: notify(Event("sequence", i)),
        )
    return manifest, n_made


@dataclass(frozen=True)
class _Factory:
    """Sets up a maker in another process, which reads the preset itself."""

    maker: MakerOfCells
    folder: Path
    sha256: str
    out: Path
    options: GenerateOptions
    device: str
    threads: int

    def __call__(self, notify: Callable[[Event], None]) -> MakeSequence:
        torch.set_num_threads(1)
        bundle = read_bundle(self.folder)
        if bundle.sha256 != self.sha256:
            raise BundleError(f"{self.folder}: the preset was changed while it was in use")
        return self.maker(bundle, self.out, self.options, self.device, self.threads, notify)
