"""A small valid data set: one division, one cell that stays, one that comes after a gap.

frame   0  1  2  3  4
1       ●──●
           ├─●──●──●   2
           └─●──●──●   3
5       ●──●──●──●──●
7       ●──●     ●──●  8 (parent 7: a gap, no division)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet

VOXEL_SIZE_UM = (1.0, 0.09, 0.2)


@pytest.fixture
def lineage() -> Lineage:
    return Lineage(
        (
            Tracklet(1, 0, 1),
            Tracklet(2, 2, 4, 1),
            Tracklet(3, 2, 4, 1),
            Tracklet(5, 0, 4),
            Tracklet(7, 0, 1),
            Tracklet(8, 3, 4, 7),
        )
    )


@pytest.fixture
def frames(lineage: Lineage) -> list[NDArray[np.uint16]]:
    """Masks (5, 9, 10) in which label n is a bar of 2 × 1 × 3 voxels at y = n."""
    masks = np.zeros((5, 5, 9, 10), np.uint16)
    for t, mask in enumerate(masks):
        for label in lineage.at(t):
            mask[1:3, label, 2 + t : 5 + t] = label
    return list(masks)


@pytest.fixture
def valid_set(tmp_path: Path, frames: list[NDArray[np.uint16]], lineage: Lineage) -> Path:
    """A data set of the sequences 01 and 02."""
    root = tmp_path / "set"
    for name in ("01", "02"):
        write_ctc(root, name, frames, lineage, voxel_size_um=VOXEL_SIZE_UM, frame_interval_s=60)
    return root
