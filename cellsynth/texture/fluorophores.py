"""How dense the label is inside each cell, before any optics: chromatin and actin.

Densities have no unit: a profile says how many photons a density of 1 gives. Chromatin is a grain
of lognormal values, whose contrast and brightness rise towards a division and fall after it. Actin
has a cortex under the surface and is denser where a cell is thin; both are read from the mask
blurred by a Gaussian, which is ½ on a flat surface, 1 far inside and less the thinner a part is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from cellsynth.shapes.cell_mask import label_boxes
from cellsynth.texture.grain import cell_grain
from cellsynth.texture.poses import CellPose
from cellsynth.texture.profiles import Actin, Chromatin

__all__ = ["condensation", "fluorophore_density"]

# A Gaussian of width 1 over a flat surface is 3/4 at this depth: the cortex has fallen to a half.
_HALF_DEPTH = 0.6745
# A part counts as thin where the blurred mask is below this, clearly less than ½ on a surface.
_THIN = 0.35
# Around a long cylinder of that diameter, in widths of the Gaussian, it is just that on the axis.
_THIN_DIAMETER = math.sqrt(-8 * math.log(1 - _THIN))
_TRUNCATE = 3.0  # widths
_FINE = 2.5  # blocks to a width, at least


def condensation(
    chromatin: Chromatin, to_division: int | None, since_division: int | None
) -> float:
    """How condensed chromatin is, from 0 to 1.

    Args:
        chromatin: How many frames it takes to condense and to relax.
        to_division: Frames until the cell divides, 1 in its last; None where it does not.
        since_division: Frames since the cell's first one; None where it was not born by a division.
    """
    before = _ramp(None if to_division is None else to_division - 1, chromatin.condensing_frames)
    after = _ramp(since_division, chromatin.relaxing_frames)
    return max(before, after)


def fluorophore_density(
    labels: NDArray[Any],
    poses: Mapping[int, CellPose],
    voxel_size_um: Sequence[float],
    fluorophore: Chromatin | Actin,
    *,
    seed: int,
    sequence: int,
    frames_to_division: Mapping[int, int] | None = None,
    frames_since_division: Mapping[int, int] | None = None,
    offset: Sequence[int] | None = None,
) -> NDArray[np.float32]:
    """Density of the label in every voxel, 0 outside the cells.

    The grain is that of :func:`cellsynth.texture.grain.cell_grain` with the same seed, sequence
    and feature size, so that it can be told to a generator.

    Args:
        labels: ``(z, y, x)``, background 0.
        poses: Pose of every label in this frame.
        voxel_size_um: Voxel size in z, y, x.
        fluorophore: Which label, and its parameters.
        seed: Seed of the data set.
        sequence: Number of the sequence.
        frames_to_division: Of labels that divide, the frames to go, 1 in their last.
        frames_since_division: Of labels born by a division, the frames since their first.
        offset: Where ``labels[0, 0, 0]`` lies in the frame, in voxels.

    Returns:
        float32, shaped as ``labels``, 0 or more.
    """
    density = cell_grain(
        labels,
        poses,
        voxel_size_um,
        seed=seed,
        sequence=sequence,
        feature_um=fluorophore.grain_um,
        octaves=fluorophore.grain_octaves,
        offset=offset,
    )
    for label, box in label_boxes(labels):
        inside = labels[box] == label
        grain = density[box][inside]
        if isinstance(fluorophore, Chromatin):
            share = condensation(
                fluorophore,
                (frames_to_division or {}).get(label),
                (frames_since_division or {}).get(label),
            )
            contrast = _between(fluorophore.contrast, fluorophore.condensed_contrast, share)
            level = _between(1.0, fluorophore.condensed_brightness, share)
            values = level * _lognormal(grain, contrast)
        else:
            level_of = _actin_level(inside, voxel_size_um, fluorophore)
            values = level_of * _lognormal(grain, fluorophore.contrast)
        density[box][inside] = values
    return density


def _actin_level(
    inside: NDArray[np.bool_], voxel_size_um: Sequence[float], actin: Actin
) -> NDArray[np.float32]:
    """Density without grain, at the voxels inside, ``(voxels,)``."""
    level = np.full(np.count_nonzero(inside), actin.cytoplasm, np.float32)
    near = _blurred(inside, voxel_size_um, actin.cortex_um / _HALF_DEPTH)
    level += actin.cortex * np.clip(2 * (1 - near), 0, 1)
    near = _blurred(inside, voxel_size_um, actin.filopodia_um / _THIN_DIAMETER)
    level += actin.filopodia * np.clip(1 - near / _THIN, 0, 1)
    return level


def _blurred(
    inside: NDArray[np.bool_], voxel_size_um: Sequence[float], width_um: float
) -> NDArray[np.float32]:
    """The mask blurred by a Gaussian of standard deviation ``width_um``, at its own voxels."""
    widths = np.array([width_um / size for size in voxel_size_um])
    # A wide Gaussian hides fine voxels: it is computed on blocks of them, and a line runs from
    # one block to the next. Both blur a little on their own, f²/12 - 1/12 and f²/6 of variance.
    factor = np.maximum(1, (widths / _FINE).astype(int))
    # One empty block on each side: outside the box there is nothing of this cell.
    after = [f + -n % f for n, f in zip(inside.shape, factor, strict=True)]
    padded = np.pad(inside, [(int(f), int(a)) for f, a in zip(factor, after, strict=True)])
    blocks = [part for n, f in zip(padded.shape, factor, strict=True) for part in (n // f, f)]
    coarse = padded.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)
    own = np.where(factor > 1, factor**2 / 4 - 1 / 12, 0)
    soft = gaussian_filter(
        coarse, np.sqrt(widths**2 - own) / factor, mode="constant", truncate=_TRUNCATE
    )
    if (factor == 1).all():
        return np.asarray(soft[1:-1, 1:-1, 1:-1][inside])
    places = [(i + 0.5) / f + 0.5 for i, f in zip(np.nonzero(inside), factor, strict=True)]
    return np.asarray(map_coordinates(soft, places, order=1, mode="nearest"), np.float32)


def _lognormal(grain: NDArray[np.float32], contrast: float) -> NDArray[np.float32]:
    """Values of mean 1 whose logarithm has the standard deviation ``contrast``."""
    return np.asarray(np.exp(np.float32(contrast) * grain - np.float32(contrast**2 / 2)))


def _ramp(frames: int | None, over: int) -> float:
    return max(0.0, 1 - frames / over) if frames is not None and over else 0.0


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)
