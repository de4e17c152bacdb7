"""Surfaces of cells small enough for a page: few faces, whole numbers, text.

Surfaces are those of the masks (:func:`~cellsynth.rendering.surface.mesh_of_mask`), so that sets
of others have them too, thinned out by quadric error metrics: where the surface is flat, edges go
first.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.formats.mesh_files import Mesh
from cellsynth.geometry import Index, Triple
from cellsynth.rendering.surface import mesh_of_mask
from cellsynth.shapes.cell_mask import bounding_box

__all__ = ["FACES", "cell_mesh", "encode_meshes"]

FACES = 2600  # in a frame, all its cells together
FEWEST_FACES = 120  # of a cell
# Voxels along the longest side of a cell; where there are more, every second, third … is taken.
LONGEST = 72
STEPS = 65535  # positions are whole numbers from 0, of the box around a sequence's cells


def cell_mesh(
    labels: NDArray[Any], label: int, voxel_size_um: Triple, *, faces: int, start: Index = (0, 0, 0)
) -> Mesh | None:
    """The surface of one cell of a frame, with about so many faces at most.

    Args:
        labels: The frame or a part of it, ``(z, y, x)``.
        label: Which cell.
        voxel_size_um: ``(z, y, x)``, in any unit.
        faces: About how many triangles.
        start: Where in the frame the part begins.

    Returns:
        The mesh, x, y, z in that unit from the centre of the frame's voxel ``[0, 0, 0]``; None if
        the cell is not there, or goes under where voxels are left out.
    """
    from fast_simplification import simplify

    box = bounding_box(labels == label)
    if box is None:
        return None
    steps = [max(1, -(-(part.stop - part.start) // LONGEST)) for part in box]
    starts = [part.start // step for part, step in zip(box, steps, strict=True)]
    taken = tuple(
        slice(start * step, part.stop, step)
        for start, step, part in zip(starts, steps, box, strict=True)
    )
    mask = labels[taken] == label
    if not mask.any():
        return None
    z, y, x = (size * step for size, step in zip(voxel_size_um, steps, strict=True))
    verts, triangles = mesh_of_mask(mask, (z, y, x), (starts[0], starts[1], starts[2]))
    if len(triangles) > faces:
        verts, triangles = simplify(verts, triangles.astype(np.int32), target_count=faces)
    moved = verts + np.multiply(start, voxel_size_um)[::-1]
    return Mesh(moved.astype(np.float32), np.asarray(triangles, np.int64))


@dataclass(frozen=True)
class _Box:
    low: NDArray[np.float64]
    side: NDArray[np.float64]


def encode_meshes(frames: Sequence[Sequence[tuple[int, Mesh]]]) -> dict[str, Any]:
    """The meshes of a sequence, frame by frame and cell by cell, as JSON has it.

    ``low`` and ``side`` are the box around all of them, x, y, z, ``reach`` the distance from its
    middle to the farthest vertex; ``frames`` lists for each cell its label, vertices and faces:
    little-endian uint16 in base64, positions as 65535ths of the box.
    """
    every = [mesh.verts for frame in frames for _, mesh in frame]
    box, reach = _Box(np.zeros(3), np.ones(3)), 1.0
    if every:
        points = np.concatenate(every).astype(np.float64)
        low = points.min(axis=0)
        box = _Box(low, np.maximum(points.max(axis=0) - low, 1e-9))
        reach = float(np.linalg.norm(points - low - box.side / 2, axis=1).max())
    return {
        "low": [float(f"{value:.6g}") for value in box.low],
        "side": [float(f"{value:.6g}") for value in box.side],
        "reach": float(f"{max(reach, 1e-9):.6g}"),
        "frames": [[_encoded(label, mesh, box) for label, mesh in frame] for frame in frames],
    }


def _encoded(label: int, mesh: Mesh, box: _Box) -> dict[str, Any]:
    positions = np.rint((mesh.verts - box.low) / box.side * STEPS)
    return {
        "label": label,
        "verts": _text(np.clip(positions, 0, STEPS)),
        "faces": _text(mesh.faces),
    }


def _text(numbers: NDArray[Any]) -> str:
    return base64.b64encode(numbers.astype("<u2").tobytes()).decode("ascii")
