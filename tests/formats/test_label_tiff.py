from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cellsynth.errors import InputError, ShapeError, StorageError
from cellsynth.formats import label_tiff, tiff_writing
from cellsynth.formats.label_tiff import (
    read_frame_interval_s,
    read_labels,
    read_voxel_size_um,
    write_labels,
)

SHAPE = (7, 11, 13)
OFFSET = (2, 3, 4)


@pytest.fixture
def crop() -> NDArray[np.uint16]:
    labels = np.zeros((3, 4, 5), np.uint16)
    labels[0, 1, 1:4] = 1
    labels[2, :, 2] = 65535
    return labels


def whole(crop: NDArray[np.uint16], shape=SHAPE, offset=OFFSET) -> NDArray[np.uint16]:
    frame = np.zeros(shape, np.uint16)
    frame[tuple(slice(o, o + n) for o, n in zip(offset, crop.shape, strict=True))] = crop
    return frame


def write(path: Path, crop: NDArray[np.uint16], **options) -> Path:
    defaults = {"shape": SHAPE, "offset": OFFSET, "voxel_size_um": (1.0, 0.09, 0.2)}
    write_labels(path, crop, **(defaults | options))
    return path


def test_three_independent_readers_see_the_same_voxels(tmp_path: Path, crop) -> None:
    path = write(tmp_path / "a.tif", crop)
    expected = whole(crop)
    for read in (read_labels, tifffile.imread, skimage.io.imread):
        labels = read(path)
        assert labels.dtype == np.uint16
        np.testing.assert_array_equal(labels, expected)
    # Pillow decodes with libtiff, the others with tifffile.
    with Image.open(path) as image:
        assert image.n_frames == SHAPE[0]
        for z in range(SHAPE[0]):
            image.seek(z)
            np.testing.assert_array_equal(np.asarray(image), expected[z])


def test_fiji_and_tifffile_find_the_voxel_size(tmp_path: Path, crop) -> None:
    path = write(tmp_path / "a.tif", crop, frame_interval_s=90)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_imagej
        assert tiff.series[0].axes == "ZYX"
        metadata = tiff.imagej_metadata
        assert metadata is not None
        assert metadata["slices"] == metadata["images"] == SHAPE[0]
        assert (metadata["unit"], metadata["spacing"]) == ("micron", 1.0)
        assert metadata["finterval"] == 90.0
        tags = tiff.pages.first.tags
        assert tags["XResolution"].value == (5, 1)
        assert tags["YResolution"].value == (100, 9)
        # ImageJ decides how to read slices when it meets the description: it must know of the
        # compression by then.
        codes = [tag.code for tag in tags]
        assert codes == sorted(codes)
    assert read_voxel_size_um(path) == (1.0, 0.09, 0.2)
    assert read_frame_interval_s(path) == 90.0


def test_no_interval_is_none(tmp_path: Path, crop) -> None:
    assert read_frame_interval_s(write(tmp_path / "a.tif", crop)) is None


labels = st.integers(1, 4).flatmap(
    lambda n: st.builds(
        lambda seed, shape: np.random.default_rng(seed).integers(0, n, shape).astype(np.uint16),
        st.integers(0, 99),
        st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 6)),
    )
)
triples = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
sizes = st.floats(1e-6, 1e6)


@settings(max_examples=60, deadline=None)
@given(labels, triples, triples, st.tuples(sizes, sizes, sizes), st.floats(1e-3, 1e6))
def test_any_crop_in_any_frame_round_trips(
    tmp_path_factory: pytest.TempPathFactory, crop, before, after, voxel_size_um, interval
) -> None:
    shape = tuple(max(1, b + n + a) for b, n, a in zip(before, crop.shape, after, strict=True))
    path = tmp_path_factory.getbasetemp() / "round.tif"
    write(path, crop, shape=shape, offset=before, voxel_size_um=voxel_size_um,
          frame_interval_s=interval)  # fmt: skip
    expected = whole(crop, shape, before)
    np.testing.assert_array_equal(read_labels(path).reshape(shape), expected)
    assert read_voxel_size_um(path) == pytest.approx(voxel_size_um, rel=1e-8)
    assert read_frame_interval_s(path) == interval
    path.unlink()


def test_equal_labels_give_equal_bytes_however_they_are_cropped(tmp_path: Path, crop) -> None:
    tight = write(tmp_path / "a.tif", crop).read_bytes()
    again = write(tmp_path / "b.tif", crop).read_bytes()
    full = write(tmp_path / "c.tif", whole(crop), offset=(0, 0, 0)).read_bytes()
    turned = np.asfortranarray(crop)
    assert tight == again == full == write(tmp_path / "d.tif", turned).read_bytes()


