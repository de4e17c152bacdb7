"""Whole sets: one alone, one against another, cell by cell, on any number of workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellsynth.errors import FormatError, InputError, InUseError, MissingError
from cellsynth.evaluation import dataset
from cellsynth.evaluation.bodies import ball, voxelise
from cellsynth.evaluation.dataset import EvaluateOptions, evaluate_dataset
from cellsynth.evaluation.files import check_target, read_evaluation, write_evaluation
from cellsynth.evaluation.models import DESCRIPTORS, Evaluation, Series
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.formats.manifest import write_manifest
from cellsynth.shapes.masks import open_masks

VOXEL = (0.5, 0.25, 0.25)
SHAPE = (20, 40, 80)
# A mother in two frames, then two daughters in two.
FAMILY = Lineage((Tracklet(1, 0, 1), Tracklet(2, 2, 3, 1), Tracklet(3, 2, 3, 1)))


def frames(seed: int, radius: float = 2.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = []
    for labels in ([1], [1], [2, 3], [2, 3]):
        frame = np.zeros(SHAPE, np.uint16)
        for i, label in enumerate(labels):
            mask = voxelise(ball(radius * rng.uniform(0.9, 1.1)), VOXEL, rng)
            box = tuple(slice(2 + 35 * i * (axis == 2), None) for axis in range(3))
            frame[box][tuple(map(slice, mask.shape))][mask] = label
        found.append(frame)
    return found


def write_set(folder: Path, seed: int, n: int = 3, **options: float) -> Path:
    for i in range(n):
        name = f"{i + 1:02d}"
        masks = frames(10 * seed + i, **options)
        write_ctc(folder, name, masks, FAMILY, voxel_size_um=VOXEL, frame_interval_s=30.0)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sets") / "small", 0)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sets") / "large", 1, radius=2.2)


def lengths(series: Series) -> set[int]:
    """How many entries its lists have."""
    return {len(getattr(series, name)) for name in Series.model_fields}


def test_the_first_sequences_alone(small, large):
    whole = evaluate_dataset(small, against=large)
    found = evaluate_dataset(small, EvaluateOptions(sequences=2), against=large)
    assert found.of.sequences == whole.of.sequences[:2]
    assert found.against == whole.against


def test_some_frames_evenly(small, large):
    whole = evaluate_dataset(small, against=large, workers=1)
    told = []
    found = evaluate_dataset(
        small, EvaluateOptions(frames=2), against=large, on_progress=lambda *done: told.append(done)
    )
    assert told[-1] == (18, 18)  # 3 sequences of 2 frames, and 3 of 4 of the other set
    assert found.against == whole.against
    for some, all_of_it in zip(found.of.sequences, whole.of.sequences, strict=True):
        assert some.frames == 4
        for a, b in zip(some.cells, all_of_it.cells, strict=True):
            assert a.series.frames == tuple(t for t in b.series.frames if t in (0, 3))
            assert a.series.volume_um3 == b.series.volume_um3[:1] * (0 in a.series.frames) + (
                b.series.volume_um3[-1:] * (3 in a.series.frames)
            )
    assert found.of.summary["volume_um3"].n == (3, 0, 0, 3)
    assert found.of.topology.bodies == 9
    with pytest.raises(InputError, match="frames must be at least 1, got 0"):
        evaluate_dataset(small, EvaluateOptions(frames=0))


def test_measures_are_those_of_whole_frames(small, large):
    """Frames of one set alone are read as the part with cells, compared ones as a whole."""
    compared = evaluate_dataset(small, against=large)
    assert compared.overlap is not None
    alone = evaluate_dataset(small, EvaluateOptions(overlap=False), against=large)
    assert (alone.of, alone.against, alone.overlap) == (compared.of, compared.against, None)


def test_a_set_that_is_open_is_not_opened_again(small, monkeypatch):
    opened = open_masks(small)
    whole = evaluate_dataset(small)
    monkeypatch.setattr(dataset, "open_masks", None)
    assert evaluate_dataset(small, opened=opened) == whole


def test_a_set_alone(small):
    found = evaluate_dataset(small)
    assert (found.against, found.samples, found.overlap) == (None, None, None)
    one = found.of
    assert (one.name, one.preset, one.seed, one.made_with) == ("small", None, None, None)
    assert [s.name for s in one.sequences] == ["01", "02", "03"]
    first = one.sequences[0]
    assert (first.frames, first.shape) == (4, SHAPE)
    assert first.voxel_size_um == pytest.approx(VOXEL)
    assert first.frame_interval_s == 30.0
    assert [(t.label, t.begin, t.end, t.parent) for t in first.cells] == [
        (1, 0, 1, 0), (2, 2, 3, 1), (3, 2, 3, 1)
    ]  # fmt: skip
    for cell in first.cells:
        assert cell.series.frames == tuple(range(cell.begin, cell.end + 1))
        assert lengths(cell.series) == {2}
        assert cell.series.components == cell.series.euler == (1, 1)
        assert cell.series.handles == cell.series.voids == (0, 0)
    masks = frames(0)
    assert first.cells[0].series.volume_um3[1] == pytest.approx(
        np.count_nonzero(masks[1]) * np.prod(VOXEL), rel=1e-5
    )
    np.testing.assert_allclose(
        first.cells[2].series.centroid_um[0],
        np.argwhere(masks[2] == 3).mean(axis=0) * VOXEL,
        rtol=1e-4,
    )
    (family,) = first.families
    assert (family.founder, family.labels) == (1, (1, 2, 3))
    assert family.series.components == (1, 1, 2, 2)
    volumes = [c.series.volume_um3 for c in first.cells]
    assert family.series.volume_um3[2] == pytest.approx(volumes[1][0] + volumes[2][0], rel=1e-5)
    daughters = np.mean([volumes[1], volumes[2]], axis=0)
    assert family.mean.volume_um3 == pytest.approx(np.mean([*volumes[0], *daughters]), rel=1e-5)


def test_summaries_are_over_families(small):
    one = evaluate_dataset(small).of
    assert set(one.summary) == set(one.overall) == set(DESCRIPTORS)
    surface = one.summary["surface_um2"]
    assert surface.n == (3, 3, 3, 3)
    values = [np.mean([c.series.surface_um2[0] for c in s.cells[1:]]) for s in one.sequences]
    assert surface.mean[2] == pytest.approx(np.mean(values), rel=1e-5)
    quartiles = [surface.q1[2], surface.median[2], surface.q3[2]]
    assert quartiles == pytest.approx(np.percentile(values, [25, 50, 75]), rel=1e-5)
    assert (one.overall["volume_um3"].values, one.overall["volume_um3"].families) == (24, 3)
    assert one.topology.bodies == 18
    assert one.topology.in_pieces == one.topology.with_voids == one.topology.at_border == 0


def test_one_set_against_another(small, large):
    found = evaluate_dataset(small, EvaluateOptions(overlap=False, exchanges=99), against=large)
    assert found.overlap is None
    assert found.samples is not None
    assert (found.samples.exchanges, found.samples.seed) == (99, 0)
    assert tuple(d.descriptor for d in found.samples.distributions) == DESCRIPTORS
    volume = found.samples.distributions[0]
    assert (volume.independent, volume.values) == ((3, 3), (24, 24))
    assert volume.tests.per_family.p == pytest.approx(0.1)  # the least that 3 and 3 can give
    assert volume.tests.exchanged.p >= 0.05
    assert volume.tests.pooled.p < 0.01 < volume.tests.exchanged.p
    assert volume.tests.worst_frame is not None
    same = evaluate_dataset(small, EvaluateOptions(overlap=False, exchanges=99), against=small)
    for distribution in same.samples.distributions:
        assert distribution.tests.exchanged.p == distribution.tests.pooled.p == 1


def test_cell_by_cell(small, tmp_path):
    same = evaluate_dataset(small, against=small).overlap
    assert (same.pairs, same.unmatched) == (18, (0, 0))
    assert (same.dsc_mean, same.dsc_min) == (1, 1)
    assert (same.distance_mean_um, same.distance_p95_um) == (0, 0)
    # Moved by one voxel along x; the second sequence lacks a daughter, the third is not there.
    for i in range(2):
        masks = [np.roll(frame, 1, axis=2) for frame in frames(i)]
        tracks = FAMILY
        if i:
            masks = [np.where(frame == 3, 0, frame).astype(np.uint16) for frame in masks]
            tracks = Lineage(FAMILY.tracklets[:2])
        write_ctc(tmp_path / "moved", f"0{i + 1}", masks, tracks, voxel_size_um=VOXEL)
    found = evaluate_dataset(small, against=tmp_path / "moved").overlap
    assert (found.pairs, found.unmatched) == (10, (2, 0))
    assert [(c.sequence, c.label, c.frames) for c in found.cells][:2] == [
        ("01", 1, (0, 1)), ("01", 2, (2, 3))
    ]  # fmt: skip
    before = frames(0)[0] == 1
    after = np.roll(before, 1, axis=2)
    expected = 2 * np.count_nonzero(before & after) / (2 * np.count_nonzero(before))
    assert found.cells[0].dsc[0] == pytest.approx(expected, rel=1e-5)
    # The mean of |cos| over a ball is 1/2; points are half a voxel apart.
    assert 0.1 < found.distance_mean_um < 0.25
    assert found.distance_p95_um == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("change", ["shape", "voxel"])
def test_other_grids_do_not_overlap(small, tmp_path, change):
    masks = frames(0)
    voxel = VOXEL
    if change == "shape":
        masks = [frame[:, :, :-1] for frame in masks]
    else:
        voxel = (0.5, 0.25, 0.26)
    write_ctc(tmp_path / "other", "01", masks, FAMILY, voxel_size_um=voxel)
    found = evaluate_dataset(small, EvaluateOptions(exchanges=9), against=tmp_path / "other")
    assert found.overlap is None
    assert found.samples is not None


def test_workers_never_change_the_result(small, large):
    told = []
    one = evaluate_dataset(small, EvaluateOptions(exchanges=19), against=large)
    two = evaluate_dataset(
        small,
        EvaluateOptions(exchanges=19),
        against=large,
        workers=2,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert one == two
    assert told[-1] == (24, 24)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_measuring_needs_no_torch():
    """Each worker would have to load it, and hold it."""
    code = "import sys, cellsynth.evaluation.dataset; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"


def test_a_round_trip_of_the_file(small, large, tmp_path):
    found = evaluate_dataset(small, EvaluateOptions(exchanges=9), against=large)
    path = tmp_path / "e.json"
    check_target(path, overwrite=False)
    write_evaluation(path, found)
    assert read_evaluation(path) == found
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InUseError, match=r"e\.json is there already; pass --overwrite"):
        check_target(path, overwrite=False)
    check_target(path, overwrite=True)
    with pytest.raises(InUseError, match="is a folder"):
        check_target(tmp_path, overwrite=True)
    with pytest.raises(MissingError, match="its folder is not there"):
        check_target(tmp_path / "no" / "e.json", overwrite=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(colour=1), "colour is unknown"),
        (lambda d: d["of"].pop("topology"), "of.topology is missing"),
        (lambda d: d["of"]["sequences"][0].update(frames="4"), "must be a whole number, got '4'"),
        (lambda d: d.update(format="other"), "is no evaluation; make one with cellsynth evaluate"),
    ],
)
def test_a_file_that_is_none(small, tmp_path, change, message):
    data = json.loads(evaluate_dataset(small).model_dump_json())
    change(data)
    path = tmp_path / "e.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_evaluation(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MissingError, match="is not there"):
        read_evaluation(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("{", encoding="utf-8")
    with pytest.raises(FormatError, match=r"text\.json is no JSON"):
        read_evaluation(tmp_path / "text.json")


def test_every_key_is_described():
    schema = Evaluation.model_json_schema()
    for name, model in schema["$defs"].items():
        for key, said in model["properties"].items():
            assert said.get("description"), f"{name}.{key}"


def test_what_the_manifest_says(small, tmp_path):
    folder = tmp_path / "set"
    write_set(folder, 0, 1)
    manifest = {
        "format": "cellsynth-dataset",
        "version": 1,
        "preset": {"name": "balls", "sha256": "ab" * 32},
        "options": {"seed": 7},
        "versions": {"cellsynth": "0.1.0"},
        "sequences": {},
    }
    write_manifest(folder, manifest)
    found = evaluate_dataset(folder).of
    assert (found.preset.name, found.preset.sha256) == ("balls", "ab" * 32)
    assert (found.seed, found.made_with) == (7, {"cellsynth": "0.1.0"})


def test_cells_at_the_border_are_told_and_no_samples(small, tmp_path):
    masks = [frame[8:] for frame in frames(0)]
    write_ctc(tmp_path / "cut", "01", masks, FAMILY, voxel_size_um=VOXEL)
    found = evaluate_dataset(tmp_path / "cut", against=small)
    assert found.samples is None
    assert found.of.topology.at_border == found.of.topology.bodies == 6
    assert found.of.overall["volume_um3"].mean is None
    assert found.of.summary["volume_um3"].n == (0, 0, 0, 0)
    assert found.of.summary["volume_um3"].median == (None,) * 4
    assert found.of.sequences[0].families[0].mean.volume_um3 is None
    assert found.of.sequences[0].cells[0].series.at_border == (True, True)


def test_other_formats_and_sparse_masks(small, tmp_path):
    """A stack in one file against silver truth that lacks a frame."""
    stack = tmp_path / "cells.tif"
    tifffile.imwrite(stack, np.stack(frames(0)), metadata={"axes": "TZYX"})
    silver = tmp_path / "real" / "01_ST" / "SEG"
    silver.mkdir(parents=True)
    for t in (0, 3):
        tifffile.imwrite(silver / f"man_seg{t:03d}.tif", frames(1)[t])
    options = EvaluateOptions(voxel_size_um=VOXEL, against_voxel_size_um=VOXEL, exchanges=9)
    found = evaluate_dataset(stack, options, against=tmp_path / "real", workers=2)
    assert found.of.sequences[0].name == "cells.tif"
    assert found.of.sequences[0].frame_interval_s is None
    assert [t.label for t in found.of.sequences[0].cells] == [1, 2, 3]
    assert found.against.summary["volume_um3"].n == (1, 0, 0, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"workers": 0}, InputError, "workers must be at least 1, got 0"),
        ({"against": Path("none")}, MissingError, "none: no such file or folder"),
        (
            {"options": EvaluateOptions(sequences=0)},
            InputError,
            "sequences must be at least 1, got 0",
        ),
        (
            {"options": EvaluateOptions(exchanges=0)},
            InputError,
            "exchanges must be at least 1, got 0",
        ),
        (
            {"options": EvaluateOptions(voxel_size_um=(0, 1, 1))},
            InputError,
            "voxel size must be z, y, x above 0",
        ),
        ({"options": EvaluateOptions(kind="SILVER")}, InputError, "got 'SILVER'"),
    ],
)
def test_what_cannot_be_evaluated(small, options, error, message):
    with pytest.raises(error, match=message):
        evaluate_dataset(small, **options)


def test_sets_that_lack_something(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match="an empty folder"):
        evaluate_dataset(tmp_path / "empty")
    write_ctc(tmp_path / "blank", "01", [np.zeros((3, 4, 5), np.uint16)] * 2, Lineage(()),
              voxel_size_um=VOXEL)  # fmt: skip
    with pytest.raises(InputError, match=r"blank: all 2 frames are background \(0\)"):
        evaluate_dataset(tmp_path / "blank")
    tifffile.imwrite(tmp_path / "cells.tif", frames(0)[0])
    with pytest.raises(InputError, match=r"cells\.tif does not say .*; pass --voxel-size"):
        evaluate_dataset(tmp_path / "cells.tif")
    write_set(tmp_path / "set", 0, 1)
    with pytest.raises(InputError, match="pass --against-voxel-size"):
        evaluate_dataset(tmp_path / "set", against=tmp_path / "cells.tif")
    path = tmp_path / "set" / "01_GT" / "TRA" / "man_track002.tif"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match=r"man_track002\.tif"):
        evaluate_dataset(tmp_path / "set", workers=2)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on other systems")
def test_a_name_that_is_no_text_is_kept_as_far_as_it_is(tmp_path):
    folder = write_set(tmp_path / os.fsdecode(b"caf\xe9"), 0, 1)
    write_evaluation(tmp_path / "e.json", evaluate_dataset(folder))
    assert read_evaluation(tmp_path / "e.json").of.name == "caf\ufffd"
