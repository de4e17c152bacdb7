"""What the generator sees of the cells: mask, boundary, distance, and a grain that moves with them.

The same functions make the conditions in training and in use. A generator is trained at one pixel
size; masks of another are brought to the trained grid (:func:`trained_grid`), and the image that is
made there back to the masks' own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import ShapeError
from cellsynth.presets.texture import Condition
from cellsynth.shapes.cell_mask import label_boxes
from cellsynth.shapes.distance import label_distance

__all__ = [
    "CONDITIONS",
    "MEASURED",
    "conditions_2d",
    "conditions_3d",
    "painted",
    "resample_image",
    "resample_labels",
    "stack_slices",
    "standardise",
    "trained_grid",
]

CONDITIONS: tuple[Condition, ...] = ("mask", "boundary", "distance", "grain")
# What masks do not tell; see :mod:`cellsynth.texture.appearance`. They follow the others.
MEASURED: tuple[Condition, ...] = ("brightness", "background")

# A pixel size this near to the trained one is taken for the same: no eye and no network can tell.
SAME_SIZE = 0.05


def conditions_2d(
    labels: NDArray[Any],
    grain: NDArray[np.float32],
    voxel_size_um: tuple[float, float],
    reach_um: float,
) -> NDArray[np.float32]:
    """The conditions of a flat frame.

    Args:
        labels: Cells, ``(y, x)``, 0 is background.
        grain: ``(y, x)``, of unit variance inside cells and 0 outside.
        voxel_size_um: ``(y, x)`` in µm.
        reach_um: Distance from a cell's boundary beyond which all is alike, in µm.

    Returns:
        ``(4, y, x)`` float32 in the order of :data:`CONDITIONS`: mask 0 or 1; 1 in the pixels on
        both sides of a boundary, be it of cell and background or of two cells; signed distance
        to the nearest boundary, negative inside, in units of ``reach_um`` and within ± 1; grain.

    Raises:
        ShapeError: ``labels`` is not flat, or ``grain`` has another shape.
        InputError: A size that is not above 0.
    """
    if labels.ndim != 2:
        raise ShapeError(f"conditions of a flat frame need labels (y, x), got {labels.shape}")
    only = conditions_3d(labels[None], grain[None], (1.0, *voxel_size_um), reach_um)
    return only.reshape(len(CONDITIONS), *labels.shape)


def conditions_3d(
    labels: NDArray[Any],
    grain: NDArray[np.float32],
    voxel_size_um: tuple[float, float, float],
    reach_um: float,
) -> NDArray[np.float32]:
    """The conditions of each slice of a frame: as :func:`conditions_2d`, with distances in 3D.

    Args:
        labels: ``(z, y, x)``.
        grain: ``(z, y, x)``.
        voxel_size_um: ``(z, y, x)`` in µm.
        reach_um: As above.

    Returns:
        ``(z, 4, y, x)`` float32.
    """
    if labels.ndim != 3 or grain.shape != labels.shape:
        raise ShapeError(
            f"conditions need labels and grain of one shape (z, y, x), got {labels.shape} "
            f"and {grain.shape}"
        )
    found = np.empty((labels.shape[0], len(CONDITIONS), *labels.shape[1:]), np.float32)
    found[:, 0] = labels > 0
    found[:, 1] = 0
    for axis in (1, 2):
        near = (slice(None),) * axis + (slice(None, -1),)
        far = (slice(None),) * axis + (slice(1, None),)
        edge = labels[near] != labels[far]
        found[:, 1][near][edge] = 1
        found[:, 1][far][edge] = 1
    found[:, 2] = label_distance(labels, voxel_size_um, limit_um=reach_um)
    found[:, 2] /= reach_um
    found[:, 3] = grain
    return found


def painted(labels: NDArray[Any], values: Mapping[int, float]) -> NDArray[np.float32]:
    """Each cell filled with its value; 0 outside, and in cells without one.

    Args:
        labels: Of any shape, 0 is background.
        values: By label.
    """
    table = np.zeros(max(int(labels.max(initial=0)), *values, 0) + 1, np.float32)
    table[list(values)] = list(values.values())
    found: NDArray[np.float32] = table[labels]
    return found


def stack_slices(conditions: NDArray[np.float32], n_slices: int) -> NDArray[np.float32]:
    """Each slice with its neighbours, whose conditions are further channels.

    Args:
        conditions: ``(z, c, y, x)``.
        n_slices: Slices that a generator sees, an odd number; at the ends the last is repeated.

    Returns:
        ``(z, n_slices · c, y, x)``, the lowest slice first.
    """
    depth, channels, height, width = conditions.shape
    half = n_slices // 2
    order = np.arange(depth)[:, None] + np.arange(-half, half + 1)
    # (z, n_slices, c, y, x)
    chosen: NDArray[np.float32] = conditions.take(np.clip(order, 0, depth - 1), axis=0)
    return chosen.reshape(depth, n_slices * channels, height, width)


def trained_grid(
    shape: tuple[int, ...], voxel_size_um: tuple[float, ...], trained_um: tuple[float, ...]
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The grid of nearly the trained voxel size over the field of view of a frame.

    Args:
        shape: Voxels of the frame along each axis.
        voxel_size_um: Their size, in µm.
        trained_um: Size of the voxels that the generator was trained on.

    Returns:
        Voxels along each axis, and their size: such that they fill the same field. An axis whose
        voxels are within five in a hundred of the trained size stays as it is.
    """
    counts, sizes = [], []
    for n, size, wanted in zip(shape, voxel_size_um, trained_um, strict=True):
        same = abs(size / wanted - 1) <= SAME_SIZE
        count = n if same or n == 1 else max(1, round(n * size / wanted))
        counts.append(count)
        sizes.append(n * size / count)
    return tuple(counts), tuple(sizes)


