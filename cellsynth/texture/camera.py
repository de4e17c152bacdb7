"""The camera: from expected photoelectrons to counts.

counts = offset + gain · (electrons + read noise), rounded, cut at the ends of the range. Electrons
are Poisson distributed; a multiplying detector (photomultiplier, EMCCD) multiplies them at random,
which raises their variance by its excess factor F². So, away from the ends of the range,

    variance = gain · F² · (mean - offset) + (gain · read noise)² + 1/12.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.texture.profiles import Camera

__all__ = ["count_dtype", "expose"]


def count_dtype(camera: Camera) -> type[np.uint8] | type[np.uint16]:
    """What counts are kept in: 12 bits take 16."""
    return np.uint8 if camera.bits == 8 else np.uint16


def expose(
    electrons: NDArray[np.floating[Any]], camera: Camera, rng: np.random.Generator
) -> NDArray[Any]:
    """Counts of one exposure.

    Args:
        electrons: Expected photoelectrons in each pixel, 0 or more, of any shape.
        camera: Offset, gain, noise, range.
        rng: Source of the noise.

    Returns:
        uint8 or uint16, shaped as ``electrons``.
    """
    signal = rng.poisson(electrons).astype(np.float32)
    if camera.excess_noise > 1:
        # n electrons through a multiplier: gamma distributed, mean n, variance (F² - 1) n.
        spread = camera.excess_noise - 1
        signal = spread * rng.standard_gamma(signal / np.float32(spread), dtype=np.float32)
    if camera.read_noise > 0:
        signal += np.float32(camera.read_noise) * rng.standard_normal(
            signal.shape, dtype=np.float32
        )
    signal *= np.float32(camera.gain)
    signal += np.float32(camera.offset)
    np.rint(signal, out=signal)
    np.clip(signal, 0, 2**camera.bits - 1, out=signal)
    return signal.astype(count_dtype(camera))
