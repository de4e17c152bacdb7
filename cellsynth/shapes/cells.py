"""Tracks become single-cell sequences of N frames."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.geometry import Triple

if TYPE_CHECKING:
    from cellsynth.shapes.masks import MaskSequence

__all__ = ["CellSequence", "Index", "Piece", "as_index"]

Index = tuple[int, int, int]


@dataclass(frozen=True)
class Piece:
    """One cell in one frame: its bounding box and, packed small, its voxels.

    A few kilobytes hold a cell of half a million voxels, so that the source is read only once.

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
    def of(cls, mask: NDArray[np.bool_], offset: Index = (0, 0, 0)) -> Piece:
        """Pack a mask ``(z, y, x)`` that fills its bounding box, placed at ``offset``."""
        z, y, x = mask.shape
        packed = zlib.compress(np.packbits(mask).tobytes(), level=1)
        return cls(offset, (z, y, x), int(np.count_nonzero(mask)), packed)

    @classmethod
    def union(cls, pieces: Sequence[Piece]) -> Piece:
        """One piece for several of the same frame: a mother's daughters, for example."""
        if len(pieces) == 1:
            return pieces[0]
        begin = np.min([p.offset for p in pieces], axis=0)
        end = np.max([np.add(p.offset, p.shape) for p in pieces], axis=0)
        mask = np.zeros(end - begin, dtype=bool)
        for piece in pieces:
            box = tuple(
                slice(o - b, o - b + n)
                for o, b, n in zip(piece.offset, begin, piece.shape, strict=True)
            )
            mask[box] |= piece.mask()
        return cls.of(mask, as_index(begin))

    def mask(self) -> NDArray[np.bool_]:
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
        mask = self.mask()
        mean = []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            profile = np.count_nonzero(mask, axis=others)
            along = float(profile @ np.arange(len(profile))) / self.volume
            mean.append(self.offset[axis] + along)
        return mean[0], mean[1], mean[2]


@dataclass(frozen=True)
class CellSequence:
    """One cell, or one mother and then both her daughters, over consecutive frames.

    Attributes:
        name: Source, track and frames, for messages and records.
        source: The masks it was cut from.
        frames: Frame numbers in the source.
        labels: Per frame, the labels in the source that make up the cell.
        pieces: Per frame, the voxels of the cell.
    """

    name: str
    source: MaskSequence
    frames: tuple[int, ...]
    labels: tuple[frozenset[int], ...]
    pieces: tuple[Piece, ...]

    @property
    def n_frames(self) -> int:
        return len(self.frames)


def as_index(values: Any) -> Index:
    """Three whole numbers ``(z, y, x)`` of any kind as plain ints."""
    z, y, x = values
    return int(z), int(y), int(x)
