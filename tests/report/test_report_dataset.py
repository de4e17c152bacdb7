"""Whole reports: what stands in them, for sets of ours and of others, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from bundles import changed
from html_checks import Page, check_page
from small_sets import FAMILY, HOSTILE, VOXEL, family_frames, write_set

from cellsynth.cli.app import main
from cellsynth.errors import FormatError, InputError, InUseError, MissingError
from cellsynth.evaluation.dataset import EvaluateOptions, evaluate_dataset
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.exports import export_dataset, write_table
from cellsynth.formats.image_tiff import write_image
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import Grid
from cellsynth.rendering.dataset import GenerateOptions, generate
from cellsynth.rendering.walk import WalkOptions, render_walk
from cellsynth.report import options as options_module
from cellsynth.report import pictures as pictures_module
from cellsynth.report.cell_meshes import FACES
from cellsynth.report.dataset import default_report, latent_of, report_dataset, set_digest
from cellsynth.report.files import report_is_of
from cellsynth.report.options import ReportOptions, frames_at_the_end, sequences_at_the_end
from cellsynth.report.origin import again
from cellsynth.report.page import MOST_BYTES
from cellsynth.report.preset import preset_report_path, report_preset
from cellsynth.report.source import SetSource, ShownSequence, open_set

PICTURES_MOST = pictures_module.MOST_BYTES


def read(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < MOST_BYTES
    return check_page(text)


def cells(page_path: Path) -> dict:
    found = re.search(r'<script id="cells-data"[^>]*>(.*?)</script>', page_path.read_text(), re.S)
    assert found is not None
    return json.loads(found[1])


def titles(page: Page) -> list[str]:
    return [text for text in page.texts if text in SECTIONS]


SECTIONS = {
    "Cells in 3D": 0,
    "Gallery": 1,
    "Descriptors over time": 2,
    "Alike or not": 3,
    "Latent map": 4,
    "Lineage": 5,
    "What this is, and how it was made": 6,
}


def test_a_set_of_ours_has_every_section(page, generated, dividing_bundle):
    found = read(page)
    ids = [a["id"] for a in found.of("section")]
    assert ids == ["cells-3d", "gallery", "measures", "compared", "latent", "lineage", "made"]
    assert [a["href"] for a in found.of("a")][1:] == [f"#{name}" for name in ids]
    for part in ("dividing-24", "24 × 24 × 24", dividing_bundle.sha256, "random, uniform on SO(3)"):
        assert part in found.text
    assert "frame 3 / 3 · 90 s" in page.read_text()
    assert len([a for a in found.of("figure") if a.get("data-kind") == "masks"]) == 3
    assert len([a for a in found.of("svg") if a.get("class") == "tree"]) == 3
    # The map: three learned codes, three drawn ones.
    assert page.read_text().count('class="learned"') == page.read_text().count('class="drawn"') == 4


def test_the_cells_in_3d_are_those_of_the_masks(page):
    data = cells(page)
    assert data["unit"] == "µm"
    assert [s["name"] for s in data["sequences"]] == ["01", "02", "03"]
    for sequence in data["sequences"]:
        labels = [[cell["label"] for cell in frame] for frame in sequence["frames"]]
        assert labels[0] == [1]
        assert labels[-1] == [2, 3]
        assert len(sequence["told"]) == len(labels) == 4
        assert 0 < sequence["reach"] < 10


def test_figures_are_those_of_evaluate(page, generated, real):
    found = evaluate_dataset(generated, EvaluateOptions(overlap=False), against=real)
    text = read(page).text
    for test in found.samples.distributions:
        assert f"{test.tests.exchanged.statistic:.3f}" in text
        assert f"{test.tests.exchanged.p:.3f}" in text
    assert "3 against 4 independent samples" in text
    assert f"{found.of.overall['volume_um3'].mean:.4g} ±" in text
    assert f"{found.against.overall['volume_um3'].mean:.4g} ±" in text
    assert "Voxels of the two sets differ in size" in text


def test_an_evaluation_given_is_not_measured_again(
    page, generated, real, dividing_bundle, tmp_path, monkeypatch
):
    known = evaluate_dataset(generated, EvaluateOptions(overlap=False), against=real)

    def measured(*_, **__):
        raise AssertionError

    monkeypatch.setattr("cellsynth.report.dataset.evaluate_dataset", measured)
    out = tmp_path / "report.html"
    report_dataset(generated, out=out, evaluation=known, bundle=dividing_bundle)
    assert out.read_bytes() == page.read_bytes()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "other"}, "the evaluation is of other with 3 sequences, not of dividing-24"),
        ({"sequences": ()}, None),
        ({"preset": None}, "is of a set made from preset None, now"),
    ],
)
def test_an_evaluation_of_another_set_is_refused(generated, tmp_path, change, expected):
    known = evaluate_dataset(generated)
    said = {**dict(known.of), **change}
    other = known.model_copy(update={"of": known.of.model_copy(update=said)})
    if expected is None:
        report_dataset(generated, out=tmp_path / "r.html", evaluation=other)
        return
    with pytest.raises(InputError, match=re.escape(expected)):
        report_dataset(generated, out=tmp_path / "r.html", evaluation=other)
    assert list(tmp_path.iterdir()) == []


def test_evaluation_and_against_exclude_each_other(generated, real):
    with pytest.raises(InputError, match="not both"):
        report_dataset(generated, against=real, evaluation=evaluate_dataset(generated))


def test_reports_of_one_set_are_the_same_bytes(page, generated, real, dividing_bundle, tmp_path):
    copy = tmp_path / "elsewhere" / "dividing-24"
    shutil.copytree(generated, copy)
    out = tmp_path / "r.html"
    report_dataset(copy, out=out, against=real, bundle=dividing_bundle, workers=2)
    assert out.read_bytes() == page.read_bytes()


def test_no_path_and_no_date_is_in_it(page, generated, tmp_path):
    text = page.read_text()
    assert str(generated.parent) not in text
    assert not re.search(r"20[2-9]\d-[01]\d-[0-3]\d", text)


def test_a_report_within_a_set_leaves_it_valid_and_is_known_as_its_own(
    generated, dividing_bundle, tmp_path
):
    copy = tmp_path / "set"
    shutil.copytree(generated, copy)
    summary = report_dataset(copy, bundle=dividing_bundle)
    assert summary.out == copy / "report.html" == default_report(copy)
    assert (summary.sequences, summary.measured) == (3, 3)
    assert summary.n_bytes == summary.out.stat().st_size
    assert validate_ctc(copy) == []
    assert report_is_of(summary.out, set_digest(copy))
    options = GenerateOptions(Grid.over_omega((24, 24, 24)), n_frames=4, seed=5)
    generate(dividing_bundle, copy, options, count=4, resume=True)
    assert not report_is_of(summary.out, set_digest(copy))
    assert report_dataset(copy, bundle=dividing_bundle).sequences == 4  # replaced unasked
    assert sorted(p.name for p in copy.iterdir()) == [
        "01_GT", "02_GT", "03_GT", "04_GT", "dataset.json", "report.html"
    ]  # fmt: skip


def test_the_commands_make_the_set_again(generated, dividing_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLSYNTH_PRESETS", str(dividing_bundle.folder.parent))
    monkeypatch.chdir(tmp_path)
    [command] = again(open_set(generated))
    assert main([*command.split()[1:], "--no-report", "--quiet", "--workers", "1"]) == 0
    made = {p.relative_to(tmp_path / "dividing-24"): p.read_bytes()
            for p in (tmp_path / "dividing-24").rglob("*") if p.is_file()}  # fmt: skip
    assert made == {
        p.relative_to(generated): p.read_bytes() for p in generated.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize(
    "flags",
    [
        ["--res", "12,16,20", "--frames", "3", "--rotation", "10,-20.5,30"],
        ["--voxel-size", "1,0.7,0.7", "--rotation", "none", "--strategy", "neighbourhood"],
        ["--res", "16", "--seed", "9", "--format", "ome-zarr"],
        ["--voxel-size", "0.62"],  # sixteen on each side of 10 µm, and a rest
    ],
)
def test_the_commands_name_what_was_asked_for(sphere_bundle, tmp_path, monkeypatch, flags):
    monkeypatch.setenv("CELLSYNTH_PRESETS", str(sphere_bundle.folder.parent))
    monkeypatch.chdir(tmp_path)
    quiet = ["--no-report", "--quiet", "--workers", "1"]
    assert main(["generate", "--preset", "sphere", *flags, "--out", "a", *quiet]) == 0
    [command] = again(open_set(Path("a")))
    words = command.split()
    words[words.index("--out") + 1] = "b"
    assert main([*words[1:], *quiet]) == 0
    assert Path("b/dataset.json").read_bytes() == Path("a/dataset.json").read_bytes()


def test_the_commands_make_a_walk_again(sphere_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLSYNTH_PRESETS", str(sphere_bundle.folder.parent))
    monkeypatch.chdir(tmp_path)
    # Drawing takes far longer than all else.
    monkeypatch.setattr("cellsynth.evaluation.walk_figure.draw_walk", lambda *_: None)
    monkeypatch.setattr("cellsynth.evaluation.latent_figures.save_figure", lambda *_: None)
    walk = WalkOptions((3, 1), Grid.over_omega((16, 16, 16)), 2, steps=2, rotation="learned")
    render_walk(sphere_bundle, Path("w"), walk)
    [command] = again(open_set(Path("w")))
    words = command.split()
    words[words.index("--out") + 1] = "again"
    assert main([*words[1:], "--workers", "1"]) == 0
    assert Path("again/dataset.json").read_bytes() == Path("w/dataset.json").read_bytes()
    text = read(report_dataset(Path("w")).out).text
    assert "2 on the way from learned code 3 to 1" in text
    export_dataset(Path("w"), Path("w-ome-zarr"), "ome-zarr")
    assert again(open_set(Path("w-ome-zarr"))) == [command]
    looks = ["--engine", "optics", "--profile", "lsm510-63x1.4", "--mode", "mip"]
    assert main(["texture", "w", *looks, "--no-report", "--quiet", "--workers", "1"]) == 0
    assert again(open_set(Path("w-mip")))[0] == command
    # Exports of walks that were made before they said so.
    said = json.loads(Path("w-ome-zarr/dataset.json").read_text())
    del said["source"]["walk"]
    Path("w-ome-zarr/dataset.json").write_text(json.dumps(said))
    assert again(open_set(Path("w-ome-zarr"))) == []


def test_an_ome_zarr_set_has_lineage_and_measures(dividing_bundle, tmp_path):
    options = GenerateOptions(Grid.over_omega((24, 24, 24)), n_frames=4, seed=5, format="ome-zarr")
    generate(dividing_bundle, tmp_path / "set", options, count=2)
    summary = report_dataset(tmp_path / "set", bundle=dividing_bundle)
    found = read(summary.out)
    assert summary.measured == 2
    assert "2 families, 2 divisions in all." in found.text
    assert "--format ome-zarr" in found.text


def test_sets_of_others_say_what_is_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_set(tmp_path / "data" / "theirs", images=True)
    # Other tools have a file of that name too.
    (folder / "dataset.json").write_text('{"channel_names": {"0": "cells"}, "numTraining": 2}')
    assert set_digest(folder) == ""
    before = sorted(folder.rglob("*"))
    summary = report_dataset(folder)
    assert summary.out == Path("theirs-report.html")
    assert sorted(folder.rglob("*")) == before
    found = read(summary.out)
    assert [a["id"] for a in found.of("section")] == [
        "cells-3d", "gallery", "measures", "lineage", "made"
    ]  # fmt: skip
    assert "To make it again" not in found.text
    assert len([a for a in found.of("figure") if a.get("data-kind") == "images"]) == 2
    assert {a["data-show"] for a in found.of("button") if "data-show" in a} == {
        "both", "images", "masks"
    }  # fmt: skip


def test_images_are_judged_as_images(tmp_path):
    folder = write_set(tmp_path / "theirs", 1, images=True)
    tifffile.imwrite(folder / "01" / "t002.tif", np.zeros((14, 28, 48), np.float32))
    with pytest.raises(FormatError, match=r"t002\.tif holds float32; images are whole numbers"):
        report_dataset(folder, out=tmp_path / "r.html")


def test_voxels_of_unknown_size_are_not_measured(tmp_path):
    (tmp_path / "stack").mkdir()
    tifffile.imwrite(
        tmp_path / "stack" / "a.tif", np.stack(family_frames()), metadata={"axes": "TZYX"}
    )
    summary = report_dataset(tmp_path / "stack", out=tmp_path / "r.html")
    found = read(summary.out)
    assert summary.measured == 0
    assert "Not measured: nobody says how large a voxel is; --voxel-size tells." in found.text
    assert cells(summary.out)["unit"] == "voxels"
    with pytest.raises(InputError, match="no voxel size is known; pass --voxel-size"):
        report_dataset(tmp_path / "stack", out=tmp_path / "r.html", against=tmp_path / "stack")
    told = ReportOptions(voxel_size_um=VOXEL)
    assert report_dataset(tmp_path / "stack", told, out=tmp_path / "r.html").measured == 1


def test_labels_beyond_sixteen_bits_are_shown(tmp_path):
    first = np.stack(family_frames())[:2].astype(np.uint32)
    labels = first * 12_000_001
    group = zarr.open_group(str(tmp_path / "large.zarr"), mode="w")
    group.create_array("a", data=labels)
    summary = report_dataset(tmp_path / "large.zarr", out=tmp_path / "r.html")
    read(summary.out)
    [sequence] = cells(summary.out)["sequences"]
    assert [len(frame) for frame in sequence["frames"]] == [1, 1]
    assert (sequence["frames"][0][0]["label"] - 1) % 12 == (12_000_001 - 1) % 12


def test_the_largest_labels_of_sixteen_bits_are_cells_of_their_own():
    frame = np.zeros((6, 9, 14), np.uint16)
    frame[1:5, 2:6, 2:6] = 65_533  # which is 1 where colours begin again
    frame[1:5, 2:6, 8:12] = 1
    shown = ShownSequence("01", 1, frame.shape, None, None, None, lambda _: (frame, (0, 0, 0)))
    [sequence] = pictures_module.take_pictures([shown]).sequences
    assert [cell["label"] for cell in sequence.meshes["frames"][0]] == [1, 65_533]


def test_flat_sets_have_no_3d(tmp_path):
    frames = [frame.max(axis=0) for frame in family_frames()]
    folder = tmp_path / "flat" / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    write_table(folder / "man_track.txt", FAMILY)
    for t, frame in enumerate(frames):
        write_image(folder / f"man_track{t:03d}.tif", frame, voxel_size_um=(0.25, 0.25))
    summary = report_dataset(tmp_path / "flat", out=tmp_path / "r.html")
    found = read(summary.out)
    assert [a["id"] for a in found.of("section")] == ["gallery", "measures", "lineage", "made"]
    assert "Not measured: its masks are flat" in found.text
    with pytest.raises(InputError, match="its masks are flat"):
        report_dataset(tmp_path / "flat", out=tmp_path / "r.html", against=tmp_path / "flat")
    (folder / "man_track.txt").write_text("1 0 3 1\n")
    message = r"TRA.man_track\.txt frame 0: track 1 begins in frame 0 as its own parent"
    with pytest.raises(InputError, match=message):
        report_dataset(tmp_path / "flat", out=tmp_path / "r.html")


def test_a_lineage_in_a_circle_is_told_where_nothing_is_measured(tmp_path):
    folder = tmp_path / "set" / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    for t, frame in enumerate(family_frames()):
        tifffile.imwrite(folder / f"man_track{t:03d}.tif", frame)  # voxels of unknown size
    (folder / "man_track.txt").write_text("1 0 1 2\n2 2 3 1\n3 2 3 1\n")
    with pytest.raises(InputError, match="01: lineage frame 0: track 1 begins in frame 0 but its"):
        report_dataset(tmp_path / "set", out=tmp_path / "r.html")


def test_names_are_text_never_tags(tmp_path):
    folder = write_set(tmp_path / HOSTILE, 1)
    summary = report_dataset(folder, out=tmp_path / "r.html")
    found = read(summary.out)
    assert HOSTILE in found.text
    assert len(found.of("script")) == 4
    assert found.of("b") == Page(summary.out.read_text()).of("b")
    assert all("alert" not in (a.get("src") or "") for a in found.of("script"))
    stack = tmp_path / "stacks"
    stack.mkdir()
    name = "</script><img src=x onerror=alert(1)>".replace("/", "∕")
    tifffile.imwrite(stack / f"{name}.tif", np.stack(family_frames()), metadata={"axes": "TZYX"})
    summary = report_dataset(stack, out=tmp_path / "r.html")
    assert len(read(summary.out).of("script")) == 4
    assert cells(summary.out)["sequences"][0]["name"].startswith("<∕script>")


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on other systems")
def test_names_that_are_no_text_are_shown_as_far_as_they_are(tmp_path):
    folder = write_set(tmp_path / os.fsdecode(b"caf\xe9"), 1)
    found = read(report_dataset(folder, out=tmp_path / "r.html").out)
    assert "caf\ufffd" in found.text
    stacks = tmp_path / "stacks"
    stacks.mkdir()
    stack = np.stack(family_frames())
    tifffile.imwrite(stacks / os.fsdecode(b"\xe9.tif"), stack, metadata={"axes": "TZYX"})
    told = ReportOptions(voxel_size_um=VOXEL)
    report_dataset(stacks, told, out=tmp_path / "r.html")
    assert cells(tmp_path / "r.html")["sequences"][0]["name"] == "\ufffd.tif"


def test_an_empty_frame_and_a_single_one(tmp_path):
    frames = [*family_frames()[:2], np.zeros_like(family_frames()[0])]
    lineage = Lineage((Tracklet(1, 0, 1),))
    write_ctc(tmp_path / "gap", "01", frames, lineage, voxel_size_um=VOXEL)
    write_ctc(
        tmp_path / "one", "01", frames[:1], Lineage((Tracklet(1, 0, 0),)), voxel_size_um=VOXEL
    )
    for name in ("gap", "one"):
        read(report_dataset(tmp_path / name, out=tmp_path / f"{name}.html").out)


def noise(folder: Path, n_labels: int, side: int) -> Path:
    """A set of two sequences, every voxel of another label than the next: nothing is larger."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, n_labels, (4, side, side)).astype(np.uint16) for _ in range(3)]
    for frame in frames:
        frame[0, 0, :n_labels] = np.arange(n_labels)
    lineage = Lineage(tuple(Tracklet(label, 0, 2) for label in range(1, n_labels)))
    for name in ("01", "02"):
        write_ctc(folder, name, frames, lineage, voxel_size_um=(1, 1, 1))
    return folder


