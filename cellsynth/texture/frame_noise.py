"""White noise of a camera: new in every frame and slice, the same whenever it is asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["frame_noise"]

# Keeps this stream apart from others that a seed and a sequence's number begin.
_STREAM = 7


def frame_noise(
    shape: tuple[int, int], *, seed: int, sequence: int, frame: int, z: int = 0
) -> NDArray[np.float32]:
    """Noise of one frame, or of slice ``z`` of it: mean 0, variance 1, ``(y, x)``.

    It is the generator's last channel. Tiles are cut from the whole, so that they agree.
    """
    rng = np.random.default_rng([seed, sequence, frame, z, _STREAM])
    return rng.standard_normal(shape, dtype=np.float32)
