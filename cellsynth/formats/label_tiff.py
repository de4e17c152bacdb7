"""One 3D frame of labels as a TIFF file: written fast, read by everyone.

A page is one strip, deflated. Most pages of a frame show no cell at all: they are written once
and pointed to by every blank page, and neither compressed nor held in memory. Equal labels give
equal bytes (no dates, no program versions) as long as zlib is the same.

The voxel size stands where ImageJ and Fiji look for it: x and y in the resolution tags, z as
``spacing`` in the image description, with the unit. tifffile reads the same back as ZYX.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, ShapeError
from cellsynth.formats.storage import remove, storing
from cellsynth.formats.tiff_reading import (
    read_frame_interval_s,
    read_labels,
    read_voxel_size_um,
)

__all__ = [
    "read_frame_interval_s",
    "read_labels",
    "read_voxel_size_um",
    "write_labels",
]

# Level 1: masks are long runs, and level 6 takes 2.4 times as long for files a third the size,
# all of them small beside any image.
_COMPRESSION_LEVEL = 1
_CLASSIC_LIMIT = 2**32 - 1  # the largest 32-bit number, and so the largest plain TIFF
_SHORT, _LONG, _RATIONAL, _ASCII, _LONG8 = 3, 4, 5, 2, 16


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
    _check_frame(crop, shape, offset, voxel_size_um, frame_interval_s)
    strips, strip_of_page = _compress(crop, shape, offset)
    description = _imagej_description(shape[0], voxel_size_um[0], frame_interval_s)
    head = _directories(shape, voxel_size_um, description, strips, strip_of_page)
    target = Path(path)
    with storing(target):
        try:
            with target.open("wb") as file:
                file.write(head)
                file.writelines(strips)
        except OSError:
            remove(target)
            raise


def _check_frame(
    crop: NDArray[np.uint16],
    shape: tuple[int, int, int],
    offset: tuple[int, int, int],
    voxel_size_um: tuple[float, float, float],
    frame_interval_s: float | None,
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
    # The bounds keep every resolution within the 32-bit fractions of TIFF.
    if len(voxel_size_um) != 3 or not all(1e-6 <= size <= 1e6 for size in voxel_size_um):
        raise InputError(
            f"voxel size must be three numbers (z, y, x) between 1e-6 and 1e6 µm, "
            f"got {voxel_size_um}"
        )
    if frame_interval_s is not None and not (
        math.isfinite(frame_interval_s) and frame_interval_s > 0
    ):
        raise InputError(f"frame interval must be above 0 s, got {frame_interval_s}")


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


def _imagej_description(n_slices: int, spacing_um: float, frame_interval_s: float | None) -> bytes:
    lines = ["ImageJ=1.11a"]
    if n_slices > 1:
        lines += [f"images={n_slices}", f"slices={n_slices}"]
    lines += ["unit=micron", f"spacing={float(spacing_um)!r}"]
    if frame_interval_s is not None:
        lines.append(f"finterval={float(frame_interval_s)!r}")
    return ("\n".join(lines) + "\n\0").encode("ascii")


def _per_um(size_um: float) -> Fraction:
    """Pixels per µm as TIFF can hold it: 0.09 µm is 100/9 exactly, others are as near as fits."""
    exact = 1 / Fraction(repr(float(size_um)))
    if max(exact.numerator, exact.denominator) <= _CLASSIC_LIMIT:
        return exact
    return exact.limit_denominator(int(_CLASSIC_LIMIT / max(exact + 1, Fraction(1))))


def _directories(
    shape: tuple[int, int, int],
    voxel_size_um: tuple[float, float, float],
    description: bytes,
    strips: list[bytes],
    strip_of_page: list[int],
    *,
    big: bool | None = None,
) -> bytes:
    """Everything before the strips: header, page directories, resolutions and description.

    The directories lie together, so that a reader finds all pages in one read. Files above 4 GiB
    are BigTIFF (``big``), which few programs outside microscopy read.
    """
    n_pages, height, width = shape
    fractions = [_per_um(size) for size in (voxel_size_um[2], voxel_size_um[1])]
    resolutions = b"".join(struct.pack("<II", f.numerator, f.denominator) for f in fractions)
    if big is None:
        # 200 bytes are more than a directory of plain TIFF takes.
        big = 200 * (n_pages + 1) + len(description) + sum(map(len, strips)) > _CLASSIC_LIMIT
    # A value that fits into its entry stands there; the 8 bytes of a fraction do in BigTIFF.
    extra = description if big else resolutions + description
    header = b"II\x2b\0\x08\0\0\0" + struct.pack("<Q", 16) if big else b"II\x2a\0\x08\0\0\0"
    count_format, entry_format, next_format = (
        ("<Q", "<HHQQ", "<Q") if big else ("<H", "<HHII", "<I")
    )

    entries = {
        254: (_LONG, 1, 0),  # a full-size image
        256: (_LONG, 1, width),
        257: (_LONG, 1, height),
        258: (_SHORT, 1, 16),  # bits per sample
        259: (_SHORT, 1, 8),  # deflate
        262: (_SHORT, 1, 1),  # 0 is black
        273: (_LONG8 if big else _LONG, 1, 0),  # where the strip lies, filled in per page
        # Orientation 1 is the default. Its presence tells old versions of ImageJ to read every
        # directory instead of assuming uncompressed slices one after another.
        274: (_SHORT, 1, 1),
        277: (_SHORT, 1, 1),  # samples per pixel
        278: (_LONG, 1, height),  # rows per strip
        279: (_LONG8 if big else _LONG, 1, 0),  # length of the strip, filled in per page
        282: (_RATIONAL, 1, 0),  # pixels per µm along x, filled in below
        283: (_RATIONAL, 1, 0),  # and y
        296: (_SHORT, 1, 1),  # the unit stands in the description
        339: (_SHORT, 1, 1),  # unsigned integers
    }
    entry_size = struct.calcsize(entry_format)
    directory_size = (
        struct.calcsize(count_format) + len(entries) * entry_size + struct.calcsize(next_format)
    )
    # The first directory alone carries the description, hence one entry more.
    extra_at = len(header) + n_pages * directory_size + entry_size
    starts = [extra_at + len(extra)]
    for strip in strips:
        starts.append(starts[-1] + len(strip))
    for i, tag in enumerate((282, 283)):
        inline = int.from_bytes(resolutions[8 * i : 8 * i + 8], "little")
        entries[tag] = (_RATIONAL, 1, inline if big else extra_at + 8 * i)
    description_at = starts[0] - len(description)

    parts = [header]
    position = len(header)
    for page, strip_index in enumerate(strip_of_page):
        position += directory_size + (entry_size if page == 0 else 0)
        entries[273] = (*entries[273][:2], starts[strip_index])
        entries[279] = (*entries[279][:2], len(strips[strip_index]))
        text = {270: (_ASCII, len(description), description_at)} if page == 0 else {}
        tags = sorted((entries | text).items())  # TIFF wants them in ascending order
        parts.append(struct.pack(count_format, len(tags)))
        parts += [struct.pack(entry_format, tag, *entry) for tag, entry in tags]
        parts.append(struct.pack(next_format, position if page + 1 < n_pages else 0))
    return b"".join([*parts, extra])
