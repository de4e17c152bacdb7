"""Growing cells of a Platynereis embryo, which deform fast and without rigidity.

Published of the real cells (Wiesner et al. 2024, sections 4.1 and 5, Fig. 8): a frame every 90 s;
30 frames of growth; volume of a cell, averaged over its frames, from 586.5 to 5719.9 µm³ and
3324.0 µm³ on average; 260,903 ± 186,188 voxels of 256³ per frame. The two averages give the voxel,
0.2335 µm. How the spread divides between cells and frames is not published: here a cell grows about
fourfold.

All else is modelled (:mod:`.warped`): cells lengthen, bend, put out lobes and draw them in. How
round they are is our choice, as the paper tells sphericity in a plot only: π^(1/3) (6V)^(2/3) / S
is 0.84 ± 0.05 here, 0.60 ± 0.10 as 36πV² / S³.

The course of a cell is continuous. After the published frames it goes on to deform, while its
growth comes to an end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import betaincinv

from cellsynth.errors import TopologyError
from cellsynth.formats.lineage import Lineage
from cellsynth.geometry import Grid, Index, as_index, random_rotation
from cellsynth.shapes.phantoms.drift import Drift
from cellsynth.shapes.phantoms.lobes import exponential
from cellsynth.shapes.phantoms.phantom import (
    ONE_CELL,
    Labels,
    Triple,
    centred_grid,
    check_frame,
    one_cell_lineage,
    voxel_axes,
    voxel_box,
)
from cellsynth.shapes.phantoms.warped import N_HARMONICS, WarpedBody

__all__ = [
    "FARTHEST_UM",
    "FRAME_INTERVAL_S",
    "MEAN_VOLUMES_UM3",
    "VOXEL_UM",
    "GrowingCell",
    "cells",
]

Array = NDArray[np.float64]

FRAME_INTERVAL_S = 90.0

VOXEL_UM = 0.2335
"""Default voxel size: 3324.0 µm³ are 260,903 voxels of it. Ω of 33 cells, 1.15 times their
farthest body voxel, has a half extent near 30 µm and so is about 256 voxels across."""

FARTHEST_UM = 26.0
"""Farthest a body may reach from its centroid in the published 30 frames."""

MEAN_VOLUMES_UM3 = (586.5, 5719.9)
"""Least and greatest volume of a cell, averaged over the published 30 frames."""

_FRAMES = 30
_COURSE_S = np.asarray(np.arange(_FRAMES) * FRAME_INTERVAL_S, np.float64)  # the published frames

# Distribution of the mean volume between its least and greatest: a beta distribution with mean
# 0.533, which is 3324.0 µm³, and standard deviation 0.355. With the growth below, the voxels per
# frame have their published spread.
_BETA = (0.52, 0.455)
_BIRTH = (0.14, 0.24)  # volume at birth over that of a cell fully grown
_HALF_GROWN_S = (1100.0, 1700.0)  # time at which half of the growth is done
_BREATH = 0.03  # standard deviation of the logarithm of the volume about its growth
# Fractional parts of the golden ratio and of two powers of the plastic number: their multiples fill
# [0, 1) evenly, however few.
_STEPS = np.array([0.6180339887, 0.7548776662, 0.5698402910])

# How shapes vary, tuned by eye and for the mean sphericity. All numbers are standard deviations,
# but for the sharpness and the mean length.
_LASTING = 0.6  # share of a number that is the cell's own for good; the rest of its variance drifts
_MEMORY_S = 600.0  # of what drifts
_SHORTEST_S = 600.0
_LENGTH, _LENGTH_SPREAD = 0.33, 0.14  # logarithm of the long semi-axis
_STRETCH = 0.14  # of the logarithm of the stretch about it
_BEND = 0.55
_CUBIC, _QUARTIC = 0.06, 0.018  # of each harmonic of degree 3 and of degree 4
_LOBES, _LOBE, _SHARPNESS = 3, 0.34, 3.2
_WANDER = 0.5  # of a lobe's place, in radians about each axis

_CHUNK = 40_000  # voxels evaluated at a time


class GrowingCell:
    """One cell: its volume and shape at any time, of which ``n_frames`` frames are shown.

    Args:
        rng: What is drawn of the cell is drawn from it.
        place: Three numbers in [0, 1): where the mean volume, the share of it at birth and the
            time to half of the growth lie in their distributions.
        n_frames: The course does not depend on it.
    """

    frame_interval_s = FRAME_INTERVAL_S

    def __init__(self, rng: np.random.Generator, place: Array, n_frames: int) -> None:
        self.n_frames = n_frames
        least, greatest = MEAN_VOLUMES_UM3
        self.mean_volume_um3 = float(least + (greatest - least) * betaincinv(*_BETA, place[0]))
        self._birth = np.interp(place[1], (0, 1), _BIRTH)
        self._half_grown_s = np.interp(place[2], (0, 1), _HALF_GROWN_S)

        self._breath = Drift(rng, (), memory_s=_MEMORY_S, shortest_s=_SHORTEST_S)
        self._turn = random_rotation(rng)
        self._length = _LENGTH + _LENGTH_SPREAD * rng.standard_normal()
        self._strain, self._bend = _Course(rng, (3, 3)), _Course(rng, (2,))
        self._heights, self._lobes = _Course(rng, (N_HARMONICS,)), _Course(rng, (_LOBES,))
        self._wander = _Course(rng, (_LOBES, 3))
        self._lobe_directions = rng.standard_normal((_LOBES, 3))
        self._lobe_directions /= np.linalg.norm(self._lobe_directions, axis=1, keepdims=True)

    def volume_um3(self, times_s: Array) -> Array:
        """Volume ``(t,)`` at times ``(t,)`` in seconds."""
        published = self._size(_COURSE_S).mean()
        return np.asarray(self.mean_volume_um3 * self._size(times_s) / published)

    def body(self, time_s: float) -> WarpedBody:
        """The body at a time in seconds."""
        now = np.array([time_s])
        strain = _STRETCH * self._strain(now)[0] + np.diag([2, -1, -1]) * self._length / 2
        strain = (strain + strain.T) / 2
        wander = Rotation.from_rotvec(_WANDER * self._wander(now)[0])
        return WarpedBody.of_volume(
            float(self.volume_um3(now)[0]),
            heights=np.repeat([_CUBIC, _QUARTIC], [7, 9]) * self._heights(now)[0],
            lobe_directions=wander.apply(self._lobe_directions),
            lobe_heights=_LOBE * self._lobes(now)[0],
            sharpness=_SHARPNESS,
            # Of determinant 1: without its trace.
            stretch=exponential(strain - np.trace(strain) / 3 * np.eye(3)),
            bend=_BEND * self._bend(now)[0],
            turn=self._turn,
        )

    def lineage(self) -> Lineage:
        """One tracklet, label 1."""
        return one_cell_lineage(self.n_frames)

    def grid(self, voxel_size_um: Triple) -> Grid:
        """The smallest centred grid, in µm, whose border the body touches in no frame."""
        corners = [np.abs(self._body(frame).box_um()) for frame in range(self.n_frames)]
        return centred_grid(np.max(corners, axis=(0, 1)), voxel_size_um)

    def render_crop(
        self, frame: int, grid: Grid, *, half_extent_um: float = 1.0
    ) -> tuple[Labels, Index]:
        """Labels of one frame, and where in the grid the crop begins.

        The body is the same at every voxel size. Voxels that a coarse grid cuts off from the
        largest 26-connected piece are left out.

        Raises:
            InputError: No such frame.
            TopologyError: The cell is between the voxels' centres.
        """
        check_frame(frame, self.n_frames)
        body = self._body(frame)
        begin, end = voxel_box(*body.box_um(), grid, half_extent_um)
        crop = np.zeros(np.maximum(end - begin, 1), np.uint16)
        # A few slices at a time, so that what is computed on the way stays in the cache.
        step = max(1, _CHUNK // max(1, crop[0].size))
        for first in range(0, len(crop), step):
            slices = crop[first : first + step]
            low, high = begin.copy(), end.copy()
            low[0] += first
            high[0] = low[0] + len(slices)
            slices[body.inside(voxel_axes(low, high, grid, half_extent_um))] = ONE_CELL
        if not crop.any():
            size = ", ".join(f"{s * half_extent_um:g}" for s in grid.spacing)
            raise TopologyError(
                f"phantom platynereis frame {frame}: voxels of ({size}) µm show no cell; "
                "use a smaller voxel size"
            )
        whole = cc3d.largest_k(crop, k=1, connectivity=26)
        return np.asarray(whole > 0, np.uint16) * np.uint16(ONE_CELL), as_index(begin)

    def farthest_um(self) -> float:
        """Distance from the origin to the farthest point of the surface in any frame."""
        return max(self._body(frame).farthest_um() for frame in range(self.n_frames))

    def record(self) -> dict[str, object]:
        """The mean volume of the published frames, and the reach."""
        return {
            "mean_volume_um3": round(self.mean_volume_um3, 1),
            "farthest_um": round(self.farthest_um(), 4),
        }

    def stays_within(self, farthest_um: float) -> bool:
        """Whether the body reaches no farther in the published frames, shown or not."""
        return all(self.body(time).farthest_um() <= farthest_um for time in _COURSE_S)

    def _body(self, frame: int) -> WarpedBody:
        return self.body(frame * FRAME_INTERVAL_S)

    def _size(self, times_s: Array) -> Array:
        """Volume in units of that of a cell fully grown."""
        grown = times_s**2 / (times_s**2 + self._half_grown_s**2)
        breath = np.exp(_BREATH * self._breath(times_s))
        return np.asarray((self._birth + (1 - self._birth) * grown) * breath)


def cells(n_frames: int, seed: int) -> Iterator[GrowingCell]:
    """Endless cells; the i-th depends on the seed and i only.

    Volumes and growth are spread evenly over their distributions from a place the seed draws, so
    that few cells already have the published statistics. A cell whose shape would reach farther
    than :data:`FARTHEST_UM` keeps its volume and is drawn another shape.
    """
    start = np.random.default_rng((seed, 3)).random(3)
    for index in itertools.count():
        place = (start + index * _STEPS) % 1
        for attempt in itertools.count():
            rng = np.random.default_rng((seed, 3, index, attempt))
            cell = GrowingCell(rng, place, n_frames)
            if cell.stays_within(FARTHEST_UM):
                yield cell
                break


class _Course:
    """Standard normal numbers that are partly a cell's own for good and partly drift."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self._lasting = _LASTING * rng.standard_normal(shape)
        self._drift = Drift(rng, shape, memory_s=_MEMORY_S, shortest_s=_SHORTEST_S)

    def __call__(self, times_s: Array) -> Array:
        return np.asarray(self._lasting + np.sqrt(1 - _LASTING**2) * self._drift(times_s))
