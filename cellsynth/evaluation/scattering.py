"""Features of an image's texture by wavelet scattering, and a Fréchet distance on them.

A fixed, named extractor without learned weights: Morlet wavelets of four octaves and four
orientations. The modulus of the first wavelets' answers says how much of each scale there is, that
of second, coarser wavelets on it how the fine is arranged. Means over the patch, and over the
orientation of the first wavelet, make the features invariant to shifts and quarter turns. This is
no FID: that is defined on the activations of a network trained on photographs.

Source: Bruna and Mallat 2013, "Invariant scattering convolution networks"; Dowson and Landau 1982
for the distance of two normal distributions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from cellsynth.errors import InputError, ShapeError

__all__ = ["FEATURES", "frechet_distance", "scattering_features"]

FEATURES = "Morlet scattering, 4 octaves, 4 orientations, 2 orders"

OCTAVES = 4
ORIENTATIONS = 4
_TURNS = ORIENTATIONS // 2 + 1  # angles between two wavelets, sign apart


def scattering_features(patches: NDArray[Any]) -> NDArray[np.float64]:
    """Features of square patches.

    Args:
        patches: ``(n, side, side)`` counts; the side is at least 32.

    Returns:
        ``(n, 28)``: mean, logarithm of the standard deviation, and per octave the logarithm of the
        modulus and how it differs between orientations; per pair of octaves and angle between the
        two wavelets the logarithm of the second modulus, relative to the first.

    Raises:
        ShapeError: Patches that are not square, or too small.
    """
    if patches.ndim != 3 or patches.shape[1] != patches.shape[2] or patches.shape[1] < 32:
        raise ShapeError(f"patches must be (n, side, side) of 32 or more, got {patches.shape}")
    filters = _filters(patches.shape[1])
    return np.array([_features(np.asarray(patch, np.float64), filters) for patch in patches])


def frechet_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Squared Fréchet distance of the normal distributions with the moments of two samples.

    Args:
        a: ``(n, features)``. Its means and standard deviations are the features' units.
        b: ``(m, features)``.

    Raises:
        InputError: Fewer than two patches on either side.
    """
    if min(len(a), len(b)) < 2:
        raise InputError(f"a Fréchet distance needs two patches a side, got {len(a)} and {len(b)}")
    spread = np.maximum(a.std(axis=0), 1e-9)
    a, b = (a - a.mean(axis=0)) / spread, (b - a.mean(axis=0)) / spread
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = _root(cov_a)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    return float(max(0.0, apart + np.trace(cov_a) + np.trace(cov_b) - 2 * cross))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    found: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return found


def _features(patch: NDArray[np.float64], filters: NDArray[np.float32]) -> list[float]:
    spectrum = fft.fft2((patch - patch.mean()).astype(np.float32))
    first = np.abs(fft.ifft2(spectrum * filters))  # (octaves, orientations, side, side)
    means = first.mean(axis=(2, 3), dtype=np.float64) + 1e-9
    found = [float(patch.mean()), float(np.log(patch.std() + 1e-9))]
    logs = np.log(means)
    found += [*logs.mean(axis=1), *logs.std(axis=1)]
    for fine in range(OCTAVES - 1):
        seen = fft.fft2(first[fine] - first[fine].mean(axis=(1, 2), keepdims=True))
        for coarse in range(fine + 1, OCTAVES):
            second = np.abs(fft.ifft2(seen[:, None] * filters[coarse])).mean(
                axis=(2, 3), dtype=np.float64
            )
            relative = np.log((second + 1e-9) / means[fine][:, None])
            turns = np.zeros(_TURNS)
            for i in range(ORIENTATIONS):
                for j in range(ORIENTATIONS):
                    apart = abs(i - j)
                    turns[min(apart, ORIENTATIONS - apart)] += relative[i, j]
            counts = [ORIENTATIONS, *[2 * ORIENTATIONS] * (_TURNS - 2), ORIENTATIONS]
            found += list(turns / counts)
    return found


@lru_cache(maxsize=4)
def _filters(side: int) -> NDArray[np.float32]:
    """Spectra of the wavelets, ``(octaves, orientations, side, side)``."""
    frequency = np.fft.fftfreq(side) * 2 * np.pi
    y, x = np.meshgrid(frequency, frequency, indexing="ij")
    found = np.empty((OCTAVES, ORIENTATIONS, side, side), np.float32)
    for octave in range(OCTAVES):
        centre, width = 0.75 * np.pi / 2**octave, 0.8 * 2**octave
        for i in range(ORIENTATIONS):
            angle = np.pi * i / ORIENTATIONS
            along = x * np.cos(angle) + y * np.sin(angle)
            across = y * np.cos(angle) - x * np.sin(angle)
            bump = np.exp(-((along - centre) ** 2 + (across / 2) ** 2 * 4) * width**2 / 2)
            # A Morlet wavelet answers a constant with nothing.
            low = np.exp(-(along**2 + (across / 2) ** 2 * 4) * width**2 / 2)
            found[octave, i] = bump - low * np.exp(-(centre**2) * width**2 / 2)
    return found
