"""Masks in TIFF files: a stack over time in one file, or a folder of files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellsynth.errors import FormatError
from cellsynth.formats.tiff_reading import (
    FrameHeader,
    read_frame_interval_s,
    read_header,
    read_labels,
    read_voxel_size_um,
)
from cellsynth.shapes.mask_sequence import Found

__all__ = ["find_tiff", "find_tiff_folder", "is_tiff"]


def is_tiff(path: Path) -> bool:
    """Whether the file's name is that of a TIFF file."""
    return path.suffix.lower() in (".tif", ".tiff") and path.is_file()


def find_tiff(path: Path) -> Found:
    """The sequence in one file: ``(t, z, y, x)``, or ``(z, y, x)`` for a single frame."""
    return _found(_open_stack(path))


def find_tiff_folder(folder: Path, paths: list[Path]) -> list[Found]:
    """Files ``(t, z, y, x)`` as a sequence each, or files ``(z, y, x)`` as frames of one."""
    stacks = [_open_stack(path) for path in sorted(paths, key=_natural)]
    first = stacks[0]
    for stack in stacks:
        if ("T" in stack.axes) != ("T" in first.axes):
            raise FormatError(
                f"{stack.path}: shape {stack.sizes}, but {first.path.name} has {first.sizes}; a "
                "folder holds either the frames of one sequence or a sequence a file"
            )
    if "T" in first.axes:
        return [_found(stack) for stack in stacks]
    for stack in stacks:
        if stack.sizes != first.sizes:
            raise FormatError(
                f"{stack.path}: shape {stack.sizes}, but {first.path.name} has {first.sizes}; all "
                "frames of a sequence have one shape"
            )
    return [
        Found(
            name=folder.resolve().name,
            n_frames=len(stacks),
            shape=first.sizes,
            read_frame=partial(_read_single, [stack.path for stack in stacks]),
            voxel_size_um=read_voxel_size_um(first.path),
            frame_interval_s=read_frame_interval_s(first.path),
        )
    ]


@dataclass(frozen=True)
class _Stack:
    """A file whose pages are known; it is closed between reads.

    Attributes:
        path: The file.
        axes: Letters of the axes, those of length 1 before y and x left out: ``TZYX``, ``ZYX`` …
        sizes: Length of each of them.
        tiff: Knows where each page lies, which takes longer to find out than a frame to decode.
    """

    path: Path
    axes: str
    sizes: tuple[int, ...]
    tiff: tifffile.TiffFile = field(repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the file itself."""
        return _open_stack, (self.path,)

    def frame(self, t: int) -> NDArray[Any]:
        """Frame ``t``; only its pages are decoded."""
        try:
            self.tiff.filehandle.open()
            return self._decode(t)
        # A damaged file can make tifffile and the codecs raise nearly anything.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FormatError(f"{self.path} frame {t} could not be decoded: {reason}") from error
        finally:
            self.tiff.filehandle.close()

    def _decode(self, t: int) -> NDArray[Any]:
        n_pages = self.sizes[0] * self.sizes[1]
        time_axis = self.axes.index("T")
        series = self.tiff.series[0]
        if len(series.pages) != n_pages:  # pages that hold volumes, or one for all
            whole = series.asarray(maxworkers=1).reshape(self.sizes)
            return np.asarray(np.take(whole, t, axis=time_axis))
        wanted = np.take(np.arange(n_pages).reshape(self.sizes[:2]), t, axis=time_axis)
        planes = self.tiff.asarray(key=wanted.tolist(), series=0, maxworkers=1)
        return np.asarray(planes).reshape(-1, *self.sizes[2:])


def _open_stack(path: Path) -> _Stack:
    """Read the file's axes; two before y and x are t, z unless their letters say otherwise."""
    header = read_header(path)
    problem = FrameHeader(header.shape[-3:], header.dtype, header.colour).problem
    if problem:
        raise FormatError(f"{path} {problem}")
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
    named = [p for p in zip(series.axes, series.shape, strict=True) if p[0] != "S"]
    letters = "".join(axis for axis, _ in named)
    sizes = [n for _, n in named]
    leading = letters[:-2]
    if len(leading) == 2 and leading != "ZT" and "C" not in leading:
        leading = "TZ"
    kept = [(axis, n) for axis, n in zip(leading, sizes, strict=False) if n != 1]
    if len(kept) > 2 or any(axis == "C" for axis, _ in kept):
        raise FormatError(
            f"{path}: axes {letters} of sizes {tuple(sizes)}, expected (t, z, y, x) or (z, y, x)"
        )
    axes = "".join(axis for axis, _ in kept)
    if len(kept) == 2 and axes != "ZT":
        axes = "TZ"
    return _Stack(path, axes + "YX", (*(n for _, n in kept), *sizes[-2:]), tiff)


def _found(stack: _Stack) -> Found:
    pairs = list(zip(stack.axes, stack.sizes, strict=True))
    shape = tuple(n for axis, n in pairs if axis != "T")
    with_time = len(shape) < len(pairs)
    return Found(
        name=stack.path.name,
        n_frames=dict(pairs)["T"] if with_time else 1,
        shape=shape,
        # Without z the shape is refused before anything is read.
        read_frame=stack.frame if with_time else partial(_read_single, [stack.path]),
        voxel_size_um=read_voxel_size_um(stack.path),
        frame_interval_s=read_frame_interval_s(stack.path),
    )


def _read_single(paths: list[Path], t: int) -> NDArray[Any]:
    return read_labels(paths[t])


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorting key that puts t2 before t10."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]
