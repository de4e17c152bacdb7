"""Scale levels of one frame, made while the frame passes by, slab after slab.

A *slab* is a block of whole planes ``(z, y, x)``. Each level stores the slabs that reach it and
hands them on, reduced, to the next, so memory is one slab a level whatever the size of the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cellsynth.geometry import Index, Triple, as_index

__all__ = [
    "CHUNK",
    "SHARD",
    "level_factors",
    "level_shape",
    "reduce_by_mean",
    "reduce_by_stride",
    "slabs_of_crop",
    "slabs_of_planes",
    "write_levels",
]

# Voxels (z, y, x) that are compressed together, 1 MB of 16 bits: a viewer's plane needs few.
CHUNK = (32, 128, 128)
# Voxels that lie in one file. Slabs are as deep, so a file is written once and never read back.
SHARD = (64, 512, 512)
# The coarsest level is no larger than this on any axis.
COARSEST = 32

Slab = NDArray[Any]
Reduce = Callable[[Slab, Index], Slab]


def level_factors(shape: Index, voxel_size_um: Triple) -> list[Index]:
    """By how much each level is coarser than the full resolution, ``(z, y, x)``; first 1, 1, 1.

    Each level halves those axes whose voxels are less than twice as long as the shortest, so that
    flat voxels become cubes before they grow.
    """
    factors = [(1, 1, 1)]
    while max(level_shape(shape, factors[-1])) > COARSEST:
        last, sides = factors[-1], level_shape(shape, factors[-1])
        lengths = [f * s for f, s in zip(last, voxel_size_um, strict=True)]
        # An axis of one voxel cannot be halved and does not count.
        shortest = min(n for n, side in zip(lengths, sides, strict=True) if side > 1)
        factors.append(
            as_index(
                f * (2 if side > 1 and length < 2 * shortest else 1)
                for f, side, length in zip(last, sides, lengths, strict=True)
            )
        )
    return factors


def level_shape(shape: Index, factor: Index) -> Index:
    """Voxels ``(z, y, x)`` of a level; a part of a voxel at the far end is one."""
    return as_index(-(-n // f) for n, f in zip(shape, factor, strict=True))


def reduce_by_stride(slab: Slab, step: Index) -> Slab:
    """Every ``step``-th voxel: labels stay labels."""
    return slab[:: step[0], :: step[1], :: step[2]]


def reduce_by_mean(slab: Slab, step: Index) -> Slab:
    """Means of blocks of 1 or 2 voxels an axis, rounded; at the far end of what is there."""
    if not slab.any():
        return np.zeros(level_shape(as_index(slab.shape), step), slab.dtype)
    wide = np.dtype(f"u{2 * slab.dtype.itemsize}")  # holds the sum of eight
    total = slab
    for axis in range(3):
        if step[axis] == 2:
            pairs = np.moveaxis(total, axis, 0)
            if len(pairs) % 2:
                pairs = np.concatenate([pairs, pairs[-1:]])
            total = np.moveaxis(np.add(pairs[0::2], pairs[1::2], dtype=wide), 0, axis)
    n = step[0] * step[1] * step[2]
    mean: Slab = (total + wide.type(n // 2)) // wide.type(n)
    return mean.astype(slab.dtype)


def slabs_of_planes(planes: Iterable[Slab], depth: int = SHARD[0]) -> Iterator[Slab]:
    """Planes ``(y, x)``, one after another, as slabs."""
    rest = iter(planes)
    while batch := list(islice(rest, depth)):
        yield np.stack(batch)


def slabs_of_crop(crop: Slab, offset: Index, shape: Index, depth: int = SHARD[0]) -> Iterator[Slab]:
    """A frame of ``shape`` that is 0 but for a ``crop`` at ``offset``, as slabs."""
    z0, y0, x0 = offset
    for z in range(0, shape[0], depth):
        slab = np.zeros((min(depth, shape[0] - z), *shape[1:]), crop.dtype)
        low, high = max(z, z0), min(z + len(slab), z0 + len(crop))
        if low < high:
            window = slab[low - z : high - z, y0 : y0 + crop.shape[1], x0 : x0 + crop.shape[2]]
            window[...] = crop[low - z0 : high - z0]
        yield slab


def write_levels(
    arrays: Sequence[zarr.Array[Any]],
    factors: Sequence[Index],
    t: int,
    slabs: Iterable[Slab],
    reduce: Reduce,
) -> None:
    """Write frame ``t`` of every level.

    Args:
        arrays: A level each, ``(t, z, y, x)``.
        factors: How much coarser each is, see :func:`level_factors`.
        t: The frame.
        slabs: The full resolution, all of equal even depth but the last.
        reduce: How a level comes from the one before.
    """
    passing: Iterator[Slab] = iter(slabs)
    for i, array in enumerate(arrays):
        if i:
            step = as_index(b // a for a, b in zip(factors[i - 1], factors[i], strict=True))
            passing = map(reduce, passing, repeat(step))
        passing = _stored(array, t, passing)
    for _ in passing:
        pass


def _stored(array: zarr.Array[Any], t: int, slabs: Iterator[Slab]) -> Iterator[Slab]:
    """Slabs as deep as a file, each written before it is handed on."""
    height, width = SHARD[1:]
    z = 0
    for slab in _regrouped(slabs, SHARD[0]):
        for y in range(0, slab.shape[1], height):
            for x in range(0, slab.shape[2], width):
                block = slab[:, y : y + height, x : x + width]
                if block.any():  # what is not there reads as 0
                    array[t, z : z + len(block), y : y + height, x : x + width] = block
        z += len(slab)
        yield slab


def _regrouped(slabs: Iterator[Slab], depth: int) -> Iterator[Slab]:
    waiting: list[Slab] = []
    for slab in slabs:
        waiting.append(slab)
        if sum(map(len, waiting)) == depth:
            yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
