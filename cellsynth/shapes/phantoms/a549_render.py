"""Voxels of a blebbing body with filopodia, each part evaluated in its own box only."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
from numpy.typing import NDArray

from cellsynth.shapes.phantoms.blebs import BlebbingBody
from cellsynth.shapes.phantoms.lobes import smooth_union

__all__ = ["FOOT_UM", "draw_cell"]

Array = NDArray[np.float64]
Field = NDArray[np.float32]
Labels = NDArray[np.uint16]
Axes = tuple[Array, Array, Array]
Path = tuple[Array, Array]

FOOT_UM = 1.2
"""Width of the smooth union of body and shafts: it makes the cone at a filopodium's foot."""

_DEEP_UM = 2.0  # pieces this far inside the body change nothing
_NEAR_UM = 3.2  # pieces this far outside may still meet a risen bleb


def draw_cell(
    axes: Axes, body: BlebbingBody, t: float, radius_um: float, paths: Sequence[Path]
) -> Labels:
    """Label 1 where the cell is: one 26-connected body.

    Where voxels are wider than a shaft, those along its centre line hold it together.

    Args:
        axes: Coordinates of voxel centres along z, y and x, evenly spaced, about the body's centre.
        paths: Nodes ``(n, 3)`` and radii ``(n,)`` of the shafts.
    """
    z, y, x = axes
    labels = np.zeros((len(z), len(y), len(x)), np.uint16)
    for nodes, radii in paths:
        above = body.heights_above_um(nodes, radius_um)
        for k in range(len(nodes) - 1):
            if above[k + 1] > -_DEEP_UM:
                _draw_piece(labels, axes, nodes[k : k + 2], radii[k : k + 2])
    _draw_body(labels, axes, body, t, radius_um, paths)
    _hold_together(labels, axes, paths)
    return labels


def _draw_body(
    labels: Labels,
    axes: Axes,
    body: BlebbingBody,
    t: float,
    radius_um: float,
    paths: Sequence[Path],
) -> None:
    low, high = body.box(t, radius_um)
    where = _box(axes, low - FOOT_UM / 4, high + FOOT_UM / 4)
    near = _cut(axes, where)
    field = body.field(t, radius_um, near)
    feet = np.full(field.shape, FOOT_UM, np.float32)
    for nodes, radii in paths:
        above = body.heights_above_um(nodes, radius_um)
        for k in range(len(nodes) - 1):
            if above[k + 1] > -_DEEP_UM and above[k] < _NEAR_UM:
                a, b, r = nodes[k], nodes[k + 1], radii[k : k + 2]
                pad = float(r.max()) + FOOT_UM
                part = _box(near, np.minimum(a, b) - pad, np.maximum(a, b) + pad)
                square, radius = _piece(_cut(near, part), a, b, r)
                if square.size:
                    np.minimum(feet[part], np.sqrt(square) - radius, out=feet[part])
    labels[where][smooth_union(field, feet, FOOT_UM) < 0] = 1


def _draw_piece(labels: Labels, axes: Axes, ends: Array, radii: Array) -> None:
    reach = float(radii.max())
    where = _box(axes, ends.min(axis=0) - reach, ends.max(axis=0) + reach)
    square, radius = _piece(_cut(axes, where), ends[0], ends[1], radii)
    labels[where][square < radius**2] = 1


def _piece(axes: Axes, a: Array, b: Array, radii: Array) -> tuple[Field, Field]:
    """Squared distance to the segment from a to b, and its radius at the foot of each point.

    The tapered capsule ``√square < radius`` differs from the hull of its end balls in second order
    of the taper, which is 2 % here.
    """
    dz, dy, dx = (axis - c for axis, c in zip(axes, a, strict=True))
    ab = b - a
    length2 = float(ab @ ab)
    dot = np.add.outer(np.add.outer(dz * ab[0], dy * ab[1]), dx * ab[2]).astype(np.float32)
    square = np.add.outer(np.add.outer(dz**2, dy**2), dx**2).astype(np.float32)
    share = np.clip(dot / np.float32(length2), 0, 1)
    square += share * (share * np.float32(length2) - 2 * dot)
    radius = np.float32(radii[0]) + np.float32(radii[1] - radii[0]) * share
    return np.maximum(square, 0), radius


def _hold_together(labels: Labels, axes: Axes, paths: Sequence[Path]) -> None:
    """Make the cell one 26-connected body, in place."""
    origin = np.array([axis[0] for axis in axes])
    spacing = np.array([axis[1] - axis[0] if len(axis) > 1 else 1.0 for axis in axes])
    last = np.array(labels.shape) - 1
    for nodes, _ in [(np.zeros((1, 3)), None), *paths]:
        line = (nodes - origin) / spacing
        # Points less than a voxel apart on each axis are 26-connected once rounded.
        steps = np.ceil(np.abs(np.diff(line, axis=0)).max(axis=1)).astype(int) + 1
        pieces = [
            line[k] + np.linspace(0, 1, n)[:, None] * (line[k + 1] - line[k])
            for k, n in enumerate(steps)
        ]
        voxels = np.concatenate([line[:1], *pieces]).round().astype(int)
        labels[tuple(np.clip(voxels, 0, last).T)] = 1
    bodies, n = cc3d.connected_components(labels, connectivity=26, return_N=True)
    if n > 1:
        centre = np.clip((-origin / spacing).round().astype(int), 0, last)
        labels[bodies != bodies[tuple(centre)]] = 0


def _box(axes: Axes, low: Array, high: Array) -> tuple[slice, slice, slice]:
    """The part of a grid between two corners."""
    z, y, x = (
        slice(*np.searchsorted(axis, ends).tolist())
        for axis, ends in zip(axes, zip(low, high, strict=True), strict=True)
    )
    return z, y, x


def _cut(axes: Axes, where: tuple[slice, slice, slice]) -> Axes:
    z, y, x = (axis[part] for axis, part in zip(axes, where, strict=True))
    return z, y, x
