"""The simplest thing that works: a blurred mask with noise, fitted to real images.

What a texture must beat to be worth its training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cellsynth.errors import InputError
from cellsynth.evaluation.textures import Textured

__all__ = ["MaskBaseline", "fit_mask_baseline"]

BLURS = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # pixels


@dataclass(frozen=True)
class MaskBaseline:
    """Two levels, a blur and normal noise whose variance goes with the level.

    Attributes:
        blur: Standard deviation of the blur, in pixels.
        background: Mean counts outside.
        cell: Mean counts inside, where the blurred mask is 1.
        noise: Standard deviations where the blurred mask is 0, and where it is 1.
        dtype: Type of the images.
    """

    blur: float
    background: float
    cell: float
    noise: tuple[float, float]
    dtype: str

    def image(self, labels: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Counts of a flat frame of labels, ``(y, x)``."""
        mask = gaussian_filter((labels > 0).astype(np.float64), self.blur)
        low, high = (sigma**2 for sigma in self.noise)
        sigma = np.sqrt(low + (high - low) * mask)
        level = self.background + (self.cell - self.background) * mask
        counts = np.rint(level + sigma * rng.standard_normal(mask.shape))
        info = np.iinfo(self.dtype)
        return np.asarray(np.clip(counts, info.min, info.max), self.dtype)


def fit_mask_baseline(images: Sequence[Textured]) -> MaskBaseline:
    """The blur whose levels leave the least squares, and the noise that is left.

    Raises:
        InputError: No image, or no cell and background in them.
    """
    if not images:
        raise InputError("a baseline needs images to be fitted to, got none")
    counts = np.concatenate([one.image.ravel() for one in images]).astype(np.float64)
    least = np.inf
    for tried in BLURS:
        mask = np.concatenate(
            [gaussian_filter((one.labels > 0).astype(np.float64), tried).ravel() for one in images]
        )
        if np.ptp(mask) < 0.5:
            continue
        slope, level = np.polyfit(mask, counts, 1)
        left = counts - level - slope * mask
        if (left**2).sum() < least:
            least = (left**2).sum()
            blur, background, cell, rest, inside = tried, level, level + slope, left, mask
    if not np.isfinite(least):
        raise InputError("a baseline needs cells and background in its images")
    low, high = rest[inside < 0.1], rest[inside > 0.9]
    noise = float(low.std()) if low.size else 0.0, float(high.std()) if high.size else 0.0
    return MaskBaseline(blur, float(background), float(cell), noise, images[0].image.dtype.name)
