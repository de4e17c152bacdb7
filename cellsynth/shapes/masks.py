"""Sources of labelled 3D+t masks."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from cellsynth.geometry import Triple

__all__ = ["MaskSequence"]


class MaskSequence(Protocol):
    """Labelled 3D masks over time, one frame in memory at a time."""

    @property
    def name(self) -> str: ...
    @property
    def n_frames(self) -> int: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def voxel_size_um(self) -> Triple: ...
    @property
    def frame_interval_s(self) -> float: ...
    @property
    def assumed(self) -> tuple[str, ...]: ...
    def frame(self, t: int) -> NDArray[Any]: ...
