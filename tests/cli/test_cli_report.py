"""``cellsynth report``, and the reports that other commands end with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.report import dataset, preset
from cellsynth.training import preset as training


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder with two sets of others, ``mine`` and ``real``, one voxel apart."""
    monkeypatch.chdir(tmp_path)
    for folder, side in (("mine", 11), ("real", 12)):
        for name in ("01", "02"):
            labels = np.zeros((8, 20, 20), np.uint16)
            labels[1:7, 4:15, 4:side] = 1
            lineage = Lineage((Tracklet(1, 0, 1),))
            write_ctc(folder, name, [labels] * 2, lineage, voxel_size_um=(1, 0.5, 0.5))
    return tmp_path


def test_a_report_of_a_set_of_others_lies_here(run, here, listing):
    before = listing()
    result = run("report", "mine", "--against", "real", "--workers", 1)
    size = Path("mine-report.html").stat().st_size / 1e6
    assert result.last == (
        f"wrote the report of 2 sequences to mine-report.html, {size:.1f} MB; "
        "next: open it in a browser"
    )
    assert listing() - before == {"mine-report.html"}
    assert "2 against 2 independent samples" in Path("mine-report.html").read_text()


def test_nothing_is_measured_twice(run, here, monkeypatch):
    run("evaluate", "mine", "--against", "real", "--no-overlap", "--json", "e.json", "--workers", 1)
    run("report", "mine", "--against", "real", "--out", "a.html", "--workers", 1)
    monkeypatch.setattr(dataset, "evaluate_dataset", None)
    run("report", "mine", "--evaluation", "e.json", "--out", "b.html", "--workers", 1)
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("none", "none: no such file or folder"),
        ("mine --against none", "none: no such file or folder"),
        ("mine --against real --evaluation e.json", "--against and --evaluation exclude each"),
        ("mine --evaluation e.json", "e.json is not there"),
        ("mine --against-kind ST", "are of --against; give that too"),
        ("mine --kind GOLD", "report: --kind must be 'TRA', 'SEG' or 'ST', got 'GOLD'"),
        ("mine --voxel-size 0", "--voxel-size must be above 0, got 0.0"),
        ("mine --workers 0", "--workers must be at least 1, got 0"),
        ("mine --out no/r.html", "no/r.html cannot be written: its folder is not there"),
        ("mine --out mine", "mine is a folder; give the name of a file"),
        ("mine --preset nobody", "no preset 'nobody'"),
    ],
)
def test_a_fault_is_one_line_and_leaves_nothing(run, here, listing, flags, expected):
    before = listing()
    assert expected in run("report", *flags.split()).fault
    assert listing() == before


