"""How steep a trained field is: the bound that the renderer relies on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cellsynth.field.decoder import Decoder
from cellsynth.geometry import frame_times
from cellsynth.presets.models import Bound

__all__ = ["measure_bound"]

POINTS = 256  # per code and frame, uniform in the unit ball
FRAMES_AT_ONCE = 16
# Between the points that are looked at, the field may be steeper than on them.
SAFETY = 1.25


def measure_bound(
    decoder: Decoder, latents: NDArray[np.float32], n_frames: int, *, seed: int
) -> Bound:
    """The largest slope |∇f| of a field over codes, frames and space, and the margin to keep.

    Looks at the learned codes and at as many new ones drawn with their spread, since new cells
    are what will be rendered.
    """
    rng = np.random.default_rng([seed, n_frames])
    spread = float(np.sqrt(np.mean(latents.astype(np.float64) ** 2)))
    codes = np.concatenate([latents, spread * rng.standard_normal(latents.shape)])
    device = decoder.output.weight.device
    times = frame_times(n_frames)
    steepest = 0.0
    for code in codes:
        for start in range(0, n_frames, FRAMES_AT_ONCE):
            part = times[start : start + FRAMES_AT_ONCE]
            coords = _in_ball(rng, len(part) * POINTS).reshape(len(part), POINTS, 3)
            xyz = torch.tensor(coords, dtype=torch.float32, device=device, requires_grad=True)
            t = torch.tensor(part, dtype=torch.float32, device=device)
            z = torch.tensor(code, dtype=torch.float32, device=device).expand(len(part), -1)
            sdf = decoder(xyz, t, z)
            (gradient,) = torch.autograd.grad(sdf.sum(), xyz)
            # Beyond the truncation the field may be as steep as it likes.
            within = sdf.detach().abs() < decoder.spec.truncation
            steepest = max(steepest, float((gradient.norm(dim=-1) * within).max()))
    gradient_bound = float(f"{steepest:.4g}")
    return Bound(gradient=gradient_bound, margin=max(1.0, round(SAFETY * gradient_bound, 4)))


def _in_ball(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Points ``(n, 3)``, uniform in the unit ball."""
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.asarray(direction * np.cbrt(rng.uniform(size=(n, 1))))
