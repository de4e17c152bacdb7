"""A field that varies slowly over a frame: values on a coarse lattice, and straight lines between.

Backgrounds are such fields, of the simulated microscope as of a texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.texture.grain import Grain

__all__ = ["Haze", "even_haze", "grain_haze"]


@dataclass(frozen=True)
class Haze:
    """Values on a lattice, and where each plane, row and column of a frame lies on it."""

    values: NDArray[np.float32]
    places: tuple[NDArray[np.float64], ...]

    def plane(self, z: int) -> NDArray[np.float32]:
        """Values of plane ``z``, ``(y, x)``."""
        plane = _linear(self.values, self.places[0][z : z + 1])[0]
        rows = _linear(plane, self.places[1])
        return np.ascontiguousarray(_linear(rows.T, self.places[2]).T)


def even_haze(value: float, shape: tuple[int, ...]) -> Haze:
    """The same value everywhere in a frame of that shape, ``(z, y, x)``."""
    return Haze(np.full((2, 2, 2), value, np.float32), tuple(np.zeros(n) for n in shape))


def grain_haze(
    key: tuple[int, ...],
    shape: tuple[int, ...],
    voxel_size_um: Sequence[float],
    feature_um: float,
    *,
    offset: Sequence[int] = (0, 0, 0),
) -> Haze:
    """A grain of one octave, mean 0 and variance 1 over space.

    Args:
        key: Another key gives another field.
        shape: Of the frame, ``(z, y, x)``.
        voxel_size_um: Likewise.
        feature_um: Diameter of its areas, see :class:`Grain`.
        offset: Where the frame's first voxel lies.
    """
    # Four lattice points to a feature: a straight line between two is close to the noise.
    step_um = feature_um / 4
    places: list[NDArray[np.float64]] = []
    axes = []
    for n, size, start in zip(shape, voxel_size_um, offset, strict=True):
        place = np.asarray((np.arange(n) + start) * (size / step_um), np.float64)
        first = int(np.floor(place[0]))
        axes.append(np.arange(first, int(np.floor(place[-1])) + 2))
        places.append(place - first)
    zyx = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) * step_um
    return Haze(Grain(key)(zyx[..., ::-1], feature_um, octaves=1), tuple(places))


def _linear(values: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values between those of the first axis."""
    low = np.minimum(places.astype(np.intp), len(values) - 2)
    share = (places - low).astype(np.float32).reshape(-1, *(1,) * (values.ndim - 1))
    return np.asarray(values[low] * (1 - share) + values[low + 1] * share)
