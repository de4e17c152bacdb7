"""Counts of a camera to and from the range [-1, 1] that a generator works in."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.presets.texture import Intensities

__all__ = ["Histogram", "to_counts", "to_range"]

# Share of pixels below, and above, what the range holds: hot pixels must not stretch it.
OUTSIDE = 1e-4
# Share of the cells' own pixels above, at most: of few small cells the above would leave nothing.
SATURATED = 0.01
# The range is this much wider than what it must hold, since tanh never reaches its ends.
SLACK = 0.02
# Nearly a square root above a sixth of the range: the noise of photons is then as strong in the
# background as in a bright cell, and a discriminator sees both.
BEND = 24.0


class Histogram:
    """How often each count occurs in the images that were added.

    Attributes:
        dtype: Type of the images.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        """Begin with no image.

        Raises:
            InputError: Neither uint8 nor uint16.
        """
        if dtype not in (np.uint8, np.uint16):
            raise InputError(f"images hold {dtype}; a camera's counts are uint8 or uint16")
        self.dtype = dtype
        self._counts = np.zeros(np.iinfo(dtype).max + 1, np.int64)
        self._of_cells = np.zeros_like(self._counts)

    def add(self, image: NDArray[Any], cells: NDArray[np.bool_] | None = None) -> None:
        """Count the pixels of an image, and those of its cells; None where there are none."""
        self._counts += np.bincount(image.reshape(-1), minlength=len(self._counts))
        if cells is not None:
            self._of_cells += np.bincount(image[cells], minlength=len(self._counts))

    def intensities(self, bend: float = BEND) -> Intensities:
        """The range that holds nearly all that was counted, and nearly all of the cells.

        Raises:
            InputError: Nothing was counted, or all counts are equal.
        """
        found = np.flatnonzero(self._counts)
        if len(found) < 2:
            what = f"all images are constant at {found[0]}" if len(found) else "there is no image"
            raise InputError(f"intensities: {what}; expected images with cells that differ")
        low = _percentile(self._counts, OUTSIDE)
        high = max(_percentile(self._counts, 1 - OUTSIDE), low + 1)
        if self._of_cells.any():
            high = max(high, _percentile(self._of_cells, 1 - SATURATED))
        slack = SLACK * (high - low)
        name: Literal["uint8", "uint16"] = "uint8" if self.dtype == np.uint8 else "uint16"
        return Intensities(
            dtype=name,
            low=round(low - slack, 2),
            high=round(high + slack, 2),
            bend=bend,
            smallest=0,
            largest=len(self._counts) - 1,
        )


def _percentile(counts: NDArray[np.int64], share: float) -> int:
    """The smallest count at or below which there is that share of the pixels."""
    return int(np.searchsorted(np.cumsum(counts) / counts.sum(), share))


def to_range(counts: NDArray[Any], intensities: Intensities) -> NDArray[np.float32]:
    """Counts as values in [-1, 1], float32; what lies outside the range saturates.

    With x the counts' place between low and high, 0 to 1, and b the bend, the value is
    2·(√(1 + b·x) - 1)/(√(1 + b) - 1) - 1; as b goes to 0, 2·x - 1.
    """
    span = intensities.high - intensities.low
    x = np.clip((counts.astype(np.float32) - intensities.low) / span, 0, 1)
    # The quotient as it stands above, but without a difference that vanishes with b.
    x *= (np.sqrt(1 + intensities.bend) + 1) / (np.sqrt(1 + intensities.bend * x) + 1)
    return np.asarray(2 * x - 1, np.float32)


def to_counts(values: NDArray[Any], intensities: Intensities) -> NDArray[Any]:
    """Values in [-1, 1] as whole counts, of the type of the training images.

    The inverse of :func:`to_range` but for rounding; saturates where the camera does.
    """
    u = (np.clip(values, -1, 1).astype(np.float32) + 1) / 2
    end = np.sqrt(1 + intensities.bend) + 1
    x = u * (2 + u * (intensities.bend / end)) / end
    counts = intensities.low + x * (intensities.high - intensities.low)
    rounded = np.rint(np.clip(counts, intensities.smallest, intensities.largest))
    return np.asarray(rounded, intensities.dtype)
