"""Cells of several kinds brought to one size, for a model that is to tell them by shape alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cellsynth.shapes.cells import CellSequence
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.pose import largest_radius_um, measure_pose

__all__ = ["ONE_SIZE", "bring_to_one_size"]

ONE_SIZE = "one size and frame interval for all kinds of cells"


def bring_to_one_size(kinds: Sequence[Sequence[CellSequence]]) -> list[CellSequence]:
    """Cells of several kinds, scaled so that the largest of each kind reaches equally far.

    The first kind keeps its size and its frame interval; those of the others are replaced, which
    the sequences' sources admit under ``assumed``. Within a kind, sizes keep their ratios.

    Args:
        kinds: Sequences of each kind, at least one of each.

    Raises:
        InputError: The cells of a kind are single voxels.
    """
    reach_um = [
        largest_radius_um(cells, [measure_pose(cell, "none") for cell in cells]) for cells in kinds
    ]
    interval_s = kinds[0][0].source.frame_interval_s
    scaled = []
    for cells, reach in zip(kinds, reach_um, strict=True):
        factor = reach_um[0] / reach
        # Cells of one source go on sharing it.
        sources = {id(cell.source): _scaled(cell.source, factor, interval_s) for cell in cells}
        scaled += [replace(cell, source=sources[id(cell.source)]) for cell in cells]
    return scaled


def _scaled(source: MaskSequence, factor: float, interval_s: float) -> MaskSequence:
    z, y, x = source.voxel_size_um
    return replace(
        source,
        voxel_size_um=(z * factor, y * factor, x * factor),
        frame_interval_s=interval_s,
        assumed=(*source.assumed, ONE_SIZE),
    )
