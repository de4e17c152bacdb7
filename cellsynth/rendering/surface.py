"""Surfaces of cells as closed triangle meshes, from the field or from masks.

From the field: a lattice of points, of which only those beside the surface are asked for their
signed distance; all others need but a sign, which :mod:`cellsynth.rendering.occupancy` knows.
Marching cubes (Lewiner's, from scikit-image) then puts the vertices where the distance, linear
between neighbouring points, is zero.

From a mask: there is no field, so its voxel faces are rounded off first: the exact signed distance
to them, smoothed over one voxel, at the level that keeps the number of voxels inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from cellsynth.field.folded import FoldedDecoder
from cellsynth.formats.mesh_files import Mesh
from cellsynth.geometry import Grid, Index, Triple
from cellsynth.presets.models import Bound
from cellsynth.rendering.occupancy import occupancy
from cellsynth.shapes.cell_mask import bounding_box
from cellsynth.shapes.distance import signed_distance

__all__ = ["Lattice", "lattice_of_field", "mesh_of_mask", "meshes_by_label"]

# No value is nearer to zero than this share of the spacing: vertices that would fall together
# in a lattice point stay apart.
LEAST = 1e-3
SMOOTHING = 1.0  # voxels, standard deviation
PAD = 4  # voxels around a mask, more than smoothing carries its surface outwards


@dataclass(frozen=True)
class Lattice:
    """Signed distances on the part of a grid around a cell.

    Attributes:
        sdf: ``(z, y, x)`` float32, negative inside, never 0; true beside the surface, elsewhere
            of the right sign. Its border is outside.
        offset: Where in the grid it begins, ``(z, y, x)``; may be -1.
        evaluations: Points at which the field was asked.
    """

    sdf: NDArray[np.float32]
    offset: Index
    evaluations: int


def lattice_of_field(field: FoldedDecoder, grid: Grid, *, bound: Bound) -> Lattice | None:
    """The field on ``grid`` where its surface is; None where nothing is inside.

    Args:
        field: The field of one frame.
        grid: Where to ask.
        bound: How steep the field is.
    """
    found = occupancy(field, grid, bound=bound)
    box = bounding_box(found.inside)
    if box is None:
        return None
    inside = np.pad(found.inside[box], 1)
    z, y, x = (o + s.start - 1 for o, s in zip(found.offset, box, strict=True))
    near = _beside_surface(inside)
    spacing = min(grid.spacing)
    index = np.argwhere(near)
    sdf = np.where(inside, np.float32(-spacing), np.float32(spacing))
    sdf[near] = field.sdf(grid.voxel_to_coords(index + np.array([z, y, x])))
    return Lattice(_signed(sdf, inside, LEAST * spacing), (z, y, x), found.evaluations + len(index))


def meshes_by_label(
    lattice: Lattice, grid: Grid, labels: NDArray[Any], label_grid: Grid
) -> Iterator[tuple[int, Mesh]]:
    """The surface of each cell in a frame, with the label that the frame's mask gives it.

    Where the lattice joins what the mask has apart, or the other way round, the mask decides: a
    point belongs to the label of its voxel, or else to the nearest label. Pieces in which the
    mask has no cell were dropped there, and are here.

    Args:
        lattice: The field of the frame.
        grid: The lattice's grid.
        labels: The frame's mask ``(z, y, x)``.
        label_grid: The mask's grid.

    Yields:
        Label and mesh, vertices in µm if the spacing of ``label_grid`` is; they count from the
        centre of its voxel ``[0, 0, 0]``.
    """
    inside = lattice.sdf < 0
    owner = _owners(inside, _sampled(lattice, grid, labels, label_grid))
    origin = np.asarray(label_grid.origin[::-1])
    for label in (np.flatnonzero(np.bincount(owner.ravel())[1:]) + 1).tolist():
        mine = owner == label
        box = bounding_box(mine, grow=1)
        assert box is not None
        sdf = np.abs(lattice.sdf[box])
        np.negative(sdf, out=sdf, where=mine[box])
        index, faces = _marching_cubes(sdf)
        index += np.array([s.start for s in box]) + lattice.offset
        yield label, Mesh((grid.voxel_to_coords(index) - origin).astype(np.float32), faces)


def mesh_of_mask(mask: NDArray[Any], voxel_size_um: Triple, offset: Index = (0, 0, 0)) -> Mesh:
    """A smooth surface of the voxels of one cell.

    Args:
        mask: ``(z, y, x)``; everything but 0 is inside, and something is.
        voxel_size_um: ``(z, y, x)`` in µm.
        offset: Where in the frame the mask lies, ``(z, y, x)``.

    Returns:
        The mesh, in µm from the centre of the frame's voxel ``[0, 0, 0]``.
    """
    inside = np.pad(mask != 0, PAD)
    distance = signed_distance(inside, voxel_size_um)
    smooth = gaussian_filter(distance, SMOOTHING, output=np.float32)
    volume = int(np.count_nonzero(inside))
    below, above = np.partition(smooth.ravel(), [volume - 1, volume])[volume - 1 : volume + 1]
    smooth -= (below + above) / 2
    inside = smooth < 0
    for axis in range(3):  # closed, whatever the cell looks like
        np.moveaxis(inside, axis, 0)[[0, -1]] = False
    index, faces = _marching_cubes(_signed(smooth, inside, LEAST * min(voxel_size_um)))
    index += np.asarray(offset) - PAD
    return Mesh((index * voxel_size_um)[:, ::-1].astype(np.float32), faces)


def _signed(
    sdf: NDArray[np.float32], inside: NDArray[np.bool_], least: float
) -> NDArray[np.float32]:
    """``sdf`` with the sign that ``inside`` says, and not too near to zero."""
    signed: NDArray[np.float32] = np.where(
        inside, np.minimum(sdf, np.float32(-least)), np.maximum(sdf, np.float32(least))
    )
    return signed


def _beside_surface(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Corners of the cubes of eight points that the surface passes through."""
    corners = [
        tuple(slice(1, None) if far else slice(-1) for far in at)
        for at in product((False, True), repeat=3)
    ]
    some = np.zeros([n - 1 for n in inside.shape], np.bool_)
    every = np.ones_like(some)
    for corner in corners:
        some |= inside[corner]
        every &= inside[corner]
    near = np.zeros_like(inside)
    for corner in corners:
        near[corner] |= some & ~every
    return near


