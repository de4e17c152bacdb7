"""Where a cell lies and how it is turned, frame by frame: centre, radius, principal axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.geometry import Triple
from cellsynth.shapes.cell_mask import CellMask
from cellsynth.shapes.cells import CellSequence

__all__ = ["ORIENTATIONS", "Orientation", "Pose", "largest_radius_um", "measure_pose"]

Orientation = Literal["sequence", "none", "frame"]
ORIENTATIONS: tuple[str, ...] = get_args(Orientation)

# The six products of two coordinates, and where each goes in a symmetric 3 × 3 matrix.
_FIRST, _SECOND = np.triu_indices(3)
# Skewness below this is noise of the voxel grid and says nothing about a direction.
_SKEW_FLOOR = 1e-6


@dataclass(frozen=True)
class Pose:
    """A sequence's pose.

    Attributes:
        centroids: ``(t, 3)`` in z, y, x, voxels of the source.
        radius_um: Distance of the farthest voxel centre from its frame's centroid.
        alignment: ``(t, 3, 3)`` proper rotations in x, y, z; aligned point = alignmentᵀ · point.
    """

    centroids: NDArray[np.float64]
    radius_um: float
    alignment: NDArray[np.float64]


@dataclass(frozen=True)
class _Moments:
    """Sums over voxels about the centroid, in µm and x, y, z: ``(3, 3)`` and ``(3, 3, 3)``."""

    second: NDArray[np.float64]
    third: NDArray[np.float64]

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(self.second + other.second, self.third + other.third)


def measure_pose(cell: CellSequence, orientation: Orientation) -> Pose:
    """Centre, radius and alignment of a sequence.

    ``sequence`` aligns all frames by the principal axes of their pooled volume, longest first.
    ``frame`` aligns each frame by its own, with the signs nearest to the frame before.
    ``none`` aligns nothing. The signs of axes are fixed by the third moments: the longer tail
    points in the positive direction, so the same cell always gives the same alignment.
    """
    radius_um = 0.0
    moments = []
    for mask in cell.masks:
        of_frame, farthest_um = _measure_frame(mask, cell.source.voxel_size_um)
        moments.append(of_frame)
        radius_um = max(radius_um, farthest_um)
    n_frames = len(moments)
    if orientation == "none":
        alignment = np.tile(np.eye(3), (n_frames, 1, 1))
    elif orientation == "sequence":
        pooled = sum(moments[1:], start=moments[0])
        alignment = np.tile(_principal_axes(pooled), (n_frames, 1, 1))
    else:
        axes = [_principal_axes(moments[0])]
        for of_frame in moments[1:]:
            axes.append(_nearest_signs(_principal_axes(of_frame), axes[-1]))
        alignment = np.stack(axes)
    centroids = np.array([mask.centroid for mask in cell.masks])
    return Pose(centroids, radius_um, alignment)


def largest_radius_um(cells: Sequence[CellSequence], poses: Sequence[Pose]) -> float:
    """How far the largest of several cells reaches from its centre.

    Raises:
        InputError: Each of them is a single voxel.
    """
    radius_um = max(pose.radius_um for pose in poses)
    if radius_um == 0:
        raise InputError(
            f"{cells[0].name}: one voxel in every frame, as every cell is, expected whole cells; "
            "where TRA of a Cell Tracking Challenge set holds markers, pass --kind ST"
        )
    return radius_um


def _measure_frame(mask: CellMask, voxel_size_um: Triple) -> tuple[_Moments, float]:
    """Moments about the centroid, and the distance of the farthest voxel in µm."""
    zyx = np.stack(np.nonzero(mask.voxels())).astype(np.float64)  # (3, voxels)
    zyx += (np.array(mask.offset) - np.array(mask.centroid))[:, None]
    zyx *= np.array(voxel_size_um)[:, None]
    xyz = zyx[::-1]
    products = xyz[_FIRST] * xyz[_SECOND]  # (6, voxels)
    second = np.empty((3, 3))
    third = np.empty((3, 3, 3))
    second[_FIRST, _SECOND] = second[_SECOND, _FIRST] = products.sum(axis=1)
    third[:, _FIRST, _SECOND] = third[:, _SECOND, _FIRST] = xyz @ products.T
    squares = products[_FIRST == _SECOND]
    return _Moments(second, third), float(np.sqrt(squares.sum(axis=0).max()))


def _principal_axes(moments: _Moments) -> NDArray[np.float64]:
    """Principal axes as columns, longest first, a proper rotation ``(3, 3)``."""
    spread, vectors = np.linalg.eigh(moments.second)
    axes = vectors[:, ::-1].copy()
    tails = np.einsum("abc,ai,bi,ci->i", moments.third, axes, axes, axes)
    floor = _SKEW_FLOOR * spread[-1] ** 1.5
    for i in range(2):
        largest = axes[np.argmax(np.abs(axes[:, i])), i]
        if (tails[i] if abs(tails[i]) > floor else largest) < 0:
            axes[:, i] *= -1
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    return axes


def _nearest_signs(axes: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """The axes with those signs, among the four proper choices, that turn least from before."""
    choices = [s for s in product((1.0, -1.0), repeat=3) if np.prod(s) > 0]
    best = max(choices, key=lambda s: float(np.trace((axes * s).T @ before)))
    return np.asarray(axes * np.array(best))