def resample_labels(labels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The nearest label at each voxel centre of another grid over the same field.

    Args:
        labels: Of as many axes as ``shape``.
        shape: Voxels along each axis.
    """
    for axis, count in enumerate(shape):
        n = labels.shape[axis]
        if count != n:
            centres = (np.arange(count) + 0.5) * n / count
            labels = labels.take(np.minimum(centres.astype(np.intp), n - 1), axis=axis)
    return labels


def resample_image(
    image: NDArray[Any], shape: tuple[int, ...], *, part: range | None = None
) -> NDArray[np.float32]:
    """An image on another grid over the same field, float32.

    Linear between pixel centres; where the new grid is coarser, the mean over a new pixel is
    taken, as a larger pixel of a camera would.

    Args:
        image: Of as many axes as ``shape``.
        shape: Pixels along each axis.
        part: Which of the new planes along the first axis, all by default; bounds memory.
    """
    found = np.asarray(image, np.float32)
    for axis, count in enumerate(shape):
        wanted = part if part is not None and axis == 0 else range(count)
        n = found.shape[axis]
        if count == n and len(wanted) == n:
            continue
        places = np.arange(wanted.start, wanted.stop)
        moved = np.moveaxis(found, axis, 0)
        if count < n:
            edges = np.append(places, wanted.stop) * (n / count)
            first, last = int(edges[0]), math.ceil(edges[-1])
            moved, edges = moved[first:last], edges - first
            total = np.concatenate([np.zeros_like(moved[:1]), moved.cumsum(axis=0, dtype="f8")])
            moved = np.diff(_at(total, edges), axis=0) * (count / n)
        else:
            moved = _at(moved, (places + 0.5) * (n / count) - 0.5)
        found = np.moveaxis(moved, 0, axis).astype(np.float32, copy=False)
    return np.ascontiguousarray(found)


def _at(values: NDArray[Any], positions: NDArray[np.float64]) -> NDArray[Any]:
    """``values`` along the first axis at fractional positions, the ends beyond the ends."""
    last = len(values) - 1
    inside = np.clip(positions, 0, last)
    below = np.minimum(inside.astype(np.intp), max(last - 1, 0))
    weight = (inside - below).astype(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))
    above: NDArray[Any] = values[np.minimum(below + 1, last)]
    blended: NDArray[Any] = values[below] * (1 - weight) + above * weight
    return blended


def standardise(grain: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.float32]:
    """``grain`` with mean 0 and variance 1 in each cell; 0 outside, and where a cell is flat.

    Projected grain has neither, since the largest of many values is larger the thicker a cell is.
    """
    found = np.zeros(grain.shape, np.float32)
    for label, box in label_boxes(labels):
        inside = labels[box] == label
        values = grain[box][inside].astype(np.float64)
        spread = values.std()
        if spread > 1e-6:
            found[box][inside] = (values - values.mean()) / spread
    return found
