"""Label images read from TIFF files of any origin, without trusting them.

Everything is read page by page, and whatever a broken file makes tifffile raise becomes one
:class:`~cellsynth.errors.FormatError` that names the file.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellsynth.errors import (
    CellsynthError,
    DependencyError,
    FormatError,
    MissingError,
    StorageError,
)
from cellsynth.formats.lineage import MAX_LABEL

__all__ = [
    "FrameHeader",
    "as_uint16",
    "check_pixels",
    "distinct_labels",
    "read_cropped",
    "read_frame_interval_s",
    "read_header",
    "read_labels",
    "read_planes",
    "read_voxel_size_um",
    "scan_labels",
]

StrPath = str | os.PathLike[str]
Triple = tuple[float, float, float]

_UM_PER_UNIT = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0}
_UM_PER_UNIT |= {"microns": 1.0, "micrometer": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
_S_PER_UNIT = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "hr": 3600.0}


@dataclass(frozen=True)
class FrameHeader:
    """What a TIFF file says it holds.

    Attributes:
        shape: ``(z, y, x)``, or ``(y, x)`` where there is one page. Colour is not counted.
        dtype: Type of its values.
        colour: Whether a pixel holds several samples.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    colour: bool

    @property
    def problem(self) -> str | None:
        """Why this cannot be one frame of labels, or None where it can."""
        return self._problem(
            "labels are one whole number a voxel", "labels are whole numbers, uint16"
        )

    @property
    def image_problem(self) -> str | None:
        """Why this cannot be one frame of an image, or None where it can."""
        return self._problem(
            "a frame has one brightness a voxel", "images are whole numbers, uint8 or uint16"
        )

    def _problem(self, one_sample: str, whole_numbers: str) -> str | None:
        if self.colour:
            return f"is a colour image; {one_sample}"
        if self.dtype.kind not in "bui":
            return f"holds {self.dtype}; {whole_numbers}"
        if len(self.shape) not in (2, 3):
            return f"has {len(self.shape)} axes {self.shape}; a frame is (z, y, x) or (y, x)"
        return None


def read_header(path: StrPath) -> FrameHeader:
    """Shape and type of a frame, without decoding it.

    Raises:
        FormatError: Not a TIFF file, one that ends too early, or pages of different size.
        MissingError: There is no such file.
        StorageError: The file may not be read.
    """
    with _opened(path) as (_, series):
        return _header(series)


def read_labels(path: StrPath) -> NDArray[Any]:
    """The labels of one frame, ``(z, y, x)`` or ``(y, x)``, of the type the file has.

    Raises:
        FormatError: Not a TIFF file, damaged, colour, float, or more than three axes.
        DependencyError: Its compression needs the package imagecodecs.
        MissingError, StorageError: The file is not there, or may not be read.
    """
    with _opened(path) as (_, series):
        header = _frame_header(path, series)
        # One thread: callers that want more read several frames at a time.
        labels: NDArray[Any] = series.asarray(maxworkers=1)
        return labels.reshape(header.shape)


def as_uint16(labels: NDArray[Any], path: StrPath) -> NDArray[np.uint16]:
    """Labels read from ``path`` as the format has them, whatever type its author took.

    Raises:
        FormatError: A label outside 0 … 65535.
    """
    if labels.dtype != np.uint16 and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high > MAX_LABEL:
            raise FormatError(
                f"{os.fspath(path)}: label {low if low < 0 else high} is outside 1 … {MAX_LABEL}"
            )
    return labels.astype(np.uint16, copy=False)


def read_planes(path: StrPath) -> Iterator[NDArray[Any]]:
    """The planes ``(y, x)`` of one frame of labels or counts, one after another.

    Memory is one plane, unless the file keeps them all in one piece. Raises as `read_labels`.
    """
    with _opened(path) as (_, series):
        header = _frame_header(path, series)
        if len(series.pages) != math.prod(header.shape[:-2]):
            yield from series.asarray(maxworkers=1).reshape(-1, *header.shape[-2:])
            return
        blank: dict[Any, bool] = {}
        for page in series.pages:
            if page is None:
                yield np.zeros(header.shape[-2:], header.dtype)
                continue
            # Blank pages of our own files are one strip on disk; it is decoded once.
            if blank.get(page.dataoffsets):
                yield np.zeros(header.shape[-2:], header.dtype)
                continue
            plane = page.asarray(maxworkers=1).reshape(header.shape[-2:])
            blank[page.dataoffsets] = not plane.any()
            yield plane


