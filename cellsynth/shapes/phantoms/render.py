"""Labels of a phantom: its implicit bodies evaluated at voxel centres."""

from __future__ import annotations

import math

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from cellsynth.errors import InputError, TopologyError
from cellsynth.geometry import Grid
from cellsynth.shapes.phantoms.bodies import Family, lobe_field, smooth_union

__all__ = ["DAUGHTERS", "MOTHER", "family_grid", "render_crop", "render_family"]

MOTHER = 1
DAUGHTERS = (2, 3)

Triple = tuple[float, float, float]
Labels = NDArray[np.uint16]


def family_grid(family: Family, voxel_size_um: Triple, *, half_extent_um: float = 1.0) -> Grid:
    """The smallest grid, centred on the family, whose border no body touches in any frame.

    Args:
        half_extent_um: Half side of Ω; 1 gives a grid in µm.
    """
    if not all(math.isfinite(s) and s > 0 for s in voxel_size_um):
        raise InputError(f"voxel size must be above 0 on every axis, got {voxel_size_um}")
    reach = family.reach_um()
    # One voxel of background on every side.
    z, y, x = (2 * (math.ceil(r / s) + 1) for r, s in zip(reach, voxel_size_um, strict=True))
    sz, sy, sx = (s / half_extent_um for s in voxel_size_um)
    return Grid((z, y, x), (sz, sy, sx), ((1 - z) / 2 * sz, (1 - y) / 2 * sy, (1 - x) / 2 * sx))


def render_family(
    family: Family, frame: int, grid: Grid | Triple, *, half_extent_um: float = 1.0
) -> Labels:
    """Labels of one frame: 0 background, 1 the mother, 2 and 3 her daughters.

    The body is the same at every voxel size. Where a voxel size is too coarse for it, the labels
    are mended: voxels along the axis hold the mother together before the division, and voxels of
    the second daughter that touch the first are cleared after it.

    Args:
        grid: A grid of Ω, centred on the family; or a voxel size ``(z, y, x)`` in µm for the grid
            of :func:`family_grid`.
        half_extent_um: Half side of Ω, where ``grid`` is a grid of Ω.

    Returns:
        ``(z, y, x)`` uint16; one 26-connected body before the division frame, two from it on.

    Raises:
        InputError: No such frame.
        TopologyError: The voxels are too coarse to show the two daughters apart.
    """
    if not isinstance(grid, Grid):
        grid = family_grid(family, grid, half_extent_um=half_extent_um)
    crop, offset = render_crop(family, frame, grid, half_extent_um=half_extent_um)
    labels = np.zeros(grid.shape, np.uint16)
    labels[tuple(slice(o, o + n) for o, n in zip(offset, crop.shape, strict=True))] = crop
    return labels


def render_crop(
    family: Family, frame: int, grid: Grid, *, half_extent_um: float = 1.0
) -> tuple[Labels, tuple[int, int, int]]:
    """The part of :func:`render_family` that holds the bodies, and where in the grid it begins."""
    if not 0 <= frame < family.n_frames:
        raise InputError(f"phantom: frame must be 0 to {family.n_frames - 1}, got {frame}")
    spacing = np.array(grid.spacing) * half_extent_um
    origin = np.array(grid.origin) * half_extent_um
    boxes = [
        (
            np.maximum(np.floor((low - origin) / spacing), 0).astype(int),
            np.minimum(np.ceil((high - origin) / spacing) + 1, grid.shape).astype(int),
        )
        for low, high in family.boxes_um(frame)
    ]
    begin = np.minimum(boxes[0][0], boxes[1][0])
    end = np.maximum(boxes[0][1], boxes[1][1])
    crop = np.zeros(np.maximum(end - begin, 1), np.uint16)

    def points(low: NDArray[np.int64], high: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
        axes = (
            (origin[k] + np.arange(low[k], high[k]) * spacing[k]).astype(np.float32)
            for k in range(3)
        )
        return np.ix_(*axes)

    if frame < family.division_frame:
        everywhere = points(begin, end)
        fields = [lobe_field(family, frame, lobe, everywhere) for lobe in (0, 1)]
        crop[smooth_union(fields[0], fields[1], family.blends_um[frame]) < 0] = MOTHER
        axis = (family.centres_um[frame] - origin) / spacing - begin
        _hold_together(crop, axis)
    else:
        for lobe, (low, high) in enumerate(boxes):
            part = crop[tuple(slice(a, b) for a, b in zip(low - begin, high - begin, strict=True))]
            part[lobe_field(family, frame, lobe, points(low, high)) < 0] = DAUGHTERS[lobe]
        _hold_apart(crop, f"phantom {family.cells[0]} frame {frame}", spacing)
    z, y, x = begin
    return crop, (int(z), int(y), int(x))


def _hold_together(crop: Labels, ends: NDArray[np.float64]) -> None:
    """Make the mother one 26-connected body, in place; ``ends`` are the lobes' voxels (2, 3)."""
    if int(cc3d.connected_components(crop, connectivity=26, return_N=True)[1]) == 1:
        return
    steps = int(np.ceil(np.abs(ends[1] - ends[0]).max())) + 1
    along = np.linspace(ends[0], ends[1], steps + 1).round().astype(int)
    along = np.clip(along, 0, np.array(crop.shape) - 1)
    crop[tuple(along.T)] = MOTHER
    pieces = cc3d.connected_components(crop, connectivity=26)
    crop[pieces != pieces[tuple(along[0])]] = 0


def _hold_apart(crop: Labels, where: str, spacing: NDArray[np.float64]) -> None:
    """Make the daughters two 26-connected bodies that do not touch, in place."""
    first, second = DAUGHTERS
    pieces, n = cc3d.connected_components(crop > 0, connectivity=26, return_N=True)
    if n == 1:
        near = maximum_filter(np.asarray(crop == first, np.uint8), size=3)
        crop[(crop == second) & (near > 0)] = 0
    for label in DAUGHTERS if n != 2 else ():
        pieces = cc3d.connected_components(crop == label, connectivity=26)
        sizes = np.bincount(pieces.ravel())[1:]
        if len(sizes) > 1:
            crop[(crop == label) & (pieces != sizes.argmax() + 1)] = 0
    n = int(cc3d.connected_components(crop > 0, connectivity=26, return_N=True)[1])
    if n != 2 or not all((crop == label).any() for label in DAUGHTERS):
        size = ", ".join(f"{s:g}" for s in spacing)
        raise TopologyError(
            f"{where}: voxels of ({size}) µm show {n} bodies, expected 2 daughters; "
            "use a smaller voxel size"
        )
