"""Raw images, read back by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cellsynth.errors import InputError, ShapeError, StorageError
from cellsynth.formats.image_tiff import write_image
from cellsynth.formats.tiff_reading import (
    read_frame_interval_s,
    read_header,
    read_labels,
    read_voxel_size_um,
)


def noise(shape, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(9, 13), (5, 9, 13)])
def test_readers_see_the_same_counts(tmp_path: Path, dtype, shape):
    image = noise(shape, dtype)
    path = tmp_path / "t000.tif"
    write_image(path, image, voxel_size_um=(2.0, 0.09, 0.2)[-len(shape) :], frame_interval_s=90)
    for read in (read_labels, tifffile.imread):
        assert read(path).dtype == dtype
        np.testing.assert_array_equal(read(path), image)
    # Pillow decodes with libtiff, the others with tifffile.
    with Image.open(path) as opened:
        for z, plane in enumerate(image.reshape(-1, *shape[-2:])):
            opened.seek(z)
            np.testing.assert_array_equal(np.asarray(opened), plane)
    assert read_voxel_size_um(path) == ((2.0 if len(shape) == 3 else 1.0), 0.09, 0.2)
    assert read_frame_interval_s(path) == 90
    header = read_header(path)
    assert (header.shape, header.dtype.name, header.colour) == (shape, dtype, False)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=3),
    st.sampled_from(["uint8", "uint16", ">u2"]),
    st.integers(0, 99),
)
def test_any_image_round_trips(tmp_path_factory, shape, dtype, seed):
    image = noise(shape, np.dtype(dtype).newbyteorder("=").name, seed).astype(dtype)
    path = tmp_path_factory.getbasetemp() / "image.tif"
    write_image(path, image, voxel_size_um=(0.5,) * len(shape))
    found = tifffile.imread(path)
    np.testing.assert_array_equal(found.reshape(shape), image)
    path.unlink()


def test_equal_counts_give_equal_bytes(tmp_path: Path):
    image = noise((4, 8, 8))
    for name, same in (("a", image), ("b", np.asfortranarray(image)), ("c", image[::-1][::-1])):
        write_image(tmp_path / name, same, voxel_size_um=(1, 1, 1))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


@pytest.mark.parametrize(
    ("image", "size", "error", "message"),
    [
        (np.zeros((3, 4), np.float32), (1, 1), InputError, "uint8 or uint16, got float32"),
        (np.zeros((3, 4), np.int16), (1, 1), InputError, "got int16"),
        (np.zeros(4, np.uint8), (1,), ShapeError, r"got shape \(4,\)"),
        (np.zeros((0, 4), np.uint8), (1, 1), ShapeError, r"got shape \(0, 4\)"),
        (np.zeros((3, 4), np.uint8), (1, 0.0), InputError, r"got \(1.0, 1, 0.0\)"),
        (np.zeros((2, 3, 4), np.uint8), (1, 1), InputError, "three numbers"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, image, size, error, message):
    with pytest.raises(error, match=message):
        write_image(tmp_path / "t000.tif", image, voxel_size_um=size)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_a_storage_error(tmp_path: Path):
    with pytest.raises(StorageError, match="no such file or directory; check the folder"):
        write_image(tmp_path / "none" / "t.tif", noise((3, 3)), voxel_size_um=(1, 1))
