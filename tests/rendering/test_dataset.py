"""Whole data sets: the same bytes whatever happens, and nobody else's files touched."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from scipy.ndimage import label as connected

from cellsynth.errors import (
    BundleError,
    InputError,
    InUseError,
    StorageError,
    TopologyError,
)
from cellsynth.formats.ctc import read_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.geometry import Grid
from cellsynth.rendering import manifest as manifest_module
from cellsynth.rendering import sequence_maker
from cellsynth.rendering.dataset import Event, GenerateOptions, generate
from cellsynth.rendering.sequence import propose_cell

GRID = Grid.over_omega((14, 16, 18))
OPTIONS = GenerateOptions(GRID, n_frames=4, seed=11)
COUNT = 6


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def manifest(folder: Path) -> dict:
    return json.loads((folder / "dataset.json").read_text())


def make(bundle, out: Path, *, options: GenerateOptions = OPTIONS, **others):
    return generate(bundle, out, options, **{"count": COUNT, "workers": 1, **others})


def living_workers() -> list[psutil.Process]:
    """The worker processes of this one; a zombie, ended and not yet reaped, is none."""

    def is_worker(process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return "spawn_main" in " ".join(process.cmdline())
        return False

    return [process for process in psutil.Process().children() if is_worker(process)]


@pytest.fixture(scope="module")
def reference(dividing_bundle, tmp_path_factory) -> Path:
    """Six sequences, made at one go by one process."""
    out = tmp_path_factory.mktemp("reference") / "set"
    make(dividing_bundle, out)
    return out


def test_a_set_is_valid_and_says_what_it_is(reference, dividing_bundle):
    assert validate_ctc(reference) == []
    said = manifest(reference)
    assert said["format"] == "cellsynth-dataset"
    assert said["preset"] == {"name": "dividing", "sha256": dividing_bundle.sha256}
    assert said["options"] == {
        "shape": [14, 16, 18],
        "voxel_size_um": pytest.approx([10 / 14, 10 / 16, 10 / 18]),
        "frames": 4,
        "frame_interval_s": 30,
        "rotation": "random",
        "strategy": "gaussian",
        "seed": 11,
    }
    assert list(said["sequences"]) == ["01", "02", "03", "04", "05", "06"]
    assert sorted(path.name for path in reference.iterdir()) == [
        *(f"{n}_GT" for n in said["sequences"]),
        "dataset.json",
    ]
    for sequence in read_ctc(reference):
        record = said["sequences"][sequence.name]
        [mother] = sequence.lineage.divisions()
        assert record["divisions"] == [{"label": mother.label, "frame": mother.end + 1}]
        assert [t.end for t in sequence.lineage.children(mother.label)] == [3, 3]
        assert record["status"] == "complete"
        rotation = np.array(record["rotation"])
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert sequence.voxel_size_um == pytest.approx((10 / 14, 10 / 16, 10 / 18), rel=1e-6)
        assert sequence.frame_interval_s == pytest.approx(30)


def test_a_sequence_is_the_draw_that_the_manifest_says(reference, dividing_bundle, dividing):
    for i, record in enumerate(manifest(reference)["sequences"].values()):
        latent = propose_cell(dividing, seed=11, sequence=i, attempt=record["refused_draws"]).latent
        np.testing.assert_array_equal(np.array(record["latent"], np.float32), latent)


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_changes_nothing(reference, dividing_bundle, tmp_path, workers):
    events: Counter[str] = Counter()
    summary = make(
        dividing_bundle,
        tmp_path / "set",
        workers=workers,
        on_event=lambda event: events.update([event.kind]),
    )
    assert contents(tmp_path / "set") == contents(reference)
    assert (summary.sequences, summary.made) == (COUNT, COUNT)
    assert events["sequence"] == COUNT
    assert not living_workers()


def test_a_longer_set_begins_with_the_shorter_one(reference, dividing_bundle, tmp_path):
    make(dividing_bundle, tmp_path / "set", count=33)
    short, long = contents(reference), contents(tmp_path / "set")
    assert len(manifest(tmp_path / "set")["sequences"]) == 33
    first = manifest(tmp_path / "set")["sequences"]
    assert {n: first[n] for n in manifest(reference)["sequences"]} == (
        manifest(reference)["sequences"]
    )
    del short["dataset.json"]
    assert {path: long[path] for path in short} == short


def test_resume_with_more_adds_and_leaves_the_rest_alone(reference, dividing_bundle, tmp_path):
    out = tmp_path / "set"
    make(dividing_bundle, out, count=2)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.tif")}
    events: list[Event] = []
    summary = make(dividing_bundle, out, resume=True, on_event=events.append)
    assert (summary.sequences, summary.made) == (6, 4)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(out) == contents(reference)
    assert {event.sequence for event in events} == {2, 3, 4, 5}
    # Fewer, or as many: nothing to do, and nothing is taken away.
    for count in (2, 6):
        assert make(dividing_bundle, out, count=count, resume=True).made == 0
        assert contents(out) == contents(reference)


@pytest.mark.parametrize("gone", ["03_GT", "in the manifest only", "left over", "damaged"])
def test_whatever_a_crash_left_is_mended(reference, dividing_bundle, tmp_path, gone):
    out = tmp_path / "set"
    make(dividing_bundle, out)
    if gone == "03_GT":
        sequence_maker.remove(out / gone)
    elif gone == "in the manifest only":
        # Moved to its place, killed before the manifest was written.
        said = manifest(out)
        del said["sequences"]["04"]
        (out / "dataset.json").write_text(json.dumps(said))
    elif gone == "left over":
        (out / ".part-07" / "07_GT" / "TRA").mkdir(parents=True)
        (out / ".part-07" / "07_GT" / "TRA" / "man_track000.tif").write_bytes(b"half of it")
    else:
        (out / "dataset.json.part").write_text('{"format": "cells')
    make(dividing_bundle, out, resume=True)
    assert contents(out) == contents(reference)


SCRIPT = """
import sys
from pathlib import Path
from cellsynth.geometry import Grid
from cellsynth.presets.bundle import read_bundle
from cellsynth.rendering.dataset import GenerateOptions, generate

