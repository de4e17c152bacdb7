"""What label and image files have in common: one strip a page, deflated, told as ImageJ does.

The voxel size stands where ImageJ and Fiji look for it: x and y in the resolution tags, z as
``spacing`` in the image description, with the unit. tifffile reads the same back as ZYX. Equal
pixels give equal bytes (no dates, no program versions) as long as zlib is the same.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from cellsynth.errors import InputError
from cellsynth.formats.storage import remove, storing

__all__ = ["check_sizes", "imagej_description", "pixels_per_um", "write_pages"]

Triple = tuple[float, float, float]

_CLASSIC_LIMIT = 2**32 - 1  # the largest 32-bit number, and so the largest plain TIFF
_SHORT, _LONG, _RATIONAL, _ASCII, _LONG8 = 3, 4, 5, 2, 16


def check_sizes(voxel_size_um: tuple[float, ...], frame_interval_s: float | None) -> None:
    """Raise InputError where a size cannot be written."""
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


def write_pages(
    path: Path,
    strips: Sequence[bytes],
    strip_of_page: Sequence[int],
    *,
    shape: tuple[int, int, int],
    bits: int,
    voxel_size_um: Triple,
    frame_interval_s: float | None,
) -> None:
    """Write compressed pages as one file; an existing one is replaced.

    Args:
        path: File to write.
        strips: Deflated pages; several pages may share one.
        strip_of_page: For each of ``shape[0]`` pages the index of its strip.
        shape: ``(z, y, x)``.
        bits: Bits of an unsigned pixel.
        voxel_size_um: ``(z, y, x)`` in µm.
        frame_interval_s: Seconds from frame to frame, kept in the description.

    Raises:
        StorageError: The disk refused; nothing is left behind.
    """
    description = imagej_description(shape[0], voxel_size_um[0], frame_interval_s)
    head = _directories(shape, bits, voxel_size_um, description, strips, strip_of_page)
    with storing(path):
        try:
            with path.open("wb") as file:
                file.write(head)
                file.writelines(strips)
        except OSError:
            remove(path)
            raise


def imagej_description(
    n_slices: int, spacing_um: float, frame_interval_s: float | None, n_frames: int = 1
) -> bytes:
    """What the first page says: planes, frames and their distances, as ImageJ writes it."""
    lines = ["ImageJ=1.11a"]
    if n_slices * n_frames > 1:
        lines.append(f"images={n_slices * n_frames}")
    if n_slices > 1:
        lines.append(f"slices={n_slices}")
    if n_frames > 1:
        lines += [f"frames={n_frames}", "hyperstack=true"]
    lines += ["unit=micron", f"spacing={float(spacing_um)!r}"]
    if frame_interval_s is not None:
        lines.append(f"finterval={float(frame_interval_s)!r}")
    return ("\n".join(lines) + "\n\0").encode("ascii")


def pixels_per_um(size_um: float) -> Fraction:
    """Pixels per µm as TIFF can hold it: 0.09 µm is 100/9 exactly, others are as near as fits."""
    exact = 1 / Fraction(repr(float(size_um)))
    if max(exact.numerator, exact.denominator) <= _CLASSIC_LIMIT:
        return exact
    return exact.limit_denominator(int(_CLASSIC_LIMIT / max(exact + 1, Fraction(1))))


def _directories(
    shape: tuple[int, int, int],
    bits: int,
    voxel_size_um: Triple,
    description: bytes,
    strips: Sequence[bytes],
    strip_of_page: Sequence[int],
    *,
    big: bool | None = None,
) -> bytes:
    """Everything before the strips: header, page directories, resolutions and description.

    The directories lie together, so that a reader finds all pages in one read. Files above 4 GiB
    are BigTIFF (``big``), which few programs outside microscopy read.
    """
    n_pages, height, width = shape
    fractions = [pixels_per_um(size) for size in (voxel_size_um[2], voxel_size_um[1])]
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
        258: (_SHORT, 1, bits),  # bits per sample
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
