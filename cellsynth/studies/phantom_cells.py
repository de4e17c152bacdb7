"""The cells of the studies: phantoms as masks that are drawn when they are read, never stored.

A study looks at some of the published 30 frames, on voxels of its own: a phantom is the same body
at every voxel size, and frame i of n is the same moment of its life as in any other study.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import Field

from cellsynth.errors import InputError
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import as_index
from cellsynth.presets.base import Integers, StrictModel
from cellsynth.shapes import CellSequence, MaskSequence, cut_cells
from cellsynth.shapes.phantoms import KINDS, Phantom, phantom_families, render_family

__all__ = ["Cells", "KindName", "half_extent_um", "phantom_cells"]

KindName = Literal["celegans", "platynereis", "a549"]

# The kinds' own voxels are chosen so that Ω is as wide as the paper's grid of 256³.
PUBLISHED_ACROSS = 256


class Cells(StrictModel):
    """Which phantoms a study looks at."""

    kind: KindName = Field(description="Kind of phantom")
    count: int = Field(33, ge=2, description="Sequences")
    course: int = Field(30, ge=1, description="Frames of the whole course of a sequence")
    frames: Integers | None = Field(None, description="Those of them that are seen; absent: all")
    across: int = Field(PUBLISHED_ACROSS, ge=8, le=1024, description="Voxels across Ω")

    @property
    def seen(self) -> tuple[int, ...]:
        """The frames that are seen, from 0."""
        return tuple(range(self.course)) if self.frames is None else self.frames


def half_extent_um(kind: KindName) -> float:
    """Half the side of Ω in µm, the same for all studies of a kind."""
    return KINDS[kind].voxel_um * PUBLISHED_ACROSS / 2


def phantom_cells(cells: Cells, *, seed: int) -> list[CellSequence]:
    """Single-cell sequences of phantoms; a sequence depends on the seed and its number only.

    Raises:
        InputError: A frame beyond the course.
    """
    if not cells.seen or not 0 <= min(cells.seen) <= max(cells.seen) < cells.course:
        raise InputError(f"frames must lie in 0 to {cells.course - 1}, got {list(cells.seen)}")
    voxel = 2 * half_extent_um(cells.kind) / cells.across
    families = phantom_families(cells.kind, cells.count, cells.course, seed)
    sources = [
        _masks(family, f"{cells.kind} {i + 1}", cells, (voxel, voxel, voxel))
        for i, family in enumerate(families)
    ]
    found, _ = cut_cells(sources, n_frames=len(cells.seen))
    return found


def _masks(
    family: Phantom, name: str, cells: Cells, voxel_size_um: tuple[float, float, float]
) -> MaskSequence:
    seen = cells.seen
    grid = family.grid(voxel_size_um)

    def read(t: int) -> NDArray[Any]:
        return render_family(family, seen[t], grid)

    return MaskSequence(
        name=name,
        n_frames=len(seen),
        shape=as_index(grid.shape),
        voxel_size_um=voxel_size_um,
        frame_interval_s=family.frame_interval_s * _step(seen),
        read_frame=read,
        lineage=_seen_lineage(family.lineage(), seen),
    )


def _step(seen: Sequence[int]) -> float:
    """Frames of the course between two that are seen, on average."""
    return (seen[-1] - seen[0]) / (len(seen) - 1) if len(seen) > 1 else 1.0


def _seen_lineage(lineage: Lineage, seen: Sequence[int]) -> Lineage:
    """The lineage as it is told by the frames that are seen."""
    kept = []
    for tracklet in lineage.tracklets:
        at = [i for i, frame in enumerate(seen) if tracklet.begin <= frame <= tracklet.end]
        if at:
            kept.append((tracklet, at[0], at[-1]))
    labels = {tracklet.label for tracklet, _, _ in kept}
    return Lineage(
        tuple(
            Tracklet(t.label, begin, end, t.parent if t.parent in labels else 0)
            for t, begin, end in kept
        )
    )
