"""What ``dataset.json`` says of generated sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cellsynth.formats.manifest import FORMAT
from cellsynth.geometry import Grid
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.versions import versions
from cellsynth.rendering.options import GenerateOptions

__all__ = ["describe", "is_cube"]


def describe(bundle: Bundle, options: GenerateOptions) -> dict[str, Any]:
    """The manifest of a set of which nothing is made yet."""
    scale = bundle.preset.scale
    return {
        "format": FORMAT,
        "version": 1,
        "preset": {"name": bundle.preset.name, "sha256": bundle.sha256},
        "options": {
            "shape": list(options.grid.shape),
            "voxel_size_um": [
                round(s, 9) for s in options.grid.voxel_size_um(scale.half_extent_um)
            ],
            "frames": options.n_frames,
            "frame_interval_s": options.frame_interval_s(scale.n_frames, scale.frame_interval_s),
            "rotation": options.rotation
            if isinstance(options.rotation, str)
            else list(options.rotation),
            "strategy": options.strategy or bundle.preset.sampling.strategy,
            "seed": options.seed,
            # Sets of TIFF files have never said so, and are taken up again as they are.
            **({} if options.format == "ctc" else {"format": options.format}),
            **({"fills_omega": False} if _smaller_cube(options.grid) else {}),
        },
        "versions": versions(),
        "sequences": {},
    }


def is_cube(shape: Sequence[int], voxel_size: Sequence[float]) -> bool:
    """Whether the sides of a grid are alike, but for voxel sizes that were rounded."""
    sides = [n * s for n, s in zip(shape, voxel_size, strict=True)]
    return max(sides) - min(sides) <= 1e-6 * max(sides)


def _smaller_cube(grid: Grid) -> bool:
    """Whether it is a cube that leaves a rest of Ω, which neither its shape nor its voxels tell."""
    side = grid.shape[0] * grid.spacing[0]
    return is_cube(grid.shape, grid.spacing) and not math.isclose(side, 2, rel_tol=1e-12)
