"""What makes an image of labels: a preset's generator, or a simulated microscope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cellsynth.formats.lineage import Lineage
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.texture import TextureSpec
from cellsynth.texture import networks
from cellsynth.texture.appearance import AppearanceDraw, Described
from cellsynth.texture.conditioner import Conditioner, FrameConditions
from cellsynth.texture.conditions import (
    CONDITIONS,
    resample_image,
    resample_labels,
    stack_slices,
    trained_grid,
)
from cellsynth.texture.frame_noise import frame_noise
from cellsynth.texture.intensities import to_counts
from cellsynth.texture.microscope import Microscope
from cellsynth.texture.networks import Generator
from cellsynth.texture.poses import PoseTracker
from cellsynth.texture.profiles import OpticsProfile
from cellsynth.texture.tiles import apply_generator

__all__ = ["Camera", "Engine", "GanEngine", "Movie", "OpticsEngine", "load_generator"]

SLICES = 16  # conditions held at a time, in 3D


@dataclass(frozen=True)
class Movie:
    """What an engine must know of a sequence before its first frame.

    Attributes:
        voxel_size_um: ``(z, y, x)``, or ``(y, x)`` where its masks are flat.
        lineage: Who divides when.
        seed: With ``sequence``, decides everything random.
        sequence: Its number, from 1.
        flat: Whether maximum projections are wanted.
    """

    voxel_size_um: tuple[float, ...]
    lineage: Lineage
    seed: int
    sequence: int
    flat: bool


class Camera(Protocol):
    """Takes the images of one movie, frame after frame."""

    def image(self, t: int, labels: NDArray[Any], projected: NDArray[Any] | None) -> NDArray[Any]:
        """Counts of frame ``t``.

        Args:
            t: Frame, ascending.
            labels: Cells ``(z, y, x)``, or ``(y, x)`` where the masks are flat.
            projected: Their projection ``(y, x)``, for a flat movie; of flat masks themselves.

        Returns:
            uint8 or uint16, of the shape of ``projected``, else of ``labels``.
        """


class Engine(Protocol):
    """Begins movies; one engine serves many, one after another."""

    def begin(self, movie: Movie) -> Camera:
        """The camera of a movie."""


def load_generator(bundle: Bundle, device: str = "cpu") -> Generator:
    """The generator of a preset's texture, ready for use.

    Raises:
        MissingError: The preset has no texture.
    """
    tensors = bundle.texture_tensors()
    spec = bundle.preset.texture
    assert spec is not None  # else there were no tensors
    return networks.load_generator(spec, tensors, device)


class GanEngine:
    """A generator, with what its preset says of conditions and counts."""

    def __init__(self, generator: Generator, spec: TextureSpec) -> None:
        self._generator = generator
        self._spec = spec

    def begin(self, movie: Movie) -> Camera:
        """As :meth:`Engine.begin`."""
        return _GanCamera(self._generator, self._spec, movie)


class _GanCamera:
    """Conditions on the grid that the generator knows; its image brought back to the masks'."""

    def __init__(self, generator: Generator, spec: TextureSpec, movie: Movie) -> None:
        self._generator = generator
        self._spec = spec
        self._movie = movie
        self._described = Described(spec.brightness, spec.background)
        names = (*CONDITIONS, *self._described.names)
        self._channels = [names.index(name) for name in spec.conditions]
        self._conditioner: Conditioner | None = None
        self._draw: AppearanceDraw | None = None

    def image(self, t: int, labels: NDArray[Any], projected: NDArray[Any] | None) -> NDArray[Any]:
        """As :meth:`Camera.image`."""
        spec, movie = self._spec, self._movie
        grid, size = trained_grid(labels.shape, movie.voxel_size_um, self._trained_um())
        if self._conditioner is None:
            self._conditioner = Conditioner(
                size,
                grain_um=spec.grain_um,
                grain_octaves=spec.grain_octaves,
                reach_um=spec.reach_um,
                seed=movie.seed,
                sequence=movie.sequence,
            )
        there = resample_labels(labels, grid)
        flat = None if projected is None else resample_labels(projected, grid[-2:])
        shown = there if flat is None else flat
        if self._draw is None:
            self._draw = AppearanceDraw(
                self._described,
                movie.lineage,
                shown.shape,
                size[-shown.ndim :],
                seed=movie.seed,
                sequence=movie.sequence,
            )
        conditions = self._conditioner.frame(t, there, self._draw.at(t, shown))
        if projected is not None:
            seen = conditions.flat(flat)
            values = self._generated(seen[self._channels], t, 0)
            return to_counts(resample_image(values, projected.shape), spec.intensities)
        values = self._slices(t, conditions, grid)
        counts = np.empty(labels.shape, spec.intensities.dtype)
        for begin in range(0, len(counts), SLICES):
            part = range(begin, min(begin + SLICES, len(counts)))
            planes = resample_image(values, labels.shape, part=part)
            counts[part.start : part.stop] = to_counts(planes, spec.intensities)
        return counts

    def _trained_um(self) -> tuple[float, ...]:
        """Voxels as trained. Of what is projected, slices need not lie closer than grain shows."""
        spec, movie = self._spec, self._movie
        pixel = spec.pixel_size_um
        if not movie.flat:
            assert spec.depth_um is not None  # the model of a 3D texture demands it
            return spec.depth_um, pixel, pixel
        if len(movie.voxel_size_um) == 2:
            return pixel, pixel
        finest_um = spec.grain_um / 2 ** (spec.grain_octaves - 1)
        return max(pixel, finest_um / 2, movie.voxel_size_um[0]), pixel, pixel

    def _slices(
        self, t: int, conditions: FrameConditions, grid: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """Values in [-1, 1], slice by slice, each with its neighbours'."""
        found = np.empty(grid, np.float32)
        depth = grid[0]
        side = self._spec.slices // 2
        for begin in range(0, depth, SLICES):
            end = min(begin + SLICES, depth)
            low = max(0, begin - side)
            slab = conditions.slab(low, min(depth, end + side))[:, self._channels]
            stacked = stack_slices(slab, self._spec.slices)
            for z in range(begin, end):
                found[z] = self._generated(stacked[z - low], t, z)
        return found

    def _generated(self, seen: NDArray[np.float32], t: int, z: int) -> NDArray[np.float32]:
        noise = None
        if self._spec.generator.noise:
            y, x = seen.shape[1:]
            noise = frame_noise(
                (y, x), seed=self._movie.seed, sequence=self._movie.sequence, frame=t, z=z
            )
        return apply_generator(self._generator, seen, noise)


class OpticsEngine:
    """A simulated microscope."""

    def __init__(self, profile: OpticsProfile) -> None:
        self._microscope = Microscope(profile)

    def begin(self, movie: Movie) -> Camera:
        """As :meth:`Engine.begin`; masks must be ``(z, y, x)``."""
        return _OpticsCamera(self._microscope, movie)


class _OpticsCamera:
    def __init__(self, microscope: Microscope, movie: Movie) -> None:
        self._microscope = microscope
        self._movie = movie
        self._tracker = PoseTracker(movie.voxel_size_um)

    def image(self, t: int, labels: NDArray[Any], projected: NDArray[Any] | None) -> NDArray[Any]:
        """As :meth:`Camera.image`."""
        movie = self._movie
        z, y, x = movie.voxel_size_um
        mothers = movie.lineage.divisions()
        daughters = [d for mother in mothers for d in movie.lineage.children(mother.label)]
        left = {m.label: m.end + 1 - t for m in mothers if m.begin <= t <= m.end}
        since = {d.label: t - d.begin for d in daughters if d.begin <= t <= d.end}
        take = self._microscope.image if projected is None else self._microscope.image_of_projection
        counts: NDArray[Any] = take(
            labels,
            self._tracker.update(t, labels),
            (z, y, x),
            seed=movie.seed,
            sequence=movie.sequence,
            frame=t,
            frames_to_division=left,
            frames_since_division=since,
        )
        return counts
