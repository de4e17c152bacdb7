"""Textures that are told how bright cells and background are: what the generator is shown."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from textured import PIXEL_UM, random_generator, texture_spec, with_texture

from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.presets.texture import BackgroundSpec, BrightnessSpec, TextureSpec
from cellsynth.texture import engines
from cellsynth.texture.background import BackgroundDraw
from cellsynth.texture.brightness import BrightnessDraw, cell_sizes
from cellsynth.texture.conditioner import Conditioner
from cellsynth.texture.conditions import CONDITIONS, MEASURED
from cellsynth.texture.dataset import TextureOptions, texture_dataset
from cellsynth.texture.engines import GanEngine, Movie

BRIGHTNESS = BrightnessSpec(
    mean=5.0,
    deviation=0.4,
    lowest=-3.0,
    highest=3.0,
    level=5.0,
    size=3.0,
    size_slope=0.1,
    between_sequences=0.2,
    between_cells=0.2,
    changing=0.1,
    memory=0.8,
    before=(0.3,),
    after=(0.2, 0.1),
)
BACKGROUND = BackgroundSpec(
    mean=100.0, deviation=10.0, lowest=-3.0, highest=3.0,
    between_sequences=5.0, unevenness=8.0, feature_um=4.0, trend=-0.2,
)  # fmt: skip
TOLD: dict[str, Any] = {
    "conditions": (*CONDITIONS, *MEASURED),
    "brightness": BRIGHTNESS,
    "background": BACKGROUND,
}
LINEAGE = Lineage((Tracklet(1, 0, 1), Tracklet(2, 2, 4, 1), Tracklet(3, 2, 4, 1)))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def frame(t: int, depth: int = 6) -> np.ndarray:
    labels = np.zeros((depth, 24, 30), np.uint16)
    if t < 2:
        labels[1:5, 6:18, 8:22] = 1
    else:
        labels[1:5, 6:16, 4:12], labels[2:4, 8:20, 16:26] = 2, 3
    return labels


def shown(spec: TextureSpec, frames: range, monkeypatch, *, seed: int = 0) -> dict:
    """What reaches the generator, by frame, of a movie with these frames."""
    seen: dict[int, list[np.ndarray]] = {}

    def record(_: object, conditions: np.ndarray, noise: np.ndarray) -> np.ndarray:
        seen.setdefault(now, []).append(conditions)
        return np.zeros(conditions.shape[1:], np.float32)

    monkeypatch.setattr(engines, "apply_generator", record)
    flat = spec.mode == "mip"
    generator = random_generator(spec.generator, spec.inputs)
    movie = Movie((1.0, PIXEL_UM, PIXEL_UM), LINEAGE, seed, 2, flat)
    camera = GanEngine(generator, spec).begin(movie)
    for now in frames:
        labels = frame(now)
        camera.image(now, labels, labels.max(axis=0) if flat else None)
    return seen


def test_flat_frames_show_what_was_drawn(monkeypatch):
    seen = shown(texture_spec("mip", **TOLD), range(5), monkeypatch)
    light = BrightnessDraw(BRIGHTNESS, LINEAGE, seed=0, sequence=2)
    haze = BackgroundDraw(BACKGROUND, (24, 30), (PIXEL_UM, PIXEL_UM), seed=0, sequence=2)
    for t, [conditions] in seen.items():
        assert conditions.shape == (6, 24, 30)
        flat = frame(t).max(axis=0)
        wanted = light.at(t, cell_sizes(flat, (PIXEL_UM, PIXEL_UM)))
        assert sorted(wanted) == list(LINEAGE.at(t))
        assert (conditions[4][flat == 0] == 0).all()
        for label, value in wanted.items():
            assert (conditions[4][flat == label] == np.float32(value)).all()
        np.testing.assert_array_equal(conditions[5], haze.plane(t))
    assert np.ptp(seen[0][0][5]) > 0.5


def test_slices_show_their_own_plane_and_their_neighbours(monkeypatch):
    seen = shown(texture_spec("3d", depth_um=1.0, **TOLD), range(3), monkeypatch)
    light = BrightnessDraw(BRIGHTNESS, LINEAGE, seed=0, sequence=2)
    voxel = (1.0, PIXEL_UM, PIXEL_UM)
    haze = BackgroundDraw(BACKGROUND, (6, 24, 30), voxel, seed=0, sequence=2)
    for t, slices in seen.items():
        labels = frame(t)
        values = light.at(t, cell_sizes(labels, voxel))
        assert len(slices) == 6
        for z, conditions in enumerate(slices):
            assert conditions.shape == (18, 24, 30)
            for i, beside in enumerate((max(z - 1, 0), z, min(z + 1, 5))):
                painted = conditions[6 * i + 4]
                assert (painted[labels[beside] == 0] == 0).all()
                for label in np.unique(labels[beside])[1:]:
                    assert (painted[labels[beside] == label] == np.float32(values[label])).all()
                np.testing.assert_array_equal(conditions[6 * i + 5], haze.plane(t, beside))


def test_a_texture_without_them_sees_what_it_always_saw(monkeypatch):
    spec = texture_spec("mip")
    assert (spec.brightness, spec.background, spec.conditions) == (None, None, CONDITIONS)
    seen = shown(spec, range(5), monkeypatch)
    told = shown(texture_spec("mip", **TOLD), range(5), monkeypatch)
    # Slices that are projected need not lie closer than the grain shows.
    conditioner = Conditioner(
        (1.0, PIXEL_UM, PIXEL_UM), grain_um=1.0, grain_octaves=2, reach_um=1.5, seed=0, sequence=2
    )
    for t in range(5):
        alone = conditioner.frame(t, frame(t)).flat(frame(t).max(axis=0))
        assert alone.shape == (4, 24, 30)
        np.testing.assert_array_equal(seen[t][0], alone)
        np.testing.assert_array_equal(told[t][0][:4], alone)


def test_any_order_and_choice_of_conditions(monkeypatch):
    some = TOLD | {"conditions": ("background", "mask", "brightness"), "background": BACKGROUND}
    seen = shown(texture_spec("mip", **some), range(3), monkeypatch)
    whole = shown(texture_spec("mip", **TOLD), range(3), monkeypatch)
    for t in range(3):
        np.testing.assert_array_equal(seen[t][0], whole[t][0][[5, 0, 4]])


def test_frames_left_out_change_nothing_that_is_drawn(monkeypatch):
    spec = texture_spec("mip", **TOLD)
    every, some = (shown(spec, frames, monkeypatch) for frames in (range(5), range(1, 5, 2)))
    for t in some:
        np.testing.assert_array_equal(some[t][0][4:], every[t][0][4:])


@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_a_sequence_alone_and_one_resumed_have_the_same_bytes(dividing_bundle, tmp_path, mode):
    bundle = with_texture(dividing_bundle, tmp_path / "preset", mode, **TOLD)
    source = tmp_path / "set"
    for name in ("01", "02"):
        frames = [frame(t) for t in range(5)]
        write_ctc(source, name, frames, LINEAGE, voxel_size_um=(1.0, PIXEL_UM, PIXEL_UM))

    def textured(of: Path, out: Path, **others: Any) -> dict[str, bytes]:
        texture_dataset(of, TextureOptions(seed=3), bundle=bundle, out=out, **others)
        return {
            str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("t0*.tif"))
        }

    whole = textured(source, tmp_path / "whole")
    assert len(whole) == 10
    alone = tmp_path / "alone"
    shutil.copytree(source / "02_GT", alone / "02_GT")
    assert textured(alone, tmp_path / "a") == {k: v for k, v in whole.items() if k[:2] == "02"}
    shutil.rmtree(tmp_path / "whole/01")
    assert textured(source, tmp_path / "whole", resume=True) == whole
