"""Training points: drawn once from the signed distances, off the grid, then read from disk.

Points lie non-uniformly, as in the paper: a share inside the cell or near its surface, the rest
anywhere in the unit ball. Among the near ones those at the surface are drawn most, which is where
the shape is decided: a thin process has hardly any point that lies deep. Distances between voxel
centres are interpolated trilinearly, so anisotropic voxels cost no labels. A point is kept as four
16-bit integers; the coordinates are rounded *before* the distance is looked up, so the rounding
is not an error.

The pool is one memory-mapped file. A step touches a few kilobytes of it, so a data set larger
than memory trains. A GPU that has room for it holds all of it, and draws there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from torch import Tensor

from cellsynth.errors import StorageError
from cellsynth.geometry import Grid
from cellsynth.presets.recipe import Recipe
from cellsynth.shapes.store import ShapeStore

__all__ = ["PointPool", "build_pool"]

SCALE = 32767  # a coordinate in [-1, 1], and a distance over the truncation, as int16
FAR_TRIES = 64


def build_pool(
    path: Path,
    store: ShapeStore,
    recipe: Recipe,
    *,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> PointPool:
    """Draw the points of every frame and write them to ``path`` (a ``.npy`` file).

    Args:
        path: Written under a temporary name and renamed when whole.
        store: Signed distances of the training sequences.
        recipe: Says how many points, and which share lies near.
        seed: Each frame draws from its own stream, so the pool does not depend on their order.
        on_progress: Called with frames done and frames in all.

    Raises:
        StorageError: The disk is full or not writable.
    """
    near = _near_count(recipe)
    total = store.n_sequences * store.n_frames
    part = path.with_name(path.name + ".part")
    try:
        pool = open_memmap(part, mode="w+", dtype=np.int16, shape=(total, recipe.pool_points, 4))
        # Memory-mapped pages fail with a signal, not an error, where the disk is full: ask first.
        with part.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        for i in range(total):
            sequence, frame = divmod(i, store.n_frames)
            rng = np.random.default_rng([seed, sequence, frame])
            pool[i] = _frame_points(store, sequence, frame, near=near, recipe=recipe, rng=rng)
            if on_progress:
                on_progress(i + 1, total)
        pool.flush()
        del pool
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot write training points: {error.strerror}") from error
    return PointPool(path, recipe, store.n_frames, store.truncation)


class PointPool:
    """Points of all frames, ``(sequences × frames, points, 4)`` on disk: x, y, z, distance."""

    def __init__(self, path: Path, recipe: Recipe, n_frames: int, truncation: float) -> None:
        self._points = np.load(path, mmap_mode="r")
        self._held: Tensor | None = None
        self._recipe = recipe
        self.n_frames = n_frames
        self._scale = np.array([1, 1, 1, truncation], np.float32) / SCALE

    def hold(self, device: torch.device) -> None:
        """Keep all points on ``device``, from where steps then are drawn."""
        self._held = torch.from_numpy(np.array(self._points)).to(device)

    @property
    def nbytes(self) -> int:
        """Size of all points."""
        return int(self._points.nbytes)

    @property
    def n_sequences(self) -> int:
        """Training sequences."""
        return int(len(self._points) // self.n_frames)

    def sequence(self, i: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """All points of sequence ``i``: ``(frames, points, 3)`` as stored, and their distances.

        Each frame's points lie near first, then far; within both in random order.
        """
        rows = self._points[i * self.n_frames : (i + 1) * self.n_frames]
        values = np.multiply(rows, self._scale, dtype=np.float32)
        return values[..., :3], values[..., 3]

    @property
    def n_sets(self) -> int:
        """Frames of all sequences: sequence i has those from i · n_frames on."""
        return len(self._points)

    def draw(self, rng: np.random.Generator, which: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """One step's points, on the device that holds them, or else the CPU.

        Args:
            rng: Where the numbers come from.
            which: Numbers of the frames to draw from, ``(frames,)``, counted over all sequences.

        Returns:
            Points ``(frames, points, 3)`` in x, y, z as stored (aligned, not yet turned by the
            learned rotation), and distances ``(frames, points)`` in units of Ω.
        """
        recipe, near = self._recipe, _near_count(self._recipe)
        frames, points = len(which), recipe.points_per_frame
        n_near = min(round(points * recipe.points_near), near)
        n_near = max(n_near, points + near - self._points.shape[1])  # of far ones so many at most
        n_far = points - n_near
        # Points lie in random order already: a run of them is a draw.
        choices = near - n_near + 1, self._points.shape[1] - near - n_far + 1
        first = rng.integers(np.tile(choices, frames)).reshape(frames, 2)
        first[:, 1] += near
        if self._held is not None:
            runs = [
                a[:, None] + np.arange(n) for a, n in zip(first.T, (n_near, n_far), strict=True)
            ]
            at = which[:, None], np.concatenate(runs, axis=1)
            rows, columns, scale = (
                torch.from_numpy(x).to(self._held.device) for x in (*at, self._scale)
            )
            values = self._held[rows, columns] * scale
        else:
            drawn = np.empty((frames, points, 4), np.int16)
            for row, i, (a, b) in zip(drawn, which, first, strict=True):
                row[:n_near] = self._points[i, a : a + n_near]
                row[n_near:] = self._points[i, b : b + n_far]
            values = torch.from_numpy(np.multiply(drawn, self._scale, dtype=np.float32))
        return values[..., :3], values[..., 3]


def _near_count(recipe: Recipe) -> int:
    return max(1, round(recipe.pool_points * recipe.points_near))


def _frame_points(
    store: ShapeStore,
    sequence: int,
    frame: int,
    *,
    near: int,
    recipe: Recipe,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Points of one frame, ``(pool_points, 4)`` int16: ``near`` near ones, then the others."""
    sdf = store.sdf(sequence, frame).astype(np.float32)
    grid, alignment = store.grid(sequence, frame)
    # Nothing is known within a voxel, and distances end at the truncation: near lies between.
    voxel = float(np.prod(grid.spacing)) ** (1 / 3)
    reach = 0.5 * store.truncation
    if recipe.near_um is not None:
        reach = recipe.near_um / store.half_extent_um
    reach = min(max(reach, voxel), 0.9 * store.truncation)
    lookup = _Lookup(sdf, grid, alignment, store.truncation)

    points = np.empty((recipe.pool_points, 4), np.int16)
    # A voxel's diagonal more: points are drawn around voxel centres and may lie closer than them.
    slack = float(np.linalg.norm(grid.spacing))
    candidates = np.flatnonzero(sdf <= reach + slack)
    pick = _picker(sdf.ravel()[candidates], recipe.focus)
    filled = 0
    while filled < near:
        picked = np.unravel_index(candidates[pick(rng, near)], sdf.shape)
        index = np.stack(picked, axis=1) + rng.uniform(-0.5, 0.5, (near, 3))
        coords = grid.voxel_to_coords(index) @ alignment
        found = lookup(coords[np.linalg.norm(coords, axis=1) <= 1])
        found = found[found[:, 3] <= reach * SCALE / store.truncation][: near - filled]
        points[filled : filled + len(found)] = found
        filled += len(found)
    tries = 0
    while filled < len(points):
        coords = rng.uniform(-1, 1, (2 * (len(points) - filled) + 64, 3))
        found = lookup(coords[np.linalg.norm(coords, axis=1) <= 1])
        tries += 1
        # A cell that all but fills the ball leaves nothing far: anywhere has to do.
        if tries <= FAR_TRIES:
            found = found[found[:, 3] > reach * SCALE / store.truncation]
        found = found[: len(points) - filled]
        points[filled : filled + len(found)] = found
        filled += len(found)
    return points


