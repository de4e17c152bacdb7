"""Whether textured images look like others: intensity, spectrum, co-occurrence, contrast, features.

Each measure is a distance between two samples of flat images with masks, 0 where they are alike.
Since two finite samples of one microscope are never alike, a distance is read beside that between
two halves of the real images, and beside that of the simplest thing that works
(:mod:`cellsynth.evaluation.mask_baseline`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, ShapeError
from cellsynth.evaluation.scattering import frechet_distance, scattering_features
from cellsynth.shapes.cell_mask import label_boxes

__all__ = ["MEASURES", "TextureSample", "Textured", "distances", "sample_textures"]

MEASURES = (
    "intensity inside",
    "intensity outside",
    "power spectrum",
    "co-occurrence",
    "contrast to noise",
    "Fréchet",
)

PATCH = 64  # pixels
LEVELS = 16
STEPS = (1, 2, 4)  # pixels between two that occur together
QUANTILES = 2001


@dataclass(frozen=True)
class Textured:
    """A flat image and its cells.

    Attributes:
        image: Counts, ``(y, x)``.
        labels: ``(y, x)``, 0 is background.
    """

    image: NDArray[Any]
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        if self.image.ndim != 2 or self.image.shape != self.labels.shape:
            raise ShapeError(
                f"image {self.image.shape} and labels {self.labels.shape} must be (y, x) alike"
            )


@dataclass(frozen=True)
class TextureSample:
    """What is kept of a set of images.

    Attributes:
        inside: Quantiles of the counts in cells.
        outside: Quantiles of those elsewhere.
        contrasts: Of each cell, contrast to noise.
        patches: ``(n, side, side)``, one around each cell that leaves room.
        cells: Whether a pixel of a patch lies in a cell, of the same shape.
    """

    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    contrasts: NDArray[np.float64]
    patches: NDArray[np.float32]
    cells: NDArray[np.bool_]

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """Scattering features of the patches, ``(n, features)``."""
        return scattering_features(self.patches)


def sample_textures(images: Sequence[Textured], *, patch: int = PATCH) -> TextureSample:
    """Take what the measures need of a set of images.

    Contrast to noise of a cell is its mean above the background's, in standard deviations of the
    background of its image.

    Args:
        images: At least one with a cell and background.
        patch: Side of a patch around the centre of a cell's box, moved inwards at borders.

    Raises:
        InputError: No cell, no background, or images smaller than a patch.
    """
    inside, outside, contrasts, patches, cells = [], [], [], [], []
    for one in images:
        counts = np.asarray(one.image, np.float32)
        mask = one.labels > 0
        if mask.all() or not mask.any() or min(counts.shape) < patch:
            continue
        background = counts[~mask].astype(np.float64)
        inside.append(counts[mask])
        outside.append(counts[~mask])
        noise = max(float(background.std()), 1e-9)
        for label, box in label_boxes(one.labels):
            mine = one.labels[box] == label
            level = float(counts[box][mine].astype(np.float64).mean())
            contrasts.append((level - float(background.mean())) / noise)
            window = tuple(
                slice(begin, begin + patch)
                for begin in (
                    min(max(0, (side.start + side.stop - patch) // 2), n - patch)
                    for side, n in zip(box, counts.shape, strict=True)
                )
            )
            patches.append(counts[window])
            cells.append(mask[window])
    if not patches:
        raise InputError(
            f"no image of {len(images)} has a cell, background, and {patch} pixels a side"
        )
    levels = np.linspace(0, 1, QUANTILES)
    return TextureSample(
        np.quantile(np.concatenate(inside).astype(np.float64), levels),
        np.quantile(np.concatenate(outside).astype(np.float64), levels),
        np.sort(contrasts),
        np.stack(patches),
        np.stack(cells),
    )


def distances(real: TextureSample, other: TextureSample) -> dict[str, float]:
    """Each of :data:`MEASURES` between real images and others.

    Intensities and contrast are Wasserstein distances, in counts and in standard deviations; the
    power spectrum is the root mean square difference of its logarithm (decades) over
    frequencies; co-occurrence the total variation, 0 … 1, of how often two levels lie 1, 2 and 4
    pixels apart in cells; Fréchet is on scattering features.
    """
    if real.patches.shape[1] != other.patches.shape[1]:
        raise ShapeError(
            f"patches of {real.patches.shape[1]} and of {other.patches.shape[1]} pixels differ"
        )
    edges = real.inside[np.linspace(0, QUANTILES - 1, LEVELS + 1).astype(int)][1:-1]
    spectra = [radial_spectrum(sample.patches) for sample in (real, other)]
    together = [co_occurrence(s.patches, s.cells, edges) for s in (real, other)]
    values = (
        wasserstein(real.inside, other.inside),
        wasserstein(real.outside, other.outside),
        float(np.sqrt(np.mean((spectra[0] - spectra[1]) ** 2))),
        float(np.abs(together[0] - together[1]).sum(axis=(1, 2)).mean() / 2),
        wasserstein(real.contrasts, other.contrasts),
        frechet_distance(real.features, other.features),
    )
    return dict(zip(MEASURES, values, strict=True))


def wasserstein(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mean distance that must be gone from one sorted sample to the other.

    Where they are of different length, quantiles are compared.
    """
    if len(a) != len(b):
        levels = np.linspace(0, 1, QUANTILES)
        a, b = np.quantile(a, levels), np.quantile(b, levels)
    return float(np.abs(np.sort(a) - np.sort(b)).mean())


def radial_spectrum(patches: NDArray[Any]) -> NDArray[np.float64]:
    """Common logarithm of the mean power at each whole frequency, 1 to half the side.

    A Hann window keeps the borders of the patches out of it.
    """
    side = patches.shape[1]
    window = np.hanning(side + 2)[1:-1]
    flat = patches - patches.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(flat * np.outer(window, window))) ** 2
    frequency = np.fft.fftfreq(side) * side
    radius = np.rint(np.hypot(*np.meshgrid(frequency, frequency))).astype(int).ravel()
    mean = power.mean(axis=0).ravel()
    sums = np.bincount(radius, mean)[1 : side // 2 + 1]
    counts = np.bincount(radius)[1 : side // 2 + 1]
    return np.asarray(np.log10(sums / counts + 1e-12))


def co_occurrence(
    patches: NDArray[Any], cells: NDArray[np.bool_], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How often two grey levels lie so many pixels apart in a row or column, both in cells.

    Args:
        patches: ``(n, y, x)`` counts.
        cells: Which pixels count.
        edges: Counts at which the next level begins, ascending.

    Returns:
        ``(steps, levels, levels)``; each matrix is symmetric, and sums to 1.

    Source: Haralick et al. 1973.
    """
    n = len(edges) + 1
    levels = np.searchsorted(edges, patches, side="right")
    found = np.zeros((len(STEPS), n, n))
    for i, step in enumerate(STEPS):
        for axis in (1, 2):
            near = [slice(None)] * 3
            far = [slice(None)] * 3
            near[axis], far[axis] = slice(None, -step), slice(step, None)
            a, b = tuple(near), tuple(far)
            both = cells[a] & cells[b]
            pairs = levels[a][both] * n + levels[b][both]
            found[i] += np.bincount(pairs, minlength=n * n).reshape(n, n)
        found[i] += found[i].T.copy()
        found[i] /= max(found[i].sum(), 1)
    return found
