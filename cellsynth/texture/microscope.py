"""A simulated microscope: labels in, counts of a camera out.

Three stages, each a physical one: the density of the label in the cells (:mod:`fluorophores`), the
light of each plane once the point spread function has blurred it (:mod:`psf`), and what the camera
counts (:mod:`camera`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cellsynth.errors import InputError, ShapeError
from cellsynth.geometry import Index, Triple
from cellsynth.texture.camera import count_dtype, expose
from cellsynth.texture.fluorophores import fluorophore_density
from cellsynth.texture.haze import Haze, even_haze, grain_haze
from cellsynth.texture.poses import CellPose
from cellsynth.texture.profiles import Background, OpticsProfile
from cellsynth.texture.projection import planes_apart
from cellsynth.texture.psf import psf_kernel

__all__ = ["Light", "Microscope", "Moment", "convolve"]

# Voxels of one transform: four arrays of this size in float32 are half a gigabyte.
_TRANSFORM = 1 << 25
# What is random of a sequence besides its cells' grain; no label has these numbers.
_BACKGROUND, _BRIGHTNESS, _NOISE = 1 << 16, (1 << 16) + 1, (1 << 16) + 2


class Moment(TypedDict):
    """Which frame it is, see :meth:`Microscope.light`."""

    seed: int
    sequence: int
    frame: int
    frames_to_division: NotRequired[Mapping[int, int] | None]
    frames_since_division: NotRequired[Mapping[int, int] | None]
    offset: NotRequired[Index]


@dataclass(frozen=True)
class Light:
    """Expected photoelectrons of a frame, plane by plane; made by :meth:`Microscope.light`.

    Attributes:
        box: The part of the frame that light of cells reaches, None where it is none.
        of_cells: Light of the cells in that part.
        haze: Background, everywhere.
        key: Seed, sequence and frame.
        first_plane: Where this part's first plane lies in the frame.
    """

    box: tuple[slice, ...] | None
    of_cells: NDArray[np.float32]
    haze: Haze
    key: tuple[int, int, int]
    first_plane: int

    def plane(self, z: int) -> NDArray[np.float32]:
        """Expected photoelectrons in each pixel of plane ``z``, ``(y, x)``."""
        electrons = self.haze.plane(z)
        if self.box is not None and self.box[0].start <= z < self.box[0].stop:
            electrons[self.box[1:]] += self.of_cells[z - self.box[0].start]
        return electrons


@dataclass(frozen=True)
class Microscope:
    """The microscope of a profile."""

    profile: OpticsProfile

    def image(
        self,
        labels: NDArray[Any],
        poses: Mapping[int, CellPose],
        voxel_size_um: Triple,
        **moment: Unpack[Moment],
    ) -> NDArray[Any]:
        """One frame as a stack: every plane of the labels, in focus in its turn.

        Arguments and errors are those of :meth:`light`.

        Returns:
            uint8 or uint16, shaped as ``labels``.
        """
        light = self.light(labels, poses, voxel_size_um, **moment)
        counts = np.empty(labels.shape, count_dtype(self.profile.camera))
        for z in range(len(labels)):
            counts[z] = self._exposed(light, z)
        return counts

    def image_of_projection(
        self,
        labels: NDArray[Any],
        poses: Mapping[int, CellPose],
        voxel_size_um: Triple,
        **moment: Unpack[Moment],
    ) -> NDArray[Any]:
        """One frame as the maximum projection of a stack.

        Arguments and errors are those of :meth:`light`. The stack's planes are ``z_step_um``
        apart, or as far as those of the labels where these are farther apart: what a maximum
        makes of noise depends on how many planes it is taken over.

        Returns:
            ``(y, x)`` uint8 or uint16.
        """
        light = self.light(labels, poses, voxel_size_um, **moment)
        every = planes_apart(self.profile.optics.z_step_um, voxel_size_um[0])
        # The same planes whatever part of the frame is given; of a thin part, its first.
        planes = range(-light.first_plane % every, len(labels), every) or range(1)
        counts = np.zeros(labels.shape[1:], count_dtype(self.profile.camera))
        for z in planes:
            np.maximum(counts, self._exposed(light, z), out=counts)
        return counts

    def light(
        self,
        labels: NDArray[Any],
        poses: Mapping[int, CellPose],
        voxel_size_um: Triple,
        *,
        seed: int,
        sequence: int,
        frame: int,
        frames_to_division: Mapping[int, int] | None = None,
        frames_since_division: Mapping[int, int] | None = None,
        offset: Index = (0, 0, 0),
    ) -> Light:
        """What the camera would count on average, were it without offset and gain.

        Args:
            labels: ``(z, y, x)``, background 0; a frame, or a part with all that shines into it.
            poses: Pose of every label in this frame, see :class:`PoseTracker`.
            voxel_size_um: Voxel size in z, y, x.
            seed: Seed of the data set.
            sequence: Number of the sequence.
            frame: Number of the frame, from 0: bleaching, and noise of its own.
            frames_to_division: Of labels that divide, the frames to go, 1 in their last.
            frames_since_division: Of labels born by a division, the frames since their first.
            offset: Where ``labels[0, 0, 0]`` lies in the frame, in voxels.

        Raises:
            ShapeError: ``labels`` is not 3D.
            InputError: A label has no pose, or the frame's number is below 0.
        """
        if labels.ndim != 3:
            raise ShapeError(f"microscope: labels must be (z, y, x), got shape {labels.shape}")
        if frame < 0:
            raise InputError(f"microscope: frame must be at least 0, got {frame}")
        profile = self.profile
        haze = _background(
            profile.background, labels.shape, voxel_size_um, (seed, sequence, _BACKGROUND), offset
        )
        kernel = psf_kernel(profile.optics, voxel_size_um)
        box = _lit(labels, kernel.shape)
        blurred = np.zeros((0, 0, 0), np.float32)
        if box is not None:
            z, y, x = (o + s.start for o, s in zip(offset, box, strict=True))
            density = fluorophore_density(
                labels[box],
                poses,
                voxel_size_um,
                profile.fluorophore,
                seed=seed,
                sequence=sequence,
                frames_to_division=frames_to_division,
                frames_since_division=frames_since_division,
                offset=(z, y, x),
            )
            blurred = convolve(density, kernel)
            np.maximum(blurred, 0, out=blurred)  # a transform leaves rounding below 0
            blurred *= np.float32(self._photons(seed, sequence, frame))
        key = (seed, sequence, frame)
        return Light(box, blurred, haze, key, offset[0])

    def _photons(self, seed: int, sequence: int, frame: int) -> float:
        """Photoelectrons of a density of 1 in this frame."""
        brightness = self.profile.brightness
        draw = np.random.default_rng([seed, sequence, _BRIGHTNESS]).standard_normal()
        of_sequence = brightness.photons * math.exp(brightness.variation * draw)
        return float(of_sequence * (1 - brightness.bleaching) ** frame)

    def _exposed(self, light: Light, z: int) -> NDArray[Any]:
        seed, sequence, frame = light.key
        # A plane's noise does not depend on the planes that are taken besides.
        rng = np.random.default_rng([seed, sequence, _NOISE, frame, light.first_plane + z])
        return expose(light.plane(z), self.profile.camera, rng)


def _background(
    background: Background,
    shape: tuple[int, ...],
    voxel_size_um: Triple,
    key: tuple[int, int, int],
    offset: Index,
) -> Haze:
    """A lognormal haze, the same in every frame of a sequence; even where it is to be even."""
    uneven = background.unevenness
    if uneven == 0:
        return even_haze(background.photons, shape)
    grain = grain_haze(key, shape, voxel_size_um, background.feature_um, offset=offset)
    values = background.photons * np.exp(uneven * grain.values - uneven**2 / 2)
    return replace(grain, values=values.astype(np.float32))


def _lit(labels: NDArray[Any], kernel: tuple[int, ...]) -> tuple[slice, ...] | None:
    """The part of the array that light of the cells reaches, None where there are no cells."""
    flat = np.any(labels, axis=0)
    lines = (np.any(labels, axis=(1, 2)), np.any(flat, axis=1), np.any(flat, axis=0))
    box = []
    for axis, (n, line) in enumerate(zip(labels.shape, lines, strict=True)):
        found = np.flatnonzero(line)
        if not len(found):
            return None
        reach = kernel[axis] // 2
        box.append(slice(max(0, int(found[0]) - reach), min(n, int(found[-1]) + reach + 1)))
    return tuple(box)


def convolve(values: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """``values`` blurred by ``kernel``, zeros around; same shape.

    By Fourier transforms of blocks that overlap by the kernel, so that memory stays bounded;
    blocks without light cost nothing.

    Args:
        values: ``(z, y, x)`` float32.
        kernel: ``(z, y, x)`` float32 of odd shape.
    """
    reach = np.array(kernel.shape) // 2
    whole = np.array(values.shape)
    core = _block(whole, reach)
    size = tuple(_transform(core, reach).tolist())
    spectrum = fft.rfftn(kernel, size)
    blurred = np.zeros(values.shape, np.float32)
    for corner in product(*(range(0, n, c) for n, c in zip(whole, core, strict=True))):
        start = np.array(corner)
        stop = np.minimum(start + core, whole)
        low, high = np.maximum(start - reach, 0), np.minimum(stop + reach, whole)
        part = values[_box(low, high)]
        if not part.any():
            continue
        padded = np.zeros(size, np.float32)
        padded[_box(low - start + reach, high - start + reach)] = part
        # The kernel's first voxel, not its middle, stands at 0, so results lie ``reach`` further
        # on; what wraps around the end falls on the first ``2 · reach``, which are not looked at.
        wide = fft.irfftn(fft.rfftn(padded) * spectrum, size)
        blurred[_box(start, stop)] = wide[_box(2 * reach, stop - start + 2 * reach)]
    return blurred


def _block(whole: NDArray[np.int64], reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shape of the blocks: such that a transform is not too large, and all together least."""
    core = whole.copy()
    while _transform(core, reach).prod() > _TRANSFORM and core.max() > 1:
        halved = [np.where(np.arange(3) == axis, -(-core // 2), core) for axis in range(3)]
        work = [(-(-whole // c)).prod() * _transform(c, reach).prod() for c in halved]
        possible = [axis for axis in range(3) if core[axis] > 1]
        core = halved[min(possible, key=lambda axis: float(work[axis]))]
    return core


def _transform(core: NDArray[np.int64], reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shape of the transform of a block: the block, and what shines into it."""
    return np.array([fft.next_fast_len(int(n), real=True) for n in core + 2 * reach])


def _box(low: NDArray[np.int64], high: NDArray[np.int64]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
