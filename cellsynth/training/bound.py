"""How steep a trained field is: the bound that the renderer relies on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cellsynth.field.decoder import Decoder
from cellsynth.geometry import frame_times
from cellsynth.presets.models import Bound

__all__ = ["measure_bound"]

POINTS = 256  # per code and frame, uniform in a ball
REACH = 1.1  # its radius: blocks at the rim of the unit ball have their centres outside
FRAMES_AT_ONCE = 16


def measure_bound(
    decoder: Decoder, latents: NDArray[np.float32], n_frames: int, *, seed: int
) -> Bound:
    """The largest slope |∇f| of a field over codes, frames and space, by ranges of |f|.

    Looks at the learned codes and at as many new ones drawn with their spread, since new cells
    are what will be rendered.
    """
    rng = np.random.default_rng([seed, n_frames])
    spread = float(np.sqrt(np.mean(latents.astype(np.float64) ** 2)))
    codes = np.concatenate([latents, spread * rng.standard_normal(latents.shape)])
    device = decoder.output.weight.device
    times = frame_times(n_frames)
    steepest = np.zeros(4)
    for code in codes:
        for start in range(0, n_frames, FRAMES_AT_ONCE):
            part = times[start : start + FRAMES_AT_ONCE]
            coords = REACH * _in_ball(rng, len(part) * POINTS).reshape(len(part), POINTS, 3)
            xyz = torch.tensor(coords, dtype=torch.float32, device=device, requires_grad=True)
            t = torch.tensor(part, dtype=torch.float32, device=device)
            z = torch.tensor(code, dtype=torch.float32, device=device).expand(len(part), -1)
            sdf = decoder(xyz, t, z)
            (gradient,) = torch.autograd.grad(sdf.sum(), xyz)
            # Beyond the truncation the field may be as steep as it likes.
            share = sdf.detach().abs().numpy(force=True) / decoder.spec.truncation
            slope = gradient.norm(dim=-1).numpy(force=True)
            for quarter in range(4):
                within = slope[share <= (quarter + 1) / 4]
                steepest[quarter] = max(steepest[quarter], within.max(initial=1e-3))
    first, second, third, fourth = (float(f"{slope:.4g}") for slope in steepest)
    return Bound(slopes=(first, second, third, fourth))


def _in_ball(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Points ``(n, 3)``, uniform in the unit ball."""
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.asarray(direction * np.cbrt(rng.uniform(size=(n, 1))))
