"""Textured sets: valid, the same bytes whatever happens, and nobody else's files touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
import torch
from textured import PIXEL_UM, texture_spec, with_texture

from cellsynth.errors import FormatError, InputError, InUseError, MissingError
from cellsynth.formats.ctc import read_ctc, write_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import Grid
from cellsynth.rendering.dataset import GenerateOptions, generate
from cellsynth.texture.dataset import (
    TextureEvent,
    TextureOptions,
    preset_of,
    texture_dataset,
    texture_folder,
)
from cellsynth.texture.projection import project_labels

OPTIONS = TextureOptions(seed=3)
GENERATED = GenerateOptions(Grid.over_omega((14, 30, 32)), n_frames=3, seed=11)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def manifest(folder: Path) -> dict:
    return json.loads((folder / "dataset.json").read_text())


@pytest.fixture(scope="module")
def presets(dividing_bundle, tmp_path_factory):
    """A texture of each mode."""
    folder = tmp_path_factory.mktemp("textured")
    return {mode: with_texture(dividing_bundle, folder / mode, mode) for mode in ("mip", "3d")}


@pytest.fixture(scope="module")
def masks(dividing_bundle, tmp_path_factory) -> Path:
    """Three sequences of three frames, to be copied."""
    out = tmp_path_factory.mktemp("masks") / "set"
    generate(dividing_bundle, out, GENERATED, count=3)
    return out


@pytest.fixture
def source(masks, tmp_path) -> Path:
    return Path(shutil.copytree(masks, tmp_path / "set"))


def make(source: Path, presets, mode: str = "mip", *, options=OPTIONS, **others):
    return texture_dataset(source, options, bundle=presets[mode], **others)


def test_projections_are_a_valid_set_of_their_own(source, presets):
    before = contents(source)
    summary = make(source, presets)
    assert contents(source) == before
    out = source.with_name("set-mip")
    assert (summary.out, summary.sequences, summary.frames, summary.made) == (out, 3, 9, 3)
    assert validate_ctc(out) == []
    for deep, flat in zip(read_ctc(source), read_ctc(out), strict=True):
        assert flat.lineage == deep.lineage
        assert flat.frame_interval_s == deep.frame_interval_s
        assert flat.voxel_size_um == pytest.approx((1.0, *deep.voxel_size_um[1:]))
        for t in range(3):
            np.testing.assert_array_equal(flat.frame(t), project_labels(deep.frame(t)))
            image = tifffile.imread(out / flat.name / f"t{t:03d}.tif")
            assert image.shape == flat.shape == (30, 32)
            assert image.dtype == np.uint16
            assert image.std() > 0
    assert (out / "01_GT/SEG/man_seg000.tif").samefile(out / "01_GT/TRA/man_track000.tif")
    said = manifest(out)
    assert said["source"]["name"] == "set"
    assert said["source"]["preset"]["name"] == "dividing"
    assert said["texture"]["engine"] == "gan"
    assert said["texture"]["seed"] == 3
    assert said["texture"]["preset"]["sha256"] == presets["mip"].sha256
    assert said["texture"]["sha256"] == presets["mip"].preset.files["texture.safetensors"]
    assert said["sequences"]["02"] == {"status": "complete", "frames": 3}


def test_slices_go_into_the_set(source, presets):
    before = contents(source)
    summary = make(source, presets, "3d")
    assert (summary.out, summary.frames) == (source, 9)
    assert validate_ctc(source) == []
    after = contents(source)
    del before["dataset.json"]
    assert {path: after[path] for path in before} == before
    for sequence in read_ctc(source):
        image = tifffile.imread(source / sequence.name / "t001.tif")
        assert image.shape == sequence.shape == (14, 30, 32)
        assert image.std() > 0
    said = manifest(source)
    assert said["texture"]["of"] == ["01", "02", "03"]
    assert list(said["texture"]["sequences"]) == ["01", "02", "03"]


def test_generating_on_keeps_the_texture(source, presets, dividing_bundle):
    make(source, presets, "3d")
    before = manifest(source)["texture"]
    generate(dividing_bundle, source, GENERATED, count=4, resume=True)
    assert manifest(source)["texture"] == before
    # The new sequence is textured as the others were.
    assert make(source, presets, "3d", resume=True).made == 1
    assert validate_ctc(source) == []
    assert manifest(source)["texture"]["of"] == ["01", "02", "03", "04"]


def test_slices_may_be_a_set_of_their_own(source, presets, tmp_path):
    make(source, presets, "3d", out=tmp_path / "other")
    assert validate_ctc(tmp_path / "other") == []
    assert not (source / "01").exists()
    one, other = (root / "01_GT/TRA/man_track000.tif" for root in (source, tmp_path / "other"))
    assert one.samefile(other)
    table = "01_GT/TRA/man_track.txt"
    assert (source / table).read_bytes() == (tmp_path / "other" / table).read_bytes()
    assert not (source / table).samefile(tmp_path / "other" / table)
    make(source, presets, "3d")
    assert contents(source / "02") == contents(tmp_path / "other" / "02")


@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_the_number_of_workers_changes_nothing(source, presets, mode, tmp_path):
    events: list[TextureEvent] = []
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        make(source, presets, mode, out=out, workers=workers, on_event=events.append)
    assert contents(tmp_path / "out1") == contents(tmp_path / "out2")
    assert sum(event.kind == "frame" for event in events) == 18
    assert sorted(e.sequence for e in events if e.kind == "sequence") == [0, 0, 1, 1, 2, 2]


def test_another_seed_is_another_texture_of_the_same_masks(source, presets, tmp_path):
    for seed in (1, 2):
        make(source, presets, out=tmp_path / str(seed), options=TextureOptions(seed=seed))
    one, other = (contents(tmp_path / str(seed)) for seed in (1, 2))
    assert one["01/t000.tif"] != other["01/t000.tif"]
    assert one["01_GT/TRA/man_track000.tif"] == other["01_GT/TRA/man_track000.tif"]
    # Sequences and frames differ too, even where the masks would be the same.
    assert len({one[f"0{n}/t00{t}.tif"] for n in (1, 2, 3) for t in range(3)}) == 9


def test_masks_of_another_size_come_back_at_their_own(presets, tmp_path):
    """Trained at 0.5 µm, used at 0.2 and 1.3 µm: what is coarse becomes smooth, not blocky."""
    for size in (0.2, 1.3):
        n = round(13 / size)
        labels = np.zeros((4, n, n), np.uint16)
        labels[1:3, n // 4 : 3 * n // 4, n // 4 : 3 * n // 4] = 1
        root = tmp_path / f"{size}"
        write_ctc(root, "01", [labels], Lineage((Tracklet(1, 0, 0),)),
                  voxel_size_um=(1.0, size, size))  # fmt: skip
        make(root, presets)
        assert validate_ctc(tmp_path / f"{size}-mip") == []
        image = tifffile.imread(tmp_path / f"{size}-mip/01/t000.tif").astype(float)
        assert image.shape == (n, n)
        if size < PIXEL_UM:
            steps = np.abs(np.diff(image, axis=0))
            assert np.median(steps) < 0.5 * image.std()
            assert (steps > 0).mean() > 0.5


def test_slices_are_computed_in_pieces_that_fit(source, presets, monkeypatch):
    from cellsynth.texture import engines

    make(source, presets, "3d", out=source.with_name("a"))
    monkeypatch.setattr(engines, "SLICES", 3)
    make(source, presets, "3d", out=source.with_name("b"))
    a, b = contents(source.with_name("a")), contents(source.with_name("b"))
    for path, data in a.items():
        if path.startswith("01/"):
            assert data == b[path], path


SCRIPT = """
import sys
from pathlib import Path
from cellsynth.presets.bundle import read_bundle
from cellsynth.texture.dataset import TextureOptions, texture_dataset

