"""Whether texture moves with its cell, and whether an image shows the mask it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, gaussian_filter, map_coordinates

from cellsynth.errors import InputError
from cellsynth.evaluation.agreement import dice
from cellsynth.texture.poses import CellPose, PoseTracker

__all__ = ["mask_agreement", "texture_coherence"]


def texture_coherence(
    frames: Iterable[tuple[NDArray[Any], NDArray[Any]]],
    voxel_size_um: tuple[float, ...],
    *,
    smooth_um: float,
) -> NDArray[np.float64]:
    """Correlation of each cell's texture with that of the frame before, in its own coordinates.

    Texture is what is left of the counts when their mean over ``smooth_um`` within the cell is
    taken away. A pixel of one frame is followed to where the cell's pose takes it in the next.

    Args:
        frames: Image and labels of one frame after another, ``(y, x)`` or ``(z, y, x)``.
        voxel_size_um: Of as many axes.
        smooth_um: Standard deviation of the mean that is taken away.

    Returns:
        One correlation, -1 … 1, for each cell and pair of frames that has both; empty where
        there is none.
    """
    tracker = PoseTracker(voxel_size_um)
    before: tuple[NDArray[np.float64], NDArray[Any], dict[int, CellPose]] | None = None
    found = []
    for t, (image, labels) in enumerate(frames):
        poses = tracker.update(t, labels)
        texture = _texture(image, labels, [smooth_um / size for size in voxel_size_um])
        if before is not None:
            for label in sorted(poses.keys() & before[2].keys()):
                value = _correlation(label, *before, texture, labels, poses, voxel_size_um)
                if value is not None:
                    found.append(value)
        before = texture, labels, poses
    return np.array(found)


def _texture(image: NDArray[Any], labels: NDArray[Any], sigma: list[float]) -> NDArray[np.float64]:
    mask = (labels > 0).astype(np.float64)
    counts = np.asarray(image, np.float64)
    level = gaussian_filter(counts * mask, sigma) / np.maximum(gaussian_filter(mask, sigma), 1e-6)
    return np.asarray((counts - level) * mask)


def _correlation(
    label: int,
    texture_a: NDArray[np.float64],
    labels_a: NDArray[Any],
    poses_a: dict[int, CellPose],
    texture_b: NDArray[np.float64],
    labels_b: NDArray[Any],
    poses_b: dict[int, CellPose],
    voxel_size_um: tuple[float, ...],
) -> float | None:
    index = np.argwhere(labels_a == label)
    axes = labels_a.ndim
    size = np.array(voxel_size_um)
    a, b = poses_a[label], poses_b[label]
    points = np.zeros((len(index), 3))
    points[:, :axes] = (index * size)[:, ::-1]
    if axes == 2:
        points[:, 2] = a.centre_um[0]
    there = a.own_points(points) * b.scale @ b.rotation.T + b.centre_um[::-1]
    position = (there[:, :axes][:, ::-1] / size).T
    inside = map_coordinates((labels_b == label).astype(np.float32), position, order=1) > 0.99
    if np.count_nonzero(inside) < 16:
        return None
    x = texture_a[tuple(index[inside].T)]
    y = map_coordinates(texture_b, position[:, inside], order=1)
    spread = x.std() * y.std()
    return float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 0 else None


def mask_agreement(
    image: NDArray[Any], labels: NDArray[Any], *, smooth: float = 2.0, body: int = 0
) -> float:
    """Dice coefficient of the mask and of a threshold on the smoothed image.

    Args:
        image: Counts.
        labels: Cells, of the same shape.
        smooth: Standard deviation of the smoothing, in pixels.
        body: Radius of an opening, in pixels, that takes thin parts off both; 0 keeps them.

    A constant image shows no cell.

    Source: Otsu 1979 for the threshold.
    """
    smoothed = gaussian_filter(np.asarray(image, np.float64), smooth)
    found = smoothed > (otsu_threshold(smoothed) if np.ptp(image) else np.inf)
    mask = labels > 0
    if body:
        offsets = np.indices((2 * body + 1,) * mask.ndim) - body
        ball = (offsets**2).sum(axis=0) <= body**2
        found, mask = (binary_opening(one, ball) for one in (found, mask))
    return float(dice(found, mask))


def otsu_threshold(values: NDArray[Any]) -> float:
    """The value that divides others into two groups with the largest variance between them.

    Raises:
        InputError: All values are equal.
    """
    counts, edges = np.histogram(values, bins=512)
    if edges[0] == edges[-1] or np.ptp(values) == 0:
        raise InputError(f"all values are {values.flat[0]}; no threshold divides them")
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middle)
    gap = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * gap**2
    # Between two far groups every value does as well: the middle one is taken.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1 + best[len(best) // 2]])
