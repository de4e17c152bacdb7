"""How widely new codes may be drawn, and which strategy to use: by drawing, rendering, judging.

For each strategy a few widths are tried, the widest first. Cells drawn with it are judged twice:
do they keep the topology, and are their descriptors distributed as those of the learned cells?
The widest that passes both is kept; where none does, the best that was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.presets.models import Gaussian, Kernel, Mixture, Neighbourhood, Sampling, Strategy
from cellsynth.sampling.grouping import group_codes
from cellsynth.sampling.prior import code_spread
from cellsynth.sampling.strategies import draw_latent, learned_turn

__all__ = ["Judge", "calibrate"]

Latent = NDArray[np.float32]
Judge = Callable[[Latent], Mapping[str, float] | None]
"""Descriptors of a code's cell, each a mean over its frames; None where it breaks the topology."""

DRAWS = 20
FEWEST_KEPT = DRAWS // 4  # fewer whole cells say nothing about a distribution
# Share of draws that keep the topology, of the share of learned cells that do: a field that breaks
# some of the cells it learned draws no better ones beside them. One that breaks more than half of
# them is excused for half.
WANTED = 0.95
EXCUSED = 0.5
# p below which descriptors are nothing alike: after half the draws, the other half is not worth its
# time, and whole cells of another shape are no better than broken ones of the right one.
UNLIKE = 1e-3
ALIKE = 0.1  # p of the Kolmogorov-Smirnov test from which descriptors count as distributed alike

# The strategies in the order of how diverse their cells are, each with its widths: factors on the
# learned codes' spread, or shares of it for `kernel`.
WIDTHS: dict[Strategy, tuple[float, ...]] = {
    "mixture": (1.0, 0.7),
    "gaussian": (1.0, 0.7),
    "kernel": (0.7, 0.5, 0.3),
    # The last two for cells that come apart, or lose their processes, a little way from their code.
    "neighbourhood": (0.5, 0.3, 0.1, 0.05),
}
# Learned codes below which a covariance says nothing: only the paper's two strategies then.
FEWEST = 4


def calibrate(
    latents: Latent,
    judge: Judge,
    *,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Sampling, dict[str, Any]]:
    """Widths of all strategies, and the strategy to use.

    Args:
        latents: Learned codes ``(n, latent_dim)``.
        judge: Judges a code. It is asked for the learned codes first.
        seed: Of the draws.
        on_progress: Called with draws judged and the largest number there may be; jumps ahead
            where a width is given up early.

    Returns:
        The settings, and what was found, by strategy: the width, the share of draws that kept
        the topology, their number, and p of the Kolmogorov-Smirnov test of each descriptor
        against the learned cells.
    """
    strategies = dict(WIDTHS)
    if len(latents) < FEWEST:
        del strategies["mixture"], strategies["kernel"]
    total = len(latents) + DRAWS * sum(map(len, strategies.values()))
    done = 0

    def tell() -> None:
        if on_progress:
            on_progress(done, total)

    learned = []
    for code in latents:
        learned.append(judge(code))
        done += 1
        tell()
    reference = [found for found in learned if found is not None]
    wanted = WANTED * max(EXCUSED, len(reference) / len(learned))
    members = group_codes(latents, seed=seed)
    # Codes that are all zero have no spread, and a width is above 0.
    spread = max(code_spread(latents), 1e-6)
    best: dict[Strategy, tuple[Sampling, dict[str, Any]]] = {}
    for strategy, widths in strategies.items():
        base = done
        for i, width in enumerate(widths):
            done = base + i * DRAWS
            sampling = _sampling(strategy, members, spread, dict.fromkeys(strategies, width))
            drawn = []
            for number in range(DRAWS):
                # A stream apart from those that data sets draw from.
                rng = np.random.default_rng([seed, number, 0, 1])
                turn = learned_turn(seed, number, len(latents))
                drawn.append(judge(draw_latent(rng, sampling, latents, turn)))
                done += 1
                tell()
                if _hopeless(drawn, reference, wanted):
                    break
            found = {"width": width, **_figures(drawn, reference)}
            if strategy not in best or _quality(found, wanted) > _quality(
                best[strategy][1], wanted
            ):
                best[strategy] = sampling, found
            elif _alike(found) and _alike(best[strategy][1]):
                break  # narrower is no better
            if _good(found, wanted):
                break
        done = base + len(widths) * DRAWS
    good = [name for name in best if _good(best[name][1], wanted)]
    chosen = good[0] if good else max(best, key=lambda name: _quality(best[name][1], wanted))
    settled = {name: found["width"] for name, (_, found) in best.items()}
    figures: dict[str, Any] = {name: found for name, (_, found) in best.items()}
    figures["learned"] = {"kept_topology": round(len(reference) / len(latents), 4)}
    return _sampling(chosen, members, spread, settled), figures


def _figures(
    drawn: list[Mapping[str, float] | None], reference: list[Mapping[str, float]]
) -> dict[str, Any]:
    from scipy import stats

    kept = [found for found in drawn if found is not None]
    p = {}
    if min(len(kept), len(reference)) >= FEWEST_KEPT:
        for name in reference[0]:
            a, b = [found[name] for found in reference], [found[name] for found in kept]
            p[name] = float(f"{stats.ks_2samp(a, b, method='exact').pvalue:.3g}")
    return {"kept_topology": round(len(kept) / len(drawn), 4), "draws": len(drawn), "p": p}


def _hopeless(
    drawn: list[Mapping[str, float] | None], reference: list[Mapping[str, float]], wanted: float
) -> bool:
    """Whether more draws cannot make a width a good one."""
    if drawn.count(None) > 2 * (1 - wanted) * DRAWS:
        return True
    if len(drawn) != DRAWS // 2:
        return False
    return min(_figures(drawn, reference)["p"].values(), default=1.0) < UNLIKE


def _good(found: Mapping[str, Any], wanted: float) -> bool:
    # Where there was nothing to compare with, topology alone decides.
    return found["kept_topology"] >= wanted and min(found["p"].values(), default=1.0) >= ALIKE


def _alike(found: Mapping[str, Any]) -> bool:
    """Whether it was not given up, and the cells are something like the learned ones."""
    enough = found["draws"] == DRAWS and found["kept_topology"] * DRAWS >= FEWEST_KEPT
    return enough and min(found["p"].values(), default=1.0) >= UNLIKE


def _quality(found: Mapping[str, Any], wanted: float) -> tuple[bool, float, float]:
    p = min(found["p"].values(), default=0.0)
    return _alike(found), min(found["kept_topology"], wanted), p


def _sampling(
    strategy: Strategy,
    members: tuple[int, ...],
    spread: float,
    widths: Mapping[Strategy, float],
) -> Sampling:
    return Sampling(
        strategy=strategy,
        gaussian=Gaussian(sigma=_short(widths["gaussian"] * spread)),
        neighbourhood=Neighbourhood(sigma=_short(widths["neighbourhood"] * spread)),
        mixture=Mixture(members=members, width=widths["mixture"]) if "mixture" in widths else None,
        kernel=Kernel(width=widths["kernel"]) if "kernel" in widths else None,
    )


def _short(value: float) -> float:
    return float(f"{value:.4g}")