def read_cropped(path: StrPath) -> tuple[NDArray[Any], tuple[int, ...]]:
    """The smallest box of one frame that holds all its labels, and where that begins.

    Memory is that box and a plane, so a cell in a large frame is read in less of both. Raises as
    `read_labels`.

    Returns:
        The box ``(z, y, x)``, empty where there is no label, and its first voxel ``(z, y, x)``;
        flat frames are one voxel deep.
    """
    found: list[tuple[int, int, int, NDArray[Any]]] = []
    dtype: np.dtype[Any] = np.dtype(np.uint16)
    for z, plane in enumerate(read_planes(path)):
        dtype = plane.dtype
        rows = np.flatnonzero(plane.any(axis=1))
        if rows.size:
            strip = plane[rows[0] : rows[-1] + 1]
            columns = np.flatnonzero(strip.any(axis=0))
            part = strip[:, columns[0] : columns[-1] + 1].copy()
            found.append((z, int(rows[0]), int(columns[0]), part))
    if not found:
        return np.zeros((0, 0, 0), dtype), (0, 0, 0)
    low = found[0][0], min(y for _, y, _, _ in found), min(x for _, _, x, _ in found)
    high = (
        found[-1][0] + 1,
        max(y + part.shape[0] for _, y, _, part in found),
        max(x + part.shape[1] for _, _, x, part in found),
    )
    box = np.zeros([b - a for a, b in zip(low, high, strict=True)], dtype)
    for z, y, x, part in found:
        into = box[z - low[0], y - low[1] :, x - low[2] :]
        into[: part.shape[0], : part.shape[1]] = part
    return box, low


def scan_labels(path: StrPath) -> frozenset[int]:
    """Every label in one frame but the background; memory is one page. Raises as `read_labels`."""
    with _opened(path) as (_, series):
        header = _frame_header(path, series)
        if len(series.pages) != math.prod(header.shape[:-2]):
            return frozenset(distinct_labels(series.asarray(maxworkers=1)))
        found: set[int] = set()
        decoded = set()
        for page in series.pages:
            # Blank pages of our own files are one strip on disk; it is decoded once.
            if page is not None and page.dataoffsets not in decoded:
                decoded.add(page.dataoffsets)
                found |= distinct_labels(page.asarray(maxworkers=1))
        return frozenset(found)


def check_pixels(path: StrPath) -> None:
    """Decode every page of a frame, and keep none; raises as :func:`read_labels`."""
    with _opened(path) as (_, series):
        _frame_header(path, series)
        for page in series.pages:
            if page is not None:
                page.asarray(maxworkers=1)


def distinct_labels(labels: NDArray[Any]) -> set[int]:
    """The values in ``labels`` except 0.

    A mask is long runs of one value, so only the value at the start of each run is looked at.
    """
    flat = labels.reshape(-1)
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return {int(v) for v in np.unique(np.concatenate([flat[:1], flat[starts]]))} - {0}


def read_voxel_size_um(path: StrPath) -> Triple | None:
    """Voxel size ``(z, y, x)`` in µm from ImageJ or OME metadata, None where it is not given.

    Raises as :func:`read_header`.
    """
    with _opened(path) as (tiff, series):
        sides = zip(series.axes, series.shape, strict=True)
        deep = any(n > 1 and axis not in "TCYXS" for axis, n in sides)
        pixels = _ome_pixels(tiff)
        if pixels is not None:
            sizes = [_ome_length(pixels, axis) for axis in "ZYX"]
        else:
            sizes = _imagej_sizes(tiff)
    z, y, x = sizes
    if y is None or x is None or (z is None and deep):
        return None
    # Two-dimensional images have no depth of their own; ImageJ too takes 1 there.
    return 1.0 if z is None else z, y, x


def read_frame_interval_s(path: StrPath) -> float | None:
    """Seconds between frames from ImageJ or OME metadata, None where it is not given.

    Raises as :func:`read_header`.
    """
    with _opened(path) as (tiff, _):
        pixels = _ome_pixels(tiff)
        if pixels is not None:
            unit = pixels.get("TimeIncrementUnit", "s")
            return _positive(pixels.get("TimeIncrement"), _S_PER_UNIT.get(unit))
        imagej = tiff.imagej_metadata or {}
        return _positive(
            imagej.get("finterval"), _S_PER_UNIT.get(str(imagej.get("tunit", "sec")).lower())
        )


