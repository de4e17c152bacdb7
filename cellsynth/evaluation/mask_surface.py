"""The surface of a mask: a marching-cubes mesh, and how much of it is really there.

The mesh of a mask has steps, and steps have too much area, 8 to 9 % however fine the voxels are.
So a triangle counts with the part of it that faces where the surface does::

    S = Σ A · max(n · m, 0)

with A the area and n the normal of each triangle, and m the normal of the mask smoothed by a normal
distribution: its gradient, at the triangle's corners. Were m exact, this would be exact on planes.
The mesh also cuts the corners of what is round, and so holds less than the mask; it is moved
outwards along m until it holds the mask's volume, which makes it exact on balls and tubes too.

Smoothing moves surfaces, the more the thinner a part is, but it hardly turns them. That is why the
smoothed mask gives directions only, and thin processes keep their area. ``docs/evaluation.md`` has
the errors, and what was tried besides.

Source: Lorensen and Cline 1987 for the mesh, in the variant of Lewiner et al. 2003 that
scikit-image has; Flin et al. 2005, "Adaptive estimation of normals and surface area for discrete
3-D objects", for areas of voxel faces projected on estimated normals. Triangles for faces, ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, ShapeError
from cellsynth.geometry import Triple

__all__ = ["Surface", "mask_surface"]

# Standard deviation of the smoothing in cubic voxels. Less leaves steps (at 1.3, balls come out
# 0.8 % too large, at 2, 0.3 %), more blurs thin parts (processes of radius 3 on a body lose 0.9 %).
SMOOTHING = 2.0
# Where the smoothing's weights end, in standard deviations.
REACH = 3.0
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Surface:
    """Points on the surface of a mask, and the area that each stands for.

    Attributes:
        points_um: ``(n, 3)`` in the order z, y, x, in µm from the centre of voxel ``[0, 0, 0]``.
        areas_um2: ``(n,)``; their sum is the surface.
    """

    points_um: NDArray[np.float64]
    areas_um2: NDArray[np.float64]

    @property
    def area_um2(self) -> float:
        """Area in µm²."""
        return float(self.areas_um2.sum())

    def moved(self, by_um: Triple) -> Surface:
        """The same surface elsewhere."""
        return Surface(self.points_um + by_um, self.areas_um2)


def mask_surface(mask: NDArray[Any], voxel_size_um: Triple) -> Surface:
    """The surface of a mask.

    Args:
        mask: ``(z, y, x)``, non-zero inside. Whatever lies outside the array is background, so a
            crop that holds the cell is enough; a cell cut by the border is closed there.
        voxel_size_um: ``(z, y, x)`` in µm.

    Raises:
        ShapeError: Not three axes, or nothing inside.
        InputError: A voxel size that is not above 0.
    """
    from skimage.measure import marching_cubes

    if mask.ndim != 3:
        raise ShapeError(f"mask has shape {mask.shape}, expected (z, y, x)")
    if not all(math.isfinite(s) and s > 0 for s in voxel_size_um):
        raise InputError(f"voxel size must be above 0 on every axis, got {voxel_size_um}")
    # Two voxels of rim: vertices lie up to half a voxel out, gradients look one voxel further.
    inside = np.pad(mask.astype(np.bool_, copy=False), 2).astype(np.float32)
    if not inside.any():
        raise ShapeError(f"mask of shape {mask.shape} is empty; expected a cell in it")
    # Of the two ways round, "ascent" is the one by which the right hand's thumb points outwards.
    mesh: Any = marching_cubes  # untyped
    vertices, triangles, _, _ = mesh(inside, 0.5, gradient_direction="ascent")
    normals = _normals(_smoothed(inside, voxel_size_um), vertices, voxel_size_um)
    points = vertices.astype(np.float64) * voxel_size_um
    areas, volume = _areas(points, triangles, normals)
    missing = np.count_nonzero(inside) * math.prod(voxel_size_um) - volume
    points += missing / max(float(areas.sum()), _TINY) * normals
    areas, _ = _areas(points, triangles, normals)
    shares = np.bincount(triangles.ravel(), np.repeat(areas / 3, 3), len(points))
    return Surface(points - 2 * np.array(voxel_size_um), np.asarray(shares, np.float64))


def _smoothed(inside: NDArray[np.float32], voxel_size_um: Triple) -> NDArray[np.float32]:
    """The mask smoothed by the same length on all axes.

    Steps are as high as a voxel's longest side, and some are as low as its others: the length goes
    with the geometric mean of the longest side and of the mean side, itself a geometric one.
    """
    from scipy.ndimage import gaussian_filter1d

    mean = math.prod(voxel_size_um) ** (1 / 3)
    sigma_um = SMOOTHING * math.sqrt(max(voxel_size_um) * mean)
    smooth = inside
    for axis, size in enumerate(voxel_size_um):
        smooth = gaussian_filter1d(smooth, sigma_um / size, axis, mode="constant", truncate=REACH)
    return smooth


def _normals(
    smooth: NDArray[np.float32], vertices: NDArray[np.float32], voxel_size_um: Triple
) -> NDArray[np.float64]:
    """Where the surface faces at each vertex, which is the middle between two neighbours."""
    strides = np.array(smooth.strides) // smooth.itemsize
    flat = smooth.ravel()
    low, high = (f(vertices).astype(np.int64) @ strides for f in (np.floor, np.ceil))
    found = np.empty(vertices.shape, np.float64)
    for axis, (stride, size) in enumerate(zip(strides, voxel_size_um, strict=True)):
        around = [flat[at + stride] - flat[at - stride] for at in (low, high)]
        slope = np.where(high - low == stride, flat[high] - flat[low], sum(around) / 4)
        found[:, axis] = -slope / size
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), _TINY)
    return found


def _areas(
    points: NDArray[np.float64], triangles: NDArray[np.int32], normals: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Area of each triangle as seen along the mean of the normals at its corners; the volume."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    mean = sum(normals[triangles[:, i]] for i in range(3))
    faces = np.cross(b - a, c - a) / 2
    lengths = np.maximum(np.linalg.norm(mean, axis=1), _TINY)
    # Source of the volume: the divergence theorem, for the field x / 3.
    volume = float((faces * (a + b + c)).sum()) / 9
    return np.maximum((faces * mean).sum(axis=1) / lengths, 0.0), volume
