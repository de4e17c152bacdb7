"""From masks to a preset that generates, and what an interruption leaves."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from cellsynth.errors import InputError, InUseError, StorageError
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import Grid
from cellsynth.presets.bundle import read_bundle
from cellsynth.rendering.dataset import GenerateOptions, generate
from cellsynth.sampling import calibration
from cellsynth.shapes import MaskSequence, ShapeStore, build_store, cut_cells
from cellsynth.training import preset as preset_module
from cellsynth.training.description import observed_topology
from cellsynth.training.preset import TrainEvent, TrainOptions, train_preset, work_folder
from cellsynth.training.stepping import Length
from cellsynth.training.trained import PROBE_BOUND

VOXEL_UM = (1.0, 0.5, 0.5)
SHAPE = (25, 50, 50)


def body(centres_um: list[tuple[float, float, float]], radius_um: float) -> np.ndarray:
    """Labels 1, 2 … of spheres around centres ``(z, y, x)`` in µm from the middle."""
    middle = (np.array(SHAPE) - 1) / 2 * VOXEL_UM
    zyx = np.indices(SHAPE).transpose(1, 2, 3, 0) * VOXEL_UM - middle
    labels = np.zeros(SHAPE, np.uint16)
    for label, centre in enumerate(centres_um, start=1):
        labels[np.linalg.norm(zyx - centre, axis=-1) < radius_um] = label
    return labels


@pytest.fixture(scope="module")
def masks(tmp_path_factory) -> Path:
    """Four cells in a sequence each that grow, a fifth that leaves the field."""
    root = tmp_path_factory.mktemp("data") / "cells"
    for i in range(4):
        frames = [body([(0.0, 0.0, 0.0)], 4.0 + 0.6 * i + 0.3 * t) for t in range(3)]
        if i == 0:
            for frame in frames:
                frame[:2, :4, :4] = 7
        lineage = Lineage((Tracklet(1, 0, 2), *((Tracklet(7, 0, 2),) if i == 0 else ())))
        options = {"voxel_size_um": VOXEL_UM, "frame_interval_s": 45.0}
        write_ctc(root, f"0{i + 1}", frames, lineage, **options)
    return root


@pytest.fixture(autouse=True)
def few_draws(monkeypatch) -> None:
    monkeypatch.setattr(calibration, "DRAWS", 4)


@pytest.fixture(scope="module")
def options(spec, recipe) -> TrainOptions:
    return TrainOptions("mycells", Length(steps=150), recipe=recipe, spec=spec, seed=3)


@pytest.fixture(scope="module")
def trained(masks, options, tmp_path_factory):
    """A preset, made at one go, and what was told on the way."""
    events: list[TrainEvent] = []
    out = tmp_path_factory.mktemp("trained") / "mycells"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "DRAWS", 4)
        patch.setattr(preset_module, "PROBE_S", 0.5)
        summary = train_preset(masks, out, options, on_event=events.append)
    return summary, events


def test_the_bundle_is_whole_and_says_how_it_was_made(trained, options, masks):
    summary, _ = trained
    bundle = read_bundle(summary.bundle.folder)
    assert bundle.sha256 == summary.bundle.sha256
    preset = bundle.preset
    assert (preset.name, preset.title) == ("mycells", "Cells like those in mycells")
    assert preset.description.endswith("learned from 4 single-cell sequences of 3 frames.")
    assert preset.field == options.spec
    assert (preset.scale.n_frames, preset.scale.frame_interval_s) == (3, 45.0)
    assert preset.scale.assumed == ()
    # The largest sphere is 6.4 µm, Ω 15 % wider and rounded up.
    assert preset.scale.half_extent_um == pytest.approx(7.4, abs=0.2)
    assert preset.training.recipe == options.recipe
    assert (preset.training.steps, preset.training.seed) == (150, 3)
    assert (preset.training.sequences, preset.training.frames) == (4, 12)
    topology = preset.topology
    assert (topology.begin_cells, topology.divisions, topology.end_cells) == (1, 0, 1)
    assert preset.bound != PROBE_BOUND
    assert "# " in bundle.card()
    assert bundle.preview().startswith(b"\x89PNG")
    assert bundle.tensors()["latents"].shape == (4, 4)


def test_what_the_data_do_not_say_is_told_first(options, tmp_path):
    """Stopped at once, nothing is left."""
    frames = [body([(0.0, 0.0, 0.0)], 4.0)] * 2
    tifffile.imwrite(tmp_path / "silent.tif", np.stack(frames), photometric="minisblack")
    with pytest.raises(KeyboardInterrupt):
        train_preset(tmp_path / "silent.tif", tmp_path / "out", options, on_event=_stop_if_assumed)
    assert [path.name for path in tmp_path.iterdir()] == ["silent.tif"]


def _stop_if_assumed(event: TrainEvent) -> None:
    assert event.stage == "read"
    assert event.done == 0
    assert event.assumed == ("voxel size 1 × 1 × 1 µm", "frame interval 60 s")
    raise KeyboardInterrupt


def test_the_evaluation_is_of_every_frame(trained):
    evaluation = trained[0].evaluation
    dsc = evaluation["dsc"]
    assert dsc["mean"] > 0.9
    assert dsc["worst"] <= min(dsc["per_frame"]) <= dsc["mean"]
    assert len(dsc["per_sequence"]) == 4
    assert len(dsc["per_frame"]) == 3
    assert np.mean(dsc["per_frame"]) == pytest.approx(dsc["mean"], abs=1e-4)
    assert "frame" in dsc["worst_where"]
    assert evaluation["sampling"]["gaussian"]["draws"] == 4
    latents = trained[0].bundle.tensors()["latents"]
    assert evaluation["latents"]["std"] == pytest.approx(np.sqrt((latents**2).mean()), rel=1e-3)
    assert json.loads(json.dumps(evaluation)) == trained[0].bundle.evaluation()


def test_what_was_left_out_is_told(trained):
    [left] = trained[0].left_out
    assert "01 track 7" in left.name
    assert left.reason.startswith("leaves the field")


def test_every_stage_is_told_from_beginning_to_end(trained):
    _, events = trained
    stages = [stage for stage, _ in groupby(events, key=lambda event: event.stage)]
    assert stages == [
        "read", "distances", "points", "train", "evaluate", "judge", "calibrate"
    ]  # fmt: skip
    for stage in ("read", "distances", "points", "train", "evaluate"):
        last = [event for event in events if event.stage == stage][-1]
        assert last.done == last.total, stage
    steps = [event for event in events if event.stage == "train"]
    assert [event.report.step for event in steps] == list(range(1, 151))
    probes = [event.probe_dsc for event in steps if event.probe_dsc is not None]
    assert len(probes) >= 1
    assert all(0 <= dsc <= 1 for dsc in probes)


def test_it_generates(trained, tmp_path):
    bundle = trained[0].bundle
    grid = Grid.from_voxel_size((1.0, 0.5, 0.5), bundle.preset.scale.half_extent_um)
    generate(bundle, tmp_path / "set", GenerateOptions(grid, n_frames=3), count=2, workers=1)
    assert validate_ctc(tmp_path / "set") == []


def test_nothing_but_the_preset_is_left(trained):
    folder = trained[0].bundle.folder
    assert [path.name for path in folder.parent.iterdir()] == ["mycells"]


class StopError(Exception):
    pass


def stop_in(stage: str, done: float = 0.0):
    def on_event(event: TrainEvent) -> None:
        if event.stage == stage and event.done >= done:
            raise StopError

    return on_event


@pytest.mark.parametrize(
    ("stage", "done"), [("points", 5), ("train", 0.3), ("evaluate", 2), ("calibrate", 3)]
)
def test_interrupted_anywhere_and_resumed_it_is_the_same_preset(
    trained, masks, options, tmp_path, contents, stage, done
):
    out = tmp_path / "mycells"
    with pytest.raises(StopError):
        train_preset(masks, out, options, on_event=stop_in(stage, done))
    assert not out.exists()
    assert work_folder(out).is_dir()
    with pytest.raises(InUseError, match="holds an interrupted training; pass --resume or --over"):
        train_preset(masks, out, options)
    events: list[TrainEvent] = []
    summary = train_preset(masks, out, options, resume=True, on_event=events.append)
    # Distances are not computed again, and all that is known is told again.
    assert "distances" not in {event.stage for event in events}
    assert summary.left_out == trained[0].left_out
    assert [path.name for path in tmp_path.iterdir()] == ["mycells"]
    for name, tensor in trained[0].bundle.tensors().items():
        np.testing.assert_array_equal(summary.bundle.tensors()[name], tensor)
    expected, found = contents(trained[0].bundle.folder), contents(out)
    for files in (expected, found):
        del files["preset.toml"], files["CARD.md"]  # seconds are in there
    assert found == expected


@pytest.mark.parametrize("stage", ["read", "distances"])
def test_interrupted_before_there_is_anything_worth_keeping(masks, options, tmp_path, stage):
    with pytest.raises(StopError):
        train_preset(masks, tmp_path / "mycells", options, on_event=stop_in(stage, 2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_frames": 2}, "had n_frames None, now 2"),
        ({"orientation": "none"}, "had orientation sequence, now none"),
        ({"half_extent_um": 9.0}, r"had half_extent_um None, now 9\.0"),
        ({"voxel_size_um": (1.0, 1.0, 1.0)}, r"had voxel_size_um None, now \[1\.0, 1\.0, 1\.0\]"),
        ({"seed": 4}, "other data or settings; give the same options again, or --overwrite"),
        ({"length": Length(steps=151)}, "other data or settings"),
    ],
    ids=lambda change: next(iter(change)) if isinstance(change, dict) else "",
)
def test_resumed_with_other_options_is_refused(masks, options, tmp_path, change, message):
    out = tmp_path / "mycells"
    with pytest.raises(StopError):
        train_preset(masks, out, options, on_event=stop_in("train", 0.02))
    with pytest.raises(InputError, match=message):
        train_preset(masks, out, replace(options, **change), resume=True)
    assert work_folder(out).is_dir()
    # To start anew is always possible.
    with pytest.raises(StopError):
        train_preset(
            masks, out, replace(options, **change), overwrite=True, on_event=stop_in("train")
        )


def test_a_preset_is_replaced_only_when_asked(trained, masks, options, tmp_path, contents):
    out = tmp_path / "mycells"
    short = replace(options, length=Length(steps=2))
    train_preset(masks, out, short)
    before = contents(out)
    with pytest.raises(InUseError, match="holds a preset already; pass --overwrite"):
        train_preset(masks, out, short)
    with pytest.raises(InUseError, match="holds a preset already"):
        train_preset(masks, out, short, resume=True)
    other = replace(short, title="Others")
    for given in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(StopError):
            train_preset(masks, out, other, on_event=stop_in("evaluate"), **given)
    assert contents(out) == before
    # One that was to replace it still is when it is resumed, and then no more.
    train_preset(masks, out, other, resume=True, keep=True)
    assert read_bundle(out).preset.title == "Others"
    with pytest.raises(InUseError, match="holds a preset already"):
        train_preset(masks, out, other, resume=True)


def test_a_folder_of_somebody_else_is_left_alone(masks, options, tmp_path):
    (tmp_path / "mycells").mkdir()
    (tmp_path / "mycells" / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InUseError, match="is in use and is no preset; give another --out"):
            train_preset(masks, tmp_path / "mycells", options, overwrite=overwrite)
    assert (tmp_path / "mycells" / "notes.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "My Cells"}, "name.*My Cells"),
        ({"licence": "free?"}, "licence.*free"),
        ({"n_frames": 9}, "no usable track of 9 frames"),
        ({"half_extent_um": 3.0}, "beyond half_extent_um 3"),
    ],
    ids=["name", "licence", "frames", "half extent"],
)
def test_what_cannot_be_trained_leaves_nothing(masks, options, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        train_preset(masks, tmp_path / "mycells", replace(options, **change))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_before_the_first_checkpoint_leaves_nothing(
    masks, options, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise StorageError("points.npy: cannot write training points: No space left on device")

    monkeypatch.setattr(preset_module, "build_pool", full)
    with pytest.raises(StorageError, match="No space left on device"):
        train_preset(masks, tmp_path / "mycells", options)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_afterwards_keeps_what_was_learned(masks, options, tmp_path, monkeypatch):
    short = replace(options, length=Length(steps=3))

    def full(*_, **__):
        raise StorageError("mycells cannot be written: No space left on device")

    monkeypatch.setattr(preset_module, "write_bundle", full)
    with pytest.raises(StorageError):
        train_preset(masks, tmp_path / "mycells", short)
    monkeypatch.undo()
    monkeypatch.setattr(calibration, "DRAWS", 1)
    assert (work_folder(tmp_path / "mycells") / preset_module.CHECKPOINT).is_file()
    steps = []
    train_preset(
        masks, tmp_path / "mycells", short, resume=True,
        on_event=lambda event: steps.append(event) if event.stage == "train" else None,
    )  # fmt: skip
    assert steps == []


def test_keep_leaves_the_working_folder(masks, options, tmp_path):
    out = tmp_path / "mycells"
    train_preset(masks, out, replace(options, length=Length(steps=2)), keep=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mycells.training", "mycells"]
    assert {path.suffix for path in work_folder(out).iterdir()} >= {".npy", ".safetensors", ".zarr"}


def test_cells_that_divide_give_a_topology_that_does(spec, recipe, tmp_path):
    """One body, then two: counted in the masks' own pieces."""
    tracklets = (Tracklet(1, 0, 1), Tracklet(2, 2, 3, 1), Tracklet(3, 2, 3, 1))
    for name in ("01", "02"):
        frames = []
        for t in range(4):
            apart = 0.0 if t < 2 else 2.0 + t
            labels = body([(0.0, 0.0, -apart), (0.0, 0.0, apart)], 3.0)
            labels[labels > 0] += 1 if t > 1 else 0
            frames.append(np.where(labels > 0, 1, 0).astype(np.uint16) if t < 2 else labels)
        write_ctc(
            tmp_path / "data", name, frames, Lineage(tracklets),
            voxel_size_um=VOXEL_UM, frame_interval_s=45.0,
        )  # fmt: skip
    options = TrainOptions("twins", Length(steps=60), recipe=recipe, spec=spec)
    summary = train_preset(tmp_path / "data", tmp_path / "twins", options)
    topology = summary.bundle.preset.topology
    assert (topology.begin_cells, topology.divisions, topology.end_cells) == (1, 1, 2)
    assert summary.bundle.preset.training.sequences == 2


