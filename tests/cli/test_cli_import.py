"""``presets import``, and training on the authors' files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from authors_code import write_experiment

from cellsynth.geometry import Grid
from cellsynth.presets.bundle import read_bundle
from cellsynth.training import imported

GIVEN = ["--half-extent-um", 4]


@pytest.fixture
def theirs(tmp_path, monkeypatch, no_presets):
    """An experiment folder of the authors' code."""
    monkeypatch.setattr(imported, "LEAST_FRAMES", 1)
    monkeypatch.setattr(imported, "PREVIEW", 8)
    monkeypatch.setattr(imported, "judging_grid", lambda _: Grid.over_omega((16, 16, 16)))
    write_experiment(tmp_path / "Their Cells")
    return tmp_path / "Their Cells"


def test_an_import_is_found_by_its_name_and_generates(run, theirs, tmp_path):
    result = run("presets", "import", theirs, *GIVEN)
    folder = tmp_path / "user" / "their-cells"
    assert result.last == (
        f"wrote preset their-cells to {folder}; next: cellsynth generate --preset their-cells"
    )
    assert "the frame interval is unknown; --frame-interval tells" in result.out
    assert "2 of 3 frames" in result.out
    preset = read_bundle(folder).preset
    assert preset.licence == "LicenseRef-unstated"
    command = f"cellsynth presets import '{theirs}' --half-extent-um 4"
    assert preset.origin.commands == (command,)
    assert "their-cells" in run("presets").out
    assert "Imported, not trained here" in run("presets", "show", "their-cells").out
    planned = run("generate", "--preset", "their-cells", "--res", 16, "--dry-run")
    assert planned.code == 0
    assert "pass --overwrite" in run("presets", "import", theirs, *GIVEN).fault
    assert run("presets", "import", theirs, *GIVEN, "--overwrite", "--quiet").code == 0


def test_what_is_said_is_written(run, theirs, tmp_path):
    flags = ["--frame-interval", 20, "--epoch", 20, "--frames", 5, "--divisions", 3]
    flags += ["--licence", "MIT", "--title", "Little ones", "--name", "little"]
    result = run("presets", "import", theirs, "--half-extent", 2, *flags, "--out", tmp_path / "p")
    assert result.last.endswith(f"next: cellsynth generate --preset {tmp_path / 'p'}")
    assert "unknown" not in result.out
    preset = read_bundle(tmp_path / "p").preset
    assert (preset.name, preset.licence, preset.title) == ("little", "MIT", "Little ones")
    assert preset.scale.half_extent_um == 2
    assert (preset.scale.frame_interval_s, preset.scale.n_frames) == (20, 5)
    assert (preset.training.steps, preset.topology.divisions) == (20, 3)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", "the files do not say how large Ω is; give --half-extent-um"),
        ("--half-extent-um 0", "--half-extent-um must be above 0, got 0.0"),
        ("--half-extent-um 4 --frame-interval -1", "--frame-interval must be above 0, got -1.0"),
        ("--half-extent-um 4 --epoch 7", "no epoch 7, expected one of 20, 1000"),
        ("--half-extent-um 4 --name Big", "name must match"),
        ("--half-extent-um 4 --licence ?", "licence must match"),
        ("--half-extent-um 4 --divisions -1", "--divisions must be at least 0, got -1"),
    ],
)
def test_faults_are_one_line_and_leave_nothing(run, theirs, tmp_path, flags, expected):
    assert expected in run("presets", "import", theirs, *flags.split()).fault
    assert [path.name for path in tmp_path.iterdir()] == [theirs.name]


def test_a_folder_that_is_none(run, tmp_path):
    assert "no such folder" in run("presets", "import", tmp_path / "none", *GIVEN).fault


def test_train_preset_reads_their_training_files(run, tmp_path):
    """As far as the number of frames, which the file decides; the training itself is no other."""
    (tmp_path / "cells").mkdir()
    with h5py.File(tmp_path / "cells" / "a.h5", "w") as file:
        sdf = np.ones((8, 8, 8, 2), np.float32)
        sdf[2:6, 2:6, 2:6] = -0.5
        file["sdf_vid"] = sdf
    flags = ["--frames", 3, "--voxel-size", 0.5, "--out", tmp_path / "out", "--device", "cpu"]
    expected = "no usable track of 3 frames: a.h5 track 1: too short: 2 frames, 3 are needed"
    assert expected in run("train-preset", tmp_path / "cells", *flags).fault
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]


def test_an_experiment_folder_is_not_trained_on(run, theirs):
    assert "cellsynth presets import" in run("train-preset", theirs).fault
