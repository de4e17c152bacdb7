"""Where each cell of a sequence is, and how large, gathered while its masks pass by."""

from __future__ import annotations

from typing import Any, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray

from cellsynth.geometry import Triple

__all__ = ["CellTable", "Spot"]


class Spot(NamedTuple):
    """One cell in one frame: its number of voxels and its mean voxel position."""

    t: int
    label: int
    voxels: int
    z: float
    y: float
    x: float

    def position_um(self, voxel_size_um: Triple) -> Triple:
        """Centroid ``(z, y, x)`` in µm; voxel ``[0, 0, 0]`` has its centre at 0."""
        z, y, x = voxel_size_um
        return self.z * z, self.y * y, self.x * x


class CellTable:
    """Every cell in every frame. Frames may come from several threads, each from one."""

    def __init__(self) -> None:
        self._frames: dict[int, dict[int, tuple[int, NDArray[np.float64]]]] = {}

    def add(self, t: int, labels: NDArray[Any], offset: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Count a part of frame ``t``: labels ``(z, y, x)``, and where in the frame they lie."""
        frame = self._frames.setdefault(t, {})
        if not labels.any():
            return
        names = None
        if labels.max() >= labels.size:  # cc3d refuses these; a slab may be thin, or flat
            names, labels = _numbered(labels)
        found = cc3d.statistics(labels, no_slice_conversion=True)
        counts = found["voxel_counts"]
        for number in np.flatnonzero(counts[1:]) + 1:
            n = int(counts[number])
            # Sums of voxel positions are whole numbers, so parts add up to the same in any order.
            total = np.rint(n * found["centroids"][number]) + n * np.asarray(offset, np.float64)
            label = int(number if names is None else names[number])
            before = frame.get(label, (0, np.zeros(3)))
            frame[label] = before[0] + n, before[1] + total

    def __contains__(self, t: object) -> bool:
        """Whether any of frame ``t`` was added."""
        return t in self._frames

    def labels(self) -> dict[int, set[int]]:
        """The labels seen in each frame that was added."""
        return {t: set(frame) for t, frame in self._frames.items()}

    def spots(self) -> list[Spot]:
        """All of them, by frame and label."""
        return [
            Spot(t, label, n, *(total / n).tolist())
            for t, frame in sorted(self._frames.items())
            for label, (n, total) in sorted(frame.items())
        ]


def _numbered(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """Labels with numbers from 1 in their place, 0 being background, and the label of each."""
    names, numbers = np.unique(np.append(labels, np.zeros(1, labels.dtype)), return_inverse=True)
    return names, numbers[:-1].reshape(labels.shape).astype(np.uint32)
