from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from cellsynth.errors import (
    CellsynthError,
    DependencyError,
    FormatError,
    MissingError,
    StorageError,
)
from cellsynth.formats.label_tiff import write_labels
from cellsynth.formats.tiff_reading import (
    distinct_labels,
    read_cropped,
    read_frame_interval_s,
    read_header,
    read_labels,
    read_voxel_size_um,
    scan_labels,
)

LABELS = np.zeros((4, 6, 8), np.uint16)
LABELS[1, 2:4, 3:5] = 7
LABELS[2, 1, 1] = 300


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"imagej": True},
        {"ome": True},
        {"metadata": None},
        {"bigtiff": True, "tile": (16, 16)},
        {"byteorder": ">"},
        {"rowsperstrip": 2, "compression": "zlib"},
    ],
    ids=str,
)
def test_files_of_many_origins_read_alike(tmp_path: Path, options) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LABELS, photometric="minisblack", **options)
    header = read_header(path)
    assert (header.shape, header.dtype.name, header.colour) == ((4, 6, 8), "uint16", False)
    assert header.problem is None
    np.testing.assert_array_equal(read_labels(path), LABELS)
    assert scan_labels(path) == {7, 300}
    box, start = read_cropped(path)
    assert start == (1, 1, 1)
    np.testing.assert_array_equal(box, LABELS[1:3, 1:4, 1:5])


@given(data=st.data())
def test_what_is_cropped_is_all_there_is(tmp_path_factory, data) -> None:
    shape = tuple(data.draw(st.integers(1, 6)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    labels = (rng.random(shape) < data.draw(st.sampled_from([0, 0.02, 0.2]))) * 5
    labels = labels.astype(data.draw(st.sampled_from(["uint16", "uint8", "int16"])))
    path = tmp_path_factory.mktemp("crop") / "a.tif"
    tifffile.imwrite(path, labels, photometric="minisblack")
    box, start = read_cropped(path)
    assert box.dtype == labels.dtype
    again = np.zeros_like(labels)
    again[tuple(slice(a, a + n) for a, n in zip(start, box.shape, strict=True))] = box
    np.testing.assert_array_equal(again, labels)
    for axis in range(3):
        sides = np.moveaxis(box, axis, 0)[[0, -1]] if box.size else np.ones((2, 1))
        assert sides.reshape(2, -1).any(axis=1).all()


def test_a_flat_frame_is_cropped_as_one_plane(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABELS[1], photometric="minisblack")
    box, start = read_cropped(tmp_path / "a.tif")
    assert (box.tolist(), start) == ([[[7, 7], [7, 7]]], (0, 2, 3))


@given(
    st.lists(st.integers(0, 9) | st.integers(0, 65535), max_size=60),
    st.sampled_from(["u2", "u4", "i8"]),
)
def test_distinct_labels_are_those_of_numpy(values: list[int], dtype: str) -> None:
    labels = np.array(values, dtype)
    assert distinct_labels(labels) == set(np.unique(labels).tolist()) - {0}


def test_axes_of_length_one_are_no_axes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABELS[None, None], photometric="minisblack")
    assert read_labels(tmp_path / "a.tif").shape == (4, 6, 8)
    tifffile.imwrite(tmp_path / "b.tif", LABELS[:1], photometric="minisblack")
    assert read_labels(tmp_path / "b.tif").shape == (6, 8)
    thin = np.ones((4, 1, 1), np.uint16)  # y and x stay, however thin
    tifffile.imwrite(tmp_path / "c.tif", thin, photometric="minisblack")
    assert read_labels(tmp_path / "c.tif").shape == (4, 1, 1)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (LABELS.astype(np.float32), "holds float32; labels are whole numbers"),
        (LABELS.astype(np.complex64), "holds complex64"),
        (np.zeros((6, 8, 3), np.uint8), "is a colour image"),
        (np.zeros((4, 6, 8, 3), np.uint8), "is a colour image"),
        (np.zeros((2, 4, 6, 8), np.uint16), r"has 4 axes \(2, 4, 6, 8\)"),
    ],
)
def test_what_is_no_frame_of_labels_is_refused(tmp_path: Path, array, message) -> None:
    path = tmp_path / "odd.tif"
    photometric = "rgb" if array.dtype == np.uint8 else "minisblack"
    tifffile.imwrite(path, array, photometric=photometric)
    for read in (read_labels, scan_labels):
        with pytest.raises(FormatError, match=rf"odd\.tif {message}"):
            read(path)


def damaged(kind: str) -> bytes:
    """A file of ours, broken."""
    if kind == "empty":
        return b""
    if kind == "text":
        return b"1 0 2 0\n"
    if kind == "header":
        return b"II*\0\x08\0\0\0"
    if kind == "png":
        return b"\x89PNG\r\n\x1a\n" + bytes(64)
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["empty", "text", "header", "png"])
def test_what_is_no_tiff_is_one_line(tmp_path: Path, kind: str, caplog, capfd) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(damaged(kind))
    for read in (read_labels, scan_labels, read_header, read_voxel_size_um):
        with pytest.raises(FormatError, match=r"bad\.tif ") as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "options",
    [None, {}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}, {"metadata": None}],
    ids=str,
)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, options, capfd) -> None:
    path = tmp_path / "cut.tif"
    noise = np.random.default_rng(0).integers(0, 9, (3, 16, 16)).astype(np.uint16)
    if options is None:
        write_labels(path, noise, shape=noise.shape, voxel_size_um=(1, 1, 1))
    else:
        tifffile.imwrite(path, noise, photometric="minisblack", **options)
    data = path.read_bytes()
    for length in [*range(0, len(data), 13), len(data) - 1]:
        path.write_bytes(data[:length])
        try:
            labels = read_labels(path)
        except FormatError:
            pass
        else:  # all that was cut are bytes that nothing needs
            np.testing.assert_array_equal(labels, noise)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(20, 40))
