"""One 3D frame of labels as a TIFF file: written fast, read by everyone.

A page is one strip, deflated. Most pages of a frame show no cell at all: they are written once
and pointed to by every blank page, and neither compressed nor held in memory.
:mod:`cellsynth.formats.tiff_writing` has what is around the pages.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, ShapeError
from cellsynth.formats.tiff_reading import (
    read_frame_interval_s,
    read_labels,
    read_voxel_size_um,
)
from cellsynth.formats.tiff_writing import check_sizes, write_pages

__all__ = [
    "read_frame_interval_s",
    "read_labels",
    "read_voxel_size_um",
    "write_labels",
]

# Level 1: masks are long runs, and level 6 takes 2.4 times as long for files a third the size,
# all of them small beside any image.
_COMPRESSION_LEVEL = 1


def write_labels(
    path: str | os.PathLike[str],
    crop: NDArray[np.uint16],
    *,
    shape: tuple[int, int, int],
    offset: tuple[int, int, int] = (0, 0, 0),
    voxel_size_um: tuple[float, float, float],
    frame_interval_s: float | None = None,
) -> None:
    """Write one frame of labels; whatever lies outside ``crop`` is background.

    Args:
        path: File to write; an existing one is replaced.
        crop: Labels ``(z, y, x)``, uint16.
        shape: Voxels ``(z, y, x)`` of the whole frame.
        offset: Where in the frame ``crop[0, 0, 0]`` lies, ``(z, y, x)``.
        voxel_size_um: Voxel size ``(z, y, x)`` in µm.
        frame_interval_s: Seconds from frame to frame, kept in the description.

    Raises:
        InputError: The crop is not uint16, or a size is not a positive number.
        ShapeError: The crop does not lie inside the frame.
        StorageError: The disk refused; nothing is left behind.

    Memory beside the crop is one page and the compressed file.
    """
    _check_frame(crop, shape, offset)
    check_sizes(voxel_size_um, frame_interval_s)
    strips, strip_of_page = _compress(crop, shape, offset)
    write_pages(
        Path(path),
        strips,
        strip_of_page,
        shape=shape,
        bits=16,
        voxel_size_um=voxel_size_um,
        frame_interval_s=frame_interval_s,
    )


def _check_frame(
    crop: NDArray[np.uint16],
    shape: tuple[int, int, int],
    offset: tuple[int, int, int],
) -> None:
    if crop.dtype != np.uint16:
        raise InputError(f"labels must be uint16, got {crop.dtype}; cast them once they fit")
    if crop.ndim != 3 or len(shape) != 3 or len(offset) != 3:
        raise ShapeError(f"labels must be (z, y, x), got {crop.shape} in a frame of {shape}")
    if min(shape) < 1 or any(
        o < 0 or o + n > whole for o, n, whole in zip(offset, crop.shape, shape, strict=True)
    ):
        raise ShapeError(
            f"a crop of {crop.shape} at {offset} does not lie inside a frame of {shape}"
        )


def _compress(
    crop: NDArray[np.uint16], shape: tuple[int, int, int], offset: tuple[int, int, int]
) -> tuple[list[bytes], list[int]]:
    """Compressed strips, the blank one first, and for each page the index of its strip."""
    page = np.zeros(shape[1:], "<u2")
    z, y, x = offset
    window = page[y : y + crop.shape[1], x : x + crop.shape[2]]
    strips = [zlib.compress(page.data, _COMPRESSION_LEVEL)]
    strip_of_page = [0] * shape[0]
    for i, plane in enumerate(crop):
        if plane.any():
            window[:] = plane
            strip_of_page[z + i] = len(strips)
            strips.append(zlib.compress(page.data, _COMPRESSION_LEVEL))
    return strips, strip_of_page
