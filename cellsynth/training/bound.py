"""How steep a trained field is: the bound that the renderer relies on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from cellsynth.field.decoder import Decoder
from cellsynth.geometry import frame_times
from cellsynth.presets.models import Bound
from cellsynth.sampling.prior import code_spread

__all__ = ["measure_bound"]

POINTS = 256  # per code and frame, uniform in a ball; as dense in the larger one around a cube
# Its radius: a cube that turns reaches as far as its corners, and blocks at the rim of Ω have
# their centres outside.
REACH = {"ball": 1.0 + 0.1, "cube": math.sqrt(3) + 0.1}
FRAMES_AT_ONCE = 16


def measure_bound(
    decoder: Decoder,
    latents: NDArray[np.float32],
    n_frames: int,
    *,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Bound:
    """The largest slope |∇f| of a field over codes, frames and space, by ranges of |f|.

    Looks at the learned codes and at as many new ones drawn with their spread, since new cells
    are what will be rendered. ``on_progress`` is called with codes done and codes in all.
    """
    rng = np.random.default_rng([seed, n_frames])
    codes = np.concatenate([latents, code_spread(latents) * rng.standard_normal(latents.shape)])
    device = decoder.output.weight.device
    times = frame_times(n_frames)
    reach = REACH[decoder.spec.domain]
    points = math.ceil(POINTS * (reach / REACH["ball"]) ** 3)
    steepest = np.zeros(4)
    for done, code in enumerate(codes, start=1):
        for start in range(0, n_frames, FRAMES_AT_ONCE):
            part = times[start : start + FRAMES_AT_ONCE]
            coords = reach * _in_ball(rng, len(part) * points).reshape(len(part), points, 3)
            xyz = torch.tensor(coords, dtype=torch.float32, device=device, requires_grad=True)
            t = torch.tensor(part, dtype=torch.float32, device=device)
            z = torch.tensor(code, dtype=torch.float32, device=device)[None]
            sdf = decoder(xyz, t, z, torch.zeros(len(part), dtype=torch.int64, device=device))
            (gradient,) = torch.autograd.grad(sdf.sum(), xyz)
            # Beyond the truncation the field may be as steep as it likes.
            share = sdf.detach().abs().numpy(force=True) / decoder.spec.truncation
            slope = gradient.norm(dim=-1).numpy(force=True)
            for quarter in range(4):
                within = slope[share <= (quarter + 1) / 4]
                steepest[quarter] = max(steepest[quarter], within.max(initial=1e-3))
        if on_progress is not None:
            on_progress(done, len(codes))
    first, second, third, fourth = (float(f"{slope:.4g}") for slope in steepest)
    return Bound(slopes=(first, second, third, fourth))


def _in_ball(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Points ``(n, 3)``, uniform in the unit ball."""
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.asarray(direction * np.cbrt(rng.uniform(size=(n, 1))))
