"""What is exported: the sequences of a set with masks, lineage and, where it has them, images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import FormatError, InputError
from cellsynth.formats.ctc import CTCSequence, read_ctc
from cellsynth.formats.ctc_names import FOLDERS
from cellsynth.formats.ctc_scan import list_contents
from cellsynth.formats.lineage import Lineage
from cellsynth.formats.pyramid import slabs_of_planes
from cellsynth.formats.tiff_reading import read_header, read_planes
from cellsynth.geometry import Index, Triple

__all__ = ["Source", "find_sources"]


@dataclass(frozen=True)
class Source:
    """One sequence to export.

    Attributes:
        name: Its number, as ``"01"``.
        sequence: Its masks.
        lineage: Who is whose daughter.
        images: File of each frame, or nothing where the sequence has no images.
        image_dtype: Of the images; None where there are none.
        voxel_size_um: ``(z, y, x)`` in µm.
        frame_interval_s: Seconds between frames, or None.
    """

    name: str
    sequence: CTCSequence
    lineage: Lineage
    images: tuple[Path, ...]
    image_dtype: np.dtype[Any] | None
    voxel_size_um: Triple
    frame_interval_s: float | None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.sequence.n_frames

    @property
    def shape(self) -> Index:
        """``(z, y, x)`` of every frame; flat ones are one voxel deep."""
        *depth, y, x = self.sequence.shape
        return (depth[0] if depth else 1), y, x

    def planes(self, t: int) -> Iterator[NDArray[Any]]:
        """The mask of frame ``t``, plane by plane."""
        return _as_labels(self.sequence.frame_paths[t], read_planes(self.sequence.frame_paths[t]))

    def slabs(self, t: int) -> Iterator[NDArray[Any]]:
        """The mask of frame ``t``, slab by slab."""

        return slabs_of_planes(self.planes(t))


def find_sources(
    root: Path, *, voxel_size_um: Triple | None = None, frame_interval_s: float | None = None
) -> list[Source]:
    """Every sequence of a set with masks in ``NN_GT/TRA``, and its images where it has them.

    Args:
        root: The data set.
        voxel_size_um: ``(z, y, x)`` in µm instead of what the files say.
        frame_interval_s: Seconds between frames instead of what the files say.

    Raises:
        MissingError: No masks.
        FormatError: Files that cannot be read, or do not fit together.
        InputError: Voxels of unknown size, or a frame without mask or image.
    """
    found = []
    for sequence in read_ctc(root, "TRA"):
        folder = FOLDERS["TRA"].of(root, sequence.name)
        _every_frame(folder, sequence.frame_paths, sequence.n_frames, "mask")
        size = voxel_size_um or sequence.voxel_size_um
        if size is None:
            raise InputError(f"{folder} does not say how large a voxel is; pass --voxel-size")
        assert sequence.lineage is not None  # TRA has a table
        sequence.check_lineage()
        images = _images(root, sequence)
        found.append(
            Source(
                sequence.name,
                sequence,
                sequence.lineage,
                images,
                read_header(images[0]).dtype if images else None,
                size,
                frame_interval_s or sequence.frame_interval_s,
            )
        )
    return found


def _every_frame(folder: Path, paths: dict[int, Path], n_frames: int, what: str) -> None:
    missing = sorted(set(range(n_frames)) - paths.keys())
    if missing:
        raise InputError(f"{folder} holds no {what} of frame {missing[0]}; every frame needs one")


def _images(root: Path, sequence: CTCSequence) -> tuple[Path, ...]:
    """The images of a sequence, checked to be one a frame; nothing where there are none."""
    found = list_contents(FOLDERS["images"], root, sequence.name)
    if found is None or not found.frames:
        return ()
    _every_frame(found.path, found.frames, sequence.n_frames, "image")
    paths = tuple(found.frames[t] for t in range(sequence.n_frames))
    first = read_header(paths[0]).dtype
    for path in paths:
        header = read_header(path)
        if header.image_problem:
            raise FormatError(f"{path} {header.image_problem}")
        if header.dtype != first or header.dtype.name not in ("uint8", "uint16"):
            raise FormatError(f"{path} holds {header.dtype}; images are uint8 or uint16, all alike")
        if header.shape != sequence.shape:
            raise FormatError(f"{path} has shape {header.shape}, its mask {sequence.shape}")
    return paths


def _as_labels(path: Path, planes: Iterator[NDArray[Any]]) -> Iterator[NDArray[np.uint16]]:
    for plane in planes:
        if plane.dtype != np.uint16 and (plane.min() < 0 or plane.max() > np.iinfo(np.uint16).max):
            raise FormatError(f"{path} holds labels outside 0 … 65535")
        yield plane.astype(np.uint16, copy=False)
