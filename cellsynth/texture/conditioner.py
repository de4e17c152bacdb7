"""The cells of one sequence, followed from frame to frame, as conditions for the generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import ShapeError
from cellsynth.texture.conditions import conditions_2d, conditions_3d, painted, standardise
from cellsynth.texture.grain import cell_grain
from cellsynth.texture.poses import CellPose, PoseTracker
from cellsynth.texture.projection import project_labels, project_values

__all__ = ["Appearance", "Conditioner", "FrameConditions"]


@dataclass(frozen=True)
class Appearance:
    """What masks do not tell of a frame, see :mod:`cellsynth.texture.appearance`.

    Attributes:
        brightness: Condition of each cell, by label; None where it is no condition.
        background: Condition ``(y, x)`` of each plane, by number, 0 of a flat frame; or None.
    """

    brightness: Mapping[int, float] | None = None
    background: Callable[[int], NDArray[np.float32]] | None = None

    def channels(self, labels: NDArray[Any], planes: range) -> list[NDArray[np.float32]]:
        """A channel ``(z, y, x)`` for each that is a condition.

        Args:
            labels: ``(z, y, x)`` of these planes.
            planes: Which of the frame they are.
        """
        found = []
        if self.brightness is not None:
            found.append(painted(labels, self.brightness))
        if self.background is not None:
            found.append(np.stack([self.background(z) for z in planes]))
        return found


@dataclass(frozen=True)
class FrameConditions:
    """The conditions of one frame; made by :class:`Conditioner`.

    Attributes:
        labels: Cells on the grid of the conditions, ``(z, y, x)`` or ``(y, x)``.
        poses: Where each cell is and how it lies.
        settings: Of the sequence.
        appearance: Further conditions, which follow those of the masks.
    """

    labels: NDArray[Any]
    poses: dict[int, CellPose]
    settings: Conditioner
    appearance: Appearance

    @cached_property
    def projected(self) -> NDArray[Any]:
        """The labels as a flat frame, ``(y, x)``."""
        return self.labels if self.labels.ndim == 2 else project_labels(self.labels)

    def flat(self, projected: NDArray[Any] | None = None) -> NDArray[np.float32]:
        """``(c, y, x)``: of a flat frame, or of the projection of a frame in 3D.

        The grain of a ray is the largest on it within its cell, as the image's is; then each cell's
        is brought to mean 0 and variance 1.

        Args:
            projected: Instead of the projection of these labels, one of the same grid.
        """
        s = self.settings
        flat = self.projected if projected is None else projected
        grain = self._grain(self.labels, None)
        if grain.ndim == 3:
            grain = project_values(grain, self.labels, flat)
        y, x = s.voxel_size_um[-2:]
        told = conditions_2d(flat, standardise(grain, flat), (y, x), s.reach_um)
        more = self.appearance.channels(flat[None], range(1))
        return np.concatenate([told, *more]) if more else told

    def slab(self, begin: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """``(end - begin, c, y, x)`` of some slices, the same as cut from those of all slices.

        Raises:
            ShapeError: The frame is flat.
        """
        if self.labels.ndim != 3:
            raise ShapeError(f"slices need labels (z, y, x), got {self.labels.shape}")
        s = self.settings
        stop = len(self.labels) if end is None else end
        z, y, x = s.voxel_size_um
        # Cells farther away along z than the reach cannot be the nearest.
        low = max(0, begin - math.ceil(s.reach_um / z) - 1)
        high = stop + math.ceil(s.reach_um / z) + 1
        labels = self.labels[low:high]
        grain = np.zeros(labels.shape, np.float32)
        mine = slice(begin - low, stop - low)
        grain[mine] = self._grain(labels[mine], (begin, 0, 0))
        told = conditions_3d(labels, grain, (z, y, x), s.reach_um)[mine]
        more = self.appearance.channels(labels[mine], range(begin, stop))
        return np.concatenate([told, np.stack(more, axis=1)], axis=1) if more else told

    def _grain(
        self, labels: NDArray[Any], offset: tuple[int, int, int] | None
    ) -> NDArray[np.float32]:
        s = self.settings
        found: NDArray[np.float32] = cell_grain(
            labels,
            self.poses,
            s.voxel_size_um,
            seed=s.seed,
            sequence=s.sequence,
            feature_um=s.grain_um,
            octaves=s.grain_octaves,
            offset=offset,
        )
        return found


class Conditioner:
    """Conditions of one sequence, whose cells are followed from frame to frame."""

    def __init__(
        self,
        voxel_size_um: tuple[float, ...],
        *,
        grain_um: float,
        grain_octaves: int,
        reach_um: float,
        seed: int,
        sequence: int,
    ) -> None:
        """Begin a sequence.

        Args:
            voxel_size_um: ``(z, y, x)``, or ``(y, x)`` for flat frames, in µm.
            grain_um: Size of the grain's largest features, in µm.
            grain_octaves: How many times finer features are added.
            reach_um: See :func:`conditions_2d`.
            seed: With the sequence's number and a cell's label, decides its grain.
            sequence: Number of the sequence.
        """
        self.voxel_size_um = voxel_size_um
        self.grain_um = grain_um
        self.grain_octaves = grain_octaves
        self.reach_um = reach_um
        self.seed = seed
        self.sequence = sequence
        self._tracker = PoseTracker(voxel_size_um)

    def frame(
        self, t: int, labels: NDArray[Any], appearance: Appearance | None = None
    ) -> FrameConditions:
        """The frame ``t`` after those before it.

        Args:
            t: Number of the frame.
            labels: ``(z, y, x)`` or ``(y, x)``.
            appearance: Further conditions, if any.
        """
        poses = self._tracker.update(t, labels)
        return FrameConditions(labels, poses, self, appearance or Appearance())
