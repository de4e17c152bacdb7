"""Labels of a dividing nucleus: its implicit bodies evaluated at voxel centres.

The body is the same at every voxel size. Where a voxel size is too coarse for it, the labels are
mended: voxels along the axis hold the mother together before the division, and voxels of the
second daughter that touch the first are cleared after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from cellsynth.errors import TopologyError
from cellsynth.geometry import Grid, Index, as_index
from cellsynth.shapes.phantoms.lobes import lobe_field, smooth_union
from cellsynth.shapes.phantoms.phantom import (
    Labels,
    Triple,
    centred_grid,
    check_frame,
    voxel_axes,
    voxel_box,
)

if TYPE_CHECKING:
    from cellsynth.shapes.phantoms.bodies import Family

__all__ = ["DAUGHTERS", "MOTHER", "family_grid", "render_crop"]

MOTHER = 1
DAUGHTERS = (2, 3)


def family_grid(family: Family, voxel_size_um: Triple, *, half_extent_um: float = 1.0) -> Grid:
    """The smallest grid, centred on the family, whose border no body touches in any frame.

    Args:
        half_extent_um: Half side of Ω; 1 gives a grid in µm.
    """
    return centred_grid(family.reach_um(), voxel_size_um, half_extent_um=half_extent_um)


def render_crop(
    family: Family, frame: int, grid: Grid, *, half_extent_um: float = 1.0
) -> tuple[Labels, Index]:
    """Labels of one frame, 1 the mother, 2 and 3 her daughters, and where the crop begins.

    Args:
        grid: A grid of Ω, centred on the family.
        half_extent_um: Half side of Ω; 1 where the grid is in µm.

    Returns:
        ``(z, y, x)`` uint16 with one 26-connected body before the division frame, two from it on;
        and the voxel of the grid that is its first.

    Raises:
        InputError: No such frame.
        TopologyError: The voxels are too coarse to show the two daughters apart.
    """
    check_frame(frame, family.n_frames)
    boxes = [voxel_box(low, high, grid, half_extent_um) for low, high in family.boxes_um(frame)]
    begin = np.minimum(boxes[0][0], boxes[1][0])
    end = np.maximum(boxes[0][1], boxes[1][1])
    crop = np.zeros(np.maximum(end - begin, 1), np.uint16)
    spacing = np.array(grid.spacing) * half_extent_um
    if frame < family.division_frame:
        everywhere = voxel_axes(begin, end, grid, half_extent_um)
        fields = [lobe_field(family, frame, lobe, everywhere) for lobe in (0, 1)]
        crop[smooth_union(fields[0], fields[1], family.blends_um[frame]) < 0] = MOTHER
        origin = np.array(grid.origin) * half_extent_um
        _hold_together(crop, (family.centres_um[frame] - origin) / spacing - begin)
    else:
        for lobe, (low, high) in enumerate(boxes):
            part = crop[tuple(slice(a, b) for a, b in zip(low - begin, high - begin, strict=True))]
            points = voxel_axes(low, high, grid, half_extent_um)
            part[lobe_field(family, frame, lobe, points) < 0] = DAUGHTERS[lobe]
        _hold_apart(crop, f"phantom {family.cells[0]} frame {frame}", spacing)
    return crop, as_index(begin)


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
