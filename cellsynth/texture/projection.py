"""Maximum projections: the brightest voxel of each ray, and the cell that the ray belongs to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import ShapeError
from cellsynth.shapes.cell_mask import label_boxes

__all__ = ["planes_apart", "project_image", "project_labels", "project_values"]

# Share of its own rays that a cell keeps however much of it lies behind others.
KEPT_SHARE = 0.1


def planes_apart(z_step_um: float, voxel_um: float) -> int:
    """Every how-manieth plane of voxels a microscope sees whose planes are ``z_step_um`` apart."""
    return max(1, round(z_step_um / voxel_um))


def project_image(image: NDArray[Any]) -> NDArray[Any]:
    """The largest value on each ray along z: ``(z, y, x)`` to ``(y, x)``.

    Raises:
        ShapeError: ``image`` is not 3D, or has no slice.
    """
    _check("image", image)
    projected: NDArray[Any] = image.max(axis=0)
    return projected


def project_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """The cell that each ray along z belongs to.

    A ray belongs to the cell with most voxels on it, of several to the lowest label. No cell goes
    under: one that would have less than a tenth of its own rays gets as many, those on which its
    share of the cells' voxels is largest, from cells that have more than their own tenth.

    Args:
        labels: ``(z, y, x)``, whole numbers, 0 is background.

    Returns:
        ``(y, x)`` of the same type; a ray is 0 only where it meets no cell.

    Raises:
        ShapeError: ``labels`` is not 3D, or has no slice.
    """
    _check("labels", labels)
    flat = np.zeros(labels.shape[1:], labels.dtype)
    most = np.zeros(flat.shape, np.int32)
    floors: dict[int, int] = {}
    boxes: dict[int, tuple[slice, ...]] = {}
    for label, box in label_boxes(labels):
        counts = _voxels_on_rays(labels[box], label)
        rays = box[1:]
        wins = counts > most[rays]
        most[rays][wins] = counts[wins]
        flat[rays][wins] = label
        floors[label] = math.ceil(KEPT_SHARE * np.count_nonzero(counts))
        boxes[label] = box
    if len(floors) > 1:
        _raise_the_buried(labels, flat, boxes, floors)
    return flat


def _raise_the_buried(
    labels: NDArray[Any],
    flat: NDArray[Any],
    boxes: dict[int, tuple[slice, ...]],
    floors: dict[int, int],
) -> None:
    """Give each cell its tenth, in place; a ray changes hands only where its owner can spare it."""
    owned = {label: np.count_nonzero(flat[boxes[label][1:]] == label) for label in floors}
    short = [label for label in floors if owned[label] < floors[label]]
    for label in short:
        z, y, x = boxes[label]
        counts = _voxels_on_rays(labels[z, y, x], label)
        share = counts / np.maximum(np.count_nonzero(labels[:, y, x], axis=0), 1)
        share[flat[y, x] == label] = 0
        for place in np.argsort(-share, axis=None, kind="stable"):
            row, column = divmod(int(place), share.shape[1])
            if owned[label] >= floors[label] or not share[row, column]:
                break
            owner = int(flat[y.start + row, x.start + column])
            if owned[owner] > floors[owner]:
                flat[y.start + row, x.start + column] = label
                owned[owner] -= 1
                owned[label] += 1


def project_values(
    values: NDArray[Any], labels: NDArray[Any], flat: NDArray[Any]
) -> NDArray[np.float32]:
    """The largest value that each ray meets in the cell it belongs to.

    Args:
        values: ``(z, y, x)``.
        labels: Cells, ``(z, y, x)``.
        flat: Their projection, ``(y, x)``, see :func:`project_labels`.

    Returns:
        ``(y, x)`` float32, 0 where a ray meets no voxel of its cell.
    """
    _check("labels", labels)
    if values.shape != labels.shape or flat.shape != labels.shape[1:]:
        raise ShapeError(
            f"values {values.shape}, labels {labels.shape} and their projection {flat.shape} "
            "do not fit"
        )
    found = np.full(flat.shape, -np.inf, np.float32)
    for plane, cells in zip(values, labels, strict=True):
        mine = (cells == flat) & (flat > 0)
        np.maximum(found, plane, out=found, where=mine)
    found[np.isneginf(found)] = 0
    return found


def _voxels_on_rays(labels: NDArray[Any], label: int) -> NDArray[np.int32]:
    counts: NDArray[np.int32] = np.add.reduce(labels == label, axis=0, dtype=np.int32)
    return counts


def _check(what: str, volume: NDArray[Any]) -> None:
    if volume.ndim != 3 or not volume.shape[0]:
        raise ShapeError(f"a projection needs {what} (z, y, x), got shape {volume.shape}")
