"""A blebbing cell body: an ellipsoid with round bumps that swell and sink back.

A bleb is a sphere on a fixed ray of the body. At rest it lies under the surface; it rises until
half of it stands out, and sinks again. Ellipsoid and spheres are joined by smooth unions. The body
is centred on the origin; points and lengths are in µm, points in z, y, x, times in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.shapes.phantoms.lobes import smooth_union, sphere_directions

__all__ = ["BlebbingBody", "draw_body"]

Array = NDArray[np.float64]
Field = NDArray[np.float32]

_BLEND_UM = 0.6  # width of the smooth union of bleb and body
_REST_UM = 0.35  # how deep under the surface a sphere at rest lies: the blend must not show it

_N_BLEBS = 30
_RADII_UM = (1.0, 1.9)
_PERIODS = (0.9, 1.7)  # in units of t: 13 to 25 of 30 frames, half of them above rest
_ASPECT = (0.36, -0.04, -0.32)  # mean logarithms of the semi-axes: a spread cell is flat and long
_ASPECT_SD = 0.08


@dataclass(frozen=True, eq=False)
class BlebbingBody:
    """Shape of a body for any radius and time.

    Attributes:
        stretch: Symmetric ``(3, 3)`` of determinant 1; the ellipsoid is its image of a ball.
        directions: Unit vectors ``(m, 3)`` of the blebs' rays.
        bleb_radii_um: ``(m,)``.
        periods, phases: Course of each bleb ``(m,)``: its height is sin² of 2πt / period + phase
            where the sine is positive, and 0 elsewhere.
    """

    stretch: Array
    directions: Array
    bleb_radii_um: Array
    periods: Array
    phases: Array

    def heights(self, t: float) -> Array:
        """How far each bleb has risen ``(m,)``: 0 at rest, 1 half out of the surface."""
        wave = np.sin(2 * np.pi * t / self.periods + self.phases)
        return np.asarray(np.maximum(wave, 0) ** 2)

    def surface(self, directions: Array, radius_um: float) -> Array:
        """Points ``(n, 3)`` of the ellipsoid, without blebs, on rays ``(n, 3)``."""
        lengths = np.linalg.norm(directions @ np.linalg.inv(self.stretch), axis=1)
        return np.asarray(directions * (radius_um / lengths)[:, None])

    def normals(self, points: Array) -> Array:
        """Unit outward normals ``(n, 3)`` of the ellipsoids through ``points`` ``(n, 3)``."""
        inverse = np.linalg.inv(self.stretch)
        normals = points @ (inverse @ inverse)
        return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))

    def heights_above_um(self, points: Array, radius_um: float) -> Array:
        """About the distance ``(n,)`` of points from the ellipsoid, negative inside."""
        return np.asarray(np.linalg.norm(points @ np.linalg.inv(self.stretch), axis=1) - radius_um)

    def blebs(self, t: float, radius_um: float) -> Array:
        """Centres ``(m, 3)`` of the blebs' spheres."""
        foot = self.surface(self.directions, radius_um)
        rest = self.bleb_radii_um + _REST_UM
        rise = self.heights(t) * rest - rest
        return np.asarray(foot + rise[:, None] * self.normals(foot))

    def caps(self, t: float) -> Array:
        """Volumes ``(m,)`` in µm³ that stand out of the surface, as if it were flat."""
        rest = self.bleb_radii_um + _REST_UM
        out = np.maximum(self.heights(t) * rest - _REST_UM, 0)
        return np.asarray(np.pi * out**2 * (self.bleb_radii_um - out / 3))

    def box(self, t: float, radius_um: float) -> tuple[Array, Array]:
        """Least and greatest corner ``(3,)`` of a box that holds the body."""
        half = radius_um * np.linalg.norm(self.stretch, axis=1)
        centres, radii = self.blebs(t, radius_um), self.bleb_radii_um[:, None]
        low = np.minimum((centres - radii).min(axis=0), -half) - _BLEND_UM / 4
        high = np.maximum((centres + radii).max(axis=0), half) + _BLEND_UM / 4
        return low, high

    def field(self, t: float, radius_um: float, axes: tuple[Array, Array, Array]) -> Field:
        """The body's field on a regular grid, negative inside, near a distance at the surface.

        Args:
            axes: Coordinates of the grid along z, y and x, evenly spaced.
        """
        inverse = np.linalg.inv(self.stretch).astype(np.float32)
        z, y, x = np.ix_(*(axis.astype(np.float32) for axis in axes))
        field = np.zeros((len(axes[0]), len(axes[1]), len(axes[2])), np.float32)
        for a, b, c in inverse:
            field += (a * z + b * y + c * x) ** 2
        np.sqrt(field, out=field)
        field -= np.float32(radius_um)
        risen = self.heights(t) > 0
        centres = self.blebs(t, radius_um)
        for centre, radius in zip(centres[risen], self.bleb_radii_um[risen], strict=True):
            where = tuple(_reach(axes, centre, float(radius) + _BLEND_UM))
            if any(part.stop <= part.start for part in where):
                continue
            near = [
                (axis[part] - c).astype(np.float32)
                for axis, part, c in zip(axes, where, centre, strict=True)
            ]
            dz, dy, dx = np.ix_(*near)
            ball = np.sqrt(dz**2 + dy**2 + dx**2) - np.float32(radius)
            field[where] = smooth_union(field[where], ball, _BLEND_UM)
        return field


def _reach(axes: tuple[Array, Array, Array], centre: Array, reach: float) -> Iterator[slice]:
    for axis, c in zip(axes, centre, strict=True):
        begin, end = np.searchsorted(axis, (c - reach, c + reach))
        yield slice(int(begin), int(end))


def draw_body(rng: np.random.Generator, rotation: Array) -> BlebbingBody:
    """Draw a body whose principal axes are the columns of ``rotation`` ``(3, 3)``."""
    logs = np.array(_ASPECT) + _ASPECT_SD * rng.standard_normal(3)
    logs -= logs.mean()
    # Evenly spread rays, jittered by about half their distance, in an order of their own.
    rays = sphere_directions(_N_BLEBS) @ rotation.T
    rays += 0.2 * rng.standard_normal(rays.shape)
    return BlebbingBody(
        stretch=np.asarray((rotation * np.exp(logs)) @ rotation.T, dtype=np.float64),
        directions=rays / np.linalg.norm(rays, axis=1, keepdims=True),
        bleb_radii_um=rng.uniform(*_RADII_UM, _N_BLEBS),
        periods=rng.uniform(*_PERIODS, _N_BLEBS),
        phases=rng.uniform(0, 2 * np.pi, _N_BLEBS),
    )
