"""Where each cell is and how it lies, in every frame, followed from frame to frame.

What is drawn inside a cell is drawn in the cell's own coordinates, so that it moves, turns and
grows with the cell. Masks carry no marks, so the turn of a cell is read from its shape: from one
frame to the next it is the small rotation that best carries one second-moment tensor to the other.
Where two principal moments are alike, the shape does not tell how the cell turned between these
axes, and it is taken not to have turned: a round cell keeps its orientation, and axes that change
places in length do not swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, ShapeError

__all__ = ["CellPose", "PoseTracker"]

# Relative gap of two principal moments at which half a step is taken: axes in the ratio 1.05.
_GAP = 0.1
_STEPS = 4  # a turn of 40° is found to a hundredth of a degree
_SLAB = 1 << 22  # voxels measured at a time
# The three planes in which a cell can turn, each as (from axis, to axis), in x, y, z.
_PLANES = ((1, 2), (2, 0), (0, 1))
# The six products of two coordinates, and where each goes in a symmetric 3 × 3 matrix.
_FIRST, _SECOND = np.triu_indices(3)


@dataclass(frozen=True)
class CellPose:
    """How one cell lies in one frame.

    Attributes:
        centre_um: Centre of mass in z, y, x: voxel index in the whole frame times voxel size.
        rotation: Proper rotation ``(3, 3)`` in x, y, z, from the cell's coordinates to the frame's.
        scale: Length of the cell now in units of its length when it was first seen: the cube root
            of the ratio of volumes (in two dimensions, the square root of that of areas).
    """

    centre_um: NDArray[np.float64]
    rotation: NDArray[np.float64]
    scale: float

    def own_points(self, points_um: NDArray[Any]) -> NDArray[np.float64]:
        """Points ``(…, 3)`` of the frame, x, y, z in µm, in the cell's own coordinates.

        A point of the cell keeps its own coordinates while the cell moves, turns and grows; they
        are µm at the size of the cell's first frame.
        """
        about = np.asarray(points_um, np.float64) - self.centre_um[::-1]
        return np.asarray(about @ self.rotation / self.scale)


@dataclass
class _Seen:
    """What is kept of a label between frames."""

    first_volume: float
    tensor: NDArray[np.float64]
    rotation: NDArray[np.float64]


class PoseTracker:
    """Follows the cells of one sequence; its frames are given in order.

    A label keeps its pose through frames in which it is absent. A new label, so a daughter too,
    begins unturned and with scale 1.
    """

    def __init__(self, voxel_size_um: Sequence[float]) -> None:
        """Take the voxel size in z, y, x, or in y, x for flat labels."""
        if len(voxel_size_um) not in {2, 3} or not all(0 < s < np.inf for s in voxel_size_um):
            raise InputError(
                f"voxel size must be two or three numbers above 0, got {tuple(voxel_size_um)}"
            )
        self._voxel_size_um = tuple(float(s) for s in voxel_size_um)
        self._frame: int | None = None
        self._seen: dict[int, _Seen] = {}

    def update(
        self, t: int, labels: NDArray[Any], offset: Sequence[int] | None = None
    ) -> dict[int, CellPose]:
        """The poses of frame ``t``, by label.

        Args:
            t: Number of the frame, above that of the frame given before.
            labels: ``(z, y, x)`` or ``(y, x)``, background 0: a frame, or a part that holds all
                of its cells.
            offset: Where ``labels[0, 0, 0]`` lies in the frame, in voxels.

        Raises:
            InputError: ``t`` does not ascend.
            ShapeError: ``labels`` and the voxel size differ in dimensions.
        """
        if self._frame is not None and t <= self._frame:
            raise InputError(f"poses: frame {t} comes after frame {self._frame}; give in order")
        if labels.ndim != len(self._voxel_size_um):
            raise ShapeError(
                f"poses: labels must have {len(self._voxel_size_um)} dimensions, got {labels.ndim}"
            )
        self._frame = t
        start = tuple(offset) if offset is not None else (0,) * labels.ndim
        moments = _measure(labels, self._voxel_size_um, start)
        return {label: self._pose(label, found) for label, found in moments.items()}

    def _pose(self, label: int, moments: _Moments) -> CellPose:
        flat = len(self._voxel_size_um) == 2
        tensor = moments.tensor
        seen = self._seen.get(label)
        if seen is None:
            seen = _Seen(moments.volume, tensor, np.eye(3))
            self._seen[label] = seen
        else:
            seen.rotation = _turn(seen.tensor, tensor, flat=flat) @ seen.rotation
            seen.tensor = tensor
        scale = (moments.volume / seen.first_volume) ** (1 / 2 if flat else 1 / 3)
        return CellPose(moments.centre_um, seen.rotation, float(scale))


@dataclass(frozen=True)
class _Moments:
    """Volume in µm³ (area in µm²), centre in z, y, x, and covariance ``(3, 3)`` in x, y, z."""

    volume: float
    centre_um: NDArray[np.float64]
    tensor: NDArray[np.float64]


def _measure(
    labels: NDArray[Any], voxel_size_um: tuple[float, ...], start: tuple[int, ...]
) -> dict[int, _Moments]:
    """Moments of every label. Sums over slabs, so that memory does not grow with the frame."""
    stack = labels if labels.ndim == 3 else labels[None]
    size = np.array((1.0,) * (3 - labels.ndim) + voxel_size_um)
    origin = np.array((0,) * (3 - labels.ndim) + start)
    sums: dict[int, NDArray[np.float64]] = {}
    planes = max(1, _SLAB // max(1, stack[0].size))
    for z in range(0, len(stack), planes):
        slab = stack[z : z + planes]
        index = np.nonzero(slab)
        if not len(index[0]):
            continue
        found, which = np.unique(slab[index], return_inverse=True)
        # Positions about the middle of the frame, so that squares stay small.
        zyx = [i - n / 2 for i, n in zip(index, stack.shape, strict=True)]
        zyx[0] += z
        columns = [None, *zyx, *(zyx[a] * zyx[b] for a, b in zip(_FIRST, _SECOND, strict=True))]
        of_slab = np.stack([np.bincount(which, weights=c) for c in columns], axis=1)
        for label, row in zip(found.tolist(), of_slab, strict=True):
            sums[label] = sums.get(label, 0.0) + row
    result = {}
    for label in sorted(sums):
        count = sums[label][0]
        mean = sums[label][1:4] / count
        second = np.empty((3, 3))
        second[_FIRST, _SECOND] = second[_SECOND, _FIRST] = sums[label][4:] / count
        # A voxel is a box, not a point: it has a twelfth of its squared width of its own.
        covariance = second - np.outer(mean, mean) + np.eye(3) / 12
        tensor = (covariance * np.outer(size, size))[::-1, ::-1]
        centre = (mean + np.array(stack.shape) / 2 + origin) * size
        result[label] = _Moments(float(count * size.prod()), centre, tensor)
    return result


def _turn(
    before: NDArray[np.float64], after: NDArray[np.float64], *, flat: bool
) -> NDArray[np.float64]:
    """The small rotation that carries tensor ``before`` to ``after``, as far as they tell.

    Both are seen in the principal axes of ``before``. In the plane of two axes i, j, ``after``
    is turned by θ with tan 2θ = 2 a_ij / (a_ii - a_jj). A step goes by that share of θ that the
    gap between the two moments supports, 1 / (1 + (0.1 / gap)⁴), gap in units of the mean moment;
    not at all where the axes have changed places in length. Turns of more than 45° from one frame
    to the next are not seen.
    """
    used = slice(0, 2) if flat else slice(0, 3)
    before = before / np.trace(before[used, used]) * (2 if flat else 3)
    after = after / np.trace(after[used, used]) * (2 if flat else 3)
    axes = np.eye(3)
    axes[used, used] = np.linalg.eigh(before[used, used])[1]
    # x, y, z in ascending order of moments; a mirror image would turn the wrong way.
    axes[:, 0] *= np.linalg.det(axes)
    moments = np.einsum("ai,ab,bi->i", axes, before, axes)
    turn = np.eye(3)
    for _ in range(_STEPS):
        rest = axes.T @ turn.T @ after @ turn @ axes
        rotvec = np.zeros(3)
        for axis, (i, j) in enumerate(_PLANES):
            if flat and axis != 2:
                continue
            gap_before, gap = moments[i] - moments[j], rest[i, i] - rest[j, j]
            if gap_before * gap <= 0:
                continue
            sure = 1 / (1 + (_GAP / min(abs(gap_before), abs(gap))) ** 4)
            rotvec[axis] = sure * np.arctan(2 * rest[i, j] / gap) / 2
        turn = turn @ axes @ _rotation(rotvec) @ axes.T
    return turn


def _rotation(rotvec: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation matrix of a rotation vector in radians, by Rodrigues' formula."""
    angle = float(np.linalg.norm(rotvec))
    if angle == 0:
        return np.eye(3)
    x, y, z = rotvec / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
