import pickle

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from cellsynth.errors import FormatError, InputError, MissingError
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.shapes.cell_mask import CellMask, labelled_masks, mean_position
from cellsynth.shapes.masks import open_masks

SHAPE = (5, 7, 9)


def movie(n_frames=3, dtype=np.uint16, label=4, shape=SHAPE):
    """A box that shrinks along x; frame t has its own volume, so frames cannot be mixed up."""
    labels = np.zeros((n_frames, *shape), dtype=dtype)
    for t in range(n_frames):
        labels[t, 1:3, 2:5, 1 : 7 - t % 5] = label
    return labels


def write_movie_ctc(root, labels, **options):
    tracks = tuple(
        Tracklet(int(v), min(ts), max(ts))
        for v in set(labels.ravel().tolist()) - {0}
        for ts in [[t for t in range(len(labels)) if (labels[t] == v).any()]]
    )
    options = {"voxel_size_um": (2.0, 0.5, 0.25)} | options
    write_ctc(root, "01", list(labels), Lineage(tracks), **options)


def assert_same(sequence, labels):
    """Here, and as another process would see it."""
    for one in (sequence, pickle.loads(pickle.dumps(sequence))):
        assert_holds(one, labels)


def assert_holds(sequence, labels):
    assert sequence.n_frames == len(labels)
    assert sequence.shape == labels.shape[1:]
    for t, expected in enumerate(labels):
        np.testing.assert_array_equal(sequence.frame(t), expected)


# --- what each source gives -------------------------------------------------------------------


def test_ctc(tmp_path):
    write_movie_ctc(tmp_path / "set", movie(), frame_interval_s=90.0)
    (sequence,) = open_masks(tmp_path / "set")
    assert_same(sequence, movie())
    assert (sequence.name, sequence.short_name) == ("set/01", "01")
    assert sequence.voxel_size_um == pytest.approx((2.0, 0.5, 0.25))
    assert sequence.frame_interval_s == 90.0
    assert sequence.lineage == Lineage((Tracklet(4, 0, 2),))
    assert sequence.assumed == ()


def test_ctc_silver_truth_has_the_lineage_of_its_markers(tmp_path):
    write_movie_ctc(tmp_path, movie(4))
    silver = tmp_path / "01_ST" / "SEG"
    silver.mkdir(parents=True)
    tifffile.imwrite(silver / "man_seg002.tif", movie(label=4)[2] * 1)
    (sequence,) = open_masks(tmp_path, kind="ST")
    assert sequence.n_frames == 4
    assert sequence.lineage == Lineage((Tracklet(4, 0, 3),))
    assert not sequence.frame(0).any()
    np.testing.assert_array_equal(sequence.frame(2), movie()[2])


@pytest.mark.parametrize("part", ["01_GT", "01_GT/TRA"])
def test_part_of_a_ctc_folder(tmp_path, part):
    write_movie_ctc(tmp_path / "set", movie())
    with pytest.raises(InputError, match=f"{part}: a part of .*; pass .*set$"):
        open_masks(tmp_path / "set" / part)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_stack(tmp_path, compression):
    at = tmp_path / "cell.tif"
    tifffile.imwrite(at, movie(), compression=compression)
    (sequence,) = open_masks(at, voxel_size_um=(1.0, 0.2, 0.2), frame_interval_s=20.0)
    assert_same(sequence, movie())
    assert (sequence.voxel_size_um, sequence.frame_interval_s) == ((1.0, 0.2, 0.2), 20.0)
    assert sequence.assumed == ()
    assert sequence.lineage is None


def test_tiff_stack_without_scale(tmp_path):
    tifffile.imwrite(tmp_path / "cell.tif", movie())
    (sequence,) = open_masks(tmp_path / "cell.tif", frame_interval_s=20.0)
    assert sequence.voxel_size_um == (1.0, 1.0, 1.0)
    assert sequence.assumed == ("voxel size",)
    (sequence,) = open_masks(tmp_path / "cell.tif")
    assert sequence.assumed == ("voxel size", "frame interval")


