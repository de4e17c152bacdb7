"""OME-Zarr: both public validators take it, napari's reader shows it, and ours reads it back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr

from cellsynth.errors import InputError, InUseError, ShapeError, StorageError
from cellsynth.formats import ome_zarr
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.formats.ome_zarr import OmeZarrWriter
from cellsynth.shapes.masks import open_masks

SIZE = (1.0, 0.25, 0.2)
SHAPE = (5, 5, 40, 50)  # two levels; z is never halved
ONE = Lineage((Tracklet(1, 0, 4),))


@pytest.fixture
def big(frames):
    """The frames of ``conftest``, in a corner of larger ones."""
    whole = np.zeros(SHAPE, np.uint16)
    whole[:, :, :9, :10] = np.stack(frames)
    return whole


def write(root, frames, lineage, images=None, *, name="01", order=None):
    dtype = None if images is None else images.dtype
    with OmeZarrWriter(
        root,
        name,
        shape=frames.shape,
        voxel_size_um=SIZE,
        frame_interval_s=60,
        image_dtype=dtype,
    ) as writer:
        for t in order or range(len(frames)):
            if images is None:
                writer.write_frame(t, frames[t])
            else:
                writer.write_slabs(t, lambda t=t: [frames[t]], lambda t=t: [images[t]])
        return writer.finish(lineage)


@pytest.fixture(params=["masks", "images"])
def written(request, tmp_path, big, lineage):
    images = None
    if request.param == "images":
        images = np.random.default_rng(0).integers(0, 4000, SHAPE, np.uint16)
    return write(tmp_path / "set", big, lineage, images), images


def test_ome_zarr_models_takes_it(written):
    path, _ = written
    with warnings.catch_warnings():
        warnings.simplefilter("error", ome_zarr_models.exceptions.ValidationWarning)
        image = ome_zarr_models.open_ome_zarr(str(path))
        labels = ome_zarr_models.open_ome_zarr(str(path / "labels" / "cells"))
    assert type(image).__name__ == "Image"
    assert type(labels).__name__ == "ImageLabel"


def test_the_command_of_ome_zarr_models_takes_it_and_not_anything(written, monkeypatch, capsys):
    from ome_zarr_models._cli import main

    path, _ = written
    monkeypatch.setattr(sys, "argv", ["ome-zarr-models", "validate", str(path)])
    main()
    assert "Valid OME-Zarr" in capsys.readouterr().out
    said = json.loads((path / "zarr.json").read_text())
    said["attributes"]["ome"]["multiscales"][0]["axes"][3]["name"] = "z"
    (path / "zarr.json").write_text(json.dumps(said))
    with pytest.raises(SystemExit):
        main()


def test_yaozarrs_takes_it_and_not_anything(written, tmp_path):
    path, _ = written
    groups = [path, path / "labels", path / "labels" / "cells"]
    for group in groups:
        yaozarrs.validate_zarr_store(str(group))
    # A copy, since it remembers what it has seen at a path.
    broken = shutil.copytree(path, tmp_path / "broken")
    (broken / "1" / "zarr.json").unlink()
    with pytest.raises(ValueError, match="Dataset path '1' not found"):
        yaozarrs.validate_zarr_store(str(broken))


def test_labels_come_back_through_the_reader_of_train_preset(written, big):
    [sequence] = open_masks(written[0])
    assert (sequence.n_frames, sequence.shape) == (SHAPE[0], SHAPE[1:])
    assert sequence.voxel_size_um == pytest.approx(SIZE)
    assert sequence.frame_interval_s == 60
    assert sequence.assumed == ()
    for t in range(SHAPE[0]):
        np.testing.assert_array_equal(sequence.read_frame(t), big[t])


def test_levels_are_means_of_images_and_strides_of_labels(written, big):
    path, images = written
    shown = (big > 0).astype(np.uint8) * 255 if images is None else images
    pairs = shown.reshape(5, 5, 20, 2, 25, 2).astype(float)
    group = zarr.open_group(str(path), mode="r")
    np.testing.assert_array_equal(group["0"][...], shown)
    np.testing.assert_array_equal(group["1"][...], np.floor(pairs.mean(axis=(3, 5)) + 0.5))
    np.testing.assert_array_equal(group["labels/cells/1"][...], big[:, :, ::2, ::2])


def test_axes_have_units_and_levels_their_place(written):
    path, images = written
    image = dict(zarr.open_group(str(path), mode="r").attrs["ome"])
    assert image["version"] == "0.5"
    [multiscale] = image["multiscales"]
    assert [(a["name"], a["type"], a["unit"]) for a in multiscale["axes"]] == [
        ("t", "time", "second"),
        ("z", "space", "micrometer"),
        ("y", "space", "micrometer"),
        ("x", "space", "micrometer"),
    ]
    assert multiscale["name"] == ("mask" if images is None else "image")
    scale, shift = multiscale["datasets"][1]["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [60, 1.0, 0.5, 0.4]}
    assert shift == {"type": "translation", "translation": [0, 0, 0.125, 0.1]}
    labels = dict(zarr.open_group(str(path / "labels"), mode="r").attrs["ome"])
    assert labels == {"version": "0.5", "labels": ["cells"]}


def test_labels_have_colours_and_properties(written, lineage):
    ome = dict(zarr.open_group(str(written[0] / "labels/cells"), mode="r").attrs["ome"])
    said = ome["image-label"]
    assert said["source"] == {"image": "../../"}
    assert said["properties"] == [
        {
            "label-value": t.label,
            "track_id": t.label,
            "parent": t.parent,
            "begin": t.begin,
            "end": t.end,
        }
        for t in lineage.tracklets
    ]
    colours = {tuple(entry["rgba"]) for entry in said["colors"]}
    assert len(colours) == len(lineage)
    coloured = [entry["label-value"] for entry in said["colors"]]
    assert coloured == [t.label for t in lineage.tracklets]


def test_every_level_is_sharded_compressed_and_named(written):
    for folder in (written[0], written[0] / "labels" / "cells"):
        for level in "01":
            said = json.loads((folder / level / "zarr.json").read_text())
            assert said["dimension_names"] == ["t", "z", "y", "x"]
            [sharding] = said["codecs"]
            assert sharding["name"] == "sharding_indexed"
            codecs = [codec["name"] for codec in sharding["configuration"]["codecs"]]
            assert codecs == ["bytes", "zstd"]
        # One frame of this size is one file.
        files = [path for path in (folder / "0" / "c").rglob("*") if path.is_file()]
        assert len(files) == 5


def test_a_frame_without_a_cell_has_no_file(tmp_path, big):
    big[2:] = 0
    path = write(tmp_path / "set", (big == 5).astype(np.uint16), Lineage((Tracklet(1, 0, 1),)))
    for folder in (path, path / "labels" / "cells"):
        assert sorted(p.name for p in (folder / "0" / "c").iterdir()) == ["0", "1"]


def test_crops_slabs_order_and_threads_change_no_byte(tmp_path, big, lineage, tree):
    reference = tree(write(tmp_path / "a", big, lineage))
    assert tree(write(tmp_path / "b", big, lineage, order=[3, 1, 4, 0, 2])) == reference
    with OmeZarrWriter(
        tmp_path / "c", "01", shape=SHAPE, voxel_size_um=SIZE, frame_interval_s=60
    ) as writer:
        with ThreadPoolExecutor(4) as pool:
            jobs = [
                pool.submit(
                    writer.write_frame, t, big[t, 1:3, 1:9], offset=(1, 1, 0), shape=SHAPE[1:]
                )
                for t in range(4)
            ]
        for job in jobs:
            job.result()
        writer.write_slabs(4, lambda: iter([big[4]]))
        assert tree(writer.finish(lineage)) == reference


@pytest.fixture
def tree():
    return lambda folder: {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def start(root, **others):
    return OmeZarrWriter(root, "01", **{"shape": SHAPE, "voxel_size_um": SIZE} | others)


def test_without_an_interval_time_counts_frames(tmp_path, big):
    with start(tmp_path / "set") as writer:
        for t in range(5):
            writer.write_frame(t, (big[t] == 5).astype(np.uint16))
        path = writer.finish(ONE)
    yaozarrs.validate_zarr_store(str(path))
    [multiscale] = zarr.open_group(str(path), mode="r").attrs["ome"]["multiscales"]
    assert multiscale["axes"][0] == {"name": "t", "type": "time"}
    assert multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, *SIZE]


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda w, f: w.write_frame(0, f[0]), InputError, "frame 0 was written before"),
        (lambda w, f: w.write_frame(5, f[0]), InputError, r"frame 5 is not in 0 … 4"),
        (lambda w, f: w.write_frame(1, f[0, :4]), ShapeError, r"frame 1 has shape \(4, 40, 50\)"),
        (lambda w, f: w.write_slabs(1, lambda: [], lambda: []), InputError, "has an image, or no"),
        (lambda w, f: w.finish(ONE), InputError, r"frame 1 was not written \(4 of 5 missing\)"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_stays(tmp_path, big, spoil, error, message):
    def attempt():
        with start(tmp_path / "set") as writer:
            writer.write_frame(0, big[0])
            spoil(writer, big)

    with pytest.raises(error, match=message):
        attempt()
    assert list(tmp_path.iterdir()) == []


def test_a_lineage_that_contradicts_the_masks_is_refused(tmp_path, big):
    with pytest.raises(InputError, match=r"01\.ome\.zarr frame 0: label 1 is not listed"):
        write(tmp_path / "set", big, Lineage((Tracklet(5, 0, 4),)))
    assert list(tmp_path.iterdir()) == []


def test_a_sequence_that_is_there_is_not_touched(tmp_path, big, lineage, tree):
    before = tree(write(tmp_path / "set", big, lineage))
    with pytest.raises(InUseError, match=r"01\.ome\.zarr is there already"):
        start(tmp_path / "set")
    assert tree(tmp_path / "set" / "01.ome.zarr") == before


def test_a_disk_that_refuses_is_one_line(tmp_path, big, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ome_zarr, "write_levels", full)
    with pytest.raises(StorageError, match="no space left"), start(tmp_path / "set") as writer:
        writer.write_frame(0, big[0])
    assert list(tmp_path.iterdir()) == []


LOAD = """
import sys
import napari_ome_zarr
import numpy as np
layers = napari_ome_zarr.napari_get_reader(sys.argv[1])(sys.argv[1])
(image, how, a), (labels, said, b) = layers
assert (a, b) == ("image", "labels")
assert [level.shape for level in image] == [level.shape for level in labels]
assert list(how["scale"]) == list(said["scale"])
np.savez(
    sys.argv[2],
    image=np.asarray(image[0]),
    labels=np.asarray(labels[0]),
    coarse=np.asarray(labels[1]),
    scale=how["scale"],
    parent=said["properties"]["parent"],
)
"""


@pytest.mark.skipif(not find_spec("napari_ome_zarr"), reason="the plugin brings all of napari")
def test_napari_loads_image_and_labels(written, big, tmp_path):
    """The reader plugin in a process of its own: no window, no Qt, and its own warnings."""
    path, images = written
    command = [sys.executable, "-W", "ignore", "-c", LOAD, str(path), str(tmp_path / "seen.npz")]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    seen = np.load(tmp_path / "seen.npz")
    np.testing.assert_array_equal(seen["image"], (big > 0) * 255 if images is None else images)
    np.testing.assert_array_equal(seen["labels"], big)
    np.testing.assert_array_equal(seen["coarse"], big[:, :, ::2, ::2])
    assert seen["scale"].tolist() == [60, *SIZE]
    assert seen["parent"].tolist() == [0, 1, 1, 0, 0, 7]
