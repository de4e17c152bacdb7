"""A549 lung cancer cells: a blebbing body with filopodia that sprout, grow, bend and branch.

Calibrated to the A549 cells of Wiesner et al. 2024 (which are synthetic themselves, by FiloGen,
Sorokin et al. 2018): frame interval, voxel size, volume and its spread, and the sphericity
36πV²/S³ of 0.021 ± 0.004 in frame 30. A surface as large as that sphericity asks for, some
1200 µm² around 575 µm³, does not come of a dozen unbranched shafts of radius 0.25 µm within the
13.9 µm that Ω leaves; so shafts taper from about 0.5 µm at their roots to 0.25 µm at their tips,
branch several times, and the body blebs. The cell keeps its volume: what filopodia take, the body
gives.

A family is a continuous course over t in [-1, 1]; frames are samples of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.formats.lineage import Lineage
from cellsynth.geometry import Grid, Index, Triple, as_index, frame_times, random_rotation
from cellsynth.shapes.phantoms.a549_render import FOOT_UM, draw_cell
from cellsynth.shapes.phantoms.blebs import BlebbingBody, draw_body
from cellsynth.shapes.phantoms.filopodia import STEP_UM, Shaft, Sway, draw_sway, grow_filopodia
from cellsynth.shapes.phantoms.phantom import (
    Labels,
    centred_grid,
    check_frame,
    one_cell_lineage,
    voxel_box,
)

__all__ = ["FARTHEST_UM", "FRAME_INTERVAL_S", "VOXEL_UM", "CellShape", "FilopodialCell", "cells"]

Array = NDArray[np.float64]

FRAME_INTERVAL_S = 20.0

VOXEL_UM = 0.125
"""Default voxel size, that of the published cells."""

FARTHEST_UM = 13.9
"""Farthest a cell may reach from its centroid: Ω is 1.15 times that, 256 voxels of 0.125 µm."""

# Mean and standard deviation, published as 294,265 ± 41,406 voxels or 575 ± 81 µm³ over sequences
# and frames; a normal distribution cut off at 2.3 standard deviations is 6 % narrower.
_VOLUME_UM3 = (572.0, 88.0)
_VOLUME_RANGE = 2.3
_BREATH = 0.02  # amplitude of the volume's course, relative
_ELLIPSOID = 0.965  # of the body without blebs; the rest is in the smooth joints (measured)
# Lateral surface of all shafts at t = 1, and how it grows with the volume: these set the sphericity
# of frame 30 and its spread.
_AREA_UM2 = (965.0, 40.0)
_AREA_PER_UM3 = 0.15
_COUNT = (10, 15)  # filopodia
_COURSE = np.linspace(-1, 1, 11)  # times at which a drawn cell's reach is checked


@dataclass(frozen=True, eq=False)
class CellShape:
    """A cell at one time; points are about the body's centre.

    Attributes:
        t: The time.
        body, radius_um: The body, and the radius of its ellipsoid.
        paths: Nodes ``(k, 3)`` and radii ``(k,)`` of every shaft there is.
        centroid_um: ``(3,)``, from the volumes of the parts.
    """

    t: float
    body: BlebbingBody
    radius_um: float
    paths: list[tuple[Array, Array]]
    centroid_um: Array

    def box_um(self) -> tuple[Array, Array]:
        """Least and greatest corner ``(3,)`` of a box about the cell."""
        low, high = self.body.box(self.t, self.radius_um)
        # The joints reach a little out of both parts.
        lows, highs = [low - FOOT_UM / 4], [high + FOOT_UM / 4]
        for nodes, radii in self.paths:
            lows.append(nodes.min(axis=0) - radii[0])
            highs.append(nodes.max(axis=0) + radii[0])
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def farthest_um(self) -> float:
        """Distance from the centroid to the farthest point."""
        low, high = self.body.box(self.t, self.radius_um)
        far = np.abs(np.stack([low, high]) - self.centroid_um).max()
        for nodes, radii in self.paths:
            far = max(far, (np.linalg.norm(nodes - self.centroid_um, axis=1) + radii).max())
        return float(far)


@dataclass(frozen=True, eq=False)
class FilopodialCell:
    """One cell, sampled at some number of frames; the same at every voxel size.

    Attributes:
        n_frames: Frames, evenly spaced over t in [-1, 1].
        volume_um3: Mean volume.
        breath_phase: Phase of the volume's slow course.
        body, shafts, sway: See :mod:`.blebs` and :mod:`.filopodia`.
    """

    n_frames: int
    volume_um3: float
    breath_phase: float
    body: BlebbingBody
    shafts: tuple[Shaft, ...]
    sway: Sway

    @property
    def frame_interval_s(self) -> float:
        """Time between frames."""
        return FRAME_INTERVAL_S

    def lineage(self) -> Lineage:
        """One track, label 1, of all frames."""
        return one_cell_lineage(self.n_frames)

    def shape(self, t: float) -> CellShape:
        """The cell at a time in [-1, 1]."""
        volumes, moment = 0.0, np.zeros(3)
        paths = []
        for shaft in self.shafts:
            nodes, radii = shaft.grown(t)
            if len(nodes):
                nodes = self.sway.move(nodes, t)
                paths.append((nodes, radii))
                first = round(shaft.outside_um / STEP_UM)
                nodes, radii = nodes[first:], radii[first:]
                lengths = np.linalg.norm(np.diff(nodes, axis=0), axis=1)
                pieces = np.pi * lengths * ((radii[1:] + radii[:-1]) / 2) ** 2
                volumes += pieces.sum()
                moment += pieces @ (nodes[1:] + nodes[:-1]) / 2
        caps = self.body.caps(t)
        volume = self.volume_um3 * (1 + _BREATH * math.sin(2 * math.pi * t + self.breath_phase))
        rest = _ELLIPSOID * (volume - volumes - caps.sum())
        radius = float(np.cbrt(rest / (4 / 3 * np.pi)))
        moment += caps @ self.body.surface(self.body.directions, radius)
        return CellShape(t, self.body, radius, paths, moment / volume)

    def farthest_um(self) -> float:
        """Distance from the centroid to the farthest point of any frame."""
        return max(self.shape(t).farthest_um() for t in self._times())

    def length_um(self, t: float) -> float:
        """Total length of filopodia outside the body."""
        return sum(max(shaft.length_at(t) - shaft.outside_um, 0.0) for shaft in self.shafts)

    def record(self) -> dict[str, object]:
        """What a set's ``phantom.json`` says of the cell."""
        return {
            "filopodia": sum(shaft.parent < 0 for shaft in self.shafts),
            "branches": sum(shaft.parent >= 0 for shaft in self.shafts),
            "filopodial_length_um": round(self.length_um(1.0), 2),
            "volume_um3": round(self.volume_um3, 2),
            "farthest_um": round(self.farthest_um(), 4),
        }

    def grid(self, voxel_size_um: Triple, *, half_extent_um: float = 1.0) -> Grid:
        """The smallest grid, centred on the cell, whose border it touches in no frame.

        Args:
            half_extent_um: Half side of Ω; 1 gives a grid in µm.
        """
        shapes = [self.shape(t) for t in self._times()]
        corners = [corner - shape.centroid_um for shape in shapes for corner in shape.box_um()]
        reach = np.abs(corners).max(axis=0)
        return centred_grid(reach, voxel_size_um, half_extent_um=half_extent_um)

    def render_crop(
        self, frame: int, grid: Grid, *, half_extent_um: float = 1.0
    ) -> tuple[Labels, Index]:
        """Labels of one frame where the cell is, and where in the grid that crop begins.

        Args:
            grid: A grid of Ω, centred on the cell.
            half_extent_um: Half side of Ω; 1 where the grid is in µm.

        Returns:
            ``(z, y, x)`` uint16 with one 26-connected body of label 1, at any voxel size; and the
            voxel of the grid that is its first.

        Raises:
            InputError: No such frame.
        """
        check_frame(frame, self.n_frames)
        shape = self.shape(self._times()[frame])
        low, high = (corner - shape.centroid_um for corner in shape.box_um())
        begin, end = voxel_box(low, high, grid, half_extent_um)
        end = np.maximum(end, begin + 1)
        z, y, x = (
            (o + np.arange(a, b) * s) * half_extent_um + c
            for a, b, o, s, c in zip(
                begin, end, grid.origin, grid.spacing, shape.centroid_um, strict=True
            )
        )
        crop = draw_cell((z, y, x), shape.body, shape.t, shape.radius_um, shape.paths)
        return crop, as_index(begin)

    def _times(self) -> list[float]:
        return [float(t) for t in frame_times(self.n_frames)]


