"""A sequence of labelled 3D masks, whatever file it lies in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from cellsynth.errors import FormatError, InputError
from cellsynth.formats.lineage import Lineage
from cellsynth.geometry import Triple

__all__ = ["Found", "MaskSequence"]


@dataclass(frozen=True)
class MaskSequence:
    """Labelled 3D masks over time; 0 is background.

    Attributes:
        name: For messages and records.
        n_frames: Number of frames.
        shape: Voxels ``(z, y, x)`` of each frame.
        voxel_size_um: ``(z, y, x)`` in µm.
        frame_interval_s: Seconds between frames.
        read_frame: Gives the labels of a frame; called by :meth:`frame`.
        lineage: Who is whose daughter. ``None``: each label is one cell throughout, be it in one
            piece or, once it has divided, in two.
        assumed: What neither the caller nor the file said: "voxel size", "frame interval".
    """

    name: str
    n_frames: int
    shape: tuple[int, int, int]
    voxel_size_um: Triple
    frame_interval_s: float
    read_frame: Callable[[int], NDArray[Any]] = field(repr=False, compare=False)
    lineage: Lineage | None = None
    assumed: tuple[str, ...] = ()

    @property
    def short_name(self) -> str:
        """The name without the data set's: a sequence's number, or the name of a file."""
        return self.name.rsplit("/", 1)[-1]

    def frame(self, t: int) -> NDArray[Any]:
        """Labels ``(z, y, x)`` of frame ``t``, whole numbers.

        Raises:
            InputError: There is no such frame.
            FormatError: The file is damaged, or holds what cannot be labels.
        """
        if not 0 <= t < self.n_frames:
            raise InputError(f"{self.name}: no frame {t}, expected 0 … {self.n_frames - 1}")
        labels = self.read_frame(t)
        where = f"{self.name} frame {t}"
        if labels.shape != self.shape:
            raise FormatError(f"{where}: shape {labels.shape}, expected {self.shape} as in frame 0")
        if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
            raise FormatError(f"{where}: label {labels.min()}, expected 0 and above")
        return labels


@dataclass(frozen=True)
class Found:
    """A sequence as its file describes it; what the file does not say is ``None``."""

    name: str
    n_frames: int
    shape: tuple[int, ...]
    read_frame: Callable[[int], NDArray[Any]]
    voxel_size_um: Triple | None = None
    frame_interval_s: float | None = None
    lineage: Lineage | None = None
