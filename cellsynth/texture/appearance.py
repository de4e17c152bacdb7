"""What masks do not tell of a frame: how bright its cells and its background are.

Without being told, a generator makes every cell of middling brightness on a middling background.
In training both are measured in the images and shown as conditions; in use they are drawn from what
was measured (:mod:`cellsynth.texture.brightness`, :mod:`cellsynth.texture.background`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.formats.lineage import Lineage
from cellsynth.presets.texture import BackgroundSpec, BrightnessSpec, Condition
from cellsynth.texture.background import (
    BackgroundDraw,
    BackgroundMap,
    background_map,
    fit_background,
    standard_background,
)
from cellsynth.texture.brightness import (
    BrightnessDraw,
    CellLight,
    cell_lights,
    cell_sizes,
    fit_brightness,
    standard_brightness,
)
from cellsynth.texture.conditioner import Appearance

__all__ = ["AppearanceDraw", "Described", "Pictured", "describe"]

MAPS = 256  # frames whose background is looked at, at most, evenly chosen


@dataclass(frozen=True)
class Pictured:
    """A frame of a training movie as a generator is to see it: flat, or a stack of slices.

    Attributes:
        sequence: Name of its sequence.
        frame: Its number.
        lineage: Of the sequence, where there is a table.
        labels: Its cells.
        image: Counts, of the same shape.
    """

    sequence: str
    frame: int
    lineage: Lineage | None
    labels: NDArray[Any]
    image: NDArray[Any]


@dataclass(frozen=True)
class Described:
    """How cells and background of a set look, as far as they could be measured."""

    brightness: BrightnessSpec | None = None
    background: BackgroundSpec | None = None

    @property
    def names(self) -> tuple[Condition, ...]:
        """The conditions that follow, in order."""
        found: list[Condition] = []
        if self.brightness is not None:
            found.append("brightness")
        if self.background is not None:
            found.append("background")
        return tuple(found)

    def measured(
        self, seen: Pictured, voxel_size_um: Sequence[float], reach_um: float
    ) -> Appearance:
        """What a training image shows."""
        brightness = background = None
        if self.brightness is not None:
            lights = cell_lights(seen.sequence, seen.frame, seen.labels, seen.image, voxel_size_um)
            brightness = {x.label: standard_brightness(x.counts, self.brightness) for x in lights}
        if self.background is not None:
            found = background_map(
                seen.sequence, seen.frame, seen.labels, seen.image, voxel_size_um, reach_um
            )
            shape = seen.labels.shape
            # Where cells fill a frame nothing is known of it, and it is taken for middling.
            stack = np.zeros(shape, np.float32)
            if found is not None:
                stack = standard_background(found.values, shape, self.background)
            background = stack.reshape(-1, *shape[-2:]).__getitem__
        return Appearance(brightness, background)


def describe(
    frames: Iterable[Pictured],
    n_frames: int,
    voxel_size_um: Sequence[float],
    reach_um: float,
    *,
    wanted: Collection[Condition],
    required: bool,
) -> Described:
    """Measure a set's images and describe them.

    Args:
        frames: All of them, of one sequence after another.
        n_frames: How many there are.
        voxel_size_um: ``(z, y, x)`` of slices, ``(y, x)`` of flat frames.
        reach_um: How far from cells the background begins.
        wanted: Which of ``brightness`` and ``background``.
        required: Whether it is a fault if one cannot be measured; else it is left out.

    Raises:
        InputError: What is required cannot be measured; it says why.
    """
    cells: list[CellLight] = []
    maps: list[BackgroundMap] = []
    lineages: dict[str, Lineage | None] = {}
    every = -(-n_frames // MAPS)
    for i, seen in enumerate(frames):
        place = seen.sequence, seen.frame, seen.labels, seen.image, voxel_size_um
        if "brightness" in wanted:
            lineages[seen.sequence] = seen.lineage
            cells += cell_lights(*place)
        if "background" in wanted and i % every == 0:
            found = background_map(*place, reach_um)
            maps += [] if found is None else [found]
    brightness = background = None
    try:
        brightness = fit_brightness(cells, lineages) if "brightness" in wanted else None
    except InputError:
        if required:
            raise
    try:
        background = fit_background(maps) if "background" in wanted else None
    except InputError:
        if required:
            raise
    return Described(brightness, background)


class AppearanceDraw:
    """How the cells and the background of one sequence look, drawn anew."""

    def __init__(
        self,
        described: Described,
        lineage: Lineage,
        shape: tuple[int, ...],
        voxel_size_um: Sequence[float],
        *,
        seed: int,
        sequence: int,
    ) -> None:
        """Draw it.

        Args:
            described: What was measured in training.
            lineage: Who divides when.
            shape: Of the frames that a generator sees, ``(z, y, x)`` or ``(y, x)``.
            voxel_size_um: Likewise.
            seed: Of the data set.
            sequence: Number of the sequence.
        """
        self._size = voxel_size_um
        self._brightness = self._background = None
        if described.brightness is not None:
            self._brightness = BrightnessDraw(
                described.brightness, lineage, seed=seed, sequence=sequence
            )
        if described.background is not None:
            self._background = BackgroundDraw(
                described.background, shape, voxel_size_um, seed=seed, sequence=sequence
            )

    def at(self, frame: int, labels: NDArray[Any]) -> Appearance:
        """Of the frame with these labels."""
        brightness = background = None
        if self._brightness is not None:
            brightness = self._brightness.at(frame, cell_sizes(labels, self._size))
        if self._background is not None:
            background = partial(self._background.plane, frame)
        return Appearance(brightness, background)
