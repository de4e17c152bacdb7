"""``cellsynth texture``: what reaches the library, and one line for every fault."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from textured import with_texture

from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.texture import dataset


@pytest.fixture(scope="session")
def textured_bundle(sphere_bundle, tmp_path_factory):
    return with_texture(sphere_bundle, tmp_path_factory.mktemp("textured") / "sphere")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder with one sequence of masks in ``set``, made from ``sphere``."""
    monkeypatch.chdir(tmp_path)
    labels = np.zeros((6, 20, 20), np.uint16)
    labels[1:5, 4:15, 6:16] = 1
    lineage = Lineage((Tracklet(1, 0, 1),))
    write_ctc("set", "01", [labels] * 2, lineage, voxel_size_um=(1, 0.5, 0.5))
    said = {
        "format": "cellsynth-dataset",
        "version": 1,
        "preset": {"name": "sphere", "sha256": "0" * 64},
        "sequences": {"01": {"status": "complete"}},
    }
    Path("set/dataset.json").write_text(json.dumps(said))
    return tmp_path


@pytest.fixture
def before(here) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in here.rglob("*") if p.is_file()}


def unchanged(here: Path, before: dict[str, bytes]) -> bool:
    return before == {str(p): p.read_bytes() for p in here.rglob("*") if p.is_file()}


def test_a_set_is_textured_and_valid(run, here, textured_bundle):
    base = ["texture", "set", "--preset", textured_bundle.folder, "--workers", 1]
    result = run(*base)
    assert result.last == (
        "wrote 1 sequence, 2 images to set-mip; next: cellsynth validate set-mip"
    )
    assert validate_ctc("set-mip") == []
    assert tifffile.imread("set-mip/01/t001.tif").shape == (20, 20)
    assert run(*base, "--resume", "--quiet").out == (
        "nothing to do: 1 sequence, 2 images lie in set-mip; next: cellsynth validate set-mip\n"
    )
    assert run("validate", "set-mip").last == "valid: 1 sequence, 2 frames"
    assert "set-mip holds a data set already; pass --resume" in run(*base).fault


def test_the_preset_of_a_set_is_found_by_its_name(run, here, textured_bundle, monkeypatch):
    monkeypatch.setenv("CELLSYNTH_PRESETS", str(textured_bundle.folder.parent))
    assert run("texture", "set", "--out", "out", "--workers", 1).code == 0
    said = json.loads(Path("out/dataset.json").read_text())
    assert said["texture"]["preset"]["sha256"] == textured_bundle.sha256


def test_flags_reach_the_library(run, here, textured_bundle, monkeypatch):
    seen = {}

    def record(source, options, **others):
        seen.update(source=source, options=options, **others)
        return dataset.Summary(Path("out"), 3, 90, 3)

    monkeypatch.setattr(dataset, "texture_dataset", record)
    flags = "--mode 3d --engine optics --profile p.toml --seed 7 --workers 3 --voxel-size 2,1,1"
    result = run("texture", "set", "--preset", textured_bundle.folder, *flags.split(),
                 "--out", "out", "--device", "cpu", "--overwrite")  # fmt: skip
    assert result.last.startswith("wrote 3 sequences, 90 images to out; next:")
    assert seen.pop("on_event")
    assert seen.pop("bundle").sha256 == textured_bundle.sha256
    assert seen == {
        "source": Path("set"),
        "options": dataset.TextureOptions("3d", "optics", "p.toml", 7, (2.0, 1.0, 1.0)),
        "out": Path("out"),
        "workers": 3,
        "device": "cpu",
        "resume": False,
        "overwrite": True,
    }


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("nothing", "nothing is not a folder"),
        (".", ". holds no masks; expected 01_GT/TRA with files as man_track000.tif"),
        ("set --mode 4d", "texture: --mode must be 'mip' or '3d', got '4d'"),
        ("set --engine magic", "texture: --engine must be 'gan' or 'optics', got 'magic'"),
        ("set --seed -1", "--seed must be at least 0, got -1"),
        ("set --workers 0", "--workers must be at least 1, got 0"),
        ("set --voxel-size 1,2", "--voxel-size must be one number or three such as"),
        ("set --voxel-size 0", "--voxel-size must be above 0, got 0.0"),
        ("set --resume --overwrite", "--resume and --overwrite exclude each other"),
        ("set --preset nobody", "no preset 'nobody'; expected a folder, a zip or one of"),
        ("set", "set names its preset: no preset 'sphere'; expected a folder, a zip"),
        ("set --engine optics --profile x --preset {bare}", "profile x is not there; give csu10"),
        (
            "set --preset {bare}",
            "preset sphere has no texture; pass --engine optics --profile csu10",
        ),
        ("set --engine optics --preset {bare}", "no microscope is known for preset 'sphere'"),
        ("set --preset {mip} --mode 3d", "the texture of preset sphere is of mode mip, not 3d"),
        ("set --preset {mip} --profile lsm510-63x1.4", "pass --engine optics with it"),
        ("set --preset {mip} --out set", "--out set is the set of the masks"),
        ("set --preset {mip} --out set/dataset.json", "set/dataset.json is a file; give another"),
        ("set --preset {mip} --device abacus", "device 'abacus' cannot be used here"),
    ],
)
def test_a_fault_is_one_line_and_leaves_nothing(
    run, no_presets, here, before, sphere_bundle, textured_bundle, flags, expected
):
    given = flags.format(bare=sphere_bundle.folder, mip=textured_bundle.folder)
    assert expected in run("texture", *given.split()).fault
    assert unchanged(here, before)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("float", "man_track001.tif holds float32; labels are whole numbers"),
        ("nan", "man_track001.tif holds float32; labels are whole numbers"),
        ("size", "man_track001.tif has shape (6, 20, 19), the first frame (6, 20, 20)"),
        ("flat", "man_track001.tif has shape (20, 20), the first frame (6, 20, 20)"),
        ("text", "man_track001.tif is not a readable TIFF file"),
        ("gone", "set/01_GT/TRA holds no mask of frame 0; every frame needs one"),
        ("table", "01_GT/TRA/man_track.txt is not there"),
        ("unlisted", "label 1 is not listed"),
    ],
)
def test_bad_masks_are_one_line_and_leave_nothing(run, here, textured_bundle, kind, expected):
    folder = Path("set/01_GT/TRA")
    path = folder / "man_track001.tif"
    labels = tifffile.imread(path)
    if kind in ("float", "nan"):
        values = labels.astype(np.float32)
        values[0] = np.nan if kind == "nan" else 0
        tifffile.imwrite(path, values)
    elif kind in ("size", "flat"):
        tifffile.imwrite(path, labels[..., :-1] if kind == "size" else labels[0])
    elif kind == "text":
        path.write_text("not an image")
    elif kind == "gone":
        (folder / "man_track000.tif").unlink()
    elif kind == "table":
        (folder / "man_track.txt").unlink()
    else:
        (folder / "man_track.txt").write_text("")
    result = run("texture", "set", "--preset", textured_bundle.folder, "--workers", 1)
    assert expected in result.fault
    assert not Path("set-mip").exists()


def test_ctrl_c_says_how_to_go_on(run, here, textured_bundle, monkeypatch):
    def interrupted(*_arguments, **_others):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "texture_dataset", interrupted)
    result = run("texture", "set", "--preset", textured_bundle.folder)
    assert result.code == 130
    assert result.err.startswith("interrupted: the same command with --resume goes on")


def test_help_brings_no_torch(process):
    result = process("texture", "--help")
    assert result.code == 0
    assert "--engine" in result.out
