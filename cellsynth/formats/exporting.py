"""A Cell Tracking Challenge set in another format, sequence by sequence, each whole or absent.

What is written of a sequence is made in a folder of its own and then moved to its place, as when
sets are generated (:mod:`cellsynth.formats.making`): an export is taken up again after a crash,
and says in ``dataset.json`` what it is of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cellsynth.errors import InputError, InUseError
from cellsynth.formats.export_source import Source
from cellsynth.formats.making import Made, MakerFactory, MakeSequence, Record, cores, fill, made
from cellsynth.formats.manifest import FORMAT, PART, find_manifest, locked, open_manifest, origin_of
from cellsynth.formats.storage import remove, storing

__all__ = [
    "ExportEvent",
    "ExportSummary",
    "Writer",
    "export_sources",
]

Notify = Callable[["ExportEvent"], None]


@dataclass(frozen=True)
class ExportEvent:
    """Progress: a ``frame`` was exported, or a ``sequence`` is in place."""

    kind: Literal["frame", "sequence"]
    sequence: int


@dataclass(frozen=True)
class ExportSummary:
    """What was made: the folder, sequences and frames in all, sequences made now."""

    out: Path
    sequences: int
    frames: int
    made: int


# Writes a sequence's files into a folder, and returns what is to be moved from there: paths
# relative to it, at which they also lie in the export.
Writer = Callable[[Source, Path, Callable[[], None]], Sequence[str]]


def export_sources(
    root: Path,
    out: Path,
    sources: Sequence[Source],
    said: dict[str, Any],
    files: Callable[[Source], Sequence[str]],
    make_writer: Callable[[], Writer],
    *,
    workers: int | None,
    resume: bool,
    overwrite: bool,
    on_event: Notify | None,
) -> ExportSummary:
    """Fill an export with sequences; arguments and errors as of
    :func:`cellsynth.formats.exports.export_dataset`.

    Args:
        root: The set they are of.
        out: Folder to write to.
        sources: What to export.
        said: What the manifest says of the format.
        files: What there will be of a sequence, paths relative to ``out``.
        make_writer: Sets up, in the process that will work, what writes a sequence's files.
        workers: Processes; None is one per core.
        resume: Continue.
        overwrite: Replace.
        on_event: Told of progress.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    where, of = out.resolve(), root.resolve()
    if where == of or where in of.parents or of in where.parents:
        raise InputError(f"--out {out} is not apart from the set {root}; give another folder")
    if out.exists() and not out.is_dir():
        raise InUseError(f"{out} is a file; give another --out")
    notify = on_event or (lambda _: None)
    manifest = find_manifest(root) or {}
    fresh: dict[str, Any] = {
        "format": FORMAT,
        "version": 1,
        "source": {"name": of.name, **origin_of(manifest)},
        "export": said
        | {
            "shape": [[source.n_frames, *source.shape] for source in sources],
            "images": [source.image_dtype and source.image_dtype.name for source in sources],
            "voxel_size_um": [list(source.voxel_size_um) for source in sources],
            "frame_interval_s": [source.frame_interval_s for source in sources],
        },
        "sequences": {},
    }
    by_name = {source.name: source for source in sources}

    def make(todo: list[int]) -> Made:
        factory: MakerFactory = partial(_maker, list(sources), out, make_writer)
        n = max(1, min(workers or cores(), len(todo)))
        yield from made(factory, todo, n, notify)

    there = out.exists()
    with locked(out):
        filled = open_manifest(out, fresh, resume=resume, overwrite=overwrite)
        records: dict[str, Record] = filled["sequences"]
        n_made = fill(
            out,
            filled,
            records,
            list(by_name),
            lambda name: [out / file for file in files(by_name[name])],
            make,
            keep=there,
            on_made=lambda i: notify(ExportEvent("sequence", i)),
        )
    frames = sum(record["frames"] for record in records.values())
    return ExportSummary(out, len(records), frames, n_made)


def _maker(
    sources: Sequence[Source], out: Path, make_writer: Callable[[], Writer], notify: Notify
) -> MakeSequence:
    write = make_writer()

    def make(index: int) -> Record:
        source = sources[index]
        part = out / f"{PART}{source.name}"
        with storing(part):
            part.mkdir(parents=True)
        try:
            written = write(source, part, lambda: notify(ExportEvent("frame", index)))
            for file in written:
                with storing(out / file):
                    (out / file).parent.mkdir(parents=True, exist_ok=True)
                    (part / file).rename(out / file)
        finally:
            remove(part)
        return {"status": "complete", "frames": source.n_frames}

    return make