def test_cells_that_fuse_are_not_what_new_cells_do(tmp_path):
    """Two pieces that become one, twice, and a body that stays one."""

    def masks(pieces_first: int) -> MaskSequence:
        def read(t: int) -> np.ndarray:
            labels = np.zeros((5, 5, 9), np.uint16)
            labels[1:4, 1:4, 1:8] = 1
            labels[:, :, 4] *= t > 0 or pieces_first == 1
            return labels

        return MaskSequence(f"from {pieces_first}", 2, (5, 5, 9), (1, 1, 1), 60.0, read)

    cells, _ = cut_cells([masks(2), masks(2), masks(1)])
    topology = observed_topology(build_store(tmp_path / "one.zarr", cells))
    assert (topology.begin_cells, topology.divisions, topology.end_cells) == (1, 0, 1)
    none = build_store(tmp_path / "none.zarr", cells[:2])
    with pytest.raises(InputError, match=r"2 of 2 training .* in 2 pieces and end in 1"):
        observed_topology(none)


def test_cells_that_all_fuse_are_refused_before_any_training(options, tmp_path):
    apart, whole = body([(0, 0, -4.0), (0, 0, 4.0)], 3.0), body([(0, 0, 0)], 4.0)
    sequence = [np.minimum(apart, 1), np.minimum(apart, 1), whole]
    write_ctc(
        tmp_path / "fusing", "01", sequence, Lineage((Tracklet(1, 0, 2),)),
        voxel_size_um=VOXEL_UM, frame_interval_s=45.0,
    )  # fmt: skip
    out = tmp_path / "none"
    with pytest.raises(InputError, match="begin in 2 pieces and end in 1"):
        train_preset(tmp_path / "fusing", out, options)
    assert not out.exists()
    assert not work_folder(out).exists()