def cells(n_frames: int, seed: int) -> Iterator[FilopodialCell]:
    """Endless cells drawn from the statistics; the i-th depends on the seed and i only."""
    frame_times(n_frames)  # a wrong number is told at once
    return (_draw_cell(n_frames, seed, index) for index in itertools.count())


def _draw_cell(n_frames: int, seed: int, index: int) -> FilopodialCell:
    for attempt in itertools.count():
        rng = np.random.default_rng((seed, 3, index, attempt))
        mean, spread = _VOLUME_UM3
        share = rng.standard_normal()
        while abs(share) > _VOLUME_RANGE:
            share = rng.standard_normal()
        volume = mean + spread * share
        area = rng.normal(*_AREA_UM2) + _AREA_PER_UM3 * (volume - mean)
        # About what the body keeps when all filopodia are grown: their mean radius is 0.33 µm.
        radius = float(np.cbrt((0.93 * volume - area * 0.33 / 2) / (4 / 3 * np.pi)))
        body = draw_body(rng, random_rotation(rng))
        sway = draw_sway(rng, radius)
        shafts = grow_filopodia(
            rng,
            body,
            radius,
            sway,
            count=int(rng.integers(_COUNT[0], _COUNT[1] + 1)),
            area_um2=float(area),
        )
        phase = float(rng.uniform(0, 2 * np.pi))
        cell = FilopodialCell(n_frames, float(volume), phase, body, tuple(shafts), sway)
        if max(cell.shape(float(t)).farthest_um() for t in _COURSE) <= FARTHEST_UM:
            break
    return cell