def test_of_many_cells_some_are_shown_in_3d(tmp_path):
    summary = report_dataset(noise(tmp_path / "noise", 16, 24), out=tmp_path / "r.html")
    assert len(cells(summary.out)["sequences"][0]["frames"][0]) == 12
    assert "the 12 families that last longest, of 15" in read(summary.out).text


def test_pictures_of_noise_become_coarser_until_they_fit(tmp_path, monkeypatch):
    folder = noise(tmp_path / "noise", 6, 200)
    monkeypatch.setattr(pictures_module, "MOST_MESHED", 0)
    whole = pictures_module.take_pictures(open_set(folder).sequences)
    bound = sum(one.n_bytes for one in whole.sequences) // 3
    monkeypatch.setattr(pictures_module, "MOST_BYTES", bound)
    coarse = pictures_module.take_pictures(open_set(folder).sequences)
    assert sum(one.n_bytes for one in coarse.sequences) <= bound
    assert coarse.pixel_um == 2 * whole.pixel_um
    assert coarse.sequences[0].masks.size[0] == -(-whole.sequences[0].masks.size[0] // 2)
    # With all that may be beside them: meshes of 3 × 30 frames, in base64.
    meshes = 4 / 3 * 3 * 30 * FACES * (3 * 2 + 0.6 * 3 * 2)
    assert PICTURES_MOST + meshes < 0.95 * MOST_BYTES


def test_memory_is_that_of_the_cells_not_of_their_frames(tmp_path):
    side = 1024  # on pixels of a fourth of a voxel an image of this takes 67 MB
    folder = tmp_path / "wide" / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    (tmp_path / "wide" / "01").mkdir()
    write_table(folder / "man_track.txt", Lineage((Tracklet(1, 0, 2),)))
    for t in range(3):
        frame = np.zeros((side, side), np.uint16)
        frame[300:330, 900 + t : 940 + t] = 1
        write_image(folder / f"man_track{t:03d}.tif", frame, voxel_size_um=(1, 1))
        write_image(tmp_path / "wide" / "01" / f"t{t:03d}.tif", frame * 9, voxel_size_um=(1, 1))
    source = open_set(tmp_path / "wide")
    tracemalloc.start()
    [sequence] = pictures_module.take_pictures(source.sequences).sequences
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sequence.images is not None
    assert sequence.images.size == sequence.masks.size
    assert max(sequence.masks.size) == 4 * 42 + 2 * 7
    assert peak < 40e6


def test_the_brief_report_looks_at_the_first_sequences(tmp_path, monkeypatch):
    folder = write_set(tmp_path / "theirs", 4)
    source = open_set(folder)
    one = 14 * 28 * 48 * 4
    monkeypatch.setattr(options_module, "LEAST_VOXELS", 1)
    for voxels, n in [(0.5 * one, 1), (2.5 * one, 2), (4 * one, 4), (9 * one, 4)]:
        monkeypatch.setattr(options_module, "VOXELS_AT_THE_END", voxels)
        assert sequences_at_the_end(source) == n
    monkeypatch.setattr(options_module, "VOXELS_AT_THE_END", 2 * one)
    monkeypatch.setattr(options_module, "LEAST_VOXELS", one)  # of each of four frames
    assert sequences_at_the_end(source) == 1
    monkeypatch.setattr(options_module, "LEAST_VOXELS", 1)
    many = replace(source, sequences=source.sequences * 10)
    monkeypatch.setattr(options_module, "VOXELS_AT_THE_END", one)
    assert sequences_at_the_end(many) == 4  # a tenth
    monkeypatch.setattr(options_module, "VOXELS_AT_THE_END", 2.5 * one)
    summary = report_dataset(folder, ReportOptions(brief=True), out=tmp_path / "r.html")
    assert (summary.sequences, summary.measured) == (4, 2)
    text = read(summary.out).text
    assert "Measured are the first 2 of 4 sequences" in text
    assert "The first 2 of 4 sequences." in text


def test_the_brief_report_looks_at_some_frames_of_large_sequences(tmp_path, monkeypatch):
    folder = write_set(tmp_path / "theirs", 2)
    source = open_set(folder)
    one = 14 * 28 * 48
    monkeypatch.setattr(options_module, "LEAST_VOXELS", 1)
    monkeypatch.setattr(options_module, "FRAMES_AT_THE_END", 2)
    for voxels, most in [(0.5 * one, 2), (2.5 * one, 2), (3.5 * one, 3), (4 * one, None)]:
        monkeypatch.setattr(options_module, "VOXELS_AT_THE_END", voxels)
        assert frames_at_the_end(source) == most
    monkeypatch.setattr(options_module, "VOXELS_AT_THE_END", 3 * one)
    brief = report_dataset(folder, ReportOptions(brief=True), out=tmp_path / "b.html")
    whole = report_dataset(folder, out=tmp_path / "w.html")
    told = "Measured are the first 1 of 2 sequences and 3 of 4 frames, in pictures too; "
    assert told + "cellsynth report takes all." in read(brief.out).text
    assert "Measured are" not in read(whole.out).text
    [shown] = cells(brief.out)["sequences"]
    assert len(shown["frames"]) == 3
    assert brief.n_bytes < whole.n_bytes


def test_the_brief_report_of_cells_that_are_all_cut(tmp_path, monkeypatch):
    frames = [np.ones((2, 6, 6), np.uint16)] * 3
    lineage = Lineage((Tracklet(1, 0, 2),))
    write_ctc(tmp_path / "cut", "01", frames, lineage, voxel_size_um=VOXEL)
    monkeypatch.setattr(options_module, "VOXELS_AT_THE_END", 1)
    monkeypatch.setattr(options_module, "FRAMES_AT_THE_END", 2)
    brief = report_dataset(tmp_path / "cut", ReportOptions(brief=True), out=tmp_path / "r.html")
    text = read(brief.out).text
    assert "2 of 3 frames" in text
    assert "no whole cell" in text


def test_files_of_others_are_not_replaced(tmp_path):
    folder = write_set(tmp_path / "set", 1)
    out = tmp_path / "thesis.html"
    out.write_text("<html>ten years of work</html>")
    with pytest.raises(InUseError, match="is there already and is no report; pass --overwrite"):
        report_dataset(folder, out=out)
    assert out.read_text() == "<html>ten years of work</html>"
    report_dataset(folder, out=out, overwrite=True)
    report_dataset(folder, out=out)
    with pytest.raises(InUseError, match="is a folder"):
        report_dataset(folder, out=folder)
    with pytest.raises(MissingError, match="its folder is not there"):
        report_dataset(folder, out=tmp_path / "no" / "r.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "thesis.html"]


@pytest.mark.parametrize("what", ["gone", "another"])
def test_without_its_preset_a_set_has_no_map(
    generated, sphere_bundle, tmp_path, no_presets, monkeypatch, what
):
    if what == "another":
        shutil.copytree(sphere_bundle.folder, tmp_path / "p" / "dividing")
        monkeypatch.setenv("CELLSYNTH_PRESETS", str(tmp_path / "p"))
    text = read(report_dataset(generated, out=tmp_path / "r.html").out).text
    expected = {
        "gone": "Preset dividing is not here; its learned codes cannot be shown.",
        "another": "is not the one that the set was made from",
    }
    assert expected[what] in text


@pytest.mark.parametrize(
    ("latents", "why"),
    [
        (np.ones((3, 2)), "3 codes that do not differ have no principal components"),
        (np.eye(2), "2 codes of 2 numbers lie in no plane"),
    ],
)
def test_codes_without_a_plane_have_no_map(sphere_bundle, tmp_path, latents, why):
    bundle = changed(sphere_bundle, tmp_path / "sphere", latents=latents)
    made = {"preset": {"name": "sphere", "sha256": bundle.sha256}, "sequences": {}}
    found, names, told = latent_of(SetSource("set", (), made), bundle)
    assert (found, names) == (None, [])
    assert told == f"No map of the codes of preset sphere: {why}."


def test_the_report_of_a_preset(dividing_bundle, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(dividing_bundle.folder, folder)
    from cellsynth.presets.bundle import read_bundle

    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    summary = report_preset(read_bundle(folder))
    assert summary.out == tmp_path / "mine-report.html" == preset_report_path(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    found = read(summary.out)
    assert [a["id"] for a in found.of("section")] == [
        "good", "cells-3d", "gallery", "measures", "latent", "lineage", "made"
    ]  # fmt: skip
    for part in ("0.9876", "A dividing cell", "No cell ever looked like it.", "CC0-1.0"):
        assert part in found.text
    again_made = report_preset(read_bundle(folder), out=tmp_path / "again.html")
    assert again_made.out.read_bytes() == summary.out.read_bytes()
