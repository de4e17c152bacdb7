"""What ``dataset.json`` says of generated sequences."""

from __future__ import annotations

from typing import Any

from cellsynth.formats.manifest import FORMAT
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.versions import versions
from cellsynth.rendering.options import GenerateOptions

__all__ = ["describe"]


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
        },
        "versions": versions(),
        "sequences": {},
    }
