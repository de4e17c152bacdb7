"""Grain: a noise field that is a fixed function of a cell's own coordinates.

Nothing is stored. Lattice points have values that a hash of their indices gives, and between them
a cubic B-spline runs: smooth, nearly Gaussian, nearly isotropic, without anything finer than the
lattice, and defined everywhere. Octaves of halved feature size are added with equal variance, a
power spectrum that falls as k⁻³: that of matter which fills space at all scales alike, as
chromatin folded as a fractal globule does (Lieberman-Aiden et al. 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellsynth.errors import InputError
from cellsynth.shapes.cell_mask import label_boxes
from cellsynth.texture.poses import CellPose

__all__ = ["SPACINGS_PER_FEATURE", "Grain", "cell_grain"]

# Autocorrelation of a cubic B-spline on a lattice of independent values is the B-spline of degree
# 7: 151/315 at 0, half of that at 0.9901 lattice spacings.
_VARIANCE = (151 / 315) ** 3
SPACINGS_PER_FEATURE = 2 * 0.9901
_TABLE = 1 << 21  # lattice points tabulated at a time
_VOXELS = 1 << 20  # voxels of a cell evaluated at a time
# Positions are rounded to this share of a lattice spacing, after which sums of them are exact, so
# that a value does not depend on which other points it was asked with.
_EXACT = 2.0**20

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Grain:
    """One grain; another key gives another, independent one."""

    def __init__(self, key: Sequence[int]) -> None:
        """Take the key, such as seed, sequence and label; whole numbers from 0."""
        if any(k < 0 for k in key):
            raise InputError(f"grain: a key must hold whole numbers from 0, got {tuple(key)}")
        state = np.zeros(1, np.uint64)
        for part in key:
            state = _scrambled(state ^ np.uint64(part))
        self._state = state

    def __call__(
        self, points_um: NDArray[Any], feature_um: float, *, octaves: int = 3
    ) -> NDArray[np.float32]:
        """Values at points; mean 0, variance 1 over space.

        Args:
            points_um: ``(…, 3)`` in x, y, z.
            feature_um: Diameter of the coarsest grains: at half of it, along an axis, the
                coarsest octave's correlation has fallen to one half.
            octaves: How many; each has half the feature size of the one before.

        Returns:
            ``(…)`` float32.

        Raises:
            InputError: No feature size above 0, no octave, or points too far out to be told
                apart.
        """
        if not (0 < feature_um < np.inf):
            raise InputError(f"grain: feature size must be above 0 µm, got {feature_um}")
        if octaves < 1:
            raise InputError(f"grain: octaves must be at least 1, got {octaves}")
        points = np.asarray(points_um, np.float64)
        flat = points.reshape(-1, 3)
        total = np.zeros(len(flat), np.float32)
        for octave in range(octaves):
            spacing_um = feature_um / SPACINGS_PER_FEATURE / 2**octave
            position = flat / spacing_um
            if len(flat) and not np.abs(position).max() < 2.0**31:
                raise InputError("grain: points must be finite and within 2³¹ features of 0")
            np.rint(position * _EXACT, out=position)
            position /= _EXACT
            state = _scrambled(self._state + np.uint64(octave))
            total += _spline(position, state)
        total *= np.float32(1 / np.sqrt(octaves * _VARIANCE))
        return total.reshape(points.shape[:-1])


def cell_grain(
    labels: NDArray[Any],
    poses: Mapping[int, CellPose],
    voxel_size_um: Sequence[float],
    *,
    seed: int,
    sequence: int,
    feature_um: float,
    octaves: int = 3,
    offset: Sequence[int] | None = None,
) -> NDArray[np.float32]:
    """Each cell's grain at its voxels, 0 outside.

    Args:
        labels: ``(z, y, x)`` or ``(y, x)``, background 0.
        poses: Pose of every label in this frame.
        voxel_size_um: Of as many axes as ``labels``.
        seed: Seed of the data set.
        sequence: Number of the sequence; with seed and label it makes the grain's key.
        feature_um: See :class:`Grain`.
        octaves: See :class:`Grain`.
        offset: Where ``labels[0, 0, 0]`` lies in the frame, in voxels.

    Returns:
        float32, shaped as ``labels``.

    Raises:
        InputError: A label has no pose.
    """
    values = np.zeros(labels.shape, np.float32)
    flat = labels.ndim == 2
    size = np.array(voxel_size_um, np.float64)
    start = np.zeros(labels.ndim) if offset is None else np.asarray(offset, np.float64)
    for label, box in label_boxes(labels):
        pose = poses.get(label)
        if pose is None:
            raise InputError(f"grain: label {label} has no pose; give the poses of this frame")
        grain = Grain((seed, sequence, label))
        of_label = np.nonzero(labels[box] == label)
        corner = np.array([s.start for s in box])
        for part in range(0, len(of_label[0]), _VOXELS):
            index = tuple(axis[part : part + _VOXELS] for axis in of_label)
            points = (np.stack(index, axis=1) + corner + start) * size
            xyz = np.zeros((len(points), 3))
            xyz[:, : labels.ndim] = points[:, ::-1]
            if flat:
                xyz[:, 2] = pose.centre_um[0]
            values[box][index] = grain(pose.own_points(xyz), feature_um, octaves=octaves)
    return values


def _spline(position: NDArray[np.float64], state: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The B-spline through lattice values of unit variance; ``position`` ``(n, 3)`` in spacings.

    The lattice under the points is tabulated. Where it is large, as between scattered points,
    they are taken in two halves.
    """
    if not len(position):
        return np.zeros(0, np.float32)
    first = np.floor(position.min(axis=0)).astype(np.int64) - 1
    shape = np.floor(position.max(axis=0)).astype(np.int64) + 3 - first
    if np.prod(shape, dtype=np.float64) > _TABLE and shape.max() > 4:
        axis = int(shape.argmax())
        lower = position[:, axis] < first[axis] + 1 + (shape[axis] - 3) / 2
        values = np.empty(len(position), np.float32)
        values[lower] = _spline(position[lower], state)
        values[~lower] = _spline(position[~lower], state)
        return values
    table = _lattice(first, shape, state)
    values = np.empty(len(position), np.float32)
    # The table reaches one point below and two above, so that no boundary rule comes in.
    ndimage.map_coordinates(
        table, (position - first).T, output=values, order=3, mode="nearest", prefilter=False
    )
    return values


def _lattice(
    first: NDArray[np.int64], shape: NDArray[np.int64], state: NDArray[np.uint64]
) -> NDArray[np.float32]:
    """Values of the lattice points from ``first`` on: uniform, mean 0, variance 1."""
    hashed = state.reshape(1, 1, 1)
    for axis in range(3):
        index = np.arange(first[axis], first[axis] + shape[axis]).astype(np.uint64)
        hashed = _scrambled(hashed ^ index.reshape(np.where(np.arange(3) == axis, -1, 1)))
    uniform = (hashed >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
    return (uniform - np.float32(0.5)) * np.float32(np.sqrt(12))


def _scrambled(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64 bits in which every bit of the input moves every bit of the output.

    Source: the output function of SplitMix64, Steele et al. 2014.
    """
    mixed = state + _MIX
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
