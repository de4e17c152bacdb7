"""Sets in other formats: what is written, taken up again, refused, and left as it was."""

from __future__ import annotations

import json
import os
import shutil
import sys

import geff
import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from graphs import lineage_of
from hypothesis import given, settings
from hypothesis import strategies as st

from cellsynth.errors import FormatError, InputError, InUseError, MissingError, StorageError
from cellsynth.formats import exports
from cellsynth.formats.ctc import read_ctc, write_ctc
from cellsynth.formats.ctc_table import read_table
from cellsynth.formats.exports import export_dataset
from cellsynth.formats.image_tiff import write_image
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.formats.tiff_reading import read_planes
from cellsynth.shapes.masks import open_masks

KINDS = ("ome-zarr", "geff", "tiff-stack")
SIZE = (1.0, 0.09, 0.2)


@pytest.fixture
def tree():
    return lambda folder: {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def imaged(valid_set, frames):
    """The set of ``conftest`` with images of its second sequence."""
    (valid_set / "02").mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 4000, (len(frames), *frames[0].shape), np.uint16)
    for t, image in enumerate(images):
        write_image(valid_set / "02" / f"t{t:03d}.tif", image, voxel_size_um=SIZE)
    return valid_set, images


@pytest.mark.parametrize("to", KINDS)
def test_the_set_itself_is_not_touched(valid_set, tmp_path, tree, to):
    before = tree(valid_set)
    summary = export_dataset(valid_set, tmp_path / "out", to)
    assert (summary.sequences, summary.frames, summary.made) == (2, 10, 2)
    assert tree(valid_set) == before
    said = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert said["export"]["to"] == to
    assert said["export"]["frame_interval_s"] == [60, 60]
    assert said["source"] == {"name": "set"}
    assert list(said["sequences"]) == ["01", "02"]


def test_ome_zarr_has_the_images_where_there_are_some(imaged, tmp_path, frames):
    root, images = imaged
    export_dataset(root, tmp_path / "out", "ome-zarr")
    shown = [zarr.open_array(str(tmp_path / "out" / f"{n}.ome.zarr/0"))[...] for n in ("01", "02")]
    np.testing.assert_array_equal(shown[0], (np.stack(frames) > 0) * np.uint8(255))
    np.testing.assert_array_equal(shown[1], images)
    assert (shown[0].dtype, shown[1].dtype) == (np.uint8, np.uint16)
    for name in ("01", "02"):
        path = tmp_path / "out" / f"{name}.ome.zarr"
        yaozarrs.validate_zarr_store(str(path))
        [sequence] = open_masks(path)
        assert sequence.voxel_size_um == pytest.approx(SIZE)
        assert sequence.frame_interval_s == 60
        for t, frame in enumerate(frames):
            np.testing.assert_array_equal(sequence.read_frame(t), frame)


@pytest.mark.parametrize("path", ["01.geff", "01.ome.zarr/tracks"])
def test_lineages_come_back(valid_set, tmp_path, lineage, path):
    to = "geff" if path.endswith("geff") else "ome-zarr"
    export_dataset(valid_set, tmp_path / "out", to)
    where = str(tmp_path / "out" / path)
    geff.validate_structure(where)
    graph, metadata = geff.read(where)
    assert lineage_of(graph) == lineage == read_ctc(valid_set)[0].lineage
    if to == "geff":
        assert not metadata.related_objects
    for related in metadata.related_objects or []:
        assert (tmp_path / "out" / path / related.path / "zarr.json").is_file()


def test_stacks_come_back_as_masks_to_train_on(imaged, tmp_path, frames, lineage):
    root, images = imaged
    export_dataset(root, tmp_path / "out", "tiff-stack")
    sequences = open_masks(tmp_path / "out" / "masks")
    assert [s.name for s in sequences] == ["01.tif", "02.tif"]
    for sequence in sequences:
        assert sequence.voxel_size_um == pytest.approx(SIZE)
        assert sequence.frame_interval_s == 60
        for t, frame in enumerate(frames):
            np.testing.assert_array_equal(sequence.read_frame(t), frame)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "images" / "02.tif"), images)
    assert not (tmp_path / "out" / "images" / "01.tif").exists()
    assert read_table(tmp_path / "out" / "masks" / "01_man_track.txt") == lineage


