"""Walks between codes: the way itself, the set, and what becomes of broken topology."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import changed

from cellsynth.errors import InputError, InUseError, TopologyError
from cellsynth.field.model import CellModel
from cellsynth.formats.ctc import read_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.geometry import Grid, rotation_angle
from cellsynth.presets.models import Topology
from cellsynth.rendering.walk import WalkOptions, render_walk, walk_draws

GRID = Grid.over_omega((16, 16, 16))
CODES = [[0.2, 0.0], [0.0, 0.4], [-0.9, 0.0]]  # the third has no cell
OPTIONS = WalkOptions((1, 2), GRID, 3, steps=3)


@pytest.fixture(scope="module")
def bundle(sphere_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk") / "balls"
    angles = [[0, 0, 0], [0, 0, np.pi / 2], [0, 0, 0]]
    return changed(sphere_bundle, folder, latents=CODES, rotations=angles)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def volumes(folder: Path) -> dict[str, int]:
    """Voxels in the first frame of each sequence."""
    return {s.name: int(np.count_nonzero(s.frame(0))) for s in read_ctc(folder, "TRA")}


def test_the_way_is_straight_and_ends_at_the_codes(bundle):
    model = CellModel.from_bundle(bundle)
    draws = walk_draws(model, replace(OPTIONS, steps=5))
    np.testing.assert_array_equal(draws[0].latent, model.latents[0])
    np.testing.assert_array_equal(draws[-1].latent, model.latents[1])
    np.testing.assert_allclose(draws[1].latent, [0.15, 0.1], rtol=1e-6)
    for draw in draws:
        np.testing.assert_array_equal(draw.rotation, np.eye(3))
    back = walk_draws(model, replace(OPTIONS, steps=5, codes=(2, 1)))
    np.testing.assert_allclose(
        [d.latent for d in back[::-1]], [d.latent for d in draws], rtol=1e-6, atol=1e-9
    )


def test_rotations_are_led_along_if_asked(bundle):
    model = CellModel.from_bundle(bundle)
    draws = walk_draws(model, replace(OPTIONS, steps=4, rotation="learned"))
    np.testing.assert_allclose(draws[0].rotation, model.rotations[0], atol=1e-12)
    np.testing.assert_allclose(draws[-1].rotation, model.rotations[1], atol=1e-7)
    turned = [rotation_angle(draws[0].rotation, draw.rotation) for draw in draws]
    assert turned == pytest.approx([0, 30, 60, 90], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (replace(OPTIONS, codes=(0, 1)), "preset sphere has codes 1 to 3, got 0"),
        (replace(OPTIONS, codes=(1, 4)), "preset sphere has codes 1 to 3, got 4"),
        (replace(OPTIONS, codes=(2, 2)), "from one code to another, got 2 twice"),
        (replace(OPTIONS, steps=1), "steps must be at least 2, the two codes, got 1"),
        (replace(OPTIONS, n_frames=0), "frames must be 1 to 10000, got 0"),
    ],
)
def test_what_cannot_be_walked_leaves_nothing(bundle, tmp_path, options, expected):
    with pytest.raises(InputError, match=expected):
        render_walk(bundle, tmp_path / "set", options)
    assert list(tmp_path.iterdir()) == []


def test_a_walk_is_a_valid_set_that_says_what_it_is(bundle, tmp_path):
    out = tmp_path / "set"
    manifest = render_walk(bundle, out, OPTIONS)
    assert validate_ctc(out) == []
    assert json.loads((out / "dataset.json").read_text()) == manifest
    assert manifest["walk"] == {"codes": [1, 2], "steps": 3}
    assert manifest["left_out"] == []
    assert manifest["options"]["strategy"] == "walk"
    assert "seed" not in manifest["options"]
    records = manifest["sequences"]
    assert list(records) == ["01", "02", "03"]
    assert [r["step"]["share"] for r in records.values()] == [0, 0.5, 1]
    assert {r["step"]["labels"] for r in records.values()} == {"cells"}
    assert {r["step"]["fault"] for r in records.values()} == {None}
    np.testing.assert_allclose(records["02"]["latent"], [0.1, 0.2], atol=1e-8)
    first, middle, last = volumes(out).values()
    assert first > middle > last


def test_workers_and_resuming_change_nothing(bundle, tmp_path):
    out = tmp_path / "set"
    render_walk(bundle, out, OPTIONS)
    render_walk(bundle, tmp_path / "two", OPTIONS, workers=2)
    assert files(tmp_path / "two") == files(out)
    with pytest.raises(InUseError, match="--resume, --overwrite"):
        render_walk(bundle, out, OPTIONS)
    for path in (out / "02_GT").rglob("*.tif"):
        path.unlink()
    (out / "02_GT").rename(tmp_path / "gone")
    render_walk(bundle, out, OPTIONS, resume=True)
    assert files(out) == files(tmp_path / "two")
    with pytest.raises(InputError, match="was begun with another walk"):
        render_walk(bundle, out, replace(OPTIONS, codes=(2, 1)), resume=True)


def test_a_broken_step_is_one_body(dividing_bundle, tmp_path):
    """Two pieces at the end, where one cell is expected."""
    preset = changed(dividing_bundle, tmp_path / "p", topology=Topology())
    events = []
    manifest = render_walk(
        preset, tmp_path / "set", WalkOptions((1, 2), GRID, 4, steps=2), on_event=events.append
    )
    assert validate_ctc(tmp_path / "set") == []
    for record in manifest["sequences"].values():
        assert record["step"]["fault"] == "cells in the last frame: got 2, expected 1"
        assert record["step"]["labels"] == "one body"
        assert record["divisions"] == []
    assert [event.kind for event in events].count("redrawn") == 2
    for sequence in read_ctc(tmp_path / "set", "TRA"):
        assert [(t.label, t.begin, t.end) for t in sequence.lineage.tracklets] == [(1, 0, 3)]
        assert set(np.unique(sequence.frame(3))) == {0, 1}
        whole = np.count_nonzero(sequence.frame(3)[:, :, :8]), np.count_nonzero(sequence.frame(3))
        assert 0 < whole[0] < whole[1]


def test_a_step_without_a_cell_is_left_out_and_named(bundle, tmp_path):
    out = tmp_path / "set"
    walk = replace(OPTIONS, codes=(1, 3), steps=2)
    manifest = render_walk(bundle, out, walk)
    assert list(manifest["sequences"]) == ["01"]
    fault = "cells in the last frame: got 0, expected 1"
    assert manifest["left_out"] == [{"number": 2, "share": 1.0, "fault": fault}]
    assert validate_ctc(out) == []
    before = files(out)
    render_walk(bundle, out, walk, resume=True)
    assert files(out) == before


def test_a_walk_without_any_cell_is_refused(sphere_bundle, tmp_path):
    bundle = changed(sphere_bundle, tmp_path / "p", latents=[[-0.9, 0], [-1.2, 0], [0, 0]])
    with pytest.raises(TopologyError, match="no cell in any frame between codes 1 and 2"):
        render_walk(bundle, tmp_path / "set", OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