texture_dataset(
    Path(sys.argv[2]), TextureOptions(seed=3), bundle=read_bundle(sys.argv[1]), workers=2,
    resume=True, on_event=lambda event: print(event.kind, flush=True),
)
"""


@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_killed_and_resumed_it_ends_the_same(source, presets, mode, tmp_path):
    reference = Path(shutil.copytree(source, tmp_path / "reference" / "set"))
    out = make(reference, presets, mode).out
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, presets[mode].folder, source], stdout=subprocess.PIPE
    )
    assert running.stdout is not None
    try:
        for _ in range(4):
            running.stdout.readline()
        workers = psutil.Process(running.pid).children(recursive=True)
    finally:
        running.kill()
    assert running.wait() == -signal.SIGKILL
    running.stdout.close()
    assert not psutil.wait_procs(workers, timeout=20)[1]
    killed = texture_folder(source, mode)
    assert contents(killed) != contents(out)
    assert validate_ctc(source) == []  # what is there is whole
    make(source, presets, mode, resume=True)
    assert contents(killed) == contents(out)


@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_frames_made_before_a_resume_count_as_made(source, presets, mode):
    def stop(event: TextureEvent) -> None:
        if event.kind == "sequence":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(source, presets, mode, on_event=stop)
    events: list[TextureEvent] = []
    assert make(source, presets, mode, resume=True, on_event=events.append).made == 2
    assert [e.sequence for e in events if e.kind == "frame"] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [e.sequence for e in events if e.kind == "sequence"] == [1, 2]


@pytest.mark.parametrize("gone", ["01", "01_GT", "in the manifest only", "left over"])
def test_whatever_a_crash_left_is_mended(source, presets, gone):
    out = make(source, presets).out
    reference = contents(out)
    if gone.startswith("01"):
        shutil.rmtree(out / gone)
    elif gone == "left over":
        (out / ".part-03/03").mkdir(parents=True)
    else:
        said = manifest(out)
        del said["sequences"]["02"]
        (out / "dataset.json").write_text(json.dumps(said))
    make(source, presets, resume=True)
    assert contents(out) == reference


def test_an_interruption_leaves_whole_sequences_or_nothing(source, presets):
    before = contents(source)

    def stop_at(kind: str):
        def interrupt(event: TextureEvent) -> None:
            if event.kind == kind:
                raise KeyboardInterrupt

        return interrupt

    for mode in ("mip", "3d"):
        with pytest.raises(KeyboardInterrupt):
            make(source, presets, mode, on_event=stop_at("frame"))
        assert contents(source) == before
        assert not source.with_name("set-mip").exists()
    with pytest.raises(KeyboardInterrupt):
        make(source, presets, "3d", on_event=stop_at("sequence"))
    assert sorted(p.name for p in source.iterdir() if not p.name.endswith("_GT")) == [
        "01", "dataset.json",
    ]  # fmt: skip


def test_a_set_is_not_written_into_unasked(source, presets):
    for mode in ("mip", "3d"):
        out = make(source, presets, mode).out
        before = contents(out)
        with pytest.raises(InUseError, match="already; pass --resume, --overwrite or --out"):
            make(source, presets, mode)
        with pytest.raises(InputError, match=r"was begun with another .*3.*now .*4"):
            make(source, presets, mode, options=TextureOptions(seed=4), resume=True)
        assert contents(out) == before
        assert make(source, presets, mode, resume=True).made == 0
        make(source, presets, mode, options=TextureOptions(seed=4), overwrite=True)
        assert contents(out) != before
        make(source, presets, mode, overwrite=True)
        assert contents(out) == before


def test_images_of_others_are_never_touched(source, presets):
    (source / "02").mkdir()
    (source / "02" / "t000.tif").write_bytes(b"mine")
    before = contents(source)
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(InUseError, match="02 holds images already that are not ours; move it"):
            make(source, presets, "3d", **how)
    assert contents(source) == before
    shutil.rmtree(source / "02")
    (source / "dataset.json").write_text('{"labels": {}}')
    with pytest.raises(InUseError, match="is no data set of ours; pass --out"):
        make(source, presets, "3d")
    (source.with_name("set-mip")).mkdir()
    (source.with_name("set-mip") / "notes.txt").touch()
    with pytest.raises(InUseError, match="in use and is no data set of ours; give another --out"):
        make(source, presets, overwrite=True)


def test_images_that_came_with_their_set_are_not_replaced(source, presets, tmp_path):
    apart = make(source, presets, "3d", out=tmp_path / "apart").out
    before = contents(apart)
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(InUseError, match="apart was made with its images"):
            make(apart, presets, "3d", **how)
    assert contents(apart) == before
    make(apart, presets, "3d", out=tmp_path / "again")
    assert contents(tmp_path / "again" / "02") == contents(apart / "02")


def test_a_set_that_another_run_writes_is_left_alone(source, presets):
    import fcntl

    handle = os.open(source, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InUseError, match="is being written by another run; wait for it"):
            make(source, presets, "3d")
    finally:
        os.close(handle)


# ---- sets of others, and bad input


@pytest.fixture
def theirs(tmp_path) -> Path:
    """Two flat sequences without metadata or dataset.json, uint8, numbered with a gap."""
    root = tmp_path / "theirs"
    for name in ("01", "03"):
        folder = root / f"{name}_GT/TRA"
        folder.mkdir(parents=True)
        for t in range(2):
            labels = np.zeros((24, 28), np.uint16)
            labels[4:12, 5 + t : 14 + t] = 1
            labels[12:20, 8:17] = 2
            tifffile.imwrite(folder / f"man_track{t:03d}.tif", labels)
        (folder / "man_track.txt").write_text("1 0 1 0\n2 0 1 0\n")
    return root


SIZED = replace(OPTIONS, voxel_size_um=(1.0, 0.5, 0.5))


def test_sets_of_others_work_too(theirs, presets):
    before = contents(theirs)
    assert preset_of(theirs) is None
    summary = make(theirs, presets, options=SIZED)
    assert summary.sequences == 2
    assert validate_ctc(summary.out) == []
    assert contents(theirs) == before
    assert manifest(summary.out)["source"] == {"name": "theirs"}
    assert tifffile.imread(summary.out / "03/t001.tif").shape == (24, 28)


def test_a_small_flat_frame_without_cells(tmp_path, presets):
    root = tmp_path / "empty"
    write_ctc(
        root, "01", [np.zeros((1, 3, 2), np.uint16)], Lineage(()), voxel_size_um=(1, 0.5, 0.5)
    )
    out = make(root, presets).out
    assert validate_ctc(out) == []
    assert tifffile.imread(out / "01/t000.tif").shape == (3, 2)


def spoil(root: Path, how: str) -> None:
    tra = root / "01_GT/TRA"
    path = tra / "man_track001.tif"
    labels = tifffile.imread(path)
    if how == "no masks":
        shutil.rmtree(root / "01_GT")
        shutil.rmtree(root / "03_GT")
        (root / "01").mkdir()
        tifffile.imwrite(root / "01/t000.tif", labels)
    elif how == "missing":
        (tra / "man_track000.tif").unlink()
    elif how == "float":
        tifffile.imwrite(path, labels.astype(np.float32))
    elif how == "size":
        tifffile.imwrite(path, labels[:-1])
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-300])
    elif how == "large label":
        tifffile.imwrite(path, labels.astype(np.uint32) + 70_000)
    elif how == "table":
        (tra / "man_track.txt").write_text("1 0 1 0\n")
    elif how == "far end":
        (tra / "man_track.txt").write_text("1 0 99999999999 0\n2 0 1 0\n")


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("no masks", MissingError, "theirs holds no masks; expected 01_GT/TRA with files as"),
        ("missing", InputError, "TRA holds no mask of frame 0; every frame needs one"),
        ("float", FormatError, "man_track001.tif holds float32; labels are whole numbers"),
        ("size", FormatError, r"has shape \(23, 28\), the first frame \(24, 28\)"),
        ("cut", FormatError, "man_track001.tif ends too early"),
        ("large label", FormatError, "man_track001.tif: label 70002 is outside 1 … 65535"),
        ("table", InputError, "01_GT frame 0: label 2 is not listed as a track"),
        (
            "far end",
            InputError,
            "01_GT/TRA/man_track.txt frame 99999999999: track 1 names frame 99",
        ),
    ],
)
def test_bad_masks_are_told_in_one_line_and_leave_nothing(theirs, presets, how, error, message):
    spoil(theirs, how)
    before = contents(theirs.parent)
    with pytest.raises(error, match=message) as raised:
        make(theirs, presets, options=SIZED)
    assert "\n" not in str(raised.value)
    assert contents(theirs.parent) == before
    assert not theirs.with_name("theirs-mip").exists()


def deep_masks(root: Path, labels: np.ndarray) -> Path:
    """Two frames of others in 3D, with SEG, of the type that ``labels`` have."""
    for folder, name in (("TRA", "man_track"), ("SEG", "man_seg")):
        (root / "01_GT" / folder).mkdir(parents=True)
        for t in range(2):
            path = root / "01_GT" / folder / f"{name}{t:03d}.tif"
            tifffile.imwrite(path, labels, photometric="minisblack")
    (root / "01_GT/TRA/man_track.txt").write_text("1 0 1 0\n")
    return root


def box(dtype: str, label: int = 1) -> np.ndarray:
    labels = np.zeros((4, 12, 14), dtype)
    labels[1:3, 3:9, 4:10] = label
    return labels


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_masks_of_any_type_become_those_of_the_format(tmp_path, presets, mode, dtype):
    root = deep_masks(tmp_path / "masks", box(dtype))
    out = make(root, presets, mode, options=SIZED, out=tmp_path / "out").out
    assert validate_ctc(out) == []
    [sequence] = read_ctc(out)
    assert sequence.frame(1).dtype == np.uint16
    wanted = box("uint16") if mode == "3d" else box("uint16").max(axis=0)
    np.testing.assert_array_equal(sequence.frame(1), wanted)
    if mode == "3d":
        assert sequence.voxel_size_um == pytest.approx(SIZED.voxel_size_um)
        seg = tifffile.imread(out / "01_GT/SEG/man_seg001.tif")
        np.testing.assert_array_equal(seg, wanted)


@pytest.mark.parametrize(
    ("dtype", "label"), [("int32", -1), ("int32", 2**31 - 2), ("uint32", 70_000)]
)
@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_labels_beyond_the_format_are_named(tmp_path, presets, mode, dtype, label):
    root = deep_masks(tmp_path / "masks", box(dtype, label))
    with pytest.raises(FormatError, match=rf"man_track000.tif: label {label} is outside 1 … 65535"):
        make(root, presets, mode, options=SIZED, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_invalid_masks_of_others_are_named_in_3d(tmp_path, presets):
    root = tmp_path / "bad"
    labels = np.zeros((3, 9, 9), np.uint16)
    labels[1, 2:5, 2:5] = 1
    write_ctc(root, "01", [labels], Lineage((Tracklet(1, 0, 0),)), voxel_size_um=(1, 0.5, 0.5))
    (root / "01_GT/TRA/man_track.txt").write_text("2 0 0 0\n")
    with pytest.raises(FormatError, match=r"sequence 01 of .*bad is not valid: .*label"):
        make(root, presets, "3d", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_that_do_not_fit_are_named(theirs, source, presets, dividing_bundle, tmp_path):
    before = contents(tmp_path)

    def refused(error, message, root, bundle, options=OPTIONS, **others):
        with pytest.raises(error, match=message):
            texture_dataset(root, options, bundle=bundle, **others)
        assert contents(tmp_path) == before

    mip, deep = presets["mip"], presets["3d"]
    three = replace(SIZED, mode="3d")
    refused(InputError, r"flat, \(24, 28\); --mode 3d needs \(z, y, x\)", theirs, deep, three)
    refused(InputError, "does not say how large a voxel is; pass --voxel-size", theirs, mip)
    refused(InputError, "names no preset; pass --preset", theirs, None, SIZED)
    refused(MissingError, "dividing has no texture; pass --engine optics", source, dividing_bundle)
    refused(InputError, "is of mode mip, not 3d", source, mip, replace(OPTIONS, mode="3d"))
    refused(InputError, "is of mode 3d, not mip", source, deep, replace(OPTIONS, mode="mip"))
    refused(InputError, "pass --engine optics with it", source, mip, replace(OPTIONS, profile="x"))
    optics = replace(SIZED, engine="optics")
    refused(MissingError, "no microscope is known for preset 'dividing'", source, mip, optics)
    refused(InputError, "needs a microscope; pass --profile or --preset", theirs, None, optics)
    named = replace(optics, profile="lsm510-63x1.4")
    flat = r"01_GT/TRA: its masks are flat, \(24, 28\); --engine optics needs \(z, y, x\)"
    refused(InputError, flat, theirs, None, named)
    refused(MissingError, "profile nothing is not there", source, None,
            replace(optics, profile="nothing"))  # fmt: skip
    refused(InputError, "workers must be at least 1, got 0", source, mip, workers=0)
    refused(InputError, "is the set of the masks; projections need", source, mip, out=source)
    refused(InputError, "holds the set of the masks", source, mip, out=tmp_path)


@pytest.mark.parametrize("engine", ["gan", "optics"])
def test_a_flat_sequence_behind_a_deep_one_is_refused_before_anything(tmp_path, presets, engine):
    root, out = tmp_path / "mixed", tmp_path / "out"
    for name, depth in (("01", 4), ("02", 1)):
        labels = np.zeros((depth, 12, 12), np.uint16)
        labels[:, 3:9, 3:9] = 1
        lineage = Lineage((Tracklet(1, 0, 0),))
        write_ctc(root, name, [labels], lineage, voxel_size_um=(1, 0.5, 0.5))
    options = TextureOptions("3d", engine, "lsm510-63x1.4" if engine == "optics" else None)
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"02_GT/TRA: its masks are flat, \(12, 12\)"):
            make(root, presets, "3d", options=options, out=out, overwrite=overwrite)
    assert not out.exists()


def test_what_is_refused_overwrites_nothing(theirs, presets):
    make(theirs, presets, options=SIZED)
    before = contents(theirs.parent)
    optics = replace(SIZED, engine="optics", profile="lsm510-63x1.4")
    with pytest.raises(InputError, match="--engine optics needs"):
        texture_dataset(theirs, optics, overwrite=True)
    assert contents(theirs.parent) == before


def test_optics_make_images_in_both_modes(source, tmp_path):
    for mode, shape in (("mip", (30, 32)), ("3d", (14, 30, 32))):
        options = TextureOptions(mode=mode, engine="optics", profile="lsm510-63x1.4", seed=5)
        out = tmp_path / mode
        texture_dataset(source, options, out=out)
        assert validate_ctc(out) == []
        image = tifffile.imread(out / "01/t000.tif")
        labels = tifffile.imread(out / "01_GT/TRA/man_track000.tif")
        assert image.shape == labels.shape == shape
        assert image[labels > 0].mean() > 2 * image[labels == 0].mean()
        assert manifest(out)["texture"]["profile"]["name"] == "lsm510-63x1.4"


def test_folders_have_names(tmp_path, monkeypatch):
    assert texture_folder(Path("a/set"), "mip") == Path("a/set-mip")
    assert texture_folder(Path("a/set"), "3d") == Path("a/set")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert texture_folder(Path(), "mip") == tmp_path / "here-mip"
    assert texture_folder(Path(".."), "mip") == tmp_path.with_name(f"{tmp_path.name}-mip")
    assert texture_folder(Path("a/.."), "mip") == tmp_path / "here-mip"


def test_the_settings_are_those_of_the_spec():
    assert texture_spec().inputs == 5
    assert texture_spec("3d").inputs == 13
