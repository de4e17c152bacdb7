"""Codes in few dimensions: principal components, t-SNE, nearest neighbours.

Everything here is computed in double precision and without chance: the directions of components
have a fixed sign, and t-SNE begins with the first two components.

Source: van der Maaten and Hinton 2008 for t-SNE; Kobak and Berens 2019, "The art of using t-SNE for
single-cell transcriptomics", for beginning with principal components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError

__all__ = [
    "FEWEST",
    "Components",
    "components_for",
    "nearest_codes",
    "perplexity_of",
    "principal_components",
    "tsne",
]

Codes = NDArray[np.float64]

# Two points have no neighbourhoods to keep.
FEWEST = 3
# Where t-SNE begins is small, so that the first steps do not tear neighbours apart (Kobak and
# Berens 2019).
BEGIN = 1e-4
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Components:
    """Principal components of codes.

    Attributes:
        mean: ``(latent_dim,)``.
        axes: ``(k, latent_dim)``, the direction of most variance first.
        variances: ``(k,)``, the variance along each.
        ratios: ``(k,)``, its share of all variance.
    """

    mean: Codes
    axes: Codes
    variances: Codes
    ratios: Codes

    def scores(self, codes: NDArray[np.floating]) -> Codes:
        """Coordinates ``(n, k)`` of codes ``(n, latent_dim)``, learned or not."""
        return np.asarray((np.asarray(codes, np.float64) - self.mean) @ self.axes.T)


def principal_components(codes: NDArray[np.floating]) -> Components:
    """Principal components of codes ``(n, latent_dim)``; n codes have no more than n - 1.

    An axis points where its largest entry is above 0. This is scikit-learn's full decomposition
    without scikit-learn, which takes longer to load than codes take to be mapped.

    Raises:
        InputError: Fewer than two codes, or codes that are all alike.
    """
    known = np.asarray(codes, np.float64)
    n, size = known.shape
    if n < 2 or not np.ptp(known, axis=0).any():
        raise InputError(f"{n} codes that do not differ have no principal components")
    k = min(n - 1, size)
    mean = known.mean(axis=0)
    _, widths, axes = np.linalg.svd(known - mean, full_matrices=False)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    variances = widths**2 / (n - 1)
    return Components(
        mean,
        axes[:k] * np.where(largest[:k] < 0, -1.0, 1.0),
        variances[:k],
        variances[:k] / variances.sum(),
    )


def components_for(ratios: Codes, share: float) -> int:
    """How many of the first components hold ``share`` of the variance."""
    # The last sum may be 1 but for rounding.
    return int(np.searchsorted(np.cumsum(ratios), share - 1e-12)) + 1


def perplexity_of(n: int) -> float:
    """How many neighbours a point is to have in a map of ``n``: 30, or a third where n is small."""
    return min(PERPLEXITY, max(1.0, (n - 1) / 3))


def tsne(codes: NDArray[np.floating], *, seed: int) -> Codes:
    """A map ``(n, 2)`` of codes ``(n, latent_dim)`` that keeps neighbours together.

    Distances between groups, and their sizes, mean nothing.

    Args:
        codes: Three or more.
        seed: Given to scikit-learn. The exact method with a given start draws nothing.

    Raises:
        InputError: Fewer than three codes, or codes that are all alike.
    """
    from sklearn.manifold import TSNE

    n = len(codes)
    if n < FEWEST:
        raise InputError(f"t-SNE needs {FEWEST} codes or more, got {n}")
    begin = principal_components(codes).scores(codes)[:, :2]
    begin = np.pad(begin, ((0, 0), (0, 2 - begin.shape[1])))
    begin *= BEGIN / begin[:, 0].std()
    method = TSNE(
        perplexity=perplexity_of(n),
        init=begin.astype(np.float32),
        method="exact",
        learning_rate="auto",
        random_state=seed % 2**32,
    )
    return np.asarray(method.fit_transform(np.asarray(codes, np.float64)), np.float64)


def nearest_codes(
    codes: NDArray[np.floating], learned: NDArray[np.floating], *, themselves: bool
) -> tuple[NDArray[np.int64], Codes]:
    """Of each of ``codes`` the nearest of ``learned``, from 0, and its Euclidean distance.

    Args:
        codes: ``(n, latent_dim)``.
        learned: ``(m, latent_dim)``.
        themselves: Whether both are the same codes; then it is the nearest other one.
    """
    a, b = (np.asarray(each, np.float64) for each in (codes, learned))
    apart = np.linalg.norm(a[:, None] - b[None], axis=-1)
    if themselves:
        np.fill_diagonal(apart, np.inf)
    nearest = apart.argmin(axis=1)
    return nearest, np.asarray(apart[np.arange(len(a)), nearest])
