"""One raw image as a TIFF file: what a camera would have written, readable by Fiji and tifffile.

As label files (:mod:`cellsynth.formats.label_tiff`), with 8 or 16 bits and no page left out.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, ShapeError
from cellsynth.formats.tiff_writing import check_sizes, write_pages

__all__ = ["write_image"]

# Noise hardly compresses: level 6 takes three times as long for files 3 % smaller.
_COMPRESSION_LEVEL = 1


def write_image(
    path: str | os.PathLike[str],
    image: NDArray[Any],
    *,
    voxel_size_um: tuple[float, ...],
    frame_interval_s: float | None = None,
) -> None:
    """Write one image; an existing file is replaced.

    Args:
        path: File to write.
        image: Counts ``(z, y, x)`` or ``(y, x)``, uint8 or uint16.
        voxel_size_um: As many numbers as ``image`` has axes, in µm; for a flat image also three.
        frame_interval_s: Seconds from frame to frame, kept in the description.

    Raises:
        InputError: Another type, or a size that is not a positive number.
        ShapeError: Another number of axes, or an axis without pixels.
        StorageError: The disk refused; nothing is left behind.
    """
    if image.dtype.name not in ("uint8", "uint16"):
        raise InputError(f"an image must be uint8 or uint16, got {image.dtype}; scale and cast it")
    if image.ndim not in (2, 3) or not image.size:
        raise ShapeError(f"an image must be (z, y, x) or (y, x), got shape {image.shape}")
    # A flat image has no depth of its own; ImageJ too takes 1 there.
    sizes = (1.0, *voxel_size_um) if image.ndim == len(voxel_size_um) == 2 else voxel_size_um
    check_sizes(sizes, frame_interval_s)
    z, y, x = sizes
    little = image.dtype.newbyteorder("<")
    pages = image.reshape(-1, *image.shape[-2:])
    strips = [
        zlib.compress(np.ascontiguousarray(page, dtype=little).data, _COMPRESSION_LEVEL)
        for page in pages
    ]
    depth, height, width = pages.shape
    write_pages(
        Path(path),
        strips,
        range(depth),
        shape=(depth, height, width),
        bits=8 * image.dtype.itemsize,
        voxel_size_um=(z, y, x),
        frame_interval_s=frame_interval_s,
    )