options = GenerateOptions(Grid.over_omega((14, 16, 18)), n_frames=4, seed=11)
generate(
    read_bundle(sys.argv[1]), Path(sys.argv[2]), options,
    count=6, workers=2, resume=True, on_event=lambda event: print(event.kind, flush=True),
)
"""


def test_killed_at_any_moment_and_resumed_it_ends_the_same(reference, dividing_bundle, tmp_path):
    """SIGKILL to the parent alone; its workers end by themselves, and the rest is made later."""
    out = tmp_path / "set"
    moments = random.Random(5)
    for kill in range(2):
        running = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, dividing_bundle.folder, out], stdout=subprocess.PIPE
        )
        assert running.stdout is not None
        try:
            for _ in range(moments.randint(1, 9)):
                running.stdout.readline()
            time.sleep(moments.uniform(0, 0.05))
            workers = psutil.Process(running.pid).children(recursive=True)
        finally:
            running.kill()
        assert running.wait() == -signal.SIGKILL, kill
        running.stdout.close()
        gone, alive = psutil.wait_procs(workers, timeout=20)
        assert not alive
        assert gone
        # What lies there is whole, and the manifest is readable.
        assert set(manifest(out)["sequences"]) <= {f"0{i}" for i in range(1, 7)}
        if list(out.glob("*_GT")):
            assert validate_ctc(out) == []
    assert contents(out) != contents(reference)
    make(dividing_bundle, out, resume=True)
    assert contents(out) == contents(reference)


def test_a_worker_that_dies_gives_one_clear_error(reference, dividing_bundle, tmp_path):
    out = tmp_path / "set"

    def kill_a_worker(event: Event) -> None:
        if event.kind == "sequence":
            for worker in living_workers():
                worker.kill()

    with pytest.raises(StorageError) as error:
        make(dividing_bundle, out, workers=2, on_event=kill_a_worker)
    assert str(error.value) == (
        "a worker was ended by the system, most likely out of memory; "
        "use fewer --workers and --resume"
    )
    assert not list(out.glob(".part-*"))
    assert 0 < len(manifest(out)["sequences"]) < COUNT
    make(dividing_bundle, out, resume=True)
    assert contents(out) == contents(reference)


def test_an_interruption_leaves_whole_sequences(reference, dividing_bundle, tmp_path):
    out = tmp_path / "set"

    def interrupt(event: Event) -> None:
        if event == Event("sequence", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(dividing_bundle, out, on_event=interrupt)
    assert sorted(path.name for path in out.iterdir()) == [
        "01_GT", "02_GT", "03_GT", "dataset.json",
    ]  # fmt: skip
    make(dividing_bundle, out, resume=True)
    assert contents(out) == contents(reference)


@pytest.mark.parametrize("frames_before", [0, 2, 9])
def test_a_full_disk_leaves_whole_sequences_or_nothing(
    reference, dividing_bundle, tmp_path, monkeypatch, frames_before
):
    out = tmp_path / "set"
    written = []
    write_frame = sequence_maker.CTCWriter.write_frame

    def full(writer, t, labels, **where):
        if len(written) == frames_before:
            raise StorageError(f"frame {t} could not be written: no space left on device")
        written.append(t)
        return write_frame(writer, t, labels, **where)

    monkeypatch.setattr(sequence_maker.CTCWriter, "write_frame", full)
    with pytest.raises(StorageError, match="no space left on device"):
        make(dividing_bundle, out)
    monkeypatch.undo()
    if frames_before < 4:
        assert not out.exists()
    else:
        assert sorted(p.name for p in out.iterdir()) == ["01_GT", "02_GT", "dataset.json"]
        make(dividing_bundle, out, resume=True)
        assert contents(out) == contents(reference)


def test_a_full_disk_is_noticed_before_all_is_rendered(dividing_bundle, tmp_path, monkeypatch):
    def full(writer, t, labels, **where):
        raise StorageError(f"frame {t} could not be written: no space left on device")

    monkeypatch.setattr(sequence_maker.CTCWriter, "write_frame", full)
    events: list[Event] = []
    options = replace(OPTIONS, n_frames=40)
    with pytest.raises(StorageError, match=r"frame 39 .* no space left on device"):
        make(dividing_bundle, tmp_path / "set", options=options, on_event=events.append)
    assert len(events) < 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": Grid.over_omega((14, 16, 19))}, r"another options: .*18\].*now .*19\]"),
        ({"n_frames": 5}, "another options: .*'frames': 4.*now .*'frames': 5"),
        ({"seed": 12}, "another options: .*'seed': 11.*now .*'seed': 12"),
        ({"rotation": "none"}, "another options: .*'random'.*now .*'none'"),
        ({"rotation": (0.0, 1.0, 0.5)}, r"another options: .*'random'.*now .*\[0.0, 1.0, 0.5\]"),
        ({"strategy": "neighbourhood"}, "another options: .*'gaussian'.*now .*'neighbourhood'"),
    ],
)
def test_resume_with_other_options_is_refused(
    dividing_bundle, tmp_path_factory, reference, change, message
):
    before = contents(reference)
    with pytest.raises(InputError, match=message) as error:
        make(dividing_bundle, reference, options=replace(OPTIONS, **change), resume=True)
    assert str(error.value).endswith("give the same again, or another --out")
    assert contents(reference) == before


def test_resume_with_another_preset_or_version_is_refused(
    reference, sphere_bundle, dividing_bundle, monkeypatch
):
    with pytest.raises(InputError, match=r"another preset: .*'dividing'.*now .*'sphere'"):
        make(sphere_bundle, reference, resume=True)
    monkeypatch.setattr(manifest_module, "versions", lambda: {"cellsynth": "9.9"})
    with pytest.raises(InputError, match=r"another versions: .*now {'cellsynth': '9.9'}"):
        make(dividing_bundle, reference, resume=True)


def test_a_set_is_not_written_into_unasked(reference, dividing_bundle):
    before = contents(reference)
    with pytest.raises(InUseError, match="holds a data set already; pass --resume, --overwrite"):
        make(dividing_bundle, reference)
    assert contents(reference) == before


def test_overwrite_replaces_our_own(reference, sphere_bundle, tmp_path):
    out = tmp_path / "set"
    make(sphere_bundle, out, count=3)
    (out / "07_GT").mkdir()
    summary = make(sphere_bundle, out, count=1, overwrite=True)
    assert (summary.sequences, summary.made) == (1, 1)
    assert sorted(path.name for path in out.iterdir()) == ["01_GT", "dataset.json"]


@pytest.mark.parametrize(
    "theirs",
    [
        {"notes.txt": "mine"},
        {"dataset.json": '{"name": "mine", "labels": {}}'},  # as nnU-Net has it
        {"dataset.json": "[1, 2]"},
        {"dataset.json": '{"format": "cellsy'},
        {"dataset.json": "\udcff"},
    ],
)
@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}])
def test_nobody_else_s_folder_is_touched(dividing_bundle, tmp_path, theirs, how):
    out = tmp_path / "theirs"
    out.mkdir()
    for name, text in theirs.items():
        (out / name).write_bytes(text.encode(errors="surrogateescape"))
    before = contents(out)
    with pytest.raises(InUseError, match="is in use and is no data set of ours; give another"):
        make(dividing_bundle, out, **how)
    assert contents(out) == before


def test_a_file_in_the_way(dividing_bundle, tmp_path):
    (tmp_path / "set").write_text("mine")
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(InUseError, match="set is a file; give another --out"):
            make(dividing_bundle, tmp_path / "set", **how)
    assert (tmp_path / "set").read_text() == "mine"


def test_an_empty_folder_is_taken(dividing_bundle, tmp_path):
    assert make(dividing_bundle, tmp_path, count=1).made == 1


@pytest.mark.parametrize("how", [{"resume": True}, {"overwrite": True}])
def test_a_set_that_another_run_writes_is_left_alone(dividing_bundle, tmp_path, how):
    out = tmp_path / "set"
    make(dividing_bundle, out, count=1)
    before = contents(out)
    handle = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InUseError, match="is being written by another run; wait for it"):
            make(dividing_bundle, out, **how)
    finally:
        os.close(handle)
    assert contents(out) == before
    make(dividing_bundle, out, **how)  # it is free again


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"options": replace(OPTIONS, seed=-1)}, "seed must be at least 0, got -1"),
        (
            {"options": replace(OPTIONS, strategy="guess")},
            "strategy must be one of gaussian, neighbourhood, mixture, kernel, got guess",
        ),
        ({"options": replace(OPTIONS, n_frames=0)}, "frames must be 1 to 10000, got 0"),
        ({"options": replace(OPTIONS, n_frames=10_001)}, "frames must be 1 to 10000, got 10001"),
    ],
)
def test_options_that_cannot_be_are_named(dividing_bundle, tmp_path, others, message):
    with pytest.raises(InputError, match=message):
        make(dividing_bundle, tmp_path / "set", **others)
    assert not (tmp_path / "set").exists()


def test_a_grid_beyond_memory_is_named(dividing_bundle, tmp_path):
    options = replace(OPTIONS, grid=Grid.over_omega((65535,) * 3), n_frames=1, dense=True)
    with pytest.raises(InputError, match="65535 × 65535 × 65535 voxels does not fit in memory"):
        make(dividing_bundle, tmp_path / "set", options=options)
    assert not (tmp_path / "set").exists()


def test_fifty_draws_that_break_the_topology_end_it(dividing_bundle, tmp_path):
    never = dividing_bundle.preset.topology.model_copy(
        update={"begin_cells": 2, "divisions": 1, "end_cells": 3}
    )
    preset = dividing_bundle.preset.model_copy(update={"topology": never})
    with pytest.raises(TopologyError, match="sequence 1 broke the topology in 50 draws"):
        make(replace(dividing_bundle, preset=preset), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_cells_that_fall_together_on_a_coarse_grid_are_drawn_again(dividing_bundle, tmp_path):
    """Whole on the reference grid, not on this one: counted, told, and the next draw taken."""
    coarse = replace(OPTIONS, grid=Grid.over_omega((5, 5, 5)))
    events: list[Event] = []
    out = tmp_path / "set"
    summary = make(dividing_bundle, out, options=coarse, count=8, on_event=events.append)
    redrawn = Counter(event.sequence for event in events if event.kind == "redrawn")
    refused = [r["refused_draws"] for r in manifest(out)["sequences"].values()]
    assert sum(redrawn.values()) > 0
    assert refused == [redrawn[i] for i in range(8)]
    assert summary.refused == sum(refused)
    assert validate_ctc(out) == []


def test_a_grid_on_which_they_always_fall_together(dividing_bundle, tmp_path):
    """The grid asked for is to blame, not the preset, and the message says so."""
    with pytest.raises(TopologyError) as error:
        make(
            dividing_bundle,
            tmp_path / "set",
            options=replace(OPTIONS, grid=Grid.over_omega((2,) * 3)),
        )
    assert str(error.value) == (
        "preset dividing: sequence 1 broke the topology in 50 draws (last: cells in the last "
        "frame: got 0, expected 2, on the grid of 2 × 2 × 2 voxels); try a finer grid, or "
        "--strategy neighbourhood"
    )
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("n_frames", "interval"), [(7, 15.0), (4, 30.0), (2, 90.0), (1, 30.0)]
)  # fmt: skip
def test_frames_span_the_preset_s_time(dividing_bundle, tmp_path, n_frames, interval):
    out = tmp_path / "set"
    make(dividing_bundle, out, options=replace(OPTIONS, n_frames=n_frames), count=1)
    assert manifest(out)["options"]["frame_interval_s"] == interval
    [sequence] = read_ctc(out)
    assert sequence.n_frames == n_frames
    assert sequence.frame_interval_s == pytest.approx(interval)
    assert validate_ctc(out) == []


def test_one_frame_has_its_cells_and_no_division(dividing_bundle, tmp_path):
    make(dividing_bundle, tmp_path / "set", options=replace(OPTIONS, n_frames=1), count=1)
    [sequence] = read_ctc(tmp_path / "set")
    _, n = connected(sequence.frame(0), np.ones((3, 3, 3)))
    assert len(sequence.lineage.tracklets) == n
    assert not sequence.lineage.divisions()


def test_an_unknown_interval_stays_unknown():
    assert OPTIONS.frame_interval_s(30, None) is None
    assert replace(OPTIONS, n_frames=7).frame_interval_s(1, 20.0) == 20.0


def test_dense_makes_the_same_files(reference, dividing_bundle, tmp_path):
    make(dividing_bundle, tmp_path / "set", options=replace(OPTIONS, dense=True))
    assert contents(tmp_path / "set") == contents(reference)


def test_cells_are_turned_as_asked(dividing_bundle, tmp_path):
    """A quarter turn about z takes x to y: the masks turn with it."""
    cube = Grid.over_omega((20, 20, 20))
    angles = (0.0, 0.0, np.pi / 2)
    for name, rotation in (("none", "none"), ("given", angles)):
        options = replace(OPTIONS, grid=cube, rotation=rotation)
        make(dividing_bundle, tmp_path / name, options=options, count=1)
    upright, turned = (
        manifest(tmp_path / name)["sequences"]["01"]["rotation"] for name in ("none", "given")
    )
    np.testing.assert_array_equal(upright, np.eye(3))
    np.testing.assert_allclose(turned, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    assert manifest(tmp_path / "given")["options"]["rotation"] == list(angles)
    [a], [b] = (read_ctc(tmp_path / name) for name in ("none", "given"))
    for t in range(4):
        # Arrays are z, y, x: the new y is the old x, the new x the old y turned round.
        expected = np.flip((a.frame(t) > 0).transpose(0, 2, 1), axis=2)
        np.testing.assert_array_equal(b.frame(t) > 0, expected)
    # Daughters lie apart along x when upright, along y when turned.
    last = [np.argwhere(s.frame(3) > 0).std(axis=0).argmax() for s in (a, b)]
    assert last == [2, 1]


def test_anisotropic_voxels_reach_the_files(dividing_bundle, tmp_path):
    grid = Grid.from_voxel_size((1.0, 0.4, 0.3), 5.0)
    make(dividing_bundle, tmp_path / "set", options=replace(OPTIONS, grid=grid), count=1)
    [sequence] = read_ctc(tmp_path / "set")
    assert sequence.shape == (10, 25, 33)
    assert sequence.voxel_size_um == pytest.approx((1.0, 0.4, 0.3))


def test_a_preset_in_use_is_not_exchanged(dividing_bundle, sphere_bundle, tmp_path):
    exchanged = replace(dividing_bundle, folder=sphere_bundle.folder)
    with pytest.raises(BundleError, match="the preset was changed while it was in use"):
        make(exchanged, tmp_path / "set", workers=2)
    assert not (tmp_path / "set").exists()
