"""A warped body: one cell that is stretched, bent and lobed, as an implicit surface.

The body is the image of a star-shaped one,

    |q| < ρ(q / |q|),   log ρ = λ tanh(w / λ),   w(u) = Σ cⱼ Yⱼ(u) + Σ hₖ exp(κ (u · nₖ - 1)),

with real spherical harmonics Y of degree 3 and 4 and a few lobes (dents where h is negative) of
sharpness κ about directions n, under a stretch E of determinant 1, a bend B and a turn R:

    p = s R B(E q) + o,   B(a, b, c) = (a, b + k₁ g(a), c + k₂ g(a)),   g(a) = √(1 + a²) - 1.

ρ has bounds whatever the numbers, and stretch, bend and turn can be undone, so the body is one
piece without a hole and nowhere thin. None of them changes a volume, so that the volume and the
centroid are integrals over the sphere of directions: size s and offset o give the body exactly the
volume asked for, and its centroid at the origin. Lengths are in µm, points in z, y, x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.shapes.phantoms.lobes import sphere_directions

__all__ = ["N_HARMONICS", "WarpedBody", "harmonics"]

Array = NDArray[np.float64]

N_HARMONICS = 16
"""Harmonics of degree 3 and 4. Those of degree 2 are the stretch's, of degree 1 a shift."""

_LIMIT = np.float32(0.45)
"""λ, the bound on log ρ: before the stretch, every radius is 0.64 to 1.57 of the size."""

_DIRECTIONS = sphere_directions(1000)
# Between two of these directions the surface rises by less than this share of its extent.
_SLACK = 1.015


def _sphere_rule(n: int) -> tuple[Array, Array]:
    """Directions and weights, their sum 4π, that integrate polynomials of degree 2n - 1."""
    heights, weights = np.polynomial.legendre.leggauss(n)
    angles = (np.arange(2 * n) + 0.5) * np.pi / n
    ring = np.sqrt(1 - heights**2)[:, None]
    directions = np.stack(
        np.broadcast_arrays(heights[:, None], ring * np.cos(angles), ring * np.sin(angles)), axis=-1
    )
    return directions.reshape(-1, 3), np.repeat(weights, 2 * n) * np.pi / n


_NODES, _WEIGHTS = _sphere_rule(20)
_SHARES, _SHARE_WEIGHTS = np.polynomial.legendre.leggauss(4)
_RAY_RULE = (_SHARES + 1) / 2, _SHARE_WEIGHTS / 2  # from the centre, 0, to the surface, 1


