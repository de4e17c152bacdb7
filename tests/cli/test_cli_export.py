"""``cellsynth export``: what reaches the library, what is written, what is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaozarrs

from cellsynth.formats import exports
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.exporting import ExportSummary
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.rendering import meshes


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A set of others with one sequence of two frames, in the folder we are in."""
    monkeypatch.chdir(tmp_path)
    frames = np.zeros((2, 6, 7, 8), np.uint16)
    frames[:, 2:4, 2:5, 2:6] = 1
    lineage = Lineage((Tracklet(1, 0, 1),))
    write_ctc("cells", "01", list(frames), lineage, voxel_size_um=(1, 0.5, 0.5))
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """What the library was called with; nothing is written."""
    calls = []

    def record(*arguments, **others):
        others.pop("on_event")
        calls.append((arguments, others))
        return ExportSummary(arguments[1], 1, 2, 1)

    monkeypatch.setattr(exports, "export_dataset", record)
    monkeypatch.setattr(meshes, "export_meshes", record)
    return calls


def test_defaults(run, asked, here):
    result = run("export", "cells", "--to", "geff")
    assert result.code == 0
    assert asked == [
        (
            (Path("cells"), Path("cells-geff"), "geff"),
            {
                "workers": None,
                "voxel_size_um": None,
                "frame_interval_s": None,
                "resume": False,
                "overwrite": False,
            },
        )
    ]


def test_flags_reach_the_library(run, asked, here):
    flags = "--to ome-zarr --out a/b --voxel-size 1,0.5,0.25 --frame-interval 30 --workers 3"
    run("export", "cells", *flags.split(), "--resume")
    [(arguments, others)] = asked
    assert arguments == (Path("cells"), Path("a/b"), "ome-zarr")
    assert others == {
        "workers": 3,
        "voxel_size_um": (1, 0.5, 0.25),
        "frame_interval_s": 30,
        "resume": True,
        "overwrite": False,
    }


def test_flags_of_meshes_reach_the_library(run, asked, here, sphere_bundle):
    flags = "--to mesh --mesh-format glb --res 200 --surface field --device cpu --overwrite"
    run("export", "cells", *flags.split(), "--preset", sphere_bundle.folder)
    [(arguments, others)] = asked
    assert arguments == (
        Path("cells"),
        Path("cells-mesh"),
        meshes.MeshOptions("glb", "field", 200),
    )
    assert others.pop("bundle").sha256 == sphere_bundle.sha256
    assert (others["device"], others["overwrite"]) == ("cpu", True)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--to stl", "--to must be 'ome-zarr', 'geff', 'mesh' or 'tiff-stack', got 'stl'"),
        ("--to mesh --mesh-format stl", "--mesh-format must be 'ply', 'obj' or 'glb', got 'stl'"),
        ("--to mesh --surface skin", "--surface must be 'field' or 'mask', got 'skin'"),
        ("--to mesh --res 4", "--res must be at least 8, got 4"),
        ("--to mesh --res 5000", "--res must be at most 1024, got 5000"),
        ("--to geff --res 64", "--res is of meshes; give it with --to mesh, not --to geff"),
        ("--to geff --preset x", "--preset is of meshes; give it with --to mesh, not --to geff"),
        ("--to geff --frame-interval 0", "--frame-interval must be above 0, got 0"),
        ("--to geff --voxel-size 1,2", "--voxel-size must be one number or three such as"),
        ("--to geff --workers 0", "--workers must be at least 1, got 0"),
        ("--to geff --resume --overwrite", "--resume and --overwrite exclude each other"),
        ("--to geff --out cells", "--out cells is not apart from the set cells"),
        ("--to mesh --surface field", "cells does not say which field it is of; give --surface"),
        ("--to mesh --preset nowhere", "nowhere"),
        ("", "Missing option '--to'"),
    ],
)
def test_a_fault_is_one_line_and_leaves_nothing(run, here, listing, flags, expected):
    before = listing()
    assert expected in run("export", "cells", *flags.split()).fault
    assert listing() == before


