"""New latent codes and rotations, from one seed and the sequence's number.

Sequence 17 of a set is the same cell whether 18 or 18,000 are drawn, and a cell that had to be
drawn again is drawn from a stream of its own.

Source: Wiesner et al. 2024, section 5.1. The paper's second argument of N(0, σ) is the standard
deviation; its Euler angles drawn one by one are not uniform on SO(3), ours are.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.geometry import random_rotation
from cellsynth.presets.models import Sampling

__all__ = ["Strategy", "draw_latent", "draw_rotation", "draw_stream"]

Strategy = Literal["gaussian", "neighbourhood"]


def draw_stream(seed: int, sequence: int, attempt: int = 0) -> np.random.Generator:
    """The random stream of one attempt at one sequence."""
    return np.random.default_rng([seed, sequence, attempt])


def draw_latent(
    rng: np.random.Generator,
    sampling: Sampling,
    latents: NDArray[np.float32],
    strategy: Strategy | None = None,
) -> NDArray[np.float32]:
    """A new code ``(latent_dim,)``.

    ``gaussian`` draws around zero, ``neighbourhood`` around one of the learned codes.

    Args:
        rng: Where the numbers come from.
        sampling: The preset's strategy and standard deviations.
        latents: Learned codes, ``(n, latent_dim)``.
        strategy: Instead of the preset's.
    """
    noise = rng.standard_normal(latents.shape[1])
    if (strategy or sampling.strategy) == "gaussian":
        code = sampling.gaussian.sigma * noise
    else:
        code = latents[rng.integers(len(latents))] + sampling.neighbourhood.sigma * noise
    return np.asarray(code, np.float32)


def draw_rotation(
    rng: np.random.Generator, rotation: Literal["random", "none"] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rotation ``(3, 3)`` of a new cell: uniform on SO(3), none, or the one given."""
    if isinstance(rotation, str):
        return random_rotation(rng) if rotation == "random" else np.eye(3)
    return rotation
