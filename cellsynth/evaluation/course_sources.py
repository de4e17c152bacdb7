"""Where courses come from: masks, training data, sequences about to be rendered, new cells.

Surfaces here are those of Crofton's formula (:mod:`cellsynth.evaluation.descriptors`): quick enough
to calibrate a preset by, and without bias over cells that lie anyhow. What is compared should have
one voxel size, since coarse voxels change surfaces. Masks are coarsened by taking every n-th voxel:
the mask of the same body on a coarser grid, which is what rendering on a coarser grid gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, TopologyError
from cellsynth.evaluation.courses import Courses, cell_courses
from cellsynth.evaluation.descriptors import Descriptors, frame_descriptors
from cellsynth.field.model import CellModel
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.geometry import Grid, Triple, as_index
from cellsynth.presets.models import Topology
from cellsynth.rendering.occupancy import Occupancy
from cellsynth.rendering.sequence import Draw, LabelledSequence, draw_onto
from cellsynth.rendering.tracking import Tracker
from cellsynth.sampling.strategies import Strategy
from cellsynth.shapes.cell_mask import bounding_box
from cellsynth.shapes.cells import CellSequence, LeftOut
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.store import ShapeStore

__all__ = [
    "DrawnCourses",
    "draw_courses",
    "mask_courses",
    "rendered_courses",
    "rendered_frames",
    "store_courses",
]

Describe = Callable[[NDArray[np.uint16], Triple], Mapping[int, Descriptors]]


def rendered_courses(sequence: LabelledSequence, voxel_size_um: Triple) -> NDArray[np.float64]:
    """The courses ``(courses, frames, 3)`` of a sequence that is about to be rendered.

    Raises:
        TopologyError: The cells do not do what the preset's topology says.
    """
    return cell_courses(rendered_frames(sequence, voxel_size_um), sequence.lineage())


def rendered_frames(
    sequence: LabelledSequence, voxel_size_um: Triple, describe: Describe = frame_descriptors
) -> list[Mapping[int, Descriptors]]:
    """Descriptors by label of the frames, first to last, of a sequence about to be rendered.

    Args:
        sequence: It is rendered here; its lineage is known after that.
        voxel_size_um: ``(z, y, x)`` in µm.
        describe: How a frame is described.

    Raises:
        TopologyError: The cells do not do what the preset's topology says.
    """
    return [describe(labels, voxel_size_um) for _, labels, _ in sequence.frames()][::-1]


def mask_courses(
    cells: Sequence[CellSequence],
    *,
    coarsen: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Courses:
    """Courses of the cells cut from a data set of masks.

    Where the masks have a lineage, daughters are told apart by their labels, whether they touch
    or not; where they have none, a label is one cell throughout.

    Args:
        cells: From :func:`~cellsynth.shapes.cells.cut_cells`. Their frames are read once more.
        coarsen: Take every so many voxels along each axis.
        on_progress: Called with frames read and frames in all.

    Raises:
        InputError: No cells, numbers of frames that differ, or a cell that coarse voxels lose.
        FormatError: A frame that cannot be read.
    """
    frames: list[list[Mapping[int, Descriptors]]] = [[{}] * cell.n_frames for cell in cells]
    wanted = _frames_by_source(cells)
    for done, (source, t, places) in enumerate(wanted, 1):
        voxel = _coarser(source.voxel_size_um, coarsen)
        found = frame_descriptors(source.frame(t)[(slice(None, None, coarsen),) * 3], voxel)
        for i, k in places:
            frames[i][k] = {x: found[x] for x in cells[i].labels[k] if x in found}
        if on_progress is not None:
            on_progress(done, len(wanted))
    parts = []
    for cell, of_cell in zip(cells, frames, strict=True):
        try:
            parts.append(cell_courses(of_cell, cell.source.lineage))
        except InputError as error:
            raise InputError(f"{cell.name}: {error}") from None
    return Courses.join(parts)


def store_courses(
    store: ShapeStore, topology: Topology, *, coarsen: int = 1
) -> tuple[Courses, tuple[LeftOut, ...]]:
    """Courses of training data, whose masks hold both daughters as one.

    Cells are told apart as those of new sequences are, by their connected pieces, so a division
    begins where the daughters come apart.

    Args:
        store: The training data.
        topology: What a sequence looks like.
        coarsen: Take every so many voxels along each axis.

    Returns:
        The courses, and the sequences left out because their pieces break the topology.

    Raises:
        TopologyError: All of them do.
    """

    def one(i: int) -> NDArray[np.float64] | LeftOut:
        try:
            return _store_sequence(store, i, topology, coarsen)
        except TopologyError as error:
            return LeftOut(store.name(i), str(error))

    with ThreadPoolExecutor(cores()) as pool:
        found = list(pool.map(one, range(store.n_sequences)))
    left_out = tuple(entry for entry in found if isinstance(entry, LeftOut))
    parts = [entry for entry in found if not isinstance(entry, LeftOut)]
    if not parts:
        raise TopologyError(f"{store.path}: no sequence keeps the topology; {left_out[0]}")
    return Courses.join(parts), left_out


def _store_sequence(
    store: ShapeStore, i: int, topology: Topology, coarsen: int
) -> NDArray[np.float64]:
    """The courses of sequence ``i``; raises a TopologyError where its pieces are not cells."""
    voxel = _coarser(store.voxel_size_um(i), coarsen)
    tracker = Tracker(topology, store.n_frames)
    frames: list[Mapping[int, Descriptors]] = []
    for t in reversed(range(store.n_frames)):
        mask = store.mask(i, t)[(slice(None, None, coarsen),) * 3]
        box = bounding_box(mask) or (slice(0, 1),) * 3
        grid, _ = store.grid(i, t)
        # The crop follows the cell; pieces are linked where they lie around its centre.
        first = np.rint(np.array(grid.origin) / grid.spacing / coarsen)
        offset = as_index([f + s.start for f, s in zip(first, box, strict=True)])
        inside = np.ascontiguousarray(mask[box])
        labels = tracker.add(Occupancy(inside, offset, as_index(mask.shape), 0))
        frames.append(frame_descriptors(labels, voxel))
    return cell_courses(frames[::-1], tracker.lineage())


@dataclass(frozen=True)
class DrawnCourses:
    """Courses of new cells.

    Attributes:
        courses: What they look like.
        refused: Per sequence, how many draws broke the topology before one kept it.
    """

    courses: Courses
    refused: tuple[int, ...]

    @property
    def share_valid(self) -> float:
        """Share of all draws that kept the topology, on the reference grid and on this one."""
        return len(self.refused) / (len(self.refused) + sum(self.refused))


def draw_courses(
    model: CellModel,
    count: int,
    grid: Grid,
    *,
    seed: int,
    strategy: Strategy | None = None,
    threads: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> DrawnCourses:
    """Draw and render new cells, as ``cellsynth generate`` would, and describe them.

    Nothing is written. Each cell is turned at random and has the preset's own number of frames.

    Args:
        model: The preset.
        count: Number of sequences.
        grid: Where they are rendered; for a comparison, ``Grid.from_voxel_size`` with the voxel
            size of what they are compared with.
        seed: Of the draws.
        strategy: How codes are drawn; ``None`` is the preset's.
        threads: Frames rendered at once; ``None`` is all cores.
        on_progress: Called with sequences done and their number.

    Raises:
        InputError: ``count`` below 1.
        TopologyError: A sequence broke the topology in 50 draws.
    """
    if count < 1:
        raise InputError(f"number of sequences must be at least 1, got {count}")
    voxel = grid.voxel_size_um(model.preset.scale.half_extent_um)
    n_frames, threads = model.preset.scale.n_frames, threads or cores()

    def render(draw: Draw) -> NDArray[np.float64]:
        sequence = LabelledSequence(model, draw, grid, n_frames, threads=threads)
        return rendered_courses(sequence, voxel)

    parts, refused = [], []
    with one_thread_each():
        for i in range(count):
            draw, courses = draw_onto(
                grid, render, model, seed=seed, sequence=i, strategy=strategy, threads=threads
            )
            parts.append(courses)
            refused.append(draw.attempt)
            if on_progress is not None:
                on_progress(i + 1, count)
    return DrawnCourses(Courses.join(parts), tuple(refused))


def _frames_by_source(
    cells: Sequence[CellSequence],
) -> list[tuple[MaskSequence, int, list[tuple[int, int]]]]:
    """Each frame of each source once, and which cells need it as which of their frames."""
    found: dict[tuple[int, int], tuple[MaskSequence, int, list[tuple[int, int]]]] = {}
    for i, cell in enumerate(cells):
        for k, t in enumerate(cell.frames):
            found.setdefault((id(cell.source), t), (cell.source, t, []))[2].append((i, k))
    return list(found.values())


def _coarser(voxel_size_um: Triple, coarsen: int) -> Triple:
    if coarsen < 1:
        raise InputError(f"coarsen must be at least 1, got {coarsen}")
    z, y, x = voxel_size_um
    return z * coarsen, y * coarsen, x * coarsen
