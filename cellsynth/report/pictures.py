"""Each sequence read once: its projections for the gallery, its cells in 3D."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import FormatError, ShapeError
from cellsynth.formats.lineage import Lineage
from cellsynth.formats.making import cores
from cellsynth.formats.mesh_files import Mesh
from cellsynth.formats.tiff_reading import read_header, read_labels
from cellsynth.geometry import Index, Triple, as_index, spread_frames
from cellsynth.report.cell_meshes import FACES, FEWEST_FACES, cell_mesh, encode_meshes
from cellsynth.report.colours import COLOURS
from cellsynth.report.source import ShownSequence
from cellsynth.report.tiles import (
    PAD,
    Canvas,
    Part,
    Sheet,
    Window,
    image_sheet,
    mask_sheet,
    project_frame,
    shrink,
)

__all__ = ["MOST_FRAMES", "Pictures", "SequencePictures", "take_pictures"]

MOST_FRAMES = 30  # of a sequence; of longer ones as many, evenly
MOST_TILES = 6  # sequences in the gallery
MOST_MESHED = 3  # sequences in 3D
MOST_CELLS = 12  # families of a sequence in 3D
TILE_PX = 176  # of the longer side of a projection, about …
LARGE_PX = 256  # … and of those of few sequences
LARGEST = 1.3  # times that, where cells wander farther than three frames tell
MOST_BYTES = 9_500_000  # of all projections, as text; none but noise comes near
FEW = 3
SQUARE = 1.25  # sides that differ by less become a square
FINEST = 4  # pixels a voxel at most
MARGIN = 0.04
MOST_LABELS = 65_535 // len(COLOURS) * len(COLOURS)


@dataclass(frozen=True)
class SequencePictures:
    """Pictures of one sequence.

    Attributes:
        name: Of the sequence.
        frames: Numbers of the frames that are shown.
        masks: Projections of the masks.
        images: Projections of the images, where it has them.
        meshes: Cells in 3D, see :func:`~cellsynth.report.cell_meshes.encode_meshes`; None where
            they are not shown.
        n_families: Families in 3D, and families in all.
    """

    name: str
    frames: tuple[int, ...]
    masks: Sheet
    images: Sheet | None
    meshes: dict[str, Any] | None
    n_families: tuple[int, int]

    @property
    def n_bytes(self) -> int:
        """Of its projections, as text."""
        return len(self.masks.uri) + (0 if self.images is None else len(self.images.uri))


@dataclass(frozen=True)
class Pictures:
    """Pictures of a set.

    Attributes:
        sequences: Those that are shown.
        pixel_um: Side of a pixel of the projections; None where nobody tells how large a voxel is.
    """

    sequences: tuple[SequencePictures, ...]
    pixel_um: float | None


def take_pictures(
    sequences: Sequence[ShownSequence],
    on_progress: Callable[[int, int], None] | None = None,
    *,
    frames: int | None = None,
) -> Pictures:
    """Pictures of the first sequences; all projections have one scale.

    Args:
        sequences: What may be shown.
        on_progress: Called with frames read and frames in all.
        frames: How many of a sequence, evenly from the first to the last; 30 at most.
    """
    shown = sequences[:MOST_TILES]
    most = min(MOST_FRAMES, frames or MOST_FRAMES)
    voxels = [sequence.voxel_size_um or (1.0, 1.0, 1.0) for sequence in shown]
    numbers = [spread_frames(sequence.n_frames, most) for sequence in shown]
    imaged = [
        bool(s.images) and s.images.keys() >= set(n) for s, n in zip(shown, numbers, strict=True)
    ]
    total = sum(len(n) * (1 + also) for n, also in zip(numbers, imaged, strict=True))
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(min(done, total), total)

    with ThreadPoolExecutor(cores()) as pool:
        spans = list(pool.map(_span, shown, voxels))
        side = LARGE_PX if len(shown) <= FEW else TILE_PX
        pixel = max(max(spans) / side, min(min(v[1:]) for v in voxels) / FINEST)

        def read(i: int) -> _Frames:
            canvas = Canvas(pixel, voxels[i], shown[i].shape[1:])
            return _read(shown[i], canvas, numbers[i], meshed=i < MOST_MESHED, tick=tick)

        found = list(pool.map(read, range(len(shown))))
        size = _common_size([frames.size() for frames in found])
        coarser = math.ceil(max(size) / (LARGEST * side))

        def draw(i: int) -> _Drawn:
            return found[i].drawn(size, coarser, imaged=imaged[i], tick=tick)

        drawn = list(pool.map(draw, range(len(shown))))
    every = 1
    while True:
        pictures = tuple(one.pictures(every) for one in drawn)
        if sum(one.n_bytes for one in pictures) <= MOST_BYTES:
            break
        every += 1
    known = all(sequence.voxel_size_um for sequence in shown)
    return Pictures(pictures, pixel * coarser * every if known else None)


def _span(sequence: ShownSequence, voxel: tuple[float, float, float]) -> float:
    """The longer side of what its cells take up, as far as three of its frames tell."""
    boxes = [
        (start, np.add(start, cells.shape))
        for t in sorted({0, sequence.n_frames // 2, sequence.n_frames - 1})
        for cells, start in [sequence.cells(t)]
        if cells.size
    ]
    spans = [
        float(max(end[axis] for _, end in boxes) - min(start[axis] for start, _ in boxes))
        * voxel[axis]
        for axis in (1, 2)
        if boxes
    ]
    return max(spans, default=max(sequence.shape[1] * voxel[1], sequence.shape[2] * voxel[2]))


@dataclass(frozen=True)
class _Frames:
    """The masks of a sequence, each drawn as far as it has cells; none is as large as a frame."""

    sequence: ShownSequence
    canvas: Canvas
    frames: tuple[int, ...]
    masks: list[Part]
    meshes: list[list[tuple[int, Mesh]]] | None
    n_families: tuple[int, int]

    def _box(self) -> list[tuple[int, int]]:
        """First and last, exclusive, of the rows and columns that hold all cells."""
        boxes = [box for box in (part.box() for part in self.masks) if box is not None]
        if not boxes:
            return [(0, n) for n in self.canvas.size]
        return [
            (min(a for a, _ in ends), max(b for _, b in ends)) for ends in zip(*boxes, strict=True)
        ]

    def size(self) -> tuple[int, int]:
        """Pixels ``(y, x)`` of what shows all its cells."""
        y, x = (stop - start for start, stop in self._box())
        margin = math.ceil(MARGIN * max(y, x))
        return y + 2 * margin, x + 2 * margin

    def drawn(
        self, size: tuple[int, int], every: int, *, imaged: bool, tick: Callable[[], None]
    ) -> _Drawn:
        """Everything cut to one size around the middle of the cells, every so many pixels."""
        y, x = (
            (start + stop) // 2 - side // 2 + np.arange(0, side, every)
            for (start, stop), side in zip(self._box(), size, strict=True)
        )
        images = []
        for t in self.frames if imaged else ():
            images.append(_image(self.sequence, t, self.canvas, (y, x)))
            tick()
        return _Drawn(self, [part.within((y, x)) for part in self.masks], images)


@dataclass(frozen=True)
class _Drawn:
    """Masks and images of a sequence, all of one size."""

    of: _Frames
    masks: list[NDArray[np.uint8]]
    images: list[NDArray[np.float32]]

    def pictures(self, every: int) -> SequencePictures:
        """Their sheets, with every so many pixels."""
        return SequencePictures(
            self.of.sequence.name,
            self.of.frames,
            mask_sheet([frame[::every, ::every] for frame in self.masks]),
            image_sheet([frame[::every, ::every] for frame in self.images])
            if self.images
            else None,
            None if self.of.meshes is None else encode_meshes(self.of.meshes),
            self.of.n_families,
        )


def _common_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """What holds all of these, square if it nearly is."""
    y, x = max(size[0] for size in sizes), max(size[1] for size in sizes)
    return (max(y, x), max(y, x)) if max(y, x) < SQUARE * min(y, x) else (y, x)


def _read(
    sequence: ShownSequence,
    canvas: Canvas,
    frames: tuple[int, ...],
    *,
    meshed: bool,
    tick: Callable[[], None],
) -> _Frames:
    masks = []
    meshes: list[list[tuple[int, Mesh]]] = []
    wanted, n_families = _cells_in_3d(sequence.lineage)
    for t in frames:
        labels, start = _with_rim(*sequence.cells(t), sequence.shape)
        masks.append(project_frame(labels, canvas, start))
        if meshed and not sequence.flat:
            voxel = sequence.voxel_size_um or (1.0, 1.0, 1.0)
            meshes.append(_meshes(labels, start, voxel, wanted))
        tick()
    return _Frames(sequence, canvas, frames, masks, meshes or None, n_families)


def _with_rim(cells: NDArray[Any], start: Index, shape: Index) -> tuple[NDArray[Any], Index]:
    """Cells with some background around, as far as the frame goes; a corner if there are none."""
    if not cells.size:
        return np.zeros((1, 1, 1), np.uint16), (0, 0, 0)
    if cells.max() > np.iinfo(np.uint16).max:
        # Some formats have such; so they keep their colour, and their background.
        cells = np.where(cells > 0, (cells - 1) % MOST_LABELS + 1, 0)
    rim = [
        (min(PAD, low), min(PAD, n - low - size))
        for low, size, n in zip(start, cells.shape, shape, strict=True)
    ]
    begin = as_index(low - before for low, (before, _) in zip(start, rim, strict=True))
    return np.pad(cells.astype(np.uint16), rim), begin


def _image(sequence: ShownSequence, t: int, canvas: Canvas, window: Window) -> NDArray[np.float32]:
    problem = read_header(sequence.images[t]).image_problem
    if problem:
        raise FormatError(f"{sequence.images[t]} {problem}")
    image = read_labels(sequence.images[t])  # any whole numbers
    if image.shape[-2:] != sequence.shape[1:]:
        raise ShapeError(f"{sequence.images[t]} has shape {image.shape}, its mask {sequence.shape}")
    return shrink(image, canvas, window)


def _cells_in_3d(lineage: Lineage | None) -> tuple[frozenset[int] | None, tuple[int, int]]:
    """Labels of the families that last longest; None, all there are, where nobody tells."""
    if lineage is None:
        return None, (0, 0)
    members: dict[int, list[int]] = {}
    for tracklet in lineage.tracklets:
        founder = next(
            (n for n in lineage.line(tracklet.label) if n in lineage and not lineage[n].parent),
            tracklet.label,
        )
        members.setdefault(founder, []).append(tracklet.label)
    lasting = sorted(
        members,
        key=lambda founder: -sum(lineage[m].end - lineage[m].begin + 1 for m in members[founder]),
    )[:MOST_CELLS]
    chosen = frozenset(label for founder in lasting for label in members[founder])
    return chosen, (len(lasting), len(members))


def _meshes(
    labels: NDArray[Any], start: Index, voxel: Triple, wanted: frozenset[int] | None
) -> list[tuple[int, Mesh]]:
    present = np.flatnonzero(np.bincount(labels.ravel())).tolist()
    cells = [n for n in present if n and (wanted is None or n in wanted)]
    if wanted is None:
        cells = cells[:MOST_CELLS]
    faces = max(FEWEST_FACES, FACES // max(1, len(cells)))
    found = ((label, cell_mesh(labels, label, voxel, faces=faces, start=start)) for label in cells)
    return [(label, mesh) for label, mesh in found if mesh is not None]