@dataclass(frozen=True, eq=False)
class WarpedBody:
    """One body at one moment.

    Attributes:
        heights: cⱼ, ``(16,)``, in the order of :func:`harmonics`.
        lobe_directions: Unit vectors nₖ, ``(m, 3)``.
        lobe_heights: hₖ, ``(m,)``.
        sharpness: κ.
        stretch: E, symmetric ``(3, 3)``.
        bend: k₁ and k₂.
        turn: R, ``(3, 3)``.
        size_um: s.
        offset_um: o, ``(3,)``.
    """

    heights: Array
    lobe_directions: Array
    lobe_heights: Array
    sharpness: float
    stretch: Array
    bend: Array
    turn: Array
    size_um: float
    offset_um: Array

    @classmethod
    def of_volume(
        cls,
        volume_um3: float,
        *,
        heights: Array,
        lobe_directions: Array,
        lobe_heights: Array,
        sharpness: float,
        stretch: Array,
        bend: Array,
        turn: Array,
    ) -> WarpedBody:
        """The body of that shape and volume whose centroid is the origin."""
        shape = (heights, lobe_directions, lobe_heights, sharpness, stretch, bend, turn)
        unit = cls(*shape, 1.0, np.zeros(3))
        radii = unit.radii(_NODES)
        volume = _WEIGHTS @ radii**3 / 3
        size = float(np.cbrt(volume_um3 / volume))
        moment = np.zeros(3)
        for share, weight in zip(*_RAY_RULE, strict=True):
            points = unit._warped(share * radii[:, None] * _NODES)
            moment += (weight * share**2 * _WEIGHTS * radii**3) @ points
        return cls(*shape, size, -size * moment / volume)

    def radii(self, directions: Array) -> Array:
        """ρ ``(n,)`` in unit directions ``(n, 3)``."""
        return np.asarray(np.exp(self._log_radius(list(directions.T))))

    def surface_um(self, directions: Array) -> Array:
        """Points ``(n, 3)`` of the surface that unit directions ``(n, 3)`` are taken to."""
        return self._warped(self.radii(directions)[:, None] * directions)

    def box_um(self) -> tuple[Array, Array]:
        """Least and greatest corner of a box that holds the body."""
        points = self.surface_um(_DIRECTIONS)
        low, high = points.min(axis=0), points.max(axis=0)
        middle, half = (low + high) / 2, _SLACK * (high - low) / 2
        return middle - half, middle + half

    def farthest_um(self) -> float:
        """Distance from the origin to the farthest point of the surface."""
        return float(np.linalg.norm(self.surface_um(_DIRECTIONS), axis=1).max())

    def inside(self, axes: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.bool_]:
        """Which points are inside.

        Args:
            axes: Coordinates z, y, x: three arrays that broadcast against each other, so that a
                regular grid is three short axes.
        """
        dtype = axes[0].dtype.type
        # B⁻¹ needs the point in the body's own frame, and E⁻¹ follows.
        to_body = self.turn.T / self.size_um
        shift = -to_body @ self.offset_um
        a, b, c = (_dot(row, axes) + dtype(o) for row, o in zip(to_body, shift, strict=True))
        bow = _bow(a)
        b -= dtype(self.bend[0]) * bow
        c -= dtype(self.bend[1]) * bow
        q = [_dot(row, (a, b, c)) for row in np.linalg.inv(self.stretch)]
        length = np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
        # At the centre itself every direction will do: it is inside with any.
        reciprocal = 1 / np.maximum(length, dtype(1e-9))
        unit = [axis * reciprocal for axis in q]
        return np.asarray(length < np.exp(self._log_radius(unit)))

    def _log_radius(self, unit: Sequence[NDArray[np.floating[Any]]]) -> NDArray[Any]:
        # Every step keeps the type of the points, which is float32 on a grid.
        dtype = unit[0].dtype.type
        total = harmonics(self.heights, unit)
        for direction, height in zip(self.lobe_directions, self.lobe_heights, strict=True):
            cosine = _dot(direction, unit)
            total += dtype(height) * np.exp(dtype(self.sharpness) * (cosine - dtype(1)))
        return np.asarray(_LIMIT * np.tanh(total / _LIMIT))

    def _warped(self, points: Array) -> Array:
        """Where points q ``(n, 3)`` are taken to."""
        stretched = points @ self.stretch
        stretched[:, 1:] += np.multiply.outer(_bow(stretched[:, 0]), self.bend)
        return np.asarray(self.size_um * stretched @ self.turn.T + self.offset_um)


def _bow(a: NDArray[Any]) -> NDArray[Any]:
    """g: a parabola near the middle whose slope stays below 1, so that no end is drawn out."""
    return np.asarray(np.sqrt(1 + a * a) - 1)


def harmonics(heights: Array, unit: Sequence[NDArray[np.floating[Any]]]) -> NDArray[Any]:
    """Σ cⱼ Yⱼ(u): real spherical harmonics of degree 3 and 4, of mean square 1 on the sphere.

    Args:
        heights: ``(16,)``, degree 3 first, orders from -l to l.
        unit: The three coordinates of unit vectors.
    """
    x, y, z = unit
    c = (heights * _NORMS).astype(x.dtype)
    xx, yy, zz, xy = x * x, y * y, z * z, x * y
    difference, five, seven = xx - yy, 5 * zz - 1, 7 * zz
    three_x, three_y = xx - 3 * yy, 3 * xx - yy
    total = y * (c[0] * three_y + c[2] * five) + x * (c[4] * five + c[6] * three_x)
    total += z * (c[1] * xy + c[3] * (five - 2) + c[5] * difference)
    total += xy * (c[7] * difference + c[9] * (seven - 1))
    total += z * (y * (c[8] * three_y + c[10] * (seven - 3)))
    total += z * (x * (c[12] * (seven - 3) + c[14] * three_x))
    total += c[11] * ((5 * seven - 30) * zz + 3) + c[13] * difference * (seven - 1)
    total += c[15] * (xx * three_x - yy * three_y)
    return np.asarray(total)


_NORMS = np.sqrt(
    [
        *(35 / 8, 105, 21 / 8, 7 / 4, 21 / 8, 105 / 4, 35 / 8),
        *(315 / 4, 315 / 8, 45 / 4, 45 / 8, 9 / 64, 45 / 8, 45 / 16, 315 / 8, 315 / 64),
    ]
)


def _dot(row: Array, axes: Sequence[NDArray[np.floating[Any]]]) -> NDArray[Any]:
    dtype = axes[0].dtype.type
    z, y, x = (dtype(r) * axis for r, axis in zip(row, axes, strict=True))
    return np.asarray(z + y + x)