def test_flipped_bytes_never_end_in_a_traceback(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "flipped.tif"
    write_labels(path, LABELS, shape=LABELS.shape, voxel_size_um=(1, 1, 1))
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for position in rng.integers(0, len(data), 3):
        data[position] ^= int(rng.integers(1, 256))
    path.write_bytes(data)
    for read in (read_labels, scan_labels, read_header, read_voxel_size_um):
        with suppress(CellsynthError):
            read(path)


def test_a_strip_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_labels(path, LABELS, shape=LABELS.shape, voxel_size_um=(1, 1, 1))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[2].aspage().tags["ImageLength"].overwrite(1000, dtype="I")
        for page in tiff.pages:
            page.aspage().tags["RowsPerStrip"].overwrite(1, dtype="I")
    with pytest.raises(FormatError, match=r"a\.tif ends too early"):
        read_header(path)


def test_raw_data_cut_short_is_found_without_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 64, 64), np.uint16), photometric="minisblack")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="ends too early"):
        read_header(path)


def test_an_imagej_stack_with_fewer_pages_than_announced_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    text = "ImageJ=1.11a\nimages=9\nslices=9\n"
    for compression in (None, "zlib"):
        tifffile.imwrite(path, LABELS, description=text, metadata=None,
                         compression=compression, photometric="minisblack")  # fmt: skip
        for read in (read_labels, scan_labels, read_header):
            with pytest.raises(FormatError, match=r"a\.tif ends too early; copy or export"):
                read(path)


def test_pages_of_different_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(LABELS[0])
        writer.write(LABELS[0, :3])
    with pytest.raises(FormatError, match=r"\(6, 8\) and \(3, 8\); all pages of a frame"):
        read_labels(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.tif is not there"):
        read_labels(tmp_path / "none.tif")
    with pytest.raises(StorageError, match="is a directory"):
        read_labels(tmp_path)


def test_a_missing_codec_names_the_package(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LABELS, photometric="minisblack")

    def refuse(*_args: object, **_options: object) -> None:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    with pytest.raises(DependencyError, match=r"a\.tif .*pip install imagecodecs"):
        read_labels(path)


def test_the_console_stays_quiet_and_the_logger_as_it_was(tmp_path: Path, capfd) -> None:
    filters = list(logging.getLogger("tifffile").filters)
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
    with pytest.raises(FormatError):
        read_labels(tmp_path / "a.tif")
    assert logging.getLogger("tifffile").filters == filters
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "voxel_size_um", "interval_s"),
    [
        ({}, None, None),
        ({"imagej": True}, None, None),
        ({"imagej": True, "resolution": (5, 2), "metadata": {"unit": "um", "spacing": 3}},
         (3.0, 0.5, 0.2), None),
        ({"imagej": True, "resolution": (5, 2), "metadata": {"unit": "\\u00B5m", "spacing": -3}},
         (3.0, 0.5, 0.2), None),
        ({"imagej": True, "resolution": (5, 2), "metadata": {"unit": "nm", "spacing": 30}},
         (0.03, 0.0005, 0.0002), None),
        ({"imagej": True, "resolution": (5, 2), "metadata": {"unit": "micron"}},
         (1.0, 0.5, 0.2), None),
        ({"imagej": True, "resolution": (5, 2), "metadata": {"unit": "pixel", "spacing": 3}},
         None, None),
        ({"imagej": True, "metadata": {"finterval": 2, "tunit": "min"}}, None, 120.0),
        ({"imagej": True, "metadata": {"finterval": 0}}, None, None),
        ({"ome": True}, None, None),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.5,
                                    "PhysicalSizeZ": 2.0, "TimeIncrement": 90}},
         (2.0, 0.5, 0.2), 90.0),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 200, "PhysicalSizeY": 500,
                                    "PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm",
                                    "PhysicalSizeZ": 2.0, "TimeIncrement": 90,
                                    "TimeIncrementUnit": "ms"}},
         (2.0, 0.5, 0.2), 0.09),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.5}},
         None, None),
        ({"ome": True, "metadata": {"axes": "TYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.5}},
         (1.0, 0.5, 0.2), None),
    ],
)  # fmt: skip
def test_scale_and_interval_of_imagej_and_ome(
    tmp_path: Path, options, voxel_size_um, interval_s
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LABELS, photometric="minisblack", **options)
    assert read_voxel_size_um(path) == (voxel_size_um and pytest.approx(voxel_size_um, rel=1e-6))
    assert read_frame_interval_s(path) == (interval_s and pytest.approx(interval_s))
