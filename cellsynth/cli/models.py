"""The models that judge flags. Only what no library function judges with the same words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cellsynth.presets.models import Strategy
from cellsynth.presets.texture import Mode

__all__ = [
    "EvaluateFlags",
    "ExportFlags",
    "FitFlags",
    "GenerateFlags",
    "ImportFlags",
    "LatentFlags",
    "PhantomFlags",
    "StudyFlags",
    "TextureFlags",
    "TrainFlags",
    "TrainTextureFlags",
]

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Length = Annotated[float, Field(gt=0)]
Triple = tuple[Length, Length, Length]
# As many as an image's side may have in the formats that read it later.
Side = Annotated[int, Field(ge=1, le=65535)]
Frames = Annotated[int, Field(ge=1, le=10_000)]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class _Flags(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, alias_generator=_flag
    )


class EvaluateFlags(_Flags):
    """What ``evaluate`` was asked for."""

    voxel_size: Triple | None
    against_voxel_size: Triple | None
    kind: Literal["TRA", "SEG", "ST"] | None
    against_kind: Literal["TRA", "SEG", "ST"] | None
    workers: int | None = Field(ge=1, le=4096)


class ExportFlags(_Flags):
    """What ``export`` was asked for."""

    to: Literal["ome-zarr", "geff", "mesh", "tiff-stack"]
    mesh_format: Literal["ply", "obj", "glb"] | None
    surface: Literal["field", "mask"] | None
    # A lattice of a thousand points a side holds a cell's box in a few GB.
    res: int | None = Field(ge=8, le=1024)
    voxel_size: Triple | None
    frame_interval: Length | None
    workers: int | None = Field(ge=1, le=4096)


class FitFlags(_Flags):
    """What ``fit`` was asked for."""

    starts: int = Field(ge=1, le=100_000)
    steps: int = Field(ge=1, le=10_000)
    voxel_size: Triple | None
    frame_interval: Length | None
    kind: Literal["TRA", "SEG", "ST"] | None
    seed: Seed


class GenerateFlags(_Flags):
    """What ``generate`` was asked for."""

    count: int = Field(ge=1, le=1_000_000)
    res: tuple[Side, Side, Side] | None
    voxel_size: Triple | None
    frames: Frames | None
    rotation: Literal["random", "none"] | tuple[float, float, float]
    strategy: Strategy | None
    format: Literal["ctc", "ome-zarr"]
    seed: Seed
    workers: int | None = Field(ge=1, le=4096)


class LatentFlags(_Flags):
    """What ``latent`` was asked for."""

    draws: int | None = Field(ge=0, le=10_000)
    frames: Frames | None
    walk: tuple[int, int] | None
    steps: int = Field(ge=2, le=10_000)
    res: tuple[Side, Side, Side] | None
    voxel_size: Triple | None
    rotation: Literal["none", "learned"]
    workers: int | None = Field(ge=1, le=4096)
    seed: Seed


class TrainFlags(_Flags):
    """What ``train-preset`` was asked for."""

    steps: int | None = Field(ge=1)
    frames: Frames | None
    voxel_size: Triple | None
    frame_interval: Length | None
    half_extent: Length | None
    orientation: Literal["none", "sequence", "frame"]
    kind: Literal["TRA", "SEG", "ST"] | None
    seed: Seed
    evaluate_every: int = Field(ge=1)


class ImportFlags(_Flags):
    """What ``presets import`` was asked for."""

    half_extent_um: Length
    frame_interval: Length | None
    frames: Frames | None
    epoch: int | None = Field(ge=0)
    divisions: int | None = Field(ge=0)
    end_cells: int | None = Field(ge=1)


class PhantomFlags(_Flags):
    """What ``phantom`` was asked for."""

    count: int = Field(ge=1, le=1_000_000)
    frames: Frames
    voxel_size: Triple | None
    seed: Seed


class StudyFlags(_Flags):
    """What ``study`` was asked for."""

    scale: Literal["small", "paper"]
    seed: Seed
    threads: int | None = Field(ge=1, le=4096)


class TextureFlags(_Flags):
    """What ``texture`` was asked for."""

    mode: Mode | None
    engine: Literal["gan", "optics"]
    voxel_size: Triple | None
    seed: Seed
    workers: int | None = Field(ge=1, le=4096)


class TrainTextureFlags(_Flags):
    """What ``train-texture`` was asked for."""

    mode: Mode | None
    steps: int | None = Field(ge=1)
    crop: int | None = Field(ge=32, le=4096)
    batch: int | None = Field(ge=1, le=256)
    frames: Frames | None
    kind: Literal["TRA", "SEG", "ST"] | None
    voxel_size: Triple | None
    grain: Length | None
    reach: Length | None
    seed: Seed
