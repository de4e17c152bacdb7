"""One sequence as one TIFF file ``(t, z, y, x)``, told as ImageJ does, written plane by plane.

What stands around the planes is that of our single frames (:mod:`cellsynth.formats.tiff_writing`),
so that ImageJ and Fiji show a hyperstack with its voxel size and frame interval. Above 4 GiB it is
a BigTIFF, which Fiji opens through Bio-Formats only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.formats.storage import remove, storing
from cellsynth.formats.tiff_writing import check_sizes, imagej_description, pixels_per_um
from cellsynth.geometry import Triple

__all__ = ["write_stack"]

# Beyond this, uncompressed, the file might not fit the 32-bit offsets of plain TIFF.
_CLASSIC = 2**32 - 2**25
# As for single frames: long runs gain little, noise nothing, from more.
_COMPRESSION_LEVEL = 1


def write_stack(
    path: str | os.PathLike[str],
    planes: Iterable[NDArray[Any]],
    *,
    shape: tuple[int, int, int, int],
    dtype: np.dtype[Any],
    voxel_size_um: Triple,
    frame_interval_s: float | None = None,
) -> None:
    """Write a sequence; an existing file is replaced.

    Args:
        path: File to write.
        planes: ``(y, x)`` each, all of the first frame, then of the second, and so on.
        shape: ``(t, z, y, x)``.
        dtype: uint8 or uint16.
        voxel_size_um: ``(z, y, x)`` in µm.
        frame_interval_s: Seconds from frame to frame.

    Raises:
        InputError: Another type, or a size that is not a positive number.
        StorageError: The disk refused; nothing is left behind.
    """
    if dtype.name not in ("uint8", "uint16"):
        raise InputError(f"a stack must be uint8 or uint16, got {dtype}; scale and cast it")
    check_sizes(voxel_size_um, frame_interval_s)
    n_frames, depth, height, width = shape
    z, y, x = voxel_size_um
    n_bytes = dtype.itemsize * n_frames * depth * height * width
    target = Path(path)
    with storing(target):
        try:
            with tifffile.TiffWriter(target, bigtiff=n_bytes > _CLASSIC) as tiff:
                tiff.write(
                    (np.ascontiguousarray(plane, dtype) for plane in planes),
                    shape=(n_frames * depth, height, width),
                    dtype=dtype,
                    photometric="minisblack",
                    compression="zlib",
                    compressionargs={"level": _COMPRESSION_LEVEL},
                    maxworkers=1,
                    resolution=(_ratio(x), _ratio(y)),
                    resolutionunit=1,
                    # tifffile puts an end to the text itself.
                    description=imagej_description(depth, z, frame_interval_s, n_frames)[:-1],
                    metadata=None,
                    software=False,
                )
        except BaseException:
            remove(target)
            raise


def _ratio(size_um: float) -> tuple[int, int]:
    per_um = pixels_per_um(size_um)
    return per_um.numerator, per_um.denominator