def _sampled(
    lattice: Lattice, grid: Grid, labels: NDArray[Any], label_grid: Grid
) -> NDArray[np.uint16]:
    """The mask's label at each point of the lattice."""
    picked = []
    for axis, n in enumerate(lattice.sdf.shape):
        at = grid.origin[axis] + (np.arange(n) + lattice.offset[axis]) * grid.spacing[axis]
        voxel = np.rint((at - label_grid.origin[axis]) / label_grid.spacing[axis])
        picked.append(np.clip(voxel, 0, labels.shape[axis] - 1).astype(np.int64))
    sampled: NDArray[np.uint16] = labels[np.ix_(*picked)].astype(np.uint16)
    return sampled


def _owners(inside: NDArray[np.bool_], sampled: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Whose each point inside is; 0 outside and in pieces that are nobody's."""
    owner = np.where(inside, sampled, np.uint16(0))
    pieces = cc3d.connected_components(inside.view(np.uint8), connectivity=26)
    somebodys = np.bincount(pieces.ravel(), weights=(owner > 0).ravel()) > 0
    unclear = inside & (owner == 0) & somebodys[pieces]
    if unclear.any():
        present = np.unique(owner[owner > 0])
        if len(present) == 1:
            owner[unclear] = present[0]
        else:
            nearest = distance_transform_edt(
                owner == 0, return_distances=False, return_indices=True
            )
            owner[unclear] = owner[tuple(nearest[:, unclear])]
    return owner


def _marching_cubes(sdf: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices in z, y, x and faces, counterclockwise from outside once they are x, y, z."""
    from skimage.measure import marching_cubes

    verts, faces, _, _ = marching_cubes(sdf, 0.0, gradient_direction="ascent")  # type: ignore[no-untyped-call]
    return verts.astype(np.float64), faces.astype(np.int64)
