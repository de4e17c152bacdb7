"""OME-Zarr written as it renders: whole or absent, resumable, the same bytes in any case."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import geff
import numpy as np
import pytest
import yaozarrs
from graphs import lineage_of

from cellsynth.errors import InputError, InUseError, StorageError
from cellsynth.formats.ctc import read_ctc
from cellsynth.formats.exports import export_dataset
from cellsynth.geometry import Grid
from cellsynth.rendering import sequence_maker
from cellsynth.rendering.dataset import GenerateOptions, generate
from cellsynth.shapes.masks import open_masks

GRID = Grid.over_omega((34, 36, 40))
OPTIONS = GenerateOptions(GRID, n_frames=4, seed=11, format="ome-zarr")
COUNT = 3


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def reference(dividing_bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("zarr") / "set"
    generate(dividing_bundle, out, OPTIONS, count=COUNT)
    return out


@pytest.fixture(scope="module")
def tiffs(dividing_bundle, tmp_path_factory):
    """The same cells as a Cell Tracking Challenge set."""
    out = tmp_path_factory.mktemp("tiff") / "set"
    generate(dividing_bundle, out, GenerateOptions(GRID, n_frames=4, seed=11), count=COUNT)
    return out


def test_a_set_is_one_ome_zarr_a_sequence(reference, tiffs):
    names = ["01.ome.zarr", "02.ome.zarr", "03.ome.zarr", "dataset.json"]
    assert sorted(path.name for path in reference.iterdir()) == names
    said = json.loads((reference / "dataset.json").read_text())
    other = json.loads((tiffs / "dataset.json").read_text())
    assert said["options"].pop("format") == "ome-zarr"
    assert said == other
    for name in names[:3]:
        yaozarrs.validate_zarr_store(str(reference / name))


def test_it_holds_what_the_tiffs_hold(reference, tiffs):
    for sequence in read_ctc(tiffs):
        path = reference / f"{sequence.name}.ome.zarr"
        [masks] = open_masks(path)
        assert masks.voxel_size_um == pytest.approx(sequence.voxel_size_um)
        assert masks.frame_interval_s == 30
        for t in range(4):
            np.testing.assert_array_equal(masks.read_frame(t), sequence.frame(t))
        graph, _ = geff.read(str(path / "tracks"))
        assert lineage_of(graph) == sequence.lineage


def test_an_export_of_the_tiffs_has_the_same_voxels_and_lineage(reference, tiffs, tmp_path):
    export_dataset(tiffs, tmp_path / "out", "ome-zarr")
    for name in ("01", "02", "03"):
        ours, theirs = (tree(root / f"{name}.ome.zarr") for root in (reference, tmp_path / "out"))
        assert ours.keys() == theirs.keys()
        voxels = [path for path in ours if "/c/" in path and "props" not in path]
        assert len(voxels) > 10
        # The voxel size of TIFF is a fraction of 32 bits, so µm may differ in the last digits.
        assert all(ours[path] == theirs[path] for path in voxels)


def test_workers_change_no_byte(reference, dividing_bundle, tmp_path):
    generate(dividing_bundle, tmp_path / "set", OPTIONS, count=COUNT, workers=2)
    assert tree(tmp_path / "set") == tree(reference)


def test_an_interrupted_set_goes_on_to_the_same_bytes(reference, dividing_bundle, tmp_path):
    def stop(event):
        if event.kind == "frame" and event.sequence == 1:
            raise KeyboardInterrupt

    out = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        generate(dividing_bundle, out, OPTIONS, count=COUNT, on_event=stop)
    assert sorted(path.name for path in out.iterdir()) == ["01.ome.zarr", "dataset.json"]
    with pytest.raises(InUseError, match="pass --resume, --overwrite or --out"):
        generate(dividing_bundle, out, OPTIONS, count=COUNT)
    assert generate(dividing_bundle, out, OPTIONS, count=COUNT, resume=True).made == 2
    assert tree(out) == tree(reference)


def test_a_killed_run_is_taken_up_again(reference, dividing_bundle, tmp_path):
    out = tmp_path / "set"
    command = [sys.executable, "-m", "cellsynth", "generate", "--preset", dividing_bundle.folder]
    command += ["--count", COUNT, "--res", "34,36,40", "--seed", 11, "--format", "ome-zarr"]
    command += ["--device", "cpu", "--workers", 1, "--out", out]
    running = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / "01.ome.zarr").is_dir() and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert (out / "01.ome.zarr").is_dir()
    generate(dividing_bundle, out, OPTIONS, count=COUNT, resume=True)
    assert tree(out) == tree(reference)


def test_a_full_disk_leaves_whole_sequences(reference, dividing_bundle, tmp_path, monkeypatch):
    whole = sequence_maker.SequenceMaker._write

    def full(self, part, name, index, sequence):
        whole(self, part, name, index, sequence)
        if index == 1:
            raise StorageError("no space left on device")

    monkeypatch.setattr(sequence_maker.SequenceMaker, "_write", full)
    with pytest.raises(StorageError):
        generate(dividing_bundle, tmp_path / "set", OPTIONS, count=COUNT)
    found = sorted(path.name for path in (tmp_path / "set").iterdir())
    assert found == ["01.ome.zarr", "dataset.json"]


@pytest.mark.parametrize("layout", ["ctc", "ome-zarr"])
def test_the_layouts_are_not_mixed(reference, tiffs, dividing_bundle, layout):
    there = reference if layout == "ctc" else tiffs
    before = tree(there)
    other = GenerateOptions(GRID, n_frames=4, seed=11, format=layout)
    with pytest.raises(InputError, match="was begun with another options"):
        generate(dividing_bundle, there, other, count=COUNT, resume=True)
    assert tree(there) == before