def test_only_the_frames_asked_for_are_measured(masks, options, tmp_path):
    some = replace(options, length=Length(steps=2), evaluate_every=2)
    found = train_preset(masks, tmp_path / "tiny", some)
    assert found.evaluation["dsc"]["frames"] == [0, 2]
    assert len(found.evaluation["dsc"]["per_frame"]) == 2
    assert "| DSC, mean of frames 0, 2 |" in found.bundle.card()


def test_a_measurement_that_was_cut_off_is_made_again(options, tmp_path, monkeypatch):
    """Stopped while it was written, with a part of it on disk."""
    dsc, save = np.ones((4, 3)), np.save

    def stopped(file, array):
        save(file, array)
        os.truncate(next(tmp_path.iterdir()), 100)
        raise KeyboardInterrupt

    monkeypatch.setattr(preset_module, "training_dice", lambda *_, **__: dsc)
    store = SimpleNamespace(n_sequences=4, n_frames=3)
    path = tmp_path / "dsc.npy"
    with monkeypatch.context() as patch:
        patch.setattr(preset_module.np, "save", stopped)
        with pytest.raises(KeyboardInterrupt):
            preset_module._evaluate(None, store, path, options, lambda _: None)
    found = preset_module._evaluate(None, store, path, options, lambda _: None)
    np.testing.assert_array_equal(found, dsc)
    assert [left.name for left in tmp_path.iterdir()] == ["dsc.npy"]


