"""What studies are made of: cells, grids, and how codes tell types."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_studies import LEARNING, tiny

from cellsynth.errors import InputError, TopologyError
from cellsynth.evaluation.textures import Textured
from cellsynth.geometry import Grid, spread_frames
from cellsynth.shapes import build_store, cut_cells
from cellsynth.shapes.phantoms import phantom_families, render_family
from cellsynth.shapes.turned import turned
from cellsynth.studies import compactness, reconstruction, texture, trained_presets
from cellsynth.studies import omega as omega_module
from cellsynth.studies.classification import _linear, _silhouette
from cellsynth.studies.exploration import _corners, _is_between
from cellsynth.studies.fields import Learning, kept_store, learn
from cellsynth.studies.phantom_cells import Cells, half_extent_um, phantom_cells
from cellsynth.studies.space_interpolation import _covering, _nearest
from cellsynth.studies.study import Bench
from cellsynth.studies.texture import _nearer
from cellsynth.training.loop import Report, Trainer
from cellsynth.training.preset import TrainSummary, work_folder


def test_a_frame_is_the_same_whichever_others_are_seen():
    cells = phantom_cells(
        Cells(kind="platynereis", count=2, course=9, frames=(0, 4, 8), across=16), seed=3
    )
    voxel = 2 * half_extent_um("platynereis") / 16
    family = phantom_families("platynereis", 2, 9, 3)[1]
    source = cells[1].source
    assert source.voxel_size_um == (voxel,) * 3
    assert source.frame_interval_s == 4 * family.frame_interval_s
    np.testing.assert_array_equal(source.frame(1), render_family(family, 4, (voxel,) * 3))


def test_a_division_is_seen_in_the_frames_that_are_left():
    cells = phantom_cells(Cells(kind="celegans", count=2, frames=(0, 10, 29), across=48), seed=0)
    assert [len(labels) for labels in cells[0].labels] == [1, 1, 2]
    assert cells[0].divides


@pytest.mark.parametrize("frames", [(), (0, 30), (-1, 2)])
def test_frames_beyond_the_course_are_refused(frames):
    with pytest.raises(InputError, match="frames must lie in 0 to 29"):
        phantom_cells(Cells(kind="a549", count=2, frames=frames), seed=0)


def test_frames_are_spread_from_first_to_last():
    assert spread_frames(30, 4) == (0, 10, 19, 29)
    assert spread_frames(29, 8) == (0, 4, 8, 12, 16, 20, 24, 28)


def test_a_turned_cell_is_the_cell_turned(tmp_path):
    cells = phantom_cells(Cells(kind="platynereis", count=2, frames=(20,), across=32), seed=1)
    extent = half_extent_um("platynereis")
    store = build_store(tmp_path / "s", cells[:1], half_extent_um=extent, orientation="none")
    # A quarter turn about z takes x to y.
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    volumes, moments = [], []
    for name, rotation in (("as it lies", np.eye(3)), ("turned", quarter)):
        [cell], _ = cut_cells([turned(store, 0, rotation, name)])
        mask = cell.masks[0].voxels()
        volumes.append(int(mask.sum()))
        points = np.argwhere(mask)[:, ::-1].astype(float)
        points -= points.mean(axis=0)
        moments.append(points.T @ points / len(points))
    assert volumes[0] == store.mask(0, 0).sum()
    assert volumes[1] == pytest.approx(volumes[0], rel=0.03)
    np.testing.assert_allclose(
        moments[1], quarter @ moments[0] @ quarter.T, atol=0.05 * np.trace(moments[0])
    )


def test_a_grid_is_covered_and_brought_back_by_its_nearest_voxels():
    fine = Grid((6, 8, 5), (2 / 16,) * 3, (-0.4375, -0.4375, -0.3125))
    same = _covering(fine, 16)
    assert same.shape == fine.shape
    np.testing.assert_allclose(same.origin, fine.origin)
    mask = np.random.default_rng(0).uniform(size=fine.shape) < 0.5
    np.testing.assert_array_equal(_nearest(mask, same, fine), mask)
    coarse = _covering(fine, 8)
    low, high = (np.array(g.origin) - np.array(g.spacing) / 2 for g in (coarse, fine))
    assert (low <= high + 1e-9).all()
    found = _nearest(np.ones(coarse.shape, bool), coarse, fine)
    assert found.shape == fine.shape
    assert found.all()
    # Half of the coarse voxels along z, so about half of the fine ones.
    half = np.zeros(coarse.shape, bool)
    half[: coarse.shape[0] // 2] = True
    assert 0 < _nearest(half, coarse, fine).mean() < 1


def test_codes_of_types_apart_are_told_and_mixed_ones_are_not():
    rng = np.random.default_rng(0)
    kinds = np.repeat(["a", "b", "c"], 10)
    codes = rng.standard_normal((30, 4)).astype(np.float32)
    apart = codes + 20 * np.repeat(np.eye(3, 4, dtype=np.float32), 10, axis=0)
    assert _linear(apart, kinds, 0) == 1
    assert _silhouette(apart, kinds) > 0.7
    assert _linear(codes, kinds, 0) < 0.7
    assert _silhouette(codes, kinds) < 0.2


def test_a_triangle_needs_three_whole_cells():
    cell = {"volume_um3": 1.0}
    learned = [
        {"number": n + 1, "described": {"volume_um3": v}}
        for n, v in enumerate([5.0, 1.0, 9.0, 4.0])
    ]
    assert _corners({"learned": learned}) == {"least": 2, "greatest": 3, "average": 1}
    learned = [{"number": n, "described": cell if n < 3 else None} for n in (1, 2, 3)]
    with pytest.raises(TopologyError, match="2 of 3 learned cells keep the topology, expected 3"):
        _corners({"preset": {"name": "p"}, "learned": learned})


def test_of_a_step_that_was_not_taken_nothing_is_told(tmp_path, monkeypatch):
    cells = Cells(kind="platynereis", count=2, frames=(0,), across=16)
    bench = Bench(cells, 0, tmp_path)
    store = kept_store(
        bench, "store", phantom_cells(cells, seed=0), half_extent_um=half_extent_um("platynereis")
    )

    def interrupted(_: Trainer) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learn(bench, "training", store, LEARNING)
    told = []

    def stop(_: Trainer, report: Report) -> None:
        told.append(report.step)
        if report.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(bench, "training", store, LEARNING, on_step=stop)
    assert told == [1]


def test_a_preset_is_trained_on_phantoms_made_once(tmp_path, monkeypatch, sphere_bundle):
    asked = []

    def train(data, out, options, **others):
        asked.append((data, out, options, others["resume"]))
        if len(asked) == 1:
            work_folder(out).mkdir(parents=True)
            raise KeyboardInterrupt
        return TrainSummary(sphere_bundle, (), {})

    monkeypatch.setattr(trained_presets, "train_preset", train)
    cells = Cells(kind="platynereis", count=2, course=2, across=16)
    bench = Bench(cells, 5, tmp_path)
    learning = Learning(steps=3)
    with pytest.raises(KeyboardInterrupt):
        trained_presets.trained_preset(bench, cells, learning)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    assert len(made) >= 4
    assert trained_presets.trained_preset(bench, cells, learning) is sphere_bundle
    assert {path: path.stat().st_mtime_ns for path in made} == made
    (data, out, options, resume), (_, _, _, again) = asked
    assert (data.name, out) == ("platynereis-masks", tmp_path / "presets" / "platynereis")
    assert (options.name, options.seed, options.length.steps) == ("platynereis", 5, 3)
    assert (resume, again) == (False, True)


def test_between_is_strictly_between_and_not_where_a_cell_is_missing():
    assert _is_between(1, 2, 3)
    assert _is_between(3, 2, 1)
    assert not _is_between(1, 1, 3)
    assert not _is_between(1, 4, 3)
    assert not _is_between(1, None, 3)


def test_the_blurred_mask_is_fitted_to_none_of_the_cells_it_is_compared_on(tmp_path, monkeypatch):
    labels = np.zeros((64, 64), np.uint16)
    labels[20:44, 20:44] = 1
    taken: dict[str, list[Textured]] = {"fitted": [], "compared": []}

    def imaged(bench, bundle, kind, name, seed, count):
        return Path(f"{name}-{seed}")

    def frames(root, which):
        rng = np.random.default_rng(list(root.name.encode()))
        each = [
            Textured((1000 * labels + rng.integers(0, 99, labels.shape)).astype(np.uint16), labels)
            for _ in range(4)
        ]
        return each[which]

    def watched(kind, function):
        def call(images, **others):
            taken[kind] += images
            return function(images, **others)

        return call

    monkeypatch.setattr(texture, "_bundle", lambda *_: None)
    monkeypatch.setattr(texture, "_texture", lambda *_: None)
    monkeypatch.setattr(texture, "_imaged", imaged)
    monkeypatch.setattr(texture, "_frames", frames)
    for kind, name in (("fitted", "fit_mask_baseline"), ("compared", "sample_textures")):
        monkeypatch.setattr(texture, name, watched(kind, getattr(texture, name)))
    settings = tiny("texture").model_copy(update={"sequences": 2})
    texture._compare(Bench(settings, 5, tmp_path), kind=settings.kinds[0])
    compared = [one.image.tobytes() for one in taken["compared"]]
    assert taken["fitted"]
    assert not {one.image.tobytes() for one in taken["fitted"]} & set(compared)


def test_cells_are_compared_with_what_came_back_of_the_same_ones(tmp_path, monkeypatch):
    """Half of them come back as they were, the large ones in pieces; no drawn cell is whole."""
    settings = tiny("reconstruction")
    kind = settings.kinds[0]
    settings = settings.model_copy(update={"kinds": (kind,)})
    real = [np.full((1, 2, 3), 900.0 if i % 2 else 100.0 + i) for i in range(8)]
    store = SimpleNamespace(
        n_sequences=8, n_frames=2, grid=lambda i, t: (None, None), mask=lambda i, t: i,
        voxel_size_um=lambda i: (1.0,) * 3,
    )  # fmt: skip

    def courses(frames, *_):
        if frames[0] % 2:
            raise TopologyError("in pieces")
        return real[frames[0]]

    module = reconstruction
    monkeypatch.setattr(module, "open_kept", lambda *_: store)
    monkeypatch.setattr(module, "learn", lambda *_: None)
    monkeypatch.setattr(module, "rebuilt_mask", lambda fit, i, *_: i)
    monkeypatch.setattr(module, "_corner", lambda _: None)
    monkeypatch.setattr(module, "_cropped", lambda made, _: made)
    monkeypatch.setattr(module, "dice", lambda *_: 1.0)
    monkeypatch.setattr(module, "_courses", courses)
    monkeypatch.setattr(module, "_draw_new", lambda *_: ([], 160))
    bench = Bench(settings, 0, tmp_path)
    bench = replace(bench, found={"celegans-cells": {"courses": [part.tolist() for part in real]}})
    trained = {
        f"celegans-{model}": module._train(bench, kind=kind, model=model) for model in module.MODELS
    }
    for found in trained.values():
        assert {test["pooled"] for test in found["reconstructed"]["tests"].values()} == {1.0}
    findings = module._conclude(replace(bench, found={**bench.found, **trained}))
    assert "celegans +0.0%, +0.0%, +0.0%" in findings.text
    assert "4 of 8" in findings.tables[2].rows[0]
    volume, _, pattern = findings.orderings
    assert volume.holds
    # Where there is no cell there is no test, so none agrees with the paper's.
    assert not pattern.holds
    assert pattern.ours.startswith("0 of 3 as in the paper; not: surface of celegans no whole cell")


def test_a_field_without_a_cell_is_no_rounder_one(tmp_path):
    ball, flat = [4.19, 12.57], [4.19, 25.0]
    found = {
        f"omega-{omega}": {"made": made, "real": [flat, flat], "dsc": [0.5, 0.5]}
        for omega, made in ((10, [None, None]), (30, [flat, flat]))
    }
    bench = Bench(tiny("omega"), 0, tmp_path, found)
    assert not omega_module._conclude(bench).orderings[0].holds
    found["omega-10"]["made"] = [ball, None]
    assert omega_module._conclude(bench).orderings[0].holds


def test_bars_of_a_figure_are_as_long_as_its_table_says(tmp_path):
    flat = [4.19, 25.0]
    found = {"made": [flat, flat], "real": [flat, flat], "dsc": [0.0, 1.0]}
    bench = Bench(tiny("omega"), 0, tmp_path, {"omega-10": found, "omega-30": found})
    [bars] = omega_module._draw(bench).axes[1].containers
    low, high = bars[2][0].get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(0.5**0.5)


@pytest.mark.parametrize(
    ("near", "holds"), [((0.9, 0.1), True), ((0.04, 0.03), False), ((0.9, 0.95), False)]
)
def test_copies_that_lie_together_are_most_of_them(tmp_path, near, holds):
    found = {
        f"{kind}-{size}": {"dsc": [0.5, 0.6], "share": 0.5, "same_shape": same}
        for kind, same in zip(compactness.KINDS, near, strict=True)
        for size in (2, 3)
    }
    bench = Bench(tiny("compactness"), 0, tmp_path, {**found, "cells": {"sequences": 4}})
    assert compactness._conclude(bench).orderings[2].holds == holds


def test_the_generator_is_counted_where_it_is_nearer():
    of = {"generator": {"a": 1.0, "b": 3.0}, "blurred mask": {"a": 2.0, "b": 2.0}}
    assert _nearer(of, ("a", "b")) == 1