def test_imagej_stack(tmp_path):
    at = tmp_path / "cell.tif"
    metadata = {"axes": "TZYX", "spacing": 1.5, "unit": "um", "finterval": 30.0, "tunit": "s"}
    tifffile.imwrite(at, movie(), imagej=True, resolution=(4, 2), metadata=metadata)
    (sequence,) = open_masks(at)
    assert_same(sequence, movie())
    assert sequence.voxel_size_um == pytest.approx((1.5, 0.5, 0.25))
    assert sequence.frame_interval_s == 30.0
    (sequence,) = open_masks(at, voxel_size_um=(9.0, 8.0, 7.0))  # the caller knows better
    assert sequence.voxel_size_um == (9.0, 8.0, 7.0)


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX"])
def test_ome_tiff_stack(tmp_path, axes):
    at = tmp_path / "cell.ome.tif"
    sizes = dict(zip("ZYX", (2.0, 0.5, 0.25), strict=True))
    metadata = {"axes": axes, "TimeIncrement": 2.0, "TimeIncrementUnit": "min"}
    metadata |= {f"PhysicalSize{a}": s for a, s in sizes.items()}
    metadata |= {f"PhysicalSize{a}Unit": "µm" for a in sizes}
    labels = movie(4)
    tifffile.imwrite(at, labels if axes[0] == "T" else labels.swapaxes(0, 1), metadata=metadata)
    (sequence,) = open_masks(at)
    assert_same(sequence, labels)
    assert sequence.voxel_size_um == (2.0, 0.5, 0.25)
    assert sequence.frame_interval_s == 120.0


def test_tiff_of_volumes(tmp_path):
    """Pages that hold volumes instead of planes."""
    at = tmp_path / "cell.tif"
    labels = movie(3, shape=(16, 32, 48))
    tifffile.imwrite(at, labels, volumetric=True, tile=(16, 16, 16), photometric="minisblack")
    (sequence,) = open_masks(at)
    assert_same(sequence, labels)


def test_folder_of_frames_in_the_order_of_their_numbers(tmp_path):
    for t, labels in enumerate(movie(12)):
        tifffile.imwrite(tmp_path / f"t{t}.tif", labels)
    (tmp_path / "README.md").write_text("not a mask")
    (sequence,) = open_masks(tmp_path)
    assert_same(sequence, movie(12))
    assert sequence.name == tmp_path.name


def test_folder_of_stacks(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", movie(2))
    tifffile.imwrite(tmp_path / "b.tiff", movie(5, shape=(6, 8, 10)))
    first, second = open_masks(tmp_path)
    assert_same(first, movie(2))
    assert_same(second, movie(5, shape=(6, 8, 10)))
    assert (first.name, second.name) == ("a.tif", "b.tiff")


def test_a_folder_named_by_a_number_does_not_hide_what_lies_beside_it(tmp_path):
    for name in ("tiff", "zarr"):
        (tmp_path / name / "2024").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "tiff" / "a.tif", movie())
    zarr.create_array(str(tmp_path / "zarr" / "a.zarr"), data=movie())
    for name in ("tiff", "zarr"):
        assert_same(*open_masks(tmp_path / name), movie())
    write_movie_ctc(tmp_path / "tiff", movie(2))
    assert_same(*open_masks(tmp_path / "tiff"), movie(2))


def test_single_frame(tmp_path):
    tifffile.imwrite(tmp_path / "cell.tif", movie()[1])
    (sequence,) = open_masks(tmp_path / "cell.tif")
    assert_same(sequence, movie()[1:2])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_array(tmp_path, zarr_format):
    at = tmp_path / "cell.zarr"
    zarr.create_array(str(at), data=movie(), zarr_format=zarr_format)
    (sequence,) = open_masks(at)
    assert_same(sequence, movie())
    assert sequence.assumed == ("voxel size", "frame interval")


