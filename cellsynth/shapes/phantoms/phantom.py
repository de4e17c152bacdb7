"""What every kind of phantom can do, and what all of them share.

A phantom is a procedural cell, or a family of cells, in motion: seeded, given by formulas, the
same at every voxel size, with the centroid of its body at the origin in every frame. Lengths are
in µm, points in z, y, x.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import Grid, Index, Triple

__all__ = [
    "ONE_CELL",
    "Labels",
    "Phantom",
    "Triple",
    "centred_grid",
    "check_frame",
    "one_cell_lineage",
    "render_family",
    "voxel_axes",
    "voxel_box",
]

Labels = NDArray[np.uint16]
Array = NDArray[np.float64]

ONE_CELL = 1
"""Label of a cell that does not divide."""


class Phantom(Protocol):
    """One sequence of a phantom set, before it is voxels."""

    @property
    def n_frames(self) -> int:
        """Number of frames."""

    @property
    def frame_interval_s(self) -> float:
        """Seconds between frames."""

    def lineage(self) -> Lineage:
        """Every label with its first and last frame."""

    def grid(self, voxel_size_um: Triple) -> Grid:
        """The smallest centred grid, in µm, whose border no body touches in any frame."""

    def render_crop(
        self, frame: int, grid: Grid, *, half_extent_um: float = 1.0
    ) -> tuple[Labels, Index]:
        """The labels of one frame where they are not 0, and where in the grid that crop begins.

        Args:
            grid: A centred grid of Ω.
            half_extent_um: Half side of Ω; 1 where the grid is in µm.
        """

    def farthest_um(self) -> float:
        """Distance from the origin to the farthest point of the surface in any frame."""

    def record(self) -> dict[str, object]:
        """What ``phantom.json`` says of this sequence."""


def render_family(
    family: Phantom, frame: int, grid: Grid | Triple, *, half_extent_um: float = 1.0
) -> Labels:
    """Labels ``(z, y, x)`` uint16 of one frame, 0 outside; of dividing nuclei the mother is 1.

    Args:
        grid: A grid of Ω, centred on the family; or a voxel size ``(z, y, x)`` in µm for the
            smallest grid that holds the family in every frame.
        half_extent_um: Half side of Ω, where ``grid`` is a grid of Ω.

    Raises:
        InputError: No such frame.
        TopologyError: The voxels are too coarse to show the bodies.
    """
    if not isinstance(grid, Grid):
        grid, half_extent_um = family.grid(grid), 1.0
    crop, offset = family.render_crop(frame, grid, half_extent_um=half_extent_um)
    labels = np.zeros(grid.shape, np.uint16)
    labels[tuple(slice(o, o + n) for o, n in zip(offset, crop.shape, strict=True))] = crop
    return labels


def one_cell_lineage(n_frames: int) -> Lineage:
    """The lineage of one cell, label 1, there in every frame."""
    return Lineage((Tracklet(ONE_CELL, 0, n_frames - 1),))


def check_frame(frame: int, n_frames: int) -> None:
    """Raise InputError where there is no such frame."""
    if not 0 <= frame < n_frames:
        raise InputError(f"phantom: frame must be 0 to {n_frames - 1}, got {frame}")


def centred_grid(reach_um: Array, voxel_size_um: Triple, *, half_extent_um: float = 1.0) -> Grid:
    """The smallest grid about the origin with a voxel of background around a box.

    Args:
        reach_um: Half sides ``(3,)`` of the box, in z, y, x.
        half_extent_um: Half side of Ω; 1 gives a grid in µm.
    """
    if not all(math.isfinite(s) and s > 0 for s in voxel_size_um):
        raise InputError(f"voxel size must be above 0 on every axis, got {voxel_size_um}")
    z, y, x = (2 * (math.ceil(r / s) + 1) for r, s in zip(reach_um, voxel_size_um, strict=True))
    sz, sy, sx = (s / half_extent_um for s in voxel_size_um)
    return Grid((z, y, x), (sz, sy, sx), ((1 - z) / 2 * sz, (1 - y) / 2 * sy, (1 - x) / 2 * sx))


def voxel_box(
    low_um: Array, high_um: Array, grid: Grid, half_extent_um: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First voxel, and the one past the last, ``(3,)`` each, of a box within a grid."""
    spacing = np.array(grid.spacing) * half_extent_um
    origin = np.array(grid.origin) * half_extent_um
    begin = np.maximum(np.floor((low_um - origin) / spacing), 0).astype(np.int64)
    end = np.minimum(np.ceil((high_um - origin) / spacing) + 1, grid.shape).astype(np.int64)
    return begin, end


def voxel_axes(
    begin: NDArray[np.int64], end: NDArray[np.int64], grid: Grid, half_extent_um: float
) -> tuple[NDArray[np.float32], ...]:
    """Voxel centres in µm, float32: the axes z, y, x of a box of voxels, ready to broadcast."""
    axes = (
        (o * half_extent_um + np.arange(a, b) * (s * half_extent_um)).astype(np.float32)
        for a, b, o, s in zip(begin, end, grid.origin, grid.spacing, strict=True)
    )
    return np.ix_(*axes)
