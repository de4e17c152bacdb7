"""Random numbers that drift with time: smooth, stationary, the same at whatever times are asked.

A drift is a sum of sinusoids whose amplitudes are drawn from a normal distribution, so it is a
Gaussian process. Its spectrum is that of an Ornstein-Uhlenbeck process, cut off at a highest
frequency: it forgets its value over its memory, and shows nothing faster than its shortest period.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drift"]

Array = NDArray[np.float64]

_WAVES = 16


class Drift:
    """Independent standard normal drifts, an array of ``shape`` at every time.

    Args:
        shape: How many.
        memory_s: Time constant of the Ornstein-Uhlenbeck process.
        shortest_s: Period of the fastest wave.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, ...],
        *,
        memory_s: float,
        shortest_s: float,
    ) -> None:
        # Its spectrum is 1 / (1 + (memory ω)²), whose integral is an arc tangent. Each wave stands
        # for an equal share of it, at a place drawn within that share.
        highest = np.arctan(2 * np.pi * memory_s / shortest_s)
        share = (np.arange(_WAVES) + rng.random((*shape, _WAVES))) / _WAVES
        self._frequencies = np.tan(share * highest) / memory_s
        self._cosines, self._sines = rng.standard_normal((2, *shape, _WAVES)) / np.sqrt(_WAVES)

    def __call__(self, times_s: Array) -> Array:
        """Values ``(t, *shape)`` at times ``(t,)``."""
        phases = np.multiply.outer(times_s, self._frequencies)
        waves = self._cosines * np.cos(phases) + self._sines * np.sin(phases)
        return np.asarray(waves.sum(axis=-1))
