"""Scale levels: what each voxel of each level is, by a slow obvious reference."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from cellsynth.formats import pyramid
from cellsynth.formats.pyramid import (
    level_factors,
    level_shape,
    reduce_by_mean,
    reduce_by_stride,
    slabs_of_crop,
    slabs_of_planes,
    write_levels,
)


def mean_naive(volume: np.ndarray, step: tuple[int, int, int]) -> np.ndarray:
    found = np.zeros(level_shape(volume.shape, step), volume.dtype)
    for at in product(*map(range, found.shape)):
        box = tuple(slice(i * s, (i + 1) * s) for i, s in zip(at, step, strict=True))
        found[at] = math.floor(volume[box].mean() + 0.5)
    return found


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    step=st.tuples(*[st.integers(1, 2)] * 3),
    dtype=st.sampled_from(["uint8", "uint16"]),
    seed=st.integers(0, 99),
)
def test_means_are_those_of_the_voxels_that_are_there(shape, step, dtype, seed):
    rng = np.random.default_rng(seed)
    volume = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    # An axis of one voxel is never halved.
    step = tuple(1 if n == 1 else s for n, s in zip(shape, step, strict=True))
    reduced = reduce_by_mean(volume, step)
    assert reduced.dtype == volume.dtype
    np.testing.assert_array_equal(reduced, mean_naive(volume, step))


def test_a_stride_makes_no_new_labels():
    labels = np.random.default_rng(0).integers(0, 9, (5, 6, 7), np.uint16)
    np.testing.assert_array_equal(reduce_by_stride(labels, (1, 2, 2)), labels[:, ::2, ::2])


def test_flat_voxels_become_cubes_before_they_grow():
    factors = level_factors((50, 512, 512), (1.0, 0.09, 0.09))
    assert factors == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8), (2, 16, 16)]
    assert level_factors((1, 100, 90), (1.0, 0.1, 0.1)) == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


@given(
    shape=st.tuples(*[st.integers(1, 3000)] * 3),
    size=st.tuples(*[st.floats(0.01, 10)] * 3),
)
def test_levels_end_small(shape, size):
    factors = level_factors(shape, size)
    assert max(level_shape(shape, factors[-1])) <= pyramid.COARSEST
    assert all(max(level_shape(shape, f)) > pyramid.COARSEST for f in factors[:-1])


def test_a_crop_and_its_planes_are_the_same_slabs():
    crop = np.random.default_rng(0).integers(0, 9, (5, 3, 4), np.uint16)
    frame = np.zeros((13, 8, 9), np.uint16)
    frame[6:11, 2:5, 5:9] = crop
    slabs = list(slabs_of_crop(crop, (6, 2, 5), frame.shape, depth=4))
    assert [len(slab) for slab in slabs] == [4, 4, 4, 1]
    np.testing.assert_array_equal(np.concatenate(slabs), frame)
    for ours, others in zip(slabs, slabs_of_planes(iter(frame), depth=4), strict=True):
        np.testing.assert_array_equal(ours, others)


def test_levels_written_slab_by_slab_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(pyramid, "SHARD", (4, 8, 8))
    shape, factors = (19, 11, 17), [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)]
    frame = np.random.default_rng(0).integers(0, 65535, shape, np.uint16)
    arrays = [
        zarr.create_array(
            {}, shape=(2, *level_shape(shape, f)), chunks=(1, 4, 4, 4), dtype="uint16", fill_value=0
        )
        for f in factors
    ]
    write_levels(arrays, factors, 1, slabs_of_planes(iter(frame), depth=4), reduce_by_mean)
    expected = frame
    for array, step in zip(arrays, [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)], strict=True):
        expected = reduce_by_mean(expected, step)
        np.testing.assert_array_equal(array[1], expected)
        assert not np.asarray(array[0]).any()


def test_slabs_are_let_go(monkeypatch):
    """What waits at any time is at most one file's depth a level."""
    monkeypatch.setattr(pyramid, "SHARD", (4, 8, 8))
    factors = [(1, 1, 1), (2, 1, 1)]
    alive = []

    def slabs():
        for i in range(16):
            alive.append(i)
            yield np.full((4, 2, 2), i + 1, np.uint16)

    arrays = [
        zarr.create_array(
            {}, shape=(1, 64 // f[0], 2, 2), chunks=(1, 4, 2, 2), dtype="uint16", fill_value=0
        )
        for f in factors
    ]
    written = []
    stored = pyramid._stored

    def watching(array, t, passing):
        for slab in stored(array, t, passing):
            written.append((len(alive), array.shape[1]))
            yield slab

    monkeypatch.setattr(pyramid, "_stored", watching)
    write_levels(arrays, factors, 0, slabs(), reduce_by_mean)
    assert [n for n, depth in written if depth == 64] == list(range(1, 17))
    assert [n for n, depth in written if depth == 32] == list(range(2, 17, 2))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 3)])
def test_thin_frames_have_levels(shape):
    assert level_factors(shape, (1.0, 1.0, 1.0))[0] == (1, 1, 1)
