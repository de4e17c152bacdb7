"""The voxels of one cell in one frame, kept small enough to hold a whole data set."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.geometry import Index, Triple, as_index

__all__ = [
    "CellMask",
    "bounding_box",
    "box_at",
    "cut_out",
    "label_boxes",
    "labelled_masks",
    "mean_position",
]

# Above this, labels are numbered anew before their boxes are looked up by number.
_MAX_LABEL = 65535


@dataclass(frozen=True)
class CellMask:
    """One cell in one frame: its bounding box and, packed small, its voxels.

    16 kB hold a ball of half a million voxels, so that the source need be read only once.

    Attributes:
        offset: Voxel ``(z, y, x)`` of the frame where the bounding box begins.
        shape: Size ``(z, y, x)`` of the bounding box in voxels.
        volume: Number of voxels.
        packed: The mask of the box, one bit a voxel, deflated.
    """

    offset: Index
    shape: Index
    volume: int
    packed: bytes

    @classmethod
    def of(cls, mask: NDArray[np.bool_], offset: Index = (0, 0, 0)) -> CellMask:
        """Pack a mask ``(z, y, x)`` that fills its bounding box, placed at ``offset``."""
        z, y, x = mask.shape
        packed = zlib.compress(np.packbits(mask).tobytes(), level=1)
        return cls(offset, (z, y, x), int(np.count_nonzero(mask)), packed)

    @classmethod
    def union(cls, parts: Sequence[CellMask]) -> CellMask:
        """One mask for several of the same frame: a mother's daughters, for example."""
        if len(parts) == 1:
            return parts[0]
        begin = np.min([p.offset for p in parts], axis=0)
        end = np.max([np.add(p.offset, p.shape) for p in parts], axis=0)
        mask = np.zeros(end - begin, dtype=bool)
        for part in parts:
            mask[box_at(np.subtract(part.offset, begin), part.shape)] |= part.voxels()
        return cls.of(mask, as_index(begin))

    def voxels(self) -> NDArray[np.bool_]:
        """The voxels of the bounding box, ``(z, y, x)``."""
        bits = np.frombuffer(zlib.decompress(self.packed), dtype=np.uint8)
        flat = np.unpackbits(bits, count=int(np.prod(self.shape)))
        return flat.view(bool).reshape(self.shape)

    def touches(self, frame_shape: Index) -> bool:
        """Whether the cell reaches the border of a frame of that shape."""
        return any(
            o == 0 or o + n == size
            for o, n, size in zip(self.offset, self.shape, frame_shape, strict=True)
        )

    @cached_property
    def centroid(self) -> Triple:
        """Mean voxel position ``(z, y, x)`` in the frame."""
        z, y, x = mean_position(self.voxels())
        return self.offset[0] + z, self.offset[1] + y, self.offset[2] + x


def mean_position(mask: NDArray[np.bool_]) -> Triple:
    """Mean index ``(z, y, x)`` of what is true; something must be."""
    mean = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        profile = np.count_nonzero(mask, axis=others)
        mean.append(float(profile @ np.arange(len(profile))) / float(profile.sum()))
    return mean[0], mean[1], mean[2]


def labelled_masks(
    labels: NDArray[Any],
) -> Iterator[tuple[int, NDArray[np.bool_], tuple[slice, slice, slice]]]:
    """Each label of a frame ``(z, y, x)``, sorted; its mask, and the bounding box that this fills.

    Labels are whole numbers of any size, or true and false; 0 is background.
    """
    box = bounding_box(labels != 0)
    if box is None:
        return
    numbers = labels[box]
    names: NDArray[Any] | None = None
    if numbers.max() > _MAX_LABEL:
        names, found = np.unique(np.append(numbers.dtype.type(0), numbers), return_inverse=True)
        numbers = found[1:].reshape(numbers.shape)
    for number, inner in label_boxes(numbers):
        z, y, x = (
            slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, inner, strict=True)
        )
        label = number if names is None else int(names[number])
        yield label, numbers[inner] == number, (z, y, x)


def label_boxes(labels: NDArray[Any]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Every label with the smallest box around it, in ascending order.

    Labels are whole numbers of any number of axes, or true and false; 0 is background. Time and
    memory grow with the largest label.
    """
    from scipy import ndimage

    numbers = labels.view(np.uint8) if labels.dtype == bool else labels
    for label, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is not None:
            yield label, box


def box_at(offset: Any, shape: Any) -> tuple[slice, slice, slice]:
    """Slices of the box of that ``shape`` that begins at ``offset``, both ``(z, y, x)``."""
    z, y, x = (slice(int(o), int(o) + int(n)) for o, n in zip(offset, shape, strict=True))
    return z, y, x


def cut_out(labels: NDArray[Any]) -> tuple[NDArray[Any], Index]:
    """The smallest box of ``labels`` ``(z, y, x)`` with all that is not 0, and where it begins.

    It is empty where all is 0.
    """
    box = bounding_box(labels != 0)
    if box is None:
        return labels[:0, :0, :0], (0, 0, 0)
    return labels[box], as_index(part.start for part in box)


def bounding_box(inside: NDArray[np.bool_], *, grow: int = 0) -> tuple[slice, slice, slice] | None:
    """Slices of the smallest box around all that is true; None where nothing is.

    Args:
        inside: ``(z, y, x)``.
        grow: Voxels by which the box is wider on each side, as far as the array goes.
    """
    slices = []
    rest = inside
    for axis in range(3):
        at = np.flatnonzero(rest.any(axis=tuple(a for a in range(3) if a != axis)))
        if not at.size:
            return None
        low, high = int(at[0]), int(at[-1]) + 1
        slices.append(slice(max(0, low - grow), high + grow))
        # The axes to come need to look at no more than this.
        rest = rest[(slice(None),) * axis + (slice(low, high),)]
    return slices[0], slices[1], slices[2]