def test_zarr_group_of_arrays(tmp_path):
    group = zarr.open_group(str(tmp_path / "cells.zarr"), mode="w")
    group.create_array("b", data=movie(2))
    group.create_array("a", data=movie(4))
    first, second = open_masks(tmp_path / "cells.zarr")
    assert_same(first, movie(4))
    assert_same(second, movie(2))
    assert first.name == "cells.zarr/a"


def write_ome_zarr(at, labels, *, version, axes="tzyx", scale=(1.0, 2.0, 0.5, 0.25), units=True):
    group = zarr.open_group(str(at), mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("s0", data=labels)
    group.create_array("s1", data=labels[..., ::2, ::2])
    unit = {"t": "minute", "c": None, "z": "micrometer", "y": "micrometer", "x": "micrometer"}
    named = [{"name": a} | ({"unit": unit[a]} if units and unit[a] else {}) for a in axes]
    multiscale = {
        "axes": named,
        "datasets": [
            {"path": f"s{i}", "coordinateTransformations": [{"type": "scale", "scale": list(s)}]}
            for i, s in enumerate((scale, [*scale[:-2], scale[-2] * 2, scale[-1] * 2]))
        ],
    }
    if version == "0.4":
        group.attrs["multiscales"] = [multiscale | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [multiscale]}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path, version):
    at = tmp_path / "cell.zarr"
    write_ome_zarr(at, movie(), version=version)
    (sequence,) = open_masks(at)
    assert_same(sequence, movie())
    assert sequence.voxel_size_um == (2.0, 0.5, 0.25)
    assert sequence.frame_interval_s == 60.0
    assert sequence.assumed == ()


def test_ome_zarr_with_a_channel_axis(tmp_path):
    at = tmp_path / "cell.zarr"
    scale = (1.0, 1.0, 2.0, 0.5, 0.25)
    write_ome_zarr(at, movie()[:, None], version="0.5", axes="tczyx", scale=scale)
    (sequence,) = open_masks(at)
    assert_same(sequence, movie())


def test_ome_zarr_that_does_not_know_its_scale(tmp_path):
    at = tmp_path / "cell.zarr"
    write_ome_zarr(at, movie(), version="0.5", scale=(1.0, 1.0, 1.0, 1.0), units=False)
    (sequence,) = open_masks(at)
    assert sequence.assumed == ("voxel size", "frame interval")


def test_ome_zarr_image_gives_its_labels(tmp_path):
    at = tmp_path / "image.zarr"
    write_ome_zarr(at, movie().astype(np.float32), version="0.5")
    labels = zarr.open_group(str(at), mode="a").create_group("labels")
    labels.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    write_ome_zarr(at / "labels" / "cells", movie(), version="0.5")
    (sequence,) = open_masks(at)
    assert_same(sequence, movie())
    assert sequence.name == "image.zarr/cells"
    write_ome_zarr(at / "labels" / "nuclei", movie(label=2), version="0.5")
    with pytest.raises(InputError, match=r"cells, nuclei; pass .* image.zarr/labels/cells"):
        open_masks(at)
    (sequence,) = open_masks(at / "labels" / "nuclei")
    assert_same(sequence, movie(label=2))


# --- what is refused --------------------------------------------------------------------------


