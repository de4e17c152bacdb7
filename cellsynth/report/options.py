"""What a report is asked for, and how much of a set it looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from cellsynth.geometry import Triple
from cellsynth.report.source import Kind, SetSource, ShownSequence

__all__ = ["ReportOptions", "ReportSummary", "frames_at_the_end", "sequences_at_the_end"]

# A report at the end of another command looks at the first sequences that hold this many voxels
# in all their frames, or at a tenth of all, whichever is more: a few seconds of measuring, or a
# twentieth of the time that generating took.
VOXELS_AT_THE_END = 2e8
# A frame counts as so many voxels at least: to open its file takes as long as to measure these.
LEAST_VOXELS = 1_000_000
SHARE_AT_THE_END = 0.1
# Of sequences that hold more than that by themselves, as many frames, and these at least.
FRAMES_AT_THE_END = 10


@dataclass(frozen=True)
class ReportOptions:
    """How to report.

    Attributes:
        voxel_size_um: ``(z, y, x)`` in µm of the set, instead of what its files say.
        against_voxel_size_um: The same of what it is compared with.
        kind: Which masks of a Cell Tracking Challenge folder; None takes the first there is.
        against_kind: The same of what it is compared with.
        brief: Look at the first sequences only, and of large ones at some frames, see
            :func:`sequences_at_the_end` and :func:`frames_at_the_end`.
    """

    voxel_size_um: Triple | None = None
    against_voxel_size_um: Triple | None = None
    kind: Kind | None = None
    against_kind: Kind | None = None
    brief: bool = False


@dataclass(frozen=True)
class ReportSummary:
    """What was written: the file, its size, sequences of the set, and of these measured."""

    out: Path
    n_bytes: int
    sequences: int
    measured: int


def sequences_at_the_end(source: SetSource) -> int:
    """How many sequences a brief report looks at; it depends on the set alone."""
    sizes = (_voxels(sequence) * sequence.n_frames for sequence in source.sequences)
    few = sum(voxels <= VOXELS_AT_THE_END for voxels in accumulate(sizes))
    return max(1, few, math.ceil(SHARE_AT_THE_END * len(source.sequences)))


def frames_at_the_end(source: SetSource) -> int | None:
    """How many frames of a sequence a brief report looks at; None is all."""
    largest = max(map(_voxels, source.sequences))
    most = max(FRAMES_AT_THE_END, int(VOXELS_AT_THE_END // largest))
    return most if most < max(sequence.n_frames for sequence in source.sequences) else None


def _voxels(sequence: ShownSequence) -> int:
    """Of a frame."""
    return max(math.prod(sequence.shape), LEAST_VOXELS)