def test_ctrl_c_leaves_nothing(run, here, listing, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    before = listing()
    monkeypatch.setattr(dataset, "take_pictures", interrupt)
    result = run("report", "mine")
    assert (result.code, result.err) == (130, "interrupted: what it is of was only read\n")
    assert listing() == before


def test_a_preset_is_reported_beside_itself(run, dividing_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preset, "DRAWN", 1)
    result = run("report", dividing_bundle.folder, "--out", "p.html")
    assert result.last.startswith("wrote the report of 1 sequence to p.html, ")
    assert "Preset" in Path("p.html").read_text()


@pytest.mark.parametrize(
    "flags",
    [
        "--against real",
        "--against real --against-kind ST",
        "--evaluation e.json",
        "--voxel-size 1",
        "--kind ST",
        "--preset sphere",
        "--workers 1",
    ],
)
def test_flags_of_sets_are_none_of_presets(run, dividing_bundle, here, listing, flags):
    before = listing()
    fault = run("report", dividing_bundle.folder, "--out", "p.html", *flags.split()).fault
    flag = flags.split()[0]
    assert f"{flag} is of data sets, and {dividing_bundle.folder} is a preset; leave it" in fault
    assert listing() == before


def generate(run, bundle, *flags):
    base = ["generate", "--preset", bundle.folder, "--res", 24, "--out", "set"]
    return run(*base, "--count", 2, *flags)


def test_generate_ends_with_a_report_that_no_worker_and_no_crash_changes(
    run, dividing_bundle, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = generate(run, dividing_bundle, "--workers", 1)
    assert "report: set/report.html, for a browser" in result.out.splitlines()
    assert result.last.endswith("next: cellsynth validate set")
    assert validate_ctc("set") == []
    first = {p: p.read_bytes() for p in Path("set").rglob("*") if p.is_file()}
    generate(run, dividing_bundle, "--workers", 2, "--overwrite")
    assert {p: p.read_bytes() for p in Path("set").rglob("*") if p.is_file()} == first
    # A crash between the last sequence and the report.
    Path("set/report.html").unlink()
    generate(run, dividing_bundle, "--workers", 1, "--resume")
    assert Path("set/report.html").read_bytes() == first[Path("set/report.html")]


def test_a_report_up_to_date_is_left_alone_and_another_is_not(
    run, dividing_bundle, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    generate(run, dividing_bundle, "--workers", 1)
    report = Path("set/report.html")
    then = report.stat().st_mtime_ns
    result = generate(run, dividing_bundle, "--workers", 1, "--resume")
    assert "report:" not in result.out
    assert report.stat().st_mtime_ns == then
    # Killed once the third sequence was listed: the report is of two.
    said = report.read_bytes()
    generate(run, dividing_bundle, "--workers", 1, "--resume", "--no-report", "--count", 3)
    assert report.read_bytes() == said
    generate(run, dividing_bundle, "--workers", 1, "--resume", "--count", 3)
    assert report.read_bytes() != said


def test_no_report_and_a_report_that_cannot_be(run, dividing_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = generate(run, dividing_bundle, "--workers", 1, "--no-report")
    assert "report" not in result.out
    assert not Path("set/report.html").exists()
    Path("set/report.html").write_text("mine")
    result = generate(run, dividing_bundle, "--workers", 1, "--resume")
    assert result.code == 0
    assert result.out.startswith("no report: set/report.html is there already and is no report")
    assert Path("set/report.html").read_text() == "mine"


def test_ctrl_c_in_the_report_leaves_the_set_whole(run, dividing_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "take_pictures", interrupt)
    result = generate(run, dividing_bundle, "--workers", 1)
    assert (result.code, result.err) == (
        130,
        "interrupted: set is whole; next: cellsynth report set\n",
    )
    assert len(json.loads(Path("set/dataset.json").read_text())["sequences"]) == 2


def test_texture_ends_with_a_report_that_has_the_images(
    run, dividing_bundle, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELLSYNTH_PRESETS", str(dividing_bundle.folder.parent))
    generate(run, dividing_bundle, "--workers", 1)
    masks = Path("set/report.html").read_bytes()
    flags = ["--engine", "optics", "--profile", "csu10-40x1.3", "--workers", 1]
    assert run("texture", "set", *flags, "--mode", "3d").code == 0
    both = Path("set/report.html").read_text()
    assert both.encode() != masks
    assert "data:image/jpeg" in both
    assert "cellsynth texture set --mode 3d --engine optics --profile csu10-40x1.3" in both
    assert run("texture", "set", *flags, "--mode", "mip").code == 0
    flat = Path("set-mip/report.html").read_text()
    assert "Projections of cells drawn from the preset dividing" in flat
    assert "the report of set, whose projections these are, has them" in flat
    assert run("texture", "set", *flags, "--out", "bare", "--no-report").code == 0
    assert not Path("bare/report.html").exists()


def test_train_preset_ends_with_a_report_beside_the_bundle(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = {}
    monkeypatch.setattr(
        preset, "report_preset", lambda bundle, **rest: seen.update(bundle=bundle, **rest)
    )
    summaries = []
    real = training.train_preset
    monkeypatch.setattr(
        training, "train_preset", lambda *a, **k: summaries.append(real(*a, **k)) or summaries[0]
    )
    masks = np.zeros((3, 12, 12, 12), np.uint16)
    for t in range(3):
        z, y, x = np.indices((12, 12, 12)) - 6
        masks[t] = z**2 + y**2 + x**2 < 9 + t
    lineage = Lineage((Tracklet(1, 0, 2),))
    write_ctc("data", "01", list(masks), lineage, voxel_size_um=(1, 1, 1))
    base = ["train-preset", "data", "--name", "mine", "--steps", 1, "--device", "cpu"]
    result = run(*base)
    assert result.code == 0, result
    assert "report: mine-report.html, for a browser" in result.out.replace(f"{tmp_path}/", "")
    assert seen["bundle"].preset.name == "mine"
    assert seen["out"].resolve() == tmp_path / "mine-report.html"
    assert "--no-report" not in seen["bundle"].preset.origin.commands[-1]
    seen.clear()
    monkeypatch.setattr(training, "train_preset", lambda *_, **__: summaries[0])
    assert run(*base, "--overwrite", "--no-report").code == 0
    assert seen == {}
