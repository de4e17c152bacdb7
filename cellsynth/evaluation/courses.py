"""Surface, volume and sphericity of single cells over time: of masks, training data, new cells.

A *course* is one cell through all frames. A sequence in which a cell divides gives one course for
each cell at the end, and the mother's frames are in each of them, as in the paper: "splitting each
respective voxel volume sequence into two sequences in order to evaluate the shape of each daughter
cell separately. Each evaluated sequence of voxel volumes thus represents a single time-evolving
cell shape" (Wiesner et al. 2024, section 5).

What is compared should have one voxel size, since coarse voxels change surfaces, see
:mod:`cellsynth.evaluation.descriptors`. Masks are coarsened by taking every n-th voxel: the mask
of the same body on a coarser grid, which is what rendering on a coarser grid gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, TopologyError
from cellsynth.evaluation.descriptors import Descriptors, frame_descriptors
from cellsynth.field.model import CellModel
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.formats.lineage import Lineage
from cellsynth.geometry import Grid, Triple, as_index
from cellsynth.presets.models import Topology
from cellsynth.rendering.occupancy import Occupancy
from cellsynth.rendering.sequence import LabelledSequence, draw_cell
from cellsynth.rendering.tracking import Tracker
from cellsynth.sampling.strategies import Strategy
from cellsynth.shapes.cell_mask import bounding_box
from cellsynth.shapes.cells import CellSequence, LeftOut
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.store import ShapeStore

__all__ = [
    "DESCRIPTORS",
    "Courses",
    "DrawnCourses",
    "cell_courses",
    "draw_courses",
    "mask_courses",
    "rendered_courses",
    "store_courses",
]

DESCRIPTORS = ("surface", "volume", "sphericity")


@dataclass(frozen=True)
class Courses:
    """Descriptors of single cells over time.

    Attributes:
        values: ``(courses, frames, 3)``: surface in µm², volume in µm³, sphericity.
        sequences: ``(courses,)``, the number from 0 of the sequence that each course is of. The
            courses of one sequence share their mother; different sequences are independent.
    """

    values: NDArray[np.float64]
    sequences: NDArray[np.int64]

    @classmethod
    def join(cls, parts: Sequence[NDArray[np.float64]]) -> Courses:
        """The courses of several sequences, ``(courses, frames, 3)`` each.

        Raises:
            InputError: None, or numbers of frames that differ.
        """
        lengths = {part.shape[1] for part in parts}
        if len(lengths) != 1:
            raise InputError(
                f"courses of {sorted(lengths)} frames; expected sequences of one number of frames"
            )
        numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return cls(np.concatenate(parts), numbers)

    @property
    def n_sequences(self) -> int:
        """Number of sequences."""
        return int(self.sequences.max()) + 1

    @property
    def n_frames(self) -> int:
        """Frames of each course."""
        return int(self.values.shape[1])

    def per_sequence(self) -> NDArray[np.float64]:
        """Mean over the courses of each sequence, ``(sequences, frames, 3)``."""
        return np.stack(
            [self.values[self.sequences == i].mean(axis=0) for i in range(self.n_sequences)]
        )


def cell_courses(
    frames: Sequence[Mapping[int, Descriptors]], lineage: Lineage | None
) -> NDArray[np.float64]:
    """The courses of one sequence, ``(courses, frames, 3)``, sorted by the label they end with.

    Args:
        frames: Per frame the descriptors of each label, see
            :func:`~cellsynth.evaluation.descriptors.frame_descriptors`.
        lineage: Whose daughter each label is. ``None``: each label is one cell throughout.

    Raises:
        InputError: No cell at the end, or one that is not there in every frame.
    """
    if not frames or not frames[-1]:
        raise InputError(f"no cell in the last of {len(frames)} frames; expected at least one")
    courses = []
    for last in sorted(frames[-1]):
        line = _line(last, lineage)
        course = []
        for t, frame in enumerate(frames):
            at = [frame[label] for label in frame if label in line]
            if len(at) != 1:
                raise InputError(
                    f"cell {last}: {len(at)} labels in frame {t} of {len(frames)}, expected 1; "
                    "a course needs its cell in every frame"
                )
            course.append((at[0].surface_um2, at[0].volume_um3, at[0].sphericity))
        courses.append(course)
    return np.array(courses)


def rendered_courses(sequence: LabelledSequence, voxel_size_um: Triple) -> NDArray[np.float64]:
    """The courses ``(courses, frames, 3)`` of a sequence that is about to be rendered.

    Raises:
        TopologyError: The cells do not do what the preset's topology says.
    """
    frames = [frame_descriptors(labels, voxel_size_um) for _, labels, _ in sequence.frames()]
    return cell_courses(frames[::-1], sequence.lineage())


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
    threads = threads or cores()
    parts, refused = [], []
    with one_thread_each():
        for i in range(count):
            attempt = 0
            while True:
                draw = draw_cell(
                    model,
                    seed=seed,
                    sequence=i,
                    strategy=strategy,
                    attempt=attempt,
                    threads=threads,
                )
                sequence = LabelledSequence(
                    model, draw, grid, model.preset.scale.n_frames, threads=threads
                )
                try:
                    parts.append(rendered_courses(sequence, voxel))
                    break
                except TopologyError:
                    attempt = draw.attempt + 1
            refused.append(draw.attempt)
            if on_progress is not None:
                on_progress(i + 1, count)
    return DrawnCourses(Courses.join(parts), tuple(refused))


def _line(label: int, lineage: Lineage | None) -> set[int]:
    """A label and all those that it comes from."""
    line = {label}
    while lineage is not None and label in lineage and lineage[label].parent:
        label = lineage[label].parent
        line.add(label)
    return line


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
