"""A Cell Tracking Challenge sequence, written frame by frame and refused where it is invalid."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, ShapeError
from cellsynth.formats.ctc_names import FOLDERS, frame_digits
from cellsynth.formats.ctc_table import format_table
from cellsynth.formats.label_tiff import write_labels
from cellsynth.formats.lineage import Lineage
from cellsynth.formats.sequence_writer import SequenceWriter, StrPath
from cellsynth.formats.storage import link_or_copy, storing
from cellsynth.formats.tiff_reading import distinct_labels

__all__ = ["CTCWriter", "Piece", "write_ctc"]

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]


class Piece(NamedTuple):
    """A frame given as its interesting part: labels ``(z, y, x)``, where they lie, in what."""

    crop: NDArray[np.uint16]
    offset: Shape
    shape: Shape


class CTCWriter(SequenceWriter):
    """Writes one sequence: ``NN_GT/TRA`` with its table and, as hard links, ``NN_GT/SEG``.

    Args:
        root: Folder of the data set; it is made where it is missing.
        name: Number of the sequence, as ``"01"``.
        n_frames: Number of frames, from which file names get 3 or 4 digits.
        voxel_size_um: ``(z, y, x)`` in µm.
        frame_interval_s: Seconds between frames.
        seg: Whether to make the SEG folder too.

    Raises:
        InUseError: The sequence is there already.
        StorageError: The disk refused.
    """

    def __init__(
        self,
        root: StrPath,
        name: str,
        *,
        n_frames: int,
        voxel_size_um: Triple,
        frame_interval_s: float | None = None,
        seg: bool = True,
    ) -> None:
        if not 1 <= n_frames <= 10_000:
            raise InputError(f"number of frames must be 1 … 10000, got {n_frames}")
        super().__init__(root, name, "_GT", n_frames)
        self._voxel_size_um = voxel_size_um
        self._frame_interval_s = frame_interval_s
        self._seg = seg
        self._digits = frame_digits(n_frames)
        self._shape: Shape | None = None
        self._labels: dict[int, set[int]] = {}
        self._tra = FOLDERS["TRA"].of(Path(root), name)
        with self._making(self._tra):
            pass

    def write_frame(
        self,
        t: int,
        crop: NDArray[np.uint16],
        *,
        offset: Shape = (0, 0, 0),
        shape: Shape | None = None,
    ) -> Path:
        """Write frame ``t`` and return its file.

        Args:
            t: Frame number, from 0.
            crop: Labels ``(z, y, x)``, uint16; the frame is background around them.
            offset: Where in the frame the crop lies, ``(z, y, x)``.
            shape: Shape of the frame; None is that of the crop.

        Raises:
            InputError: No such frame, one written before, or labels that are not uint16.
            ShapeError: The frames differ in shape, or the crop sticks out.
            StorageError: The disk refused.
        """
        self._check_new(t, self._labels)
        whole: Shape = crop.shape if shape is None else shape
        self._shape = self._shape or whole
        if whole != self._shape:
            raise ShapeError(
                f"{self.folder.name}: frame {t} has shape {whole}, others {self._shape}"
            )
        path = self._tra / FOLDERS["TRA"].file(t, self._digits)
        write_labels(
            path,
            crop,
            shape=whole,
            offset=offset,
            voxel_size_um=self._voxel_size_um,
            frame_interval_s=self._frame_interval_s,
        )
        self._labels[t] = distinct_labels(crop)
        return path

    def finish(self, lineage: Lineage) -> Path:
        """Write the lineage, link SEG, and return the sequence's ``NN_GT`` folder.

        Raises:
            InputError: A frame is missing, or the lineage breaks a rule or contradicts the masks.
            StorageError: The disk refused.
        """
        self._check_whole(lineage, self._labels)
        table = self._tra / "man_track.txt"
        with storing(table):
            table.write_bytes(format_table(lineage).encode("ascii"))
        if self._seg:
            seg = self.folder / "SEG"
            with storing(seg):
                seg.mkdir()
            for t in range(self.n_frames):
                link_or_copy(
                    self._tra / FOLDERS["TRA"].file(t, self._digits),
                    seg / FOLDERS["SEG"].file(t, self._digits),
                )
        self._finished = True
        return self.folder


def write_ctc(
    root: StrPath,
    name: str,
    frames: Iterable[NDArray[np.uint16] | Piece],
    lineage: Lineage,
    *,
    voxel_size_um: Triple,
    frame_interval_s: float | None = None,
    seg: bool = True,
    n_frames: int | None = None,
) -> Path:
    """Write a whole sequence, or nothing; arguments and errors as :class:`CTCWriter`.

    Args:
        frames: One after another, whole frames ``(z, y, x)`` or :class:`Piece`.
        n_frames: Their number, where ``frames`` has no length.

    Returns:
        The sequence's ``NN_GT`` folder.
    """
    if n_frames is None:
        if not isinstance(frames, Sized):
            raise InputError("write_ctc needs n_frames where frames have no length")
        n_frames = len(frames)
    with CTCWriter(
        root,
        name,
        n_frames=n_frames,
        voxel_size_um=voxel_size_um,
        frame_interval_s=frame_interval_s,
        seg=seg,
    ) as writer:
        for t, frame in enumerate(frames):
            if isinstance(frame, tuple):
                crop, offset, shape = frame
                writer.write_frame(t, crop, offset=offset, shape=shape)
            else:
                writer.write_frame(t, frame)
        return writer.finish(lineage)
