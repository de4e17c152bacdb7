"""What a learned set of codes says about a code that was not learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CodePrior", "code_spread"]

# Codes outnumber sequences, so most directions were never seen to vary; they get this share of
# the mean variance instead of none.
SHRINKAGE = 0.1


def code_spread(latents: NDArray[np.float32]) -> float:
    """How far codes ``(n, latent_dim)`` lie from zero: root mean square of their numbers."""
    return float(np.sqrt(np.mean(latents.astype(np.float64) ** 2)))


@dataclass(frozen=True)
class CodePrior:
    """A normal distribution of codes: code = mean + basis · w, with w standard normal.

    Attributes:
        mean: ``(latent_dim,)``.
        basis: ``(latent_dim, latent_dim)``, invertible.
    """

    mean: NDArray[np.float64]
    basis: NDArray[np.float64]

    @classmethod
    def of(cls, latents: NDArray[np.float32], *, sigma: float) -> CodePrior:
        """The prior of learned codes ``(n, latent_dim)``.

        Args:
            latents: Learned codes.
            sigma: Standard deviation where a single code, or equal ones, tell none.
        """
        codes = np.asarray(latents, np.float64)
        n, size = codes.shape
        mean = codes.mean(axis=0)
        covariance = (codes - mean).T @ (codes - mean) / max(1, n - 1)
        variance = float(np.trace(covariance)) / size
        if variance == 0:
            return cls(mean, sigma * np.eye(size))
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * variance * np.eye(size)
        variances, vectors = np.linalg.eigh(covariance)
        return cls(mean, vectors * np.sqrt(variances))

    def whiten(self, latents: NDArray[np.floating]) -> NDArray[np.float64]:
        """Coordinates w ``(…, latent_dim)`` of codes ``(…, latent_dim)``."""
        offset = np.asarray(latents, np.float64) - self.mean
        return np.asarray(np.linalg.solve(self.basis, offset[..., None])[..., 0])
