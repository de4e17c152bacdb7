"""``presets``, ``phantom`` and ``validate``."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cellsynth.formats.ctc import read_ctc, write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet


@pytest.fixture
def library(tmp_path, monkeypatch, sphere_bundle, dividing_bundle, no_presets):
    """A folder of presets: two whole ones, one with a byte flipped, one misspelt."""
    folder = tmp_path / "library"
    for bundle in (sphere_bundle, dividing_bundle):
        shutil.copytree(bundle.folder, folder / bundle.preset.name)
    for name in ("flipped", "misspelt"):
        shutil.copytree(sphere_bundle.folder, folder / name)
    weights = folder / "flipped" / "shape.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    toml = folder / "misspelt" / "preset.toml"
    toml.write_text(toml.read_text().replace("truncation", "truncatoin"))
    monkeypatch.setenv("CELLSYNTH_PRESETS", str(folder))
    return folder


def test_presets_are_listed_the_broken_ones_with_their_fault(run, library):
    result = run("presets")
    assert result.code == 0
    head, dividing, flipped, misspelt, sphere, *faults, last = result.out.splitlines()
    assert head.split() == ["NAME", "TITLE", "FRAMES", "Ω", "DSC", "PATH"]
    expected = ["dividing", "A", "dividing", "cell", "4", "10", "µm", "0.988"]
    assert dividing.split() == [*expected, str(library / "dividing")]
    assert sphere.split()[-2:] == ["0.988", str(library / "sphere")]
    assert flipped.split()[-2:] == ["broken", str(library / "flipped")]
    assert misspelt.split() == ["misspelt", "broken", str(library / "misspelt")]
    assert "shape.safetensors has SHA-256" in faults[0]
    assert "field.truncatoin is unknown; did you mean truncation?" in faults[1]
    assert len(faults) == 2
    assert last == "next: cellsynth presets show NAME, or cellsynth generate --preset NAME"


def test_no_presets_at_all_says_where_was_looked(run, no_presets, tmp_path):
    result = run("presets")
    assert result.code == 0
    assert str(tmp_path / "user") in result.out
    assert "cellsynth train-preset DATA" in result.out


def test_show_prints_the_card(run, library, sphere_bundle):
    result = run("presets", "show", "sphere")
    assert result.out.startswith("# sphere\n")
    assert f"SHA-256 {sphere_bundle.sha256}" in result.out
    assert result.last == "next: cellsynth generate --preset sphere"
    assert run("presets", "show", "sphere", "--quiet").out == f"{result.last}\n"


def test_an_unknown_preset_is_told_with_the_nearest(run, library):
    assert "did you mean sphere?" in run("presets", "show", "spere").fault


def test_phantoms_are_written_valid_and_go_into_training(run, tmp_path):
    out = tmp_path / "phantoms"
    flags = ["--count", 2, "--frames", 4, "--voxel-size", "0.6,0.5,0.5", "--seed", 3]
    result = run("phantom", "celegans", "--out", out, *flags)
    assert result.last == (
        f"wrote 2 sequences of 4 frames to {out}; next: cellsynth train-preset {out}"
    )
    assert [s.voxel_size_um for s in read_ctc(out)] == [pytest.approx((0.6, 0.5, 0.5))] * 2
    assert run("validate", out).last == "valid: 2 sequences, 8 frames"
    assert "pass --overwrite" in run("phantom", "celegans", "--out", out, *flags).fault
    assert run("phantom", "celegans", "--out", out, *flags, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("cat", "unknown kind 'cat'; expected celegans"),
        ("celegans --count 0", "--count must be at least 1, got 0"),
        ("celegans --voxel-size 0", "--voxel-size must be above 0, got 0.0"),
        ("celegans --lineage none.csv", "none.csv"),
    ],
)
def test_a_fault_in_phantom_leaves_nothing(run, tmp_path, flags, expected):
    kind, *rest = flags.split()
    assert expected in run("phantom", kind, "--out", tmp_path / "out", *rest).fault
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_phantom_leaves_nothing(run, tmp_path, monkeypatch):
    from cellsynth.shapes.phantoms import Family

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Family, "render_crop", interrupt)
    result = run("phantom", "celegans", "--out", tmp_path / "out", "--count", 1, "--frames", 4)
    assert result.code == 130
    assert result.err == "interrupted: nothing is left behind; run it again\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tracks(tmp_path) -> Path:
    """A set of one sequence, one cell, three frames."""
    mask = np.zeros((4, 5, 6), np.uint16)
    mask[1:3, 2:4, 2:4] = 1
    lineage = Lineage((Tracklet(1, 0, 2),))
    write_ctc(tmp_path / "set", "01", [mask] * 3, lineage, voxel_size_um=(1, 1, 1))
    return tmp_path / "set"


def test_a_valid_set(run, tracks):
    result = run("validate", tracks)
    assert (result.code, result.out) == (0, "valid: 1 sequence, 3 frames\n")
    result = run("validate", tracks, "--quiet")
    assert (result.out, result.err) == ("valid: 1 sequence, 3 frames\n", "")


def test_every_fault_is_a_line_with_file_frame_and_label(run, tracks):
    table = tracks / "01_GT" / "TRA" / "man_track.txt"
    table.write_text("1 0 1 0\n")
    (tracks / "01_GT" / "SEG" / "man_seg001.tif").unlink()
    (tracks / "01_GT" / "TRA" / "man_track000.tif").write_bytes(b"no image")
    result = run("validate", tracks)
    assert result.code == 1
    faults = result.out.splitlines()
    assert any("man_track000.tif frame 0" in fault for fault in faults)
    assert any("man_track002.tif frame 2" in fault and "label 1" in fault for fault in faults)
    assert result.err.splitlines()[-1] == f"error: {tracks}: {len(faults)} faults"
    assert run("validate", tracks, "--quiet").out == ""


def test_a_folder_that_is_not_there(run, tmp_path):
    assert "is not a folder" in run("validate", tmp_path / "none").fault


def test_validate_counts_the_faults_that_it_does_not_tell(run, tmp_path):
    blank = np.zeros((1, 2, 2), np.uint16)
    write_ctc(tmp_path, "01", [blank] * 41, Lineage(()), voxel_size_um=(1, 1, 1), seg=False)
    for t in range(40):
        (tmp_path / "01_GT" / "TRA" / f"man_track{t:03d}.tif").unlink()
    result = run("validate", tmp_path)
    assert result.code == 1
    assert "30 more faults of this kind [frame-missing]" in result.out
    assert result.err.endswith(": 40 faults\n")