def test_folder_of_zarrs_is_a_sequence_each(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    write_ome_zarr(folder / "02.ome.zarr", movie(label=2), version="0.5")
    zarr.create_array(str(folder / "01.zarr"), data=movie())
    first, second = open_masks(folder)
    assert (first.name, second.name) == ("set/01", "set/02")
    assert second.frame(0).max() == 2
    group = zarr.open_group(str(folder / "03.zarr"), mode="w")
    for name in "ab":
        group.create_array(name, data=movie())
    assert [source.short_name for source in open_masks(folder)][2:] == ["03-a", "03-b"]


def test_ome_zarr_labels_may_tell_their_lineage(tmp_path):
    at = tmp_path / "cell.zarr"
    write_ome_zarr(at, movie(), version="0.5")
    group = zarr.open_group(str(at), mode="a")
    said = [
        {"label-value": 1, "begin": 0, "end": 0, "parent": 0},
        {"label-value": 2, "begin": 1, "end": 2, "parent": 1},
    ]
    for properties, expected in [
        (said, Lineage((Tracklet(1, 0, 0), Tracklet(2, 1, 2, 1)))),
        ([{**said[0], "end": "soon"}], None),
        ([], None),
    ]:
        ome = {**group.attrs["ome"], "image-label": {"properties": properties}}
        group.attrs["ome"] = ome
        [sequence] = open_masks(at)
        assert sequence.lineage == expected


def test_missing_and_empty(tmp_path):
    with pytest.raises(MissingError, match="nowhere: no such file or folder"):
        open_masks(tmp_path / "nowhere")
    with pytest.raises(MissingError, match="an empty folder; expected TIFF"):
        open_masks(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(MissingError, match="no masks in it; expected TIFF"):
        open_masks(tmp_path)
    with pytest.raises(FormatError, match=r"notes.txt: not a TIFF file"):
        open_masks(tmp_path / "notes.txt")
    (tmp_path / "01").mkdir()
    with pytest.raises(MissingError, match="01_GT/TRA"):
        open_masks(tmp_path)
    zarr.open_group(str(tmp_path / "empty.zarr"), mode="w")
    with pytest.raises(MissingError, match=r"empty.zarr: a Zarr group without arrays"):
        open_masks(tmp_path / "empty.zarr")


BAD = {
    "float": (movie(dtype=np.float32), "float32"),
    "2D": (movie()[0, 0], r"2D masks of shape \(7, 9\)"),
    "many axes": (np.zeros((2, 2, 2, 8, 8), np.uint8), r"\(2, 2, 2, 8, 8\)"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("kind", ["file", "folder", "zarr"])
def test_wrong_kinds_of_masks(tmp_path, case, kind):
    labels, message = BAD[case]
    if kind == "zarr":
        zarr.create_array(str(tmp_path / "a.zarr"), data=labels)
        if case == "2D":
            message = r"shape \(7, 9\) of axes \?\?"
        at = tmp_path / "a.zarr"
    else:
        tifffile.imwrite(tmp_path / "a.tif", labels)
        at = tmp_path / "a.tif" if kind == "file" else tmp_path
    with pytest.raises(FormatError, match=message):
        open_masks(at)


def test_colour_and_time_without_depth(tmp_path):
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((4, 16, 16, 3), np.uint8), photometric="rgb")
    with pytest.raises(FormatError, match=r"rgb.tif is a colour image"):
        open_masks(tmp_path / "rgb.tif")
    tifffile.imwrite(
        tmp_path / "2d.tif", movie()[:, 0], photometric="minisblack", metadata={"axes": "TYX"}
    )
    with pytest.raises(FormatError, match=r"2d.tif: 2D masks of shape \(7, 9\)"):
        open_masks(tmp_path / "2d.tif")
    tifffile.imwrite(tmp_path / "flat.tif", movie()[:, :1])
    with pytest.raises(FormatError, match=r"flat.tif: 2D masks of shape \(7, 9\)"):
        open_masks(tmp_path / "flat.tif")
    channels = np.zeros((3, 2, *SHAPE), np.uint16)
    at = tmp_path / "channels.tif"
    metadata = {"axes": "TZCYX"}
    tifffile.imwrite(at, channels.swapaxes(1, 2), imagej=True, metadata=metadata)
    with pytest.raises(FormatError, match=r"channels.tif: axes TZCYX of sizes \(3, 5, 2, 7, 9\)"):
        open_masks(at)
    write_ome_zarr(
        tmp_path / "c.zarr", channels, version="0.5", axes="tczyx", scale=(1, 1, 1, 1, 1)
    )
    with pytest.raises(FormatError, match=r"shape \(3, 2, 5, 7, 9\) of axes tczyx"):
        open_masks(tmp_path / "c.zarr")
    write_ome_zarr(tmp_path / "o.zarr", movie(), version="0.5", axes="ztyx")
    with pytest.raises(FormatError, match="axes in the order ztyx"):
        open_masks(tmp_path / "o.zarr")


def test_frames_of_different_shape(tmp_path):
    tifffile.imwrite(tmp_path / "t0.tif", movie()[0])
    tifffile.imwrite(tmp_path / "t1.tif", movie()[0, :, :-1])
    with pytest.raises(FormatError, match=r"t1.tif: shape \(5, 6, 9\), but t0.tif has \(5, 7, 9\)"):
        open_masks(tmp_path)
    tifffile.imwrite(tmp_path / "t1.tif", movie())
    with pytest.raises(FormatError, match=r"t1.tif: shape \(3, 5, 7, 9\), but t0.tif has"):
        open_masks(tmp_path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cut_off_tiff(tmp_path, compression):
    at = tmp_path / "cell.tif"
    tifffile.imwrite(at, movie(), compression=compression)
    at.write_bytes(at.read_bytes()[:-40])
    with pytest.raises(FormatError, match=r"cell.tif"):
        open_masks(at)
    at.write_bytes(b"")
    with pytest.raises(FormatError, match=r"cell.tif is not a readable TIFF"):
        open_masks(tmp_path)


def test_damaged_page(tmp_path):
    at = tmp_path / "cell.tif"
    tifffile.imwrite(at, movie(), compression="zlib")
    with tifffile.TiffFile(at) as tiff:
        start = tiff.pages[12].dataoffsets[0]
    data = bytearray(at.read_bytes())
    data[start : start + 8] = b"\xff" * 8
    at.write_bytes(data)
    (sequence,) = open_masks(at)
    np.testing.assert_array_equal(sequence.frame(0), movie()[0])
    with pytest.raises(FormatError, match=r"cell.tif frame 2 could not be decoded"):
        sequence.frame(2)


def test_damaged_zarr(tmp_path):
    at = tmp_path / "cell.zarr"
    zarr.create_array(str(at), data=movie(), chunks=(1, *SHAPE))
    (at / "c" / "1" / "0" / "0" / "0").write_bytes(b"rubbish")
    (sequence,) = open_masks(at)
    np.testing.assert_array_equal(sequence.frame(0), movie()[0])
    with pytest.raises(FormatError, match=r"cell.zarr frame 1 could not be decoded"):
        sequence.frame(1)
    (at / "zarr.json").write_text("{")
    with pytest.raises(FormatError, match=r"cell.zarr: not readable as Zarr masks"):
        open_masks(at)


@pytest.mark.parametrize(
    ("ome", "message"),
    [
        ({"datasets": []}, "bad.zarr: .* index out of range"),
        ({"datasets": ["0"]}, "bad.zarr: not readable as Zarr masks"),
        ({"axes": "zyx"}, "bad.zarr: not readable as Zarr masks"),
    ],
)
def test_ome_metadata_that_are_no_metadata(tmp_path, ome, message):
    multiscale = {"axes": [{"name": n} for n in "zyx"], "datasets": [{"path": "0"}]} | ome
    group = zarr.open_group(str(tmp_path / "bad.zarr"), mode="w", zarr_format=3)
    group.create_array("0", data=movie()[0])
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    with pytest.raises(FormatError, match=message):
        open_masks(tmp_path / "bad.zarr")


def test_properties_of_labels_that_are_none_tell_no_lineage(tmp_path):
    at = tmp_path / "a.zarr"
    write_ome_zarr(at, movie(), version="0.5")
    group = zarr.open_group(str(at), mode="a")
    group.attrs["ome"] = {**group.attrs["ome"], "image-label": {"properties": [1]}}
    (sequence,) = open_masks(at)
    assert sequence.lineage is None


def test_frame_is_checked(tmp_path):
    tifffile.imwrite(tmp_path / "cell.tif", movie(dtype=np.int16, label=-3))
    (sequence,) = open_masks(tmp_path / "cell.tif")
    with pytest.raises(FormatError, match=r"cell.tif frame 1: label -3, expected 0 and above"):
        sequence.frame(1)
    with pytest.raises(InputError, match=r"no frame 3, expected 0 … 2"):
        sequence.frame(3)


def test_bad_scale(tmp_path):
    with pytest.raises(InputError, match=r"voxel size .* got \(0.0, 1.0, 1.0\)"):
        open_masks(tmp_path, voxel_size_um=(0.0, 1.0, 1.0))
    with pytest.raises(InputError, match=r"frame interval must be above 0 s, got -5"):
        open_masks(tmp_path, frame_interval_s=-5)


# --- packed masks -----------------------------------------------------------------------------


@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    offset=st.tuples(*[st.integers(0, 50)] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_packed_mask_round_trip(shape, offset, seed):
    voxels = np.random.default_rng(seed).random(shape) < 0.5
    voxels.flat[0] = True
    mask = CellMask.of(voxels, offset)
    np.testing.assert_array_equal(mask.voxels(), voxels)
    assert mask.volume == voxels.sum()
    np.testing.assert_allclose(mask.centroid, np.argwhere(voxels).mean(axis=0) + offset)


def test_union_of_masks():
    a = CellMask.of(np.ones((1, 2, 3), bool), (4, 5, 6))
    b = CellMask.of(np.ones((2, 1, 1), bool), (3, 9, 1))
    both = CellMask.union([a, b])
    assert (both.offset, both.shape, both.volume) == ((3, 5, 1), (2, 5, 8), 8)
    frame = np.zeros((8, 12, 12), bool)
    frame[4, 5:7, 6:9] = frame[3:5, 9, 1] = True
    np.testing.assert_array_equal(both.voxels(), frame[3:5, 5:10, 1:9])
    assert not both.touches((8, 12, 12))
    assert both.touches((8, 10, 12))
    assert CellMask.of(np.ones((1, 1, 1), bool), (3, 0, 3)).touches((9, 9, 9))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_every_label_with_its_box(dtype):
    labels = np.zeros((6, 7, 8), dtype)
    labels[2:4, 1:5, 3] = 200
    labels[5, 6, 7] = 3
    labels[2, 1, 4:6] = 3
    found = list(labelled_masks(labels))
    assert [label for label, _, _ in found] == [3, 200]
    for label, mask, box in found:
        np.testing.assert_array_equal(mask, labels[box] == label)
        assert np.count_nonzero(mask) == np.count_nonzero(labels == label)
        assert all(mask.any(axis=axes).all() for axes in ((1, 2), (0, 2), (0, 1))) or label == 3
    assert found[1][2] == (slice(2, 4), slice(1, 5), slice(3, 4))
    assert list(labelled_masks(np.zeros((2, 3, 4), dtype))) == []


def test_large_labels_and_truth_values():
    labels = np.zeros((3, 4, 5), np.int64)
    labels[0, 0, 0], labels[1:, 2:, 3:] = 5, 7_000_000_000
    found = {label: box for label, _, box in labelled_masks(labels)}
    assert found == {
        5: (slice(0, 1),) * 3,
        7_000_000_000: (slice(1, 3), slice(2, 4), slice(3, 5)),
    }
    ((label, mask, box),) = labelled_masks(labels > 5)
    assert (label, box, mask.all()) == (1, found[7_000_000_000], True)


def test_labels_beyond_what_a_float_tells_apart():
    labels = np.zeros((2, 2, 2), np.uint64)
    labels[0, 0, 0], labels[1, 1, 1] = 2**60, 2**60 + 1
    assert [label for label, _, _ in labelled_masks(labels)] == [2**60, 2**60 + 1]


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 6)] * 3))
def test_mean_position_is_that_of_a_slow_count(seed, shape):
    mask = np.random.default_rng(seed).random(shape) < 0.5
    mask.flat[0] = True
    assert mean_position(mask) == pytest.approx(np.argwhere(mask).mean(axis=0))
