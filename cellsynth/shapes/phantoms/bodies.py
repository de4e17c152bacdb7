"""All numbers of one dividing nucleus; its surface is that of :mod:`.lobes`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import Grid, Index
from cellsynth.shapes.phantoms import render
from cellsynth.shapes.phantoms.lobes import bump_heights, lobe_field, sphere_directions
from cellsynth.shapes.phantoms.phantom import Labels, Triple

__all__ = ["Family"]

Array = NDArray[np.float64]

_COARSE_SPHERE = sphere_directions(500)
# Between two of these directions, at most 0.1 rad from the nearest, a surface of degree 4 rises by
# less than 2 %.
_SLACK = 1.02


@dataclass(frozen=True, eq=False)
class Family:
    """All numbers of one dividing nucleus; the same at every voxel size.

    Attributes:
        cells: Names of the mother and her daughters.
        division_frame: First frame with two daughters; at least 1.
        frame_interval_s: Time between frames.
        centres_um: ``(t, 2, 3)``, in z, y, x.
        radii_um: ``(t, 2)``.
        stretches: Symmetric ``(t, 2, 3, 3)`` of determinant 1.
        mode_directions: Unit vectors ``(m, 3)`` the bumps are centred on, of both lobes.
        mode_heights: Height of each bump ``(t, 2, m)``, relative to the radius.
        blends_um: Width of the smooth union ``(t,)``; 0 from the division on.
    """

    cells: tuple[str, str, str]
    division_frame: int
    frame_interval_s: float
    centres_um: Array
    radii_um: Array
    stretches: Array
    mode_directions: Array
    mode_heights: Array
    blends_um: Array

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.blends_um)

    def surface(self, frame: int, lobe: int, directions: Array) -> Array:
        """Points ``(n, 3)`` of a lobe's surface, in the unit ``directions`` ``(n, 3)``."""
        bumps = bump_heights(directions @ self.mode_directions.T, self.mode_heights[frame, lobe])
        points = directions * (self.radii_um[frame, lobe] * (1 + bumps))[:, None]
        return np.asarray(points @ self.stretches[frame, lobe] + self.centres_um[frame, lobe])

    def reach_um(self) -> Array:
        """Half sides ``(3,)`` in z, y, x of the box about the origin that holds every frame."""
        reach = [np.abs(box).max(axis=0) for f in range(self.n_frames) for box in self.boxes_um(f)]
        return np.asarray(np.max(reach, axis=0))

    def farthest_um(self) -> float:
        """Distance from the origin to the farthest point of the surface in any frame."""
        return max(
            float(np.linalg.norm(self.surface(frame, lobe, _COARSE_SPHERE), axis=1).max())
            for frame in range(self.n_frames)
            for lobe in (0, 1)
        )

    def gap_um(self, frame: int) -> float:
        """Width of the gap between the two lobes; negative where they overlap."""
        gaps = []
        for lobe in (0, 1):
            points = self.surface(frame, lobe, _COARSE_SPHERE)
            gaps.append(lobe_field(self, frame, 1 - lobe, list(points.T)).min())
        return float(min(gaps))

    def boxes_um(self, frame: int) -> tuple[Array, Array]:
        """A box ``(2, 3)`` about each lobe and its share of the neck: least and greatest corner."""
        boxes = []
        for lobe in (0, 1):
            centre = self.centres_um[frame, lobe]
            surface = self.surface(frame, lobe, _COARSE_SPHERE) - centre
            neck = self.blends_um[frame] / 4
            boxes.append(
                centre + _SLACK * np.stack([surface.min(axis=0) - neck, surface.max(axis=0) + neck])
            )
        return boxes[0], boxes[1]

    def lineage(self) -> Lineage:
        """The mother, label 1, up to the division; her daughters, 2 and 3, from it to the end."""
        born, end = self.division_frame, self.n_frames - 1
        daughters = (Tracklet(label, born, end, render.MOTHER) for label in render.DAUGHTERS)
        return Lineage((Tracklet(render.MOTHER, 0, born - 1), *daughters))

    def grid(self, voxel_size_um: Triple) -> Grid:
        """See :func:`.render.family_grid`."""
        return render.family_grid(self, voxel_size_um)

    def render_crop(
        self, frame: int, grid: Grid, *, half_extent_um: float = 1.0
    ) -> tuple[Labels, Index]:
        """See :func:`.render.render_crop`."""
        return render.render_crop(self, frame, grid, half_extent_um=half_extent_um)

    def record(self) -> dict[str, object]:
        """The names of the cells, and when the mother divides."""
        return {
            "mother": self.cells[0],
            "daughters": list(self.cells[1:]),
            "division_frame": self.division_frame,
            "farthest_um": round(self.farthest_um(), 4),
        }
