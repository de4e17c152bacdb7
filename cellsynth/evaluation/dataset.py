"""A whole data set measured, and compared with another: frames spread over processes.

A frame is read, measured cell by cell in each cell's own box, and forgotten, so memory is that of a
frame or two a process. The result does not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from cellsynth.errors import InputError
from cellsynth.evaluation.families import MeasuredSequence, families_of
from cellsynth.evaluation.measures import Agreement, FrameMeasures, FrameMeter, FrameTask
from cellsynth.evaluation.models import Evaluation
from cellsynth.evaluation.told import MeasuredSet, Pairs, tell
from cellsynth.formats.making import cores, made
from cellsynth.formats.manifest import find_manifest
from cellsynth.formats.storage import as_text
from cellsynth.geometry import Triple, spread_frames
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.masks import open_masks

__all__ = ["EvaluateOptions", "evaluate_dataset"]

Kind = Literal["TRA", "SEG", "ST"]


@dataclass(frozen=True)
class EvaluateOptions:
    """How to evaluate.

    Attributes:
        voxel_size_um: ``(z, y, x)`` in µm of the set, instead of what its files say.
        against_voxel_size_um: The same of what it is compared with.
        kind: Which masks of a Cell Tracking Challenge folder; None takes the first there is.
        against_kind: The same of what it is compared with.
        overlap: Whether cells of the same sequence, frame and label are compared one by one,
            where both sets lie on the same grid.
        exchanges: Times that families are dealt out anew to test whether distributions differ.
        seed: Of that.
        sequences: How many sequences of the set to measure, the first ones; None is all.
        frames: How many frames of a sequence to measure, evenly from the first to the last; None
            is all. In the others nothing is measured, as if they showed no cell.
    """

    voxel_size_um: Triple | None = None
    against_voxel_size_um: Triple | None = None
    kind: Kind | None = None
    against_kind: Kind | None = None
    overlap: bool = True
    exchanges: int = 999
    seed: int = 0
    sequences: int | None = None
    frames: int | None = None


def evaluate_dataset(
    folder: Path,
    options: EvaluateOptions | None = None,
    *,
    against: Path | None = None,
    opened: Sequence[MaskSequence] | None = None,
    workers: int | None = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure every cell of a data set in every frame, and compare it with another set.

    Args:
        folder: A Cell Tracking Challenge data set, or any masks that
            :func:`~cellsynth.shapes.masks.open_masks` reads.
        options: How to evaluate.
        against: What to compare it with, such as the masks that a preset was trained on.
        opened: What ``open_masks`` made of the folder, so that it need not be opened once more.
        workers: Processes; None is one per core. Never changes the result.
        on_progress: Called with frames measured and frames in all, of both sets.

    Raises:
        MissingError: Nothing there, or no masks.
        FormatError: Masks that cannot be read, or that are not 3D.
        InputError: A voxel size that nobody tells, no cell at all, or an option out of range.
        StorageError: A worker was ended by the system.
    """
    options = options or EvaluateOptions()
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    if options.exchanges < 1:
        raise InputError(f"exchanges must be at least 1, got {options.exchanges}")
    if options.sequences is not None and options.sequences < 1:
        raise InputError(f"sequences must be at least 1, got {options.sequences}")
    if options.frames is not None and options.frames < 1:
        raise InputError(f"frames must be at least 1, got {options.frames}")
    mine = (
        opened
        if opened is not None
        else open_masks(folder, voxel_size_um=options.voxel_size_um, kind=options.kind)
    )
    _check_voxel_sizes(mine, "--voxel-size")
    mine = mine[: options.sequences]
    other: list[MaskSequence] = []
    if against is not None:
        size, kind = options.against_voxel_size_um, options.against_kind
        other = open_masks(against, voxel_size_um=size, kind=kind)
        _check_voxel_sizes(other, "--against-voxel-size")
    tasks = _tasks(mine, other, overlap=options.overlap, most=options.frames)
    families = [families_of(s) for s in mine], [families_of(s) for s in other]
    factory = partial(FrameMeter, (mine, other), families, tasks)
    frames: tuple[list[list[FrameMeasures]], list[list[FrameMeasures]]] = (
        [[FrameMeasures({}, {})] * s.n_frames for s in mine],
        [[FrameMeasures({}, {})] * s.n_frames for s in other],
    )
    pairs: dict[tuple[int, int], dict[int, Agreement]] = {}
    total = sum(i is not None for task in tasks for i in task.sequences)
    done = 0
    n = max(1, min(workers or cores(), len(tasks)))
    with closing(
        made(factory, range(len(tasks)), n, lambda _: None, advice="use fewer --workers")
    ) as ready:
        for index, record in ready:
            task = tasks[index]
            for which, i in enumerate(task.sequences):
                if i is not None:
                    frames[which][i][task.frame] = record["frames"][which]
                    done += 1
            if task.sequences[0] is not None:
                pairs[task.sequences[0], task.frame] = record["pairs"]
            if on_progress is not None:
                on_progress(done, total)
    sets = [_measured(folder, mine, frames[0])]
    if against is not None:
        sets.append(_measured(against, other, frames[1]))
    partners = {i: j for i, j in (t.sequences for t in tasks) if i is not None and j is not None}
    return tell(sets, Pairs(partners, pairs), exchanges=options.exchanges, seed=options.seed)


def _check_voxel_sizes(sources: Sequence[MaskSequence], flag: str) -> None:
    for source in sources:
        if "voxel size" in source.assumed:
            raise InputError(f"{source.name} does not say how large a voxel is; pass {flag}")


def _tasks(
    mine: Sequence[MaskSequence], other: Sequence[MaskSequence], *, overlap: bool, most: int | None
) -> list[FrameTask]:
    """Frames of both sets once, at most so many of a sequence of ``mine``; frames to be compared
    cell by cell are one task."""
    named = {source.short_name: i for i, source in enumerate(other)}
    tasks = []
    paired = set()
    for i, source in enumerate(mine):
        partner = named.get(source.short_name) if overlap else None
        if partner is not None and not _same_grid(source, other[partner]):
            partner = None
        for t in spread_frames(source.n_frames, most):
            both = partner is not None and t < other[partner].n_frames
            tasks.append(FrameTask(t, (i, partner if both else None)))
            if both:
                paired.add((partner, t))
    tasks += [
        FrameTask(t, (None, i))
        for i, source in enumerate(other)
        for t in range(source.n_frames)
        if (i, t) not in paired
    ]
    return tasks


def _same_grid(a: MaskSequence, b: MaskSequence) -> bool:
    return a.shape == b.shape and np.allclose(a.voxel_size_um, b.voxel_size_um, rtol=1e-3)


def _measured(
    path: Path, sources: Sequence[MaskSequence], frames: Sequence[Sequence[FrameMeasures]]
) -> MeasuredSet:
    if not any(frame.cells for of_sequence in frames for frame in of_sequence):
        raise InputError(
            f"{path}: all {sum(map(len, frames))} frames are background (0), expected labelled "
            "cells"
        )
    sequences = [MeasuredSequence(s, f) for s, f in zip(sources, frames, strict=True)]
    return MeasuredSet(as_text(path.resolve().name), sequences, find_manifest(path) or {})
