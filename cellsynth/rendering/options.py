"""What a data set is made of, and what is told while it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cellsynth.geometry import Grid
from cellsynth.sampling.strategies import Strategy

__all__ = ["Event", "Format", "GenerateOptions"]

Format = Literal["ctc", "ome-zarr"]


@dataclass(frozen=True)
class GenerateOptions:
    """What to generate.

    Attributes:
        grid: Voxels of every frame.
        n_frames: Frames of a sequence; they span the preset's time whatever their number.
        rotation: ``random`` is uniform on SO(3); ``none``; or Euler angles XYZ in radians.
        strategy: Latent sampling instead of the preset's.
        seed: With the sequence's number, decides everything drawn.
        dense: Ask the field at every voxel; the same masks, hundreds of times slower.
        format: Cell Tracking Challenge folders of TIFF files, or an OME-Zarr a sequence.
    """

    grid: Grid
    n_frames: int
    rotation: Literal["random", "none"] | tuple[float, float, float] = "random"
    strategy: Strategy | None = None
    seed: int = 0
    dense: bool = False
    format: Format = "ctc"

    def frame_interval_s(self, model_frames: int, model_interval_s: float | None) -> float | None:
        """Seconds between frames when ``n_frames`` span the time of the preset's own."""
        if model_interval_s is None or self.n_frames < 2 or model_frames < 2:
            return model_interval_s
        return model_interval_s * (model_frames - 1) / (self.n_frames - 1)


@dataclass(frozen=True)
class Event:
    """Progress: a ``frame`` was rendered, a ``sequence`` is in place, or one is ``redrawn``."""

    kind: Literal["frame", "sequence", "redrawn"]
    sequence: int
