"""New latent codes and rotations, from one seed and the sequence's number.

Sequence 17 of a set is the same cell whether 18 or 18,000 are drawn, and a cell that had to be
drawn again is drawn from a stream of its own.

Four ways to draw a code, with learned codes z₁ … zₙ, their mean μ, and g standard normal:

``gaussian``
    z = σ g, around zero (the paper's).
``neighbourhood``
    z = zᵢ + σ g, around a learned code, each in its turn (the paper's for A549).
``mixture``
    z = μₖ + w Σᵢ gᵢ (zᵢ - μₖ) / √(nₖ - 1) over the codes of a group k: normal, with the mean and
    the covariance of the group, without a matrix of covariance ever being made.
``kernel``
    z = μ + √(1 - w²) (zᵢ - μ) + w Σⱼ gⱼ (zⱼ - μ) / √(n - 1): around a learned code, and over many
    draws with the mean and the covariance of the learned codes whatever the width.

The paper's second argument of N(0, σ) is the standard deviation; its Euler angles drawn one by one
are not uniform on SO(3), ours are.

Source: Wiesner et al. 2024, section 5.1; Silverman and Young 1987 for the kernel that keeps the
covariance, "The bootstrap: to smooth or not to smooth?", Biometrika 74.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.geometry import random_rotation
from cellsynth.presets.models import Kernel, Mixture, Sampling, Strategy

__all__ = ["Strategy", "draw_latent", "draw_rotation", "draw_stream", "learned_turn"]

# Distinguishes the stream of permutations from those of sequences and their attempts.
_TURNS = 2**32 - 1

Codes = NDArray[np.float64]


def draw_stream(seed: int, sequence: int, attempt: int = 0) -> np.random.Generator:
    """The random stream of one attempt at one sequence."""
    return np.random.default_rng([seed, sequence, attempt])


def learned_turn(seed: int, sequence: int, n: int) -> int:
    """Which of ``n`` learned codes a sequence is drawn around, or whose group it is drawn from.

    Each has its turn once in every ``n`` sequences, in an order that the seed decides. So a set of
    a few dozen sequences is as evenly spread as the learned cells are; picking codes at random
    would take some three times and a third of them never.
    """
    order = np.random.default_rng([seed, sequence // n, _TURNS]).permutation(n)
    return int(order[sequence % n])


def draw_latent(
    rng: np.random.Generator,
    sampling: Sampling,
    latents: NDArray[np.float32],
    turn: int,
    strategy: Strategy | None = None,
) -> NDArray[np.float32]:
    """A new code ``(latent_dim,)``.

    Args:
        rng: Where the numbers come from.
        sampling: The preset's strategy and widths.
        latents: Learned codes, ``(n, latent_dim)``.
        turn: Number of the learned code whose turn it is; ``gaussian`` has no use for it.
        strategy: Instead of the preset's.

    Raises:
        InputError: The preset was not calibrated for that strategy.
    """
    strategy = strategy or sampling.strategy
    learned = latents.astype(np.float64)
    code: Codes
    if strategy == "gaussian":
        code = np.multiply(sampling.gaussian.sigma, rng.standard_normal(learned.shape[1]))
    elif strategy == "neighbourhood":
        noise = sampling.neighbourhood.sigma * rng.standard_normal(learned.shape[1])
        code = learned[turn] + noise
    else:
        width = getattr(sampling, strategy)
        if width is None:
            known = [name for name in Sampling.model_fields if getattr(sampling, name) is not None]
            raise InputError(
                f"strategy {strategy}: this preset has no width for it; "
                f"expected {', '.join(name for name in known if name != 'strategy')}"
            )
        code = (_from_mixture if strategy == "mixture" else _from_kernel)(rng, width, learned, turn)
    return np.asarray(code, np.float32)


def draw_rotation(
    rng: np.random.Generator, rotation: Literal["random", "none"] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rotation ``(3, 3)`` of a new cell: uniform on SO(3), none, or the one given."""
    if isinstance(rotation, str):
        return random_rotation(rng) if rotation == "random" else np.eye(3)
    return rotation


def _from_mixture(rng: np.random.Generator, mixture: Mixture, learned: Codes, turn: int) -> Codes:
    members = np.array(mixture.members)
    group = learned[members == members[turn]]
    code: Codes = group.mean(axis=0) + mixture.width * _like(rng, group)
    return code


def _from_kernel(rng: np.random.Generator, kernel: Kernel, learned: Codes, turn: int) -> Codes:
    mean = learned.mean(axis=0)
    code: Codes = mean + np.sqrt(1 - kernel.width**2) * (learned[turn] - mean)
    return code + kernel.width * _like(rng, learned)


def _like(rng: np.random.Generator, codes: Codes) -> Codes:
    """A normal draw around zero with the covariance of ``codes``."""
    weights = rng.standard_normal(len(codes)) / np.sqrt(max(1, len(codes) - 1))
    drawn: Codes = weights @ (codes - codes.mean(axis=0))
    return drawn
