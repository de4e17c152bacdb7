"""One TIFF a sequence: back through the reader of train-preset, and as ImageJ understands it."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from cellsynth.errors import InputError, StorageError
from cellsynth.formats import tiff_stack
from cellsynth.formats.tiff_stack import write_stack
from cellsynth.shapes.masks import open_masks

SIZE = (1.0, 0.09, 0.2)


def write(path, stack, **others):
    given = {"voxel_size_um": SIZE, "frame_interval_s": 30.5} | others
    planes = stack.reshape(-1, *stack.shape[2:])
    write_stack(path, iter(planes), shape=stack.shape, dtype=stack.dtype, **given)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(2, 4), st.integers(1, 5), st.integers(1, 5)),
    dtype=st.sampled_from(["uint8", "uint16"]),
    seed=st.integers(0, 99),
)
def test_a_stack_comes_back(tmp_path_factory, shape, dtype, seed):
    path = tmp_path_factory.mktemp("stack") / "s.tif"
    stack = np.random.default_rng(seed).integers(0, 3, shape, dtype)
    write(path, stack)
    [sequence] = open_masks(path)
    assert (sequence.n_frames, sequence.shape) == (shape[0], shape[1:])
    assert sequence.voxel_size_um == pytest.approx(SIZE)
    assert sequence.frame_interval_s == 30.5
    assert sequence.assumed == ()
    for t in range(shape[0]):
        frame = sequence.read_frame(t)
        np.testing.assert_array_equal(frame, stack[t])
        assert frame.dtype == stack.dtype


def test_imagej_sees_a_hyperstack(tmp_path):
    stack = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    write(tmp_path / "s.tif", stack)
    with tifffile.TiffFile(tmp_path / "s.tif") as tiff:
        assert tiff.is_imagej
        assert not tiff.is_bigtiff
        assert (tiff.series[0].axes, tiff.series[0].shape) == ("TZYX", stack.shape)
        said = tiff.imagej_metadata
        assert (said["unit"], said["spacing"], said["finterval"]) == ("micron", 1.0, 30.5)
        assert (said["images"], said["slices"], said["frames"]) == (6, 3, 2)
        tags = tiff.pages.first.tags
        assert tags["XResolution"].value == (5, 1)
        assert tags["YResolution"].value == (100, 9)


def test_equal_stacks_are_equal_bytes(tmp_path):
    stack = np.random.default_rng(0).integers(0, 9, (2, 3, 40, 50), np.uint16)
    write(tmp_path / "a.tif", stack)
    write(tmp_path / "b.tif", stack)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_what_might_not_fit_is_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_stack, "_CLASSIC", 100)
    stack = np.ones((2, 3, 4, 5), np.uint16)
    write(tmp_path / "s.tif", stack)
    with tifffile.TiffFile(tmp_path / "s.tif") as tiff:
        assert tiff.is_bigtiff
        assert tiff.series[0].axes == "TZYX"
    [sequence] = open_masks(tmp_path / "s.tif")
    np.testing.assert_array_equal(sequence.read_frame(1), stack[1])
    assert sequence.voxel_size_um == pytest.approx(SIZE)


def test_planes_are_written_as_they_come(tmp_path, monkeypatch):
    """When a plane is asked for, those before it lie on disk already."""
    path = tmp_path / "s.tif"
    rng = np.random.default_rng(0)
    sizes = []

    def planes():
        for _ in range(64):
            sizes.append(path.stat().st_size)
            yield rng.integers(0, 65535, (256, 256), np.uint16)

    size = {"dtype": np.dtype(np.uint16), "voxel_size_um": SIZE}
    write_stack(path, planes(), shape=(8, 8, 256, 256), **size)
    assert sizes[32] > 20 * 256 * 256 * 2


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"voxel_size_um": (0, 1, 1)}, "voxel size must be three numbers"),
        ({"frame_interval_s": -1.0}, "frame interval must be above 0 s, got -1"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, others, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path / "s.tif", np.ones((1, 1, 2, 2), np.uint16), **others)
    assert list(tmp_path.iterdir()) == []


def test_floats_are_refused(tmp_path):
    with pytest.raises(InputError, match="a stack must be uint8 or uint16, got float32"):
        write(tmp_path / "s.tif", np.ones((1, 1, 2, 2), np.float32))


def test_nothing_stays_of_a_stack_that_broke(tmp_path):
    def broken():
        yield np.zeros((4, 4), np.uint16)
        raise StorageError("gone")

    with pytest.raises(StorageError, match="gone"):
        write_stack(
            tmp_path / "s.tif",
            broken(),
            shape=(1, 2, 4, 4),
            dtype=np.dtype(np.uint16),
            voxel_size_um=SIZE,
        )
    assert list(tmp_path.iterdir()) == []