@pytest.mark.parametrize("to", KINDS)
def test_a_set_that_changed_is_not_gone_on_with(imaged, tmp_path, frames, tree, to):
    root, _ = imaged
    export_dataset(root, tmp_path / "out", to)
    before = tree(tmp_path / "out")
    said = json.loads((tmp_path / "out" / "dataset.json").read_text())["export"]
    assert said["images"] == [None, "uint16"]
    assert said["shape"] == [[5, 5, 9, 10]] * 2
    (root / "01").mkdir()
    for t, frame in enumerate(frames):
        write_image(root / "01" / f"t{t:03d}.tif", frame, voxel_size_um=SIZE)
    with pytest.raises(InputError, match="out was begun with another export"):
        export_dataset(root, tmp_path / "out", to, resume=True)
    assert tree(tmp_path / "out") == before


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on other systems")
def test_a_set_whose_name_is_no_text_is_exported_and_gone_on_with(valid_set, tmp_path):
    root = valid_set.rename(tmp_path / os.fsdecode(b"caf\xe9"))
    export_dataset(root, tmp_path / "out", "geff")
    said = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert said["source"] == {"name": "caf\ufffd"}
    assert export_dataset(root, tmp_path / "out", "geff", resume=True).made == 0


@pytest.mark.parametrize("to", KINDS)
def test_workers_change_no_byte(imaged, tmp_path, tree, to):
    root, _ = imaged
    export_dataset(root, tmp_path / "one", to)
    export_dataset(root, tmp_path / "two", to, workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.parametrize("to", KINDS)
def test_an_interrupted_export_goes_on_to_the_same_bytes(valid_set, tmp_path, tree, to):
    export_dataset(valid_set, tmp_path / "whole", to)

    def stop(event):
        if event == exports.ExportEvent("frame", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_dataset(valid_set, tmp_path / "out", to, on_event=stop)
    said = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert list(said["sequences"]) == ["01"]
    assert not list((tmp_path / "out").glob("*02*"))
    assert not list((tmp_path / "out").glob(".part*"))
    with pytest.raises(InUseError, match="pass --resume, --overwrite or --out"):
        export_dataset(valid_set, tmp_path / "out", to)
    assert export_dataset(valid_set, tmp_path / "out", to, resume=True).made == 1
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert export_dataset(valid_set, tmp_path / "out", to, resume=True).made == 0


def test_stopped_before_anything_was_whole_nothing_stays(valid_set, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_dataset(valid_set, tmp_path / "out", "ome-zarr", on_event=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_overwrite_replaces_what_is_ours_and_nothing_else(valid_set, tmp_path, tree):
    export_dataset(valid_set, tmp_path / "out", "geff")
    export_dataset(valid_set, tmp_path / "out", "tiff-stack", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.json", "masks"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("42")
    with pytest.raises(InUseError, match="no data set of ours"):
        export_dataset(valid_set, tmp_path / "mine", "geff", overwrite=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_another_format_is_not_mixed_in(valid_set, tmp_path, tree):
    export_dataset(valid_set, tmp_path / "out", "geff")
    before = tree(tmp_path / "out")
    with pytest.raises(InputError, match="begun with another export"):
        export_dataset(valid_set, tmp_path / "out", "tiff-stack", resume=True)
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("out", ["set", "set/inside", "."])
def test_out_must_be_apart(valid_set, tmp_path, tree, out):
    before = tree(tmp_path)
    with pytest.raises(InputError, match="is not apart from the set"):
        export_dataset(valid_set, tmp_path / out, "geff", overwrite=True)
    assert tree(tmp_path) == before


def _no_image(root, frames):
    (root / "02" / "t003.tif").unlink()


def _small_image(root, frames):
    write_image(root / "02" / "t003.tif", np.ones((5, 9, 9), np.uint16), voxel_size_um=SIZE)


def _byte_image(root, frames):
    write_image(root / "02" / "t003.tif", np.ones((5, 9, 10), np.uint8), voxel_size_um=SIZE)


def _float_image(root, _):
    tifffile.imwrite(root / "02" / "t003.tif", np.zeros((5, 9, 10), np.float32))


def _colour_image(root, _):
    tifffile.imwrite(
        root / "02" / "t003.tif", np.zeros((5, 9, 10, 3), np.uint16), photometric="rgb"
    )


def _cut_image(root, frames):
    path = root / "02" / "t003.tif"
    path.write_bytes(path.read_bytes()[:-200])


def _no_mask(root, frames):
    (root / "02_GT" / "TRA" / "man_track003.tif").unlink()


def _bad_table(root, frames):
    (root / "02_GT" / "TRA" / "man_track.txt").write_text("1 0 9 0\n")


def _other_label(root, frames):
    path = root / "02_GT" / "TRA" / "man_track003.tif"
    tifffile.imwrite(path, np.full((5, 9, 10), 9, np.uint16))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (_no_image, InputError, "02 holds no image of frame 3; every frame needs one"),
        (_small_image, FormatError, r"t003.tif has shape \(5, 9, 9\), its mask \(5, 9, 10\)"),
        (_byte_image, FormatError, "t003.tif holds uint8; images are uint8 or uint16, all alike"),
        (_float_image, FormatError, "t003.tif holds float32; images are whole numbers, uint8"),
        (_colour_image, FormatError, "t003.tif is a colour image; a frame has one brightness a"),
        (_cut_image, FormatError, "t003.tif ends too early"),
        (_no_mask, InputError, "TRA holds no mask of frame 3"),
        (_bad_table, InputError, r"man_track.txt frame 9: track 1 names frame 9"),
        (_other_label, InputError, "frame 3: label 2 is absent"),
    ],
)
def test_bad_data_is_one_line_and_leaves_nothing(imaged, tmp_path, frames, spoil, error, message):
    root, _ = imaged
    spoil(root, frames)
    shutil.rmtree(root / "01_GT")  # otherwise 01 would be whole, and stay
    with pytest.raises(error, match=message):
        export_dataset(root, tmp_path / "out", "ome-zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_masks_of_unknown_size_need_one(tmp_path):
    folder = tmp_path / "set" / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "man_track000.tif", np.ones((2, 3, 5), np.uint16))
    (folder / "man_track.txt").write_text("1 0 0 0\n")
    with pytest.raises(InputError, match="does not say how large a voxel is; pass --voxel-size"):
        export_dataset(tmp_path / "set", tmp_path / "out", "geff")
    export_dataset(
        tmp_path / "set", tmp_path / "out", "geff", voxel_size_um=(2, 1, 1), frame_interval_s=5
    )
    graph, metadata = geff.read(str(tmp_path / "out" / "01.geff"))
    [node] = [data for _, data in graph.nodes(data=True)]
    assert (node["z"], node["y"], node["x"], node["volume"]) == (1, 1, 2, 60)
    assert metadata.axes[0].scale == 5


@pytest.mark.parametrize(
    ("shape", "label"), [((65, 100, 100), 20_000), ((4, 5, 6), 65_535), ((1, 1, 1), 1)]
)
def test_labels_may_be_larger_than_a_slab_has_voxels(tmp_path, shape, label):
    frame = np.zeros(shape, np.uint16)
    frame[-1, :1, :1] = label
    frame[: shape[0] - 1, 2:4] = 1
    lineage = Lineage(tuple(Tracklet(n, 0, 0) for n in np.unique(frame).tolist() if n))
    write_ctc(tmp_path / "set", "01", [frame], lineage, voxel_size_um=(1, 1, 1))
    for to, path in (("geff", "01.geff"), ("ome-zarr", "01.ome.zarr/tracks")):
        export_dataset(tmp_path / "set", tmp_path / to, to)
        graph, _ = geff.read(str(tmp_path / to / path))
        assert lineage_of(graph) == lineage
        found = {data["label"]: data for _, data in graph.nodes(data=True)}
        node = found[label]
        assert [node[axis] for axis in "zyx"] == [shape[0] - 1, 0, 0]
        assert {n: data["volume"] for n, data in found.items()} == {
            n: np.count_nonzero(frame == n) for n in found
        }


def test_flat_masks_are_one_voxel_deep(tmp_path):
    folder = tmp_path / "set" / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    flat = np.arange(12, dtype=np.uint8).reshape(3, 4) // 6
    for t in range(2):
        tifffile.imwrite(folder / f"man_track{t:03d}.tif", flat)
    (folder / "man_track.txt").write_text("1 0 1 0\n")
    for to in KINDS:
        export_dataset(tmp_path / "set", tmp_path / to, to, voxel_size_um=(1, 0.5, 0.5))
    array = zarr.open_array(str(tmp_path / "ome-zarr" / "01.ome.zarr" / "labels" / "cells" / "0"))
    np.testing.assert_array_equal(array[...], np.stack([flat, flat])[:, None])
    assert tifffile.imread(tmp_path / "tiff-stack" / "masks" / "01.tif").shape == (2, 3, 4)


def test_no_masks_are_told(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(MissingError, match="holds no masks"):
        export_dataset(tmp_path / "set", tmp_path / "out", "geff")


def test_a_full_disk_keeps_whole_sequences(valid_set, tmp_path, monkeypatch):
    whole = exports.write_geff
    calls = []

    def full(path, *args, **others):
        calls.append(path)
        if len(calls) == 2:
            raise StorageError(f"{path} could not be written: no space left on device")
        whole(path, *args, **others)

    monkeypatch.setattr(exports, "write_geff", full)
    with pytest.raises(StorageError, match="no space left"):
        export_dataset(valid_set, tmp_path / "out", "geff")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["01.geff", "dataset.json"]


@settings(max_examples=15, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 6)] * 3), n=st.integers(1, 3), seed=st.integers(0, 99))
def test_any_masks_survive_the_round_trip(tmp_path_factory, shape, n, seed):
    root = tmp_path_factory.mktemp("any")
    frames = np.random.default_rng(seed).integers(0, 2, (n, *shape), np.uint16)
    frames[:, 0, 0, 0] = 1
    write_ctc(
        root / "set", "01", list(frames), Lineage((Tracklet(1, 0, n - 1),)), voxel_size_um=SIZE
    )
    export_dataset(root / "set", root / "zarr", "ome-zarr")
    export_dataset(root / "set", root / "tiff", "tiff-stack")
    array = zarr.open_array(str(root / "zarr" / "01.ome.zarr" / "labels" / "cells" / "0"))
    np.testing.assert_array_equal(array[...], frames)
    planes = np.stack(list(_planes(root / "tiff" / "masks" / "01.tif")))
    np.testing.assert_array_equal(planes, frames.reshape(planes.shape))


def _planes(path):
    with tifffile.TiffFile(path) as tiff:
        yield from (page.asarray() for page in tiff.pages)


def test_planes_are_those_of_the_file(valid_set, frames, tmp_path):
    path = valid_set / "01_GT" / "TRA" / "man_track001.tif"

    def planes(path):
        return np.stack(list(read_planes(path)))

    np.testing.assert_array_equal(planes(path), frames[1])
    tifffile.imwrite(tmp_path / "plain.tif", frames[1])  # one piece, no pages of their own
    np.testing.assert_array_equal(planes(tmp_path / "plain.tif"), frames[1])
    tifffile.imwrite(tmp_path / "flat.tif", frames[1][2])
    np.testing.assert_array_equal(planes(tmp_path / "flat.tif"), frames[1][2:3])
    tifffile.imwrite(tmp_path / "float.tif", np.ones((2, 3, 5), np.float32))
    with pytest.raises(FormatError, match=r"float.tif holds float32"):
        list(read_planes(tmp_path / "float.tif"))
