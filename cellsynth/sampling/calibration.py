"""How widely new codes may be drawn: set from the learned codes, checked by drawing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.presets.models import Gaussian, Neighbourhood, Sampling
from cellsynth.sampling.strategies import Strategy, draw_latent

__all__ = ["calibrate"]

DRAWS = 24
WANTED = 0.9  # share of draws that keep the topology
SHRINK = 0.8
SMALLEST = 0.3  # of the learned codes' spread; a narrower draw repeats what was learned

Latent = NDArray[np.float32]


def calibrate(
    latents: Latent,
    keeps_topology: Callable[[Latent], bool],
    *,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Sampling, dict[str, Any]]:
    """Standard deviations for both strategies, and the strategy to use.

    ``gaussian`` starts from the learned codes' own standard deviation around zero, as the paper
    does, ``neighbourhood`` from half of it. Either is narrowed until nine of ten draws keep the
    topology. ``gaussian`` is preferred, since it makes the more diverse cells; where it breaks
    the topology much more often, ``neighbourhood`` is.

    Args:
        latents: Learned codes ``(n, latent_dim)``.
        keeps_topology: Judges a drawn code.
        seed: Of the draws.
        on_progress: Called with draws judged and their number; begins anew for a narrower width.

    Returns:
        The settings, and what was found: per strategy the standard deviation, the share of draws
        that kept the topology, and their number.
    """
    spread = float(np.sqrt(np.mean(latents.astype(np.float64) ** 2)))
    starts: dict[Strategy, float] = {"gaussian": spread, "neighbourhood": spread / 2}
    found: dict[str, Any] = {}

    def judge(strategy: Strategy, sigma: float) -> tuple[float, int]:
        """Share of draws that keep the topology, and their number: fewer where it is hopeless."""
        sampling = _sampling(strategy, sigma, sigma)
        kept = 0
        for i in range(DRAWS):
            # A stream apart from those that data sets draw from.
            rng = np.random.default_rng([seed, i, 0, 1])
            kept += keeps_topology(draw_latent(rng, sampling, latents))
            if on_progress:
                on_progress(len(found) * DRAWS + i + 1, len(starts) * DRAWS)
            if i + 1 - kept > (1 - WANTED) * DRAWS:
                break
        return kept / (i + 1), i + 1

    for strategy, start in starts.items():
        tried: list[tuple[float, float, int]] = []
        sigma = start
        while not tried or (tried[-1][0] < WANTED and sigma >= SMALLEST * start):
            share, draws = judge(strategy, sigma)
            # Of equally good widths the widest.
            tried.append((share, sigma, draws))
            sigma *= SHRINK
        share, sigma, draws = max(tried)
        found[strategy] = {
            "sigma": float(f"{sigma:.4g}"),
            "kept_topology": round(share, 4),
            "draws": draws,
        }
    gaussian, neighbourhood = found["gaussian"], found["neighbourhood"]
    prefer: Strategy = "gaussian"
    if gaussian["kept_topology"] < min(0.8, neighbourhood["kept_topology"]):
        prefer = "neighbourhood"
    return _sampling(prefer, gaussian["sigma"], neighbourhood["sigma"]), found


def _sampling(strategy: Strategy, gaussian: float, neighbourhood: float) -> Sampling:
    return Sampling(
        strategy=strategy,
        gaussian=Gaussian(sigma=gaussian),
        neighbourhood=Neighbourhood(sigma=neighbourhood),
    )
