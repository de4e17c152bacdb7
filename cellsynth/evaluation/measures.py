"""What is measured of each cell in each frame of a data set, one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.evaluation.agreement import SurfaceDistance, dice, surface_distance
from cellsynth.evaluation.betti import Betti, betti_numbers
from cellsynth.evaluation.descriptors import paper_sphericity, wadell_sphericity
from cellsynth.evaluation.mask_surface import Surface, mask_surface
from cellsynth.formats.making import Record
from cellsynth.geometry import Index, Triple
from cellsynth.shapes.cell_mask import labelled_masks, mean_position
from cellsynth.shapes.mask_sequence import MaskSequence

__all__ = ["Agreement", "FrameMeasures", "FrameMeter", "FrameTask", "Measures", "measure_frame"]

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Measures:
    """One cell, or a family's cells as one body, in one frame.

    Attributes:
        volume_um3: Voxels times the volume of one, in µm³.
        surface_um2: In µm², see :mod:`cellsynth.evaluation.mask_surface`.
        betti: Components, handles and voids.
        centroid_um: Mean position ``(z, y, x)`` in µm from the centre of voxel ``[0, 0, 0]``.
        at_border: Whether it touches the border of the image, which may cut it.
    """

    volume_um3: float
    surface_um2: float
    betti: Betti
    centroid_um: Triple
    at_border: bool

    @property
    def sphericity_wadell(self) -> float:
        """π^⅓ (6V)^⅔ / S."""
        return wadell_sphericity(self.volume_um3, self.surface_um2)

    @property
    def sphericity_paper(self) -> float:
        """36πV²/S³."""
        return paper_sphericity(self.volume_um3, self.surface_um2)


@dataclass(frozen=True)
class FrameMeasures:
    """A frame.

    Attributes:
        cells: By label.
        families: By family, those of several cells in this frame, all of them as one body.
    """

    cells: dict[int, Measures]
    families: dict[int, Measures]


@dataclass(frozen=True)
class Agreement:
    """One cell in two sets: Dice coefficient, and distance of the surfaces."""

    dsc: float
    distance: SurfaceDistance


@dataclass(frozen=True)
class FrameTask:
    """A frame to be measured, of either set or of both.

    Attributes:
        frame: Its number.
        sequences: Number of the sequence in the set and in the other one; None: not in that.
    """

    frame: int
    sequences: tuple[int | None, int | None]


def measure_frame(
    labels: NDArray[Any], voxel_size_um: Triple, families: Mapping[int, int] | None = None
) -> FrameMeasures:
    """Measures of every cell of a frame ``(z, y, x)``.

    Args:
        labels: Whole numbers, 0 is background.
        voxel_size_um: ``(z, y, x)`` in µm.
        families: Which family each label is of; ``None``: each is one of its own.
    """
    return _measure(labels, voxel_size_um, families or {}).measures


@dataclass(frozen=True)
class _Part:
    """Where in a frame some labels lie.

    Attributes:
        start: Their first voxel ``(z, y, x)``.
        shape: Of the frame.
    """

    start: Index
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Measured:
    """A frame with what its cells are compared by: label by label, their boxes and surfaces."""

    labels: NDArray[Any]
    measures: FrameMeasures
    boxes: dict[int, Box]
    surfaces: dict[int, Surface]


def _measure(
    labels: NDArray[Any],
    voxel_size_um: Triple,
    families: Mapping[int, int],
    part: _Part | None = None,
) -> _Measured:
    part = part or _Part((0, 0, 0), labels.shape)
    found = _Measured(labels, FrameMeasures({}, {}), {}, {})
    members: dict[int, list[int]] = {}
    for label, mask, box in labelled_masks(labels):
        measures, surface = _measure_body(mask, box, part, voxel_size_um)
        found.measures.cells[label] = measures
        found.boxes[label] = box
        found.surfaces[label] = surface
        members.setdefault(families.get(label, label), []).append(label)
    for family, of_family in members.items():
        if len(of_family) > 1:
            box = _around([found.boxes[label] for label in of_family])
            mask = np.isin(labels[box], of_family)
            body, _ = _measure_body(mask, box, part, voxel_size_um)
            found.measures.families[family] = body
    return found


def _measure_body(
    mask: NDArray[np.bool_], box: Box, part: _Part, voxel_size_um: Triple
) -> tuple[Measures, Surface]:
    lows = [axis.start + low for axis, low in zip(box, part.start, strict=True)]
    highs = [axis.stop + low for axis, low in zip(box, part.start, strict=True)]
    z, y, x = (low * size for low, size in zip(lows, voxel_size_um, strict=True))
    surface = mask_surface(mask, voxel_size_um).moved((z, y, x))
    mean = (at * size for at, size in zip(mean_position(mask), voxel_size_um, strict=True))
    measures = Measures(
        volume_um3=int(np.count_nonzero(mask)) * float(np.prod(voxel_size_um)),
        surface_um2=surface.area_um2,
        betti=betti_numbers(mask),
        centroid_um=(z + next(mean), y + next(mean), x + next(mean)),
        at_border=0 in lows or any(n == at for n, at in zip(part.shape, highs, strict=True)),
    )
    return measures, surface


def _around(boxes: Sequence[Box]) -> Box:
    """The box around these."""
    z, y, x = (
        slice(min(part.start for part in axis), max(part.stop for part in axis))
        for axis in zip(*boxes, strict=True)
    )
    return z, y, x


class FrameMeter:
    """Measures the frames of some tasks, in this process or in another."""

    def __init__(
        self,
        sources: tuple[Sequence[MaskSequence], Sequence[MaskSequence]],
        families: tuple[Sequence[Mapping[int, int]], Sequence[Mapping[int, int]]],
        tasks: Sequence[FrameTask],
        notify: Callable[[Any], None],
    ) -> None:
        """Take the sequences of both sets, and for each of them which label is of which family."""
        self._sources = sources
        self._families = families
        self._tasks = tasks

    def __call__(self, index: int) -> Record:
        """``frames``, the measures in either set; ``pairs``, cells in both by label."""
        task = self._tasks[index]
        # To be compared, both lie whole in one frame of reference.
        whole = None not in task.sequences
        frames = [
            self._frame(which, i, task.frame, whole=whole) for which, i in enumerate(task.sequences)
        ]
        mine, other = frames
        pairs = {} if mine is None or other is None else _pairs(mine, other)
        return {"frames": [f and f.measures for f in frames], "pairs": pairs}

    def _frame(self, which: int, i: int | None, t: int, *, whole: bool) -> _Measured | None:
        if i is None:
            return None
        source = self._sources[which][i]
        families = self._families[which][i]
        if whole:
            return _measure(source.frame(t), source.voxel_size_um, families)
        labels, start = source.cropped(t)
        part = _Part(start, source.shape)
        return _measure(labels, source.voxel_size_um, families, part)


def _pairs(mine: _Measured, other: _Measured) -> dict[int, Agreement]:
    """How far the cells that two frames share agree, by label."""
    found = {}
    for label in sorted(mine.boxes.keys() & other.boxes.keys()):
        box = _around([mine.boxes[label], other.boxes[label]])
        found[label] = Agreement(
            dice(mine.labels[box] == label, other.labels[box] == label),
            surface_distance(mine.surfaces[label], other.surfaces[label]),
        )
    return found
