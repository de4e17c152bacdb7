"""Into how many groups learned codes fall, and which code belongs to which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["group_codes"]

# Principal components that hold this share of the codes' variance tell the groups apart.
VARIANCE = 0.9
MOST = 8
# Codes that a group needs before its covariance says anything.
FEWEST = 4


def group_codes(latents: NDArray[np.float32], *, seed: int = 0) -> tuple[int, ...]:
    """The group, from 0, of each learned code ``(n, latent_dim)``.

    Gaussian mixtures of 1, 2, … groups are fitted to the codes in their principal components, and
    the one with the smallest Bayesian information criterion decides. Groups are numbered in the
    order in which they first occur.

    Source: Wiesner et al. 2024 name Gaussian mixtures as future work, section 6; Schwarz 1978 for
    the criterion.
    """
    codes = latents.astype(np.float64)
    codes = codes - codes.mean(axis=0)
    _, sizes, axes = np.linalg.svd(codes, full_matrices=False)
    if len(codes) < 2 * FEWEST or not sizes[0]:
        return (0,) * len(codes)
    explained = np.cumsum(sizes**2) / np.sum(sizes**2)
    kept = int(np.searchsorted(explained, VARIANCE)) + 1
    scores = codes @ axes[:kept].T
    scores /= scores.std()
    best, members = np.inf, np.zeros(len(codes), int)
    # Takes a second to import, and only training needs it.
    from sklearn.mixture import GaussianMixture

    for n_groups in range(1, min(MOST, len(codes) // FEWEST) + 1):
        mixture = GaussianMixture(
            n_groups, covariance_type="diag", reg_covar=1e-3, n_init=5, random_state=seed
        ).fit(scores)
        found = mixture.predict(scores)
        if np.bincount(found, minlength=n_groups).min() >= FEWEST and mixture.bic(scores) < best:
            best, members = mixture.bic(scores), found
    _, first, inverse = np.unique(members, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return tuple(int(rank[i]) for i in inverse)
