"""A cell as it would have been segmented had it lain otherwise under the microscope."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from cellsynth.geometry import Grid, as_index
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.store import ShapeStore

__all__ = ["turned"]


def turned(store: ShapeStore, i: int, rotation: NDArray[np.float64], name: str) -> MaskSequence:
    """Cell ``i`` of a store turned by a rotation, on voxels of the same size.

    Its signed distance is resampled and masked anew, so the copy has voxels of its own.

    Args:
        store: Signed distances of the orientation ``none``.
        i: Number of the cell.
        rotation: Proper rotation ``(3, 3)`` in x, y, z.
        name: Of the sequence.
    """
    scale = store.half_extent_um
    voxel = store.voxel_size_um(i)
    spacing = np.array(voxel) / scale
    reach = 0.0
    for t in range(store.n_frames):
        grid, _ = store.grid(i, t)
        inside = np.argwhere(store.mask(i, t)) * grid.spacing + grid.origin
        reach = max(reach, float(np.linalg.norm(inside, axis=1).max()))
    half = np.ceil(reach / spacing).astype(int) + 2
    to = Grid.centred(as_index(2 * half), voxel, scale)
    backward = rotation.T[::-1, ::-1]  # in z, y, x

    def read(t: int) -> NDArray[Any]:
        grid, _ = store.grid(i, t)
        inverse = 1 / np.array(grid.spacing)
        sdf = affine_transform(
            store.sdf(i, t).astype(np.float32),
            inverse[:, None] * backward * np.array(to.spacing),
            offset=inverse * (backward @ np.array(to.origin) - np.array(grid.origin)),
            output_shape=to.shape,
            order=1,
            mode="constant",
            cval=1.0,
        )
        return np.asarray(sdf < 0, np.uint8)

    return MaskSequence(name, store.n_frames, to.shape, voxel, store.frame_interval_s, read)
