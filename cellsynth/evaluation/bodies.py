"""Bodies whose volume and surface are known, as masks: what measures are checked by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.geometry import Triple, random_rotation

__all__ = ["Body", "ball", "capsule", "ellipsoid", "spiny_ball", "voxelise"]

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Body:
    """A body around the origin.

    Attributes:
        inside: Which of the points ``(…, 3)``, x, y, z in µm, lie in it.
        reach_um: All of it lies within this of the origin.
        volume_um3: Exact volume; NaN where it has no closed form.
        surface_um2: Exact surface.
    """

    inside: Callable[[Points], NDArray[np.bool_]]
    reach_um: float
    volume_um3: float
    surface_um2: float


def ball(radius: float) -> Body:
    """A ball."""
    return ellipsoid(radius, radius, radius)


def ellipsoid(a: float, b: float, c: float) -> Body:
    """An ellipsoid of these half axes.

    Source of the surface: Legendre's form, in incomplete elliptic integrals.
    """
    from scipy import special

    long, middle, short = sorted((a, b, c), reverse=True)
    if long == short:
        surface = 4 * math.pi * long**2
    else:
        phi = math.acos(short / long)
        m = (long**2 * (middle**2 - short**2)) / (middle**2 * (long**2 - short**2))
        second, first = special.ellipeinc(phi, m), special.ellipkinc(phi, m)
        mixed = second * math.sin(phi) ** 2 + first * math.cos(phi) ** 2
        surface = 2 * math.pi * (short**2 + long * middle * mixed / math.sin(phi))
    axes = np.array([a, b, c])
    return Body(
        lambda p: ((p / axes) ** 2).sum(axis=-1) <= 1, long, 4 / 3 * math.pi * a * b * c, surface
    )


def capsule(radius: float, length: float) -> Body:
    """A tube along x of that length, closed by half a ball at either end."""
    return Body(
        lambda p: _to_segment(p, 0, length / 2) <= radius**2,
        length / 2 + radius,
        math.pi * radius**2 * (length + 4 / 3 * radius),
        2 * math.pi * radius * (length + 2 * radius),
    )


def spiny_ball(radius: float, process_radius: float, reach: float) -> Body:
    """A ball with six round-ended processes, along all axes and out to ``reach``."""
    sunk = math.sqrt(radius**2 - process_radius**2)
    tip = reach - process_radius
    cap = 2 * math.pi * radius * (radius - sunk)
    process = 2 * math.pi * process_radius * (tip - sunk + process_radius)

    def inside(p: Points) -> NDArray[np.bool_]:
        in_ball = (p**2).sum(axis=-1) <= radius**2
        to_processes = np.min([_to_segment(p, axis, tip) for axis in range(3)], axis=0)
        return np.asarray(in_ball | (to_processes <= process_radius**2))

    surface = 4 * math.pi * radius**2 + 6 * (process - cap)
    return Body(inside, reach, math.nan, surface)


def _to_segment(points: Points, axis: int, half_length: float) -> NDArray[np.float64]:
    """Squared distance to the part of an axis within ``half_length`` of the origin."""
    moved = points.copy()
    moved[..., axis] -= np.clip(points[..., axis], -half_length, half_length)
    return np.asarray((moved**2).sum(axis=-1))


def voxelise(
    body: Body, voxel_size_um: Triple, rng: np.random.Generator, *, turn: bool = True
) -> NDArray[np.bool_]:
    """The mask ``(z, y, x)`` of a body that lies anyhow between the voxels, turned at random."""
    z, y, x = (
        (np.arange(-k, k + 1) + rng.uniform(-0.5, 0.5)) * size
        for k, size in ((math.ceil(body.reach_um / s) + 1, s) for s in voxel_size_um)
    )
    points = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], axis=-1)
    return body.inside(points @ random_rotation(rng) if turn else points)