def _picker(
    sdf: NDArray[np.float32], focus: float | None
) -> Callable[[np.random.Generator, int], NDArray[np.int64]]:
    """Draws numbers of candidates, whose distances are ``sdf``, more often near the surface."""
    if focus is None:
        return lambda rng, n: rng.integers(len(sdf), size=n)
    total = np.cumsum(focus / (focus + np.abs(sdf)), dtype=np.float64)
    return lambda rng, n: np.searchsorted(total, rng.uniform(0, total[-1], n), side="right")


class _Lookup:
    """Distances at arbitrary points, as rows of int16."""

    def __init__(
        self,
        sdf: NDArray[np.float32],
        grid: Grid,
        alignment: NDArray[np.float64],
        truncation: float,
    ) -> None:
        self._sdf = sdf
        self._grid = grid
        self._alignment = alignment
        self._truncation = truncation

    def __call__(self, coords: NDArray[np.float64]) -> NDArray[np.int16]:
        """Rows x, y, z, distance of aligned points ``(n, 3)``."""
        rows = np.empty((len(coords), 4), np.int16)
        rows[:, :3] = np.rint(coords * SCALE)
        where = rows[:, :3].astype(np.float64) / SCALE @ self._alignment.T
        index = self._grid.coords_to_voxel(where)
        # Beyond the crop everything is further than the truncation.
        sdf = map_coordinates(
            self._sdf, index.T, order=1, mode="constant", cval=self._truncation, prefilter=False
        )
        # 16 bits on disk may have rounded what was cut off to beyond the truncation.
        rows[:, 3] = np.rint(sdf * (SCALE / self._truncation)).clip(-SCALE, SCALE)
        return rows
