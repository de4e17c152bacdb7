"""How right the surface of a mask is, by several methods: ``python benchmarks/surfaces.py``.

Bodies of known surface lie at random places and orientations on voxels of several shapes; sizes are
in sides of the smallest axis. Each entry is the mean error in per cent, and the worst of the times
tried. The first method is ours; the others are what it was chosen from:

- *plain*: the area of the marching-cubes mesh of the mask;
- *level*: of the mesh of the mask smoothed by a normal distribution of one voxel, at 1/2;
- *level, volume*: the same, at the level that keeps the volume;
- *Taubin*: of the mask's mesh, its points smoothed 30 times back and forth (0.6, -0.625);
- *Crofton*: no mesh, lines in 13 directions (:mod:`cellsynth.evaluation.descriptors`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from reporting import print_machine, print_table
from scipy import ndimage, optimize, sparse
from skimage.measure import marching_cubes, mesh_surface_area

from cellsynth.evaluation.bodies import Body, ball, capsule, ellipsoid, spiny_ball, voxelise
from cellsynth.evaluation.descriptors import describe
from cellsynth.evaluation.mask_surface import mask_surface
from cellsynth.geometry import Triple

VOXELS: tuple[Triple, ...] = ((1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (5.0, 1.0, 1.0))
BODIES: dict[str, Body] = {
    "ball, radius 3": ball(3),
    "ball, 5": ball(5),
    "ball, 10": ball(10),
    "ball, 30": ball(30),
    "ellipsoid, 15 25 40": ellipsoid(15, 25, 40),
    "ellipsoid, 30 30 8": ellipsoid(30, 30, 8),
    "capsule, radius 2": capsule(2, 40),
    "capsule, 3": capsule(3, 40),
    "capsule, 4": capsule(4, 40),
    "capsule, 15": capsule(15, 40),
    "body of 20, processes of 3": spiny_ball(20, 3, 45),
    "body of 20, processes of 2": spiny_ball(20, 2, 45),
}
Mask = NDArray[np.bool_]
ROOM = 6


def ours(mask: Mask, voxel: Triple) -> float:
    return mask_surface(mask, voxel).area_um2


def plain(mask: Mask, voxel: Triple) -> float:
    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=voxel)
    return float(mesh_surface_area(vertices, faces))


def level(mask: Mask, voxel: Triple) -> float:
    return _area_at(_smooth(mask), 0.5, voxel)


def level_volume(mask: Mask, voxel: Triple) -> float:
    smooth = _smooth(mask)
    wanted = np.count_nonzero(mask)

    def excess(value: float) -> float:
        vertices, faces, _, _ = marching_cubes(smooth, value)
        a, b, c = (vertices[faces[:, i]] for i in range(3))
        return float(abs((np.cross(a, b) * c).sum()) / 6 - wanted)

    top = 0.98 * float(smooth.max())
    return _area_at(smooth, float(optimize.brentq(excess, 0.02, top, xtol=1e-3)), voxel)


def taubin(mask: Mask, voxel: Triple) -> float:
    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=voxel)
    points = vertices.astype(np.float64)
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ones = np.ones(len(ends))
    joined = sparse.coo_matrix((ones, (ends[:, 0], ends[:, 1])), shape=(len(points),) * 2).tocsr()
    joined = (joined + joined.T > 0).astype(np.float64)
    mean = sparse.diags(1 / np.asarray(joined.sum(axis=1)).ravel()) @ joined
    for _ in range(30):
        for step in (0.6, -0.625):
            points += step * (mean @ points - points)
    return float(mesh_surface_area(points, faces))


def crofton(mask: Mask, voxel: Triple) -> float:
    return describe(mask, voxel).surface_um2


def _smooth(mask: Mask) -> NDArray[np.float32]:
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(
        np.pad(mask, ROOM).astype(np.float32), 1.0
    )
    return smooth


def _area_at(smooth: NDArray[np.float32], value: float, voxel: Triple) -> float:
    if smooth.max() <= value:
        return 0.0
    vertices, faces, _, _ = marching_cubes(smooth, value, spacing=voxel)
    return float(mesh_surface_area(vertices, faces))


METHODS: dict[str, Callable[[Mask, Triple], float]] = {
    "ours": ours,
    "plain": plain,
    "level": level,
    "level, volume": level_volume,
    "Taubin": taubin,
    "Crofton": crofton,
}


def rows(voxel: Triple, times: int) -> Iterator[tuple[str, ...]]:
    """One a body."""
    for name, body in BODIES.items():
        masks = [voxelise(body, voxel, np.random.default_rng(i)) for i in range(times)]
        shown = []
        for method in METHODS.values():
            errors = [100 * (method(mask, voxel) / body.surface_um2 - 1) for mask in masks]
            shown.append(f"{np.mean(errors):+.2f} ({max(errors, key=abs):+.1f})")
        yield (name, *shown)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=8, help="places and orientations of each body")
    given = parser.parse_args()
    print(f"`{' '.join(['python', *sys.argv])}`\n")
    print_machine()
    for voxel in VOXELS:
        print(f"Voxels of {' × '.join(f'{s:g}' for s in voxel)} (z, y, x):\n")
        print_table(("body", *METHODS), rows(voxel, given.times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
