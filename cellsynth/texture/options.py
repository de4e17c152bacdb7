"""What a data set is textured with, and what is told while it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cellsynth.presets.texture import Mode

__all__ = ["Engine", "Mode", "TextureEvent", "TextureOptions"]

Engine = Literal["gan", "optics"]


@dataclass(frozen=True)
class TextureOptions:
    """How to texture.

    Attributes:
        mode: ``mip`` makes a set of maximum projections, ``3d`` images of the masks themselves;
            None is what the preset's texture was trained for, projections for ``optics``.
        engine: ``gan``, the texture of a preset; ``optics``, a simulated microscope.
        profile: Name or TOML file of the microscope; None is the one that names the preset.
        seed: With a sequence's number, decides everything random.
        voxel_size_um: ``(z, y, x)`` in µm, instead of what the files say.
    """

    mode: Mode | None = None
    engine: Engine = "gan"
    profile: str | None = None
    seed: int = 0
    voxel_size_um: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class TextureEvent:
    """Progress: a ``frame`` was made, now or before a resume, or a ``sequence`` is in place."""

    kind: Literal["frame", "sequence"]
    sequence: int
