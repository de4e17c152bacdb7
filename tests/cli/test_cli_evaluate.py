"""``cellsynth evaluate``: the table, the file, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cellsynth.evaluation.files import read_evaluation
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet

VOXEL = (0.5, 0.25, 0.25)


def write_balls(folder: Path, radii: list[float]) -> Path:
    """A sequence a radius, of three frames each; a ball in voxels twice as deep as wide."""
    for i, radius in enumerate(radii):
        z, y, x = np.indices((16, 32, 32)) - np.array([8, 16, 16])[:, None, None, None]
        mask = ((2 * z) ** 2 + y**2 + x**2 < (4 * radius) ** 2).astype(np.uint16)
        tracks = Lineage((Tracklet(1, 0, 2),))
        write_ctc(folder, f"{i + 1:02d}", [mask] * 3, tracks, voxel_size_um=VOXEL)
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_balls(folder / "mine", [2.0, 2.1])
    write_balls(folder / "real", [2.5, 2.6, 2.7])
    return folder


def columns(out: str) -> dict[str, list[str]]:
    """Cells of the table, by the first of each row."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) > 1}


def test_a_set_alone(run, sets):
    result = run("evaluate", sets / "mine", "--workers", 1)
    table = columns(result.out)
    mean, _, _ = table["volume, µm³"][0].split()
    expected = np.mean([4 / 3 * np.pi * r**3 for r in (2.0, 2.1)])
    assert float(mean) == pytest.approx(expected, rel=0.02)
    assert table["sphericity, 36πV²/S³"][0].startswith("0.9")
    assert table["independent samples"] == ["2 families"]
    assert table["cells, every frame"] == ["6"]
    assert table["with a handle"] == ["0"]
    assert result.last == (
        f"measured 2 sequences, 6 frames of {sets / 'mine'}; next: cellsynth evaluate "
        f"{sets / 'mine'} --json FILE keeps every figure"
    )
    quiet = run("evaluate", sets / "mine", "--workers", 1, "--quiet")
    assert (quiet.out, quiet.err) == (f"{result.last}\n", "")


def test_against_another_set(run, sets, tmp_path):
    out = tmp_path / "e.json"
    flags = ["--against", sets / "real", "--workers", 1, "--json", out]
    result = run("evaluate", sets / "mine", *flags)
    head = re.split(r"\s{2,}", result.out.splitlines()[0].strip())
    assert head == ["mine", "real", "p exchanged", "p per family", "p worst frame", "p pooled"]
    volume = columns(result.out)["volume, µm³"]
    assert volume[3:] == ["0.200", "0.200", "<0.001"]  # two of ten ways to deal are as far apart
    assert float(volume[2]) == pytest.approx(0.2, abs=0.05)
    assert "Trust p exchanged" in result.out
    assert "6 cells of the same sequence, frame and label: DSC 0.6" in result.out
    assert "--no-overlap leaves this out" in result.out
    measured = f"measured 2 sequences, 6 frames of {sets / 'mine'}"
    assert result.last == f"{measured}, every figure is in {out}"
    found = read_evaluation(out)
    assert found.overlap.pairs == 6
    assert f"DSC {found.overlap.dsc_mean:.4f}" in result.out
    assert "pass --overwrite" in run("evaluate", sets / "mine", *flags).fault
    result = run("evaluate", sets / "mine", *flags, "--overwrite", "--no-overlap")
    assert "DSC" not in result.out
    assert read_evaluation(out).overlap is None


def test_voxels_of_other_sizes_are_told(run, sets):
    flags = ["--against", sets / "real", "--workers", 1]
    assert "Voxels of" not in run("evaluate", sets / "mine", *flags).out
    result = run("evaluate", sets / "mine", *flags, "--against-voxel-size", "0.6,0.25,0.25")
    assert "Voxels of 0.5 × 0.25 × 0.25 and 0.6 × 0.25 × 0.25 µm" in result.out
    assert "DSC" not in result.out  # not one grid


def test_json_to_stdout_is_json_alone(run, sets):
    result = run("evaluate", sets / "mine", "--workers", 1, "--json", "-")
    assert json.loads(result.out)["of"]["name"] == "mine"
    assert result.err == ""


def test_flags_reach_the_library(run, sets, monkeypatch):
    from cellsynth.evaluation import dataset

    asked = {}

    def evaluate_dataset(folder, options, **rest):
        asked.update(folder=folder, options=options, **rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "evaluate_dataset", evaluate_dataset)
    flags = "--voxel-size 1,2,3 --against-voxel-size 4 --kind TRA --against-kind ST --workers 3"
    result = run("evaluate", "set", "--against", "real", *flags.split(), "--no-overlap")
    assert (result.code, result.err) == (130, "interrupted: the data set was only read\n")
    assert asked["options"] == dataset.EvaluateOptions(
        voxel_size_um=(1, 2, 3),
        against_voxel_size_um=(4, 4, 4),
        kind="TRA",
        against_kind="ST",
        overlap=False,
    )
    assert (asked["folder"], asked["against"], asked["workers"]) == (Path("set"), Path("real"), 3)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--workers 0", "--workers must be at least 1, got 0"),
        ("--voxel-size 0,1,1", "--voxel-size must be above 0, got 0.0"),
        ("--voxel-size big", "--voxel-size must be one number or three"),
        ("--against-voxel-size 1,2", "--against-voxel-size must be one number or three"),
        ("--kind GOLD", "--kind must be 'TRA', 'SEG' or 'ST', got 'GOLD'"),
        ("--against-kind ST", "are of --against; give that too"),
        ("--against none", "none: no such file or folder"),
        ("--kind ST", "holds no masks; expected 01_ST/SEG"),
        ("--json no/e.json", "its folder is not there"),
    ],
)
def test_a_fault_is_one_line_and_leaves_nothing(run, sets, tmp_path, monkeypatch, flags, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in run("evaluate", sets / "mine", *flags.split()).fault
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_is_not_there(run, tmp_path):
    assert "no such file or folder" in run("evaluate", tmp_path / "none").fault
    (tmp_path / "empty").mkdir()
    assert "an empty folder" in run("evaluate", tmp_path / "empty").fault