def test_an_interrupted_calibration_measures_nothing_twice(masks, options, tmp_path, monkeypatch):
    short = replace(options, length=Length(steps=2))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preset_module, "calibrate_model", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_preset(masks, tmp_path / "tiny", short)
    told: list[str] = []
    train_preset(
        masks, tmp_path / "tiny", short, resume=True, on_event=lambda e: told.append(e.stage)
    )
    assert set(told) == {"judge", "calibrate"}


def test_several_data_sets_make_one_preset(masks, options, tmp_path):
    """The same cells twice, once as if they were ten times as large."""
    large = tmp_path / "large"
    for i in (1, 2, 3):
        frames = [body([(0.0, 0.0, 0.0)], 5.0 + 0.5 * i + 0.3 * t) for t in range(3)]
        voxel = tuple(10 * size for size in VOXEL_UM)
        write_ctc(
            large,
            f"0{i}",
            frames,
            Lineage((Tracklet(1, 0, 2),)),
            voxel_size_um=voxel,
            frame_interval_s=45.0,
        )
    short = replace(options, length=Length(steps=2), half_extent_um=None, spec=options.spec)
    found = train_preset(
        [masks, large], tmp_path / "tiny", replace(short, one_size=True), keep=True
    )
    preset = found.bundle.preset
    assert preset.training.sequences == 7
    assert any("one size" in what for what in preset.scale.assumed)
    store = ShapeStore.open(work_folder(tmp_path / "tiny") / "shapes.zarr")
    reach = [np.count_nonzero(store.mask(i, 2)) ** (1 / 3) * store.voxel_size_um(i)[1]
             for i in range(7)]  # fmt: skip
    assert max(reach[:4]) == pytest.approx(max(reach[4:]), rel=0.05)
    plain = train_preset([masks, large], tmp_path / "plain", short).bundle.preset
    assert plain.scale.half_extent_um > 5 * preset.scale.half_extent_um


def test_a_training_starts_from_a_preset(trained, options, masks, tmp_path):
    bundle = trained[0].bundle
    start = replace(
        options, name="further", length=Length(steps=1), start=bundle, spec=bundle.preset.field
    )
    summary = train_preset(masks, tmp_path / "further", start)
    preset = summary.bundle.preset
    assert preset.training.start == f"mycells {bundle.sha256[:12]}"
    assert preset.training.steps == 1
    assert "started from | mycells" in summary.bundle.card()
    # A step further it is what it was, where a new draw knows nothing.
    assert summary.evaluation["dsc"]["mean"] == pytest.approx(
        trained[0].evaluation["dsc"]["mean"], abs=0.02
    )
