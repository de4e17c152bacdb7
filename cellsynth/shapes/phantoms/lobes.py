"""One body that constricts into two: the implicit surface of a dividing nucleus.

Every frame holds two lobes. Before the division they lie in one another and draw apart in the last
minutes, joined by a smooth union whose neck thins; from the division frame on they are apart. A
lobe is an ellipsoid with a few low-order bumps:

    f(p) = |q| / ρ(q / |q|) - r,   q = E⁻¹ (p - c),   ρ(u) = 1 + Σ aⱼ Pₗ₍ⱼ₎(u · nⱼ)

with centre c, radius r, stretch E of determinant 1 (so that it leaves the volume alone) and
Legendre polynomials P of degree 3 and 4 about fixed directions nⱼ. f is negative inside and close
to a distance near the surface. Points and lengths are in µm, points in z, y, x, and the centroid
of the family is the origin in every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cellsynth.shapes.phantoms.bodies import Family

__all__ = [
    "MODE_DEGREES",
    "bump_heights",
    "exponential",
    "lobe_field",
    "smooth_union",
    "sphere_directions",
]

Array = NDArray[np.float64]

MODE_DEGREES = (3, 3, 3, 3, 4, 4, 4, 4)
"""Degree of each bump. Degree 2 is the ellipsoid's; above 4 bumps look like noise, not nuclei."""


def sphere_directions(n: int) -> Array:
    """``n`` unit vectors ``(n, 3)`` spread evenly over the sphere (a Fibonacci lattice)."""
    index = np.arange(n) + 0.5
    height = 1 - 2 * index / n
    angle = index * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.stack([height, ring * np.cos(angle), ring * np.sin(angle)], axis=1)


def exponential(symmetric: Array) -> Array:
    """Matrix exponential of symmetric matrices ``(…, 3, 3)``; of determinant 1 if of trace 0."""
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.exp(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def lobe_field(
    family: Family, frame: int, lobe: int, points: Sequence[NDArray[np.floating[Any]]]
) -> NDArray[Any]:
    """The field f of one lobe, in µm.

    Args:
        points: Coordinates z, y, x: three arrays that broadcast against each other, so that a
            regular grid is three short axes.

    Returns:
        An array of the broadcast shape, in the type of the points.
    """
    dtype = points[0].dtype
    relative = [
        axis - dtype.type(c) for axis, c in zip(points, family.centres_um[frame, lobe], strict=True)
    ]
    inverse = np.linalg.inv(family.stretches[frame, lobe]).astype(dtype)
    length = np.zeros(np.broadcast_shapes(*(axis.shape for axis in relative)), dtype)
    for row in inverse:
        length += _dot(row, relative) ** 2
    np.sqrt(length, out=length)
    # At the centre itself every direction will do; the field there is -r with any bumps.
    reciprocal = 1 / np.maximum(length, dtype.type(1e-9))
    # n · q is linear in the point, so each cosine costs three short products and two sums.
    rows = family.mode_directions.astype(dtype) @ inverse
    bumps = np.zeros_like(length)
    for row, degree, height in zip(
        rows, MODE_DEGREES, family.mode_heights[frame, lobe].astype(dtype), strict=True
    ):
        bumps += height * _legendre(degree, _dot(row, relative) * reciprocal)
    return np.asarray(length / (1 + bumps) - dtype.type(family.radii_um[frame, lobe]))


def smooth_union(a: NDArray[Any], b: NDArray[Any], width: float) -> NDArray[Any]:
    """Smooth minimum of two fields: ``min(a, b)``, and lower by up to ``width`` / 4 near a = b.

    Source: the quadratic smooth minimum of I. Quilez, "smooth minimum".
    """
    if width <= 0:
        return np.asarray(np.minimum(a, b))
    overlap = np.maximum(width - np.abs(a - b), 0)
    return np.asarray(np.minimum(a, b) - overlap**2 / a.dtype.type(4 * width))


def _dot(row: Array, axes: list[Array]) -> Array:
    return np.asarray(row[0] * axes[0] + row[1] * axes[1] + row[2] * axes[2])


def bump_heights(cosines: Array, heights: Array) -> Array:
    """Sum of the bumps ``(n,)`` at cosines ``(n, m)``."""
    columns = [
        height * _legendre(degree, cosine)
        for degree, cosine, height in zip(MODE_DEGREES, cosines.T, heights, strict=True)
    ]
    return np.asarray(np.sum(columns, axis=0))


def _legendre(degree: int, c: Array) -> Array:
    square = c * c
    if degree == 3:
        return c * (2.5 * square - 1.5)
    return (4.375 * square - 3.75) * square + 0.375
