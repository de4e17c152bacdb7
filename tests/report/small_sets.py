"""Sets of others, a few voxels large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.image_tiff import write_image
from cellsynth.formats.lineage import Lineage, Tracklet

VOXEL = (0.5, 0.25, 0.25)
FAMILY = Lineage((Tracklet(1, 0, 1), Tracklet(2, 2, 3, 1), Tracklet(3, 2, 3, 1)))
HOSTILE = "<b>&\"'x<script>alert(1)<"  # a name of a folder, as far as file systems go


def ball(
    shape: tuple[int, int, int], middle: tuple[float, ...], radius_um: float
) -> NDArray[np.bool_]:
    """Voxels of :data:`VOXEL` within a ball; ``middle`` and ``radius_um`` are in µm."""
    zyx = np.stack(np.indices(shape), axis=-1) * VOXEL
    found: NDArray[np.bool_] = ((zyx - np.array(middle)) ** 2).sum(axis=-1) < radius_um**2
    return found


def family_frames(radius_um: float = 1.5) -> list[NDArray[np.uint16]]:
    """A mother in two frames, then two daughters in two."""
    frames = []
    for t in range(4):
        frame = np.zeros((14, 28, 48), np.uint16)
        if t < 2:
            frame[ball(frame.shape, (3.5, 3.5, 6), radius_um)] = 1
        else:
            frame[ball(frame.shape, (3.5, 3.5, 3.5), 0.8 * radius_um)] = 2
            frame[ball(frame.shape, (3.5, 3.5, 8.5), 0.8 * radius_um)] = 3
        frames.append(frame)
    return frames


def write_set(folder: Path, n: int = 2, *, images: bool = False, radius_um: float = 1.5) -> Path:
    """A set of others: masks with lineage, and images if asked for."""
    for i in range(n):
        name = f"{i + 1:02d}"
        frames = family_frames(radius_um + 0.1 * i)
        write_ctc(folder, name, frames, FAMILY, voxel_size_um=VOXEL, frame_interval_s=30.0)
        if images:
            (folder / name).mkdir()
            for t, frame in enumerate(frames):
                image = (100 + 40 * frame.astype(np.uint16) + t).astype(np.uint16)
                write_image(folder / name / f"t{t:03d}.tif", image, voxel_size_um=VOXEL)
    return folder
