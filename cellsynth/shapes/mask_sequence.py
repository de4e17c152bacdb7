"""A sequence of labelled 3D masks, whatever file it lies in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from cellsynth.errors import FormatError, InputError
from cellsynth.formats.lineage import Lineage, lineage_faults, raise_first
from cellsynth.formats.storage import as_text
from cellsynth.geometry import Index, Triple, as_index
from cellsynth.shapes.cell_mask import cut_out

__all__ = ["Found", "MaskSequence", "ReadCropped"]

ReadCropped = Callable[[int], tuple[NDArray[Any], tuple[int, ...]]]


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
        read_cropped: Gives the part of a frame that has labels, and where it begins; called by
            :meth:`cropped`. ``None``: it is cut out of the whole frame.
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
    read_cropped: ReadCropped | None = field(default=None, repr=False, compare=False)

    @property
    def short_name(self) -> str:
        """The name without the data set's: a sequence's number, or the name of a file."""
        return as_text(self.name.rsplit("/", 1)[-1])

    def check_lineage(self) -> None:
        """Raise InputError where the lineage, if there is one, breaks a rule."""
        listed = () if self.lineage is None else self.lineage.tracklets
        raise_first(f"{self.name}: lineage", lineage_faults(listed, self.n_frames))

    def frame(self, t: int) -> NDArray[Any]:
        """Labels ``(z, y, x)`` of frame ``t``, whole numbers.

        Raises:
            InputError: There is no such frame.
            FormatError: The file is damaged, or holds what cannot be labels.
        """
        if not 0 <= t < self.n_frames:
            raise InputError(f"{self.name}: no frame {t}, expected 0 … {self.n_frames - 1}")
        labels = self.read_frame(t)
        if labels.shape != self.shape:
            raise FormatError(
                f"{self.name} frame {t}: shape {labels.shape}, expected {self.shape} as in frame 0"
            )
        self._check_labels(labels, t)
        return labels

    def cropped(self, t: int) -> tuple[NDArray[Any], Index]:
        """The smallest part of frame ``t`` with all its labels, and where it begins.

        It is empty where the frame shows no cell. Raises as :meth:`frame`.

        Returns:
            Labels ``(z, y, x)``, and the voxel ``(z, y, x)`` of the frame that is their first.
        """
        if self.read_cropped is None:
            return cut_out(self.frame(t))
        labels, start = self.read_cropped(t)
        self._check_labels(labels, t)
        return labels, as_index(start)

    def _check_labels(self, labels: NDArray[Any], t: int) -> None:
        if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
            raise FormatError(f"{self.name} frame {t}: label {labels.min()}, expected 0 and above")


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
    read_cropped: ReadCropped | None = None