class _Remarks(logging.Filter):
    """Keeps this thread's remarks by tifffile off the console, and notes whether pages are lost.

    Where the chain of pages breaks, tifffile says so to its log and goes on with those it has.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self.pages_lost = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        if record.levelno >= logging.ERROR and "TiffPages" in record.getMessage():
            self.pages_lost = True
        return False


@contextmanager
def _opened(path: StrPath) -> Iterator[tuple[tifffile.TiffFile, tifffile.TiffPageSeries]]:
    """The file and its one image; errors inside the block are errors of the file."""
    name = os.fspath(path)
    logger, remarks = logging.getLogger("tifffile"), _Remarks()
    logger.addFilter(remarks)
    try:
        with tifffile.TiffFile(Path(path)) as tiff:
            series = _only_series(name, tiff)
            if remarks.pages_lost or _ends_early(tiff, series):
                raise FormatError(f"{name} ends too early; copy or export it again")
            yield tiff, series
    except CellsynthError:
        raise
    except FileNotFoundError as error:
        raise MissingError(f"{name} is not there") from error
    # A damaged file can make tifffile and the codecs raise nearly anything, MemoryError included.
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            reason = (error.strerror or str(error)).lower()
            raise StorageError(f"{name} could not be read: {reason}") from error
        if "imagecodecs" in str(error):
            raise DependencyError(
                f"{name} is compressed in a way that needs imagecodecs: pip install imagecodecs"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{name} is not a readable TIFF file: {reason}") from error
    finally:
        logger.removeFilter(remarks)


def _only_series(name: str, tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    if not tiff.series:
        raise FormatError(f"{name} is not a readable TIFF file: it holds no image")
    if len(tiff.series) > 1:
        shapes = " and ".join(str(series.shape) for series in tiff.series[:2])
        raise FormatError(f"{name} holds {shapes}; all pages of a frame have one size")
    return tiff.series[0]


def _ends_early(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Whether pages or parts of them lie beyond the end of the file."""
    size = tiff.filehandle.size
    if series.dataoffset is not None:  # uncompressed, one page after another
        return series.dataoffset + series.nbytes > size
    pages = [page for page in series.pages if page is not None]
    if len(pages) * math.prod(pages[0].shape) < math.prod(series.shape):
        return True
    # tifffile shows strips that are not there as background.
    return any(
        len(page.dataoffsets) < math.prod(page.chunked)
        or any(a + n > size for a, n in zip(page.dataoffsets, page.databytecounts, strict=True))
        for page in pages
    )


def _header(series: tifffile.TiffPageSeries) -> FrameHeader:
    pairs = list(zip(series.axes, series.shape, strict=True))
    shape = [n for axis, n in pairs if axis != "S"]
    leading = [n for n in shape[:-2] if n != 1]
    colour = any(axis == "S" and n > 1 for axis, n in pairs)
    return FrameHeader((*leading, *shape[-2:]), np.dtype(series.dtype), colour)


def _frame_header(path: StrPath, series: tifffile.TiffPageSeries) -> FrameHeader:
    header = _header(series)
    if header.problem:
        raise FormatError(f"{os.fspath(path)} {header.problem}")
    return header


def _positive(value: Any, factor: float | None) -> float | None:
    try:
        scaled = abs(float(value)) * (factor or 0.0)
    except (TypeError, ValueError):
        return None
    return scaled if math.isfinite(scaled) and scaled > 0 else None


def _imagej_sizes(tiff: tifffile.TiffFile) -> list[float | None]:
    imagej = tiff.imagej_metadata or {}
    um = _UM_PER_UNIT.get(str(imagej.get("unit", "")).lower())
    sizes = [_positive(imagej.get("spacing", 1.0), um)]  # ImageJ leaves a spacing of 1 out
    for tag in ("YResolution", "XResolution"):
        found = tiff.pages.first.tags.get(tag)
        numerator, denominator = found.value if found is not None else (0, 0)
        sizes.append(_positive(denominator / numerator, um) if numerator else None)
    return sizes


def _ome_pixels(tiff: tifffile.TiffFile) -> ElementTree.Element | None:
    if not tiff.is_ome or not tiff.ome_metadata:
        return None
    return ElementTree.fromstring(tiff.ome_metadata).find(".//{*}Pixels")


def _ome_length(pixels: ElementTree.Element, axis: str) -> float | None:
    unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
    return _positive(pixels.get(f"PhysicalSize{axis}"), _UM_PER_UNIT.get(unit))