@pytest.mark.parametrize("folder", ["nowhere", "cells/01_GT/TRA/man_track.txt", "empty"])
def test_what_is_no_set_is_told(run, here, listing, folder):
    (here / "empty").mkdir()
    before = listing()
    assert folder in run("export", folder, "--to", "ome-zarr").fault
    assert listing() == before


@pytest.mark.parametrize(
    ("to", "made", "then"),
    [
        ("ome-zarr", "01.ome.zarr/zarr.json", "napari cells-ome-zarr/01.ome.zarr"),
        ("geff", "01.geff/zarr.json", "geff validate cells-geff/01.geff"),
        ("mesh", "01/t001_cell001.ply", "open cells-mesh/01 in Blender or MeshLab"),
        ("tiff-stack", "masks/01.tif", "open cells-tiff-stack/masks/01.tif in Fiji"),
    ],
)
def test_each_format_is_written_and_the_next_step_told(run, here, to, made, then):
    result = run("export", "cells", "--to", to, "--workers", 1)
    assert result.last == f"wrote 1 sequence, 2 frames to cells-{to}; next: {then}"
    assert (here / f"cells-{to}" / made).is_file()
    again = run("export", "cells", "--to", to)
    assert f"cells-{to} holds a data set already; pass --resume, --overwrite" in again.fault
    again = run("export", "cells", "--to", to, "--resume", "--quiet")
    assert again.out.startswith(f"nothing to do: 1 sequence, 2 frames lie in cells-{to}; next:")
    assert run("export", "cells", "--to", to, "--overwrite", "--workers", 1).code == 0


def test_a_generated_set_finds_its_preset(run, here, sphere_bundle, monkeypatch):
    monkeypatch.setenv("CELLSYNTH_PRESETS", str(sphere_bundle.folder.parent))
    run("generate", "--preset", "sphere", "--res", 16, "--frames", 2, "--out", "ours")
    result = run("export", "ours", "--to", "mesh", "--res", 24, "--workers", 1, "--device", "cpu")
    assert result.code == 0, result
    said = json.loads((here / "ours-mesh" / "dataset.json").read_text())
    assert said["export"]["surface"] == "field"
    assert (said["export"]["res"], said["export"]["preset"]["name"]) == (24, "sphere")


def test_a_preset_that_is_gone_is_told(run, here, sphere_bundle, no_presets):
    run("generate", "--preset", sphere_bundle.folder, "--res", 16, "--frames", 1, "--out", "ours")
    fault = run("export", "ours", "--to", "mesh").fault
    assert "ours names its preset" in fault
    assert "pass --preset" in fault
    assert run("export", "ours", "--to", "mesh", "--surface", "mask", "--workers", 1).code == 0


def test_generate_writes_ome_zarr(run, here, sphere_bundle):
    flags = ["--preset", sphere_bundle.folder, "--res", 16, "--frames", 2, "--out", "ours"]
    result = run("generate", *flags, "--format", "ome-zarr", "--device", "cpu")
    assert result.last == ("wrote 1 sequence of 2 frames to ours; next: napari ours/01.ome.zarr")
    yaozarrs.validate_zarr_store(str(here / "ours" / "01.ome.zarr"))
    fault = run("generate", *flags, "--resume").fault
    assert "ours was begun with another options" in fault
    fault = run("generate", *flags, "--format", "n5").fault
    assert "--format must be 'ctc' or 'ome-zarr', got 'n5'" in fault
    told = "holds OME-Zarr (01.ome.zarr), expected TIFF files as 01_GT/TRA/man_track000.tif; "
    told += "generate the same cells without --format ome-zarr (only train-preset, fit, evaluate "
    told += "and report read OME-Zarr)"
    for folder in ("ours", "ours/01.ome.zarr"):
        for verb in (["export", "--to", "geff"], ["texture", "--engine", "optics"], ["validate"]):
            fault = run(*verb, folder, "--quiet").fault
            assert fault == f"error: {folder} {told}"


def test_flat_masks_have_no_surface(run, here):
    folder = here / "flat" / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "man_track000.tif", np.ones((5, 6), np.uint16))
    (folder / "man_track.txt").write_text("1 0 0 0\n")
    fault = run("export", "flat", "--to", "mesh", "--voxel-size", 1).fault
    assert "flat: its masks are flat; meshes need (z, y, x)" in fault