def test_a_frame_without_cells_is_one_strip(tmp_path: Path) -> None:
    empty = np.zeros((0, 0, 0), np.uint16)
    path = write(tmp_path / "a.tif", empty, shape=(50, 64, 64), offset=(0, 0, 0))
    assert not read_labels(path).any()
    with tifffile.TiffFile(path) as tiff:
        assert len({page.dataoffsets for page in tiff.pages}) == 1


def test_a_single_slice_is_a_flat_image(tmp_path: Path, crop) -> None:
    path = write(tmp_path / "a.tif", crop[:1], shape=(1, 11, 13), offset=(0, 3, 4))
    assert read_labels(path).shape == (11, 13)
    assert read_voxel_size_um(path) == (1.0, 0.09, 0.2)


def test_a_file_above_4_gib_is_bigtiff(tmp_path: Path, crop, monkeypatch) -> None:
    classic = write(tmp_path / "a.tif", crop)
    monkeypatch.setattr(tiff_writing, "_CLASSIC_LIMIT", 1000)
    big = write(tmp_path / "b.tif", crop, frame_interval_s=60)
    with tifffile.TiffFile(classic) as one, tifffile.TiffFile(big) as other:
        assert (one.is_bigtiff, other.is_bigtiff) == (False, True)
        assert other.series[0].axes == "ZYX"
    np.testing.assert_array_equal(read_labels(big), whole(crop))
    assert read_voxel_size_um(big) == (1.0, 0.09, 0.2)
    assert read_frame_interval_s(big) == 60.0


@pytest.mark.parametrize("big", [False, True])
def test_every_offset_in_the_file_points_where_it_should(tmp_path: Path, crop, big: bool) -> None:
    """No two parts overlap and no byte is unused: what a stricter reader would check."""
    strips, strip_of_page = label_tiff._compress(crop, SHAPE, OFFSET)
    text = b"ImageJ=1.11a\n\0"
    head = tiff_writing._directories(
        SHAPE, 16, (1.0, 0.09, 0.2), text, strips, strip_of_page, big=big
    )
    path = tmp_path / "a.tif"
    path.write_bytes(head + b"".join(strips))
    spans = {(0, 16 if big else 8)}
    with tifffile.TiffFile(path) as tiff:
        for page in tiff.pages:
            tags = page.aspage().tags
            overhead, entry = (16, 20) if big else (6, 12)
            spans.add((page.offset, overhead + entry * len(tags)))
            spans.add((page.dataoffsets[0], page.databytecounts[0]))
            for tag in tags:
                if tag.valuebytecount > (8 if big else 4):
                    spans.add((tag.valueoffset, tag.valuebytecount))
    ordered = sorted(spans)
    for (start, length), (following, _) in itertools.pairwise(ordered):
        assert start + length == following
    assert sum(ordered[-1]) == path.stat().st_size


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"crop": np.zeros((3, 4, 5), np.int64)}, InputError, "must be uint16, got int64"),
        ({"crop": np.zeros((4, 5), np.uint16)}, ShapeError, r"\(z, y, x\), got \(4, 5\)"),
        ({"offset": (5, 3, 4)}, ShapeError, r"\(3, 4, 5\) at \(5, 3, 4\).*\(7, 11, 13\)"),
        ({"offset": (-1, 3, 4)}, ShapeError, r"at \(-1, 3, 4\)"),
        ({"shape": (2, 2, 2)}, ShapeError, r"frame of \(2, 2, 2\)"),
        ({"voxel_size_um": (1.0, 0.0, 1.0)}, InputError, r"got \(1.0, 0.0, 1.0\)"),
        ({"voxel_size_um": (1.0, float("nan"), 1.0)}, InputError, "nan"),
        ({"voxel_size_um": (1.0, 1.0)}, InputError, r"three numbers.*got \(1.0, 1.0\)"),
        ({"frame_interval_s": 0}, InputError, "above 0 s, got 0"),
        ({"frame_interval_s": float("inf")}, InputError, "got inf"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, crop, change, error, message) -> None:
    options = {"crop": crop} | change
    with pytest.raises(error, match=message):
        write(tmp_path / "a.tif", options.pop("crop"), **options)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, crop) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "a.tif"
    path.symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"a\.tif could not be written: no space left on device"
                       "; free some space or choose another folder$"):  # fmt: skip
        write(path, crop)
    assert list(tmp_path.iterdir()) == []


def test_a_forbidden_folder_is_one_line(tmp_path: Path, crop, monkeypatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(StorageError, match="permission denied; choose a folder you may write"):
            write(tmp_path / "a.tif", crop)


def test_a_missing_folder_is_a_storage_error(tmp_path: Path, crop) -> None:
    with pytest.raises(StorageError, match="no such file or directory; check the folder"):
        write(tmp_path / "none" / "a.tif", crop)
