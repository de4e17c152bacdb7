"""What is told of a walk: trends in closed form, and spheres that grow or are not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import changed, sphere_radius

from cellsynth.errors import FormatError
from cellsynth.evaluation.walks import read_walk, trend, walk_latents
from cellsynth.geometry import Grid
from cellsynth.presets.models import Topology
from cellsynth.rendering.walk import WalkOptions

HALF_UM = 5.0
CODES = [[0.2, 0.0], [0.0, 0.2], [-0.9, 0.0]]  # the third has no cell
OPTIONS = WalkOptions((1, 2), Grid.over_omega((32, 32, 32)), 2, steps=3)


@pytest.fixture(scope="module")
def bundle(sphere_bundle, tmp_path_factory):
    return changed(sphere_bundle, tmp_path_factory.mktemp("walks") / "balls", latents=CODES)


@pytest.fixture(scope="module")
def made(bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "walk"
    return walk_latents(bundle, out, OPTIONS), out


def trends(walk) -> dict:
    return {entry.variable: entry for entry in walk.trends}


@pytest.mark.parametrize(
    ("values", "monotone", "setback", "step"),
    [
        ([1, 2, 3], True, 0, None),
        ([3, 2, 2, 1], True, 0, None),
        ([1, 4, 2, 5], False, 0.5, 3),
        ([5, 2, 4, 1], False, 0.5, 3),
        ([1, None, 4, 2, 5], False, 0.5, 4),
        ([2, 1, 5], False, 0.25, 2),
        ([7, 7, 7], True, 0, None),
        ([1, 5, 1], False, 1, 3),
    ],
)
def test_trend(values, monotone, setback, step):
    found = trend("growth", values)
    assert (found.monotone, found.setback, found.setback_step) == (monotone, setback, step)
    known = [value for value in values if value is not None]
    assert (found.first, found.last, found.steps) == (known[0], known[-1], len(known))


@pytest.mark.parametrize("values", [[], [None, None], [1.0, None]])
def test_no_trend_of_what_is_not_known(values):
    assert trend("growth", values) is None


def test_steps_are_measured_as_they_lie_on_disk(made):
    walk, _ = made
    for step, first in zip(walk.steps, (0.2, 0.1, 0.0), strict=True):
        radius = HALF_UM * sphere_radius(first)
        assert step.cells.volume_um3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.06)
        assert step.cells.surface_um2 == pytest.approx(4 * np.pi * radius**2, rel=0.06)
        assert step.total_um3 == step.cells.volume_um3
        assert (step.growth, step.pieces, step.labels, step.fault) == (1, 1, "cells", None)
    assert [step.sequence for step in walk.steps] == ["01", "02", "03"]
    assert [step.share for step in walk.steps] == [0, 0.5, 1]
    assert walk.distance == pytest.approx(np.hypot(0.2, 0.2), rel=1e-5)
    assert (walk.codes, walk.frames, walk.grid) == ((1, 2), 2, (32, 32, 32))
    found = trends(walk)
    assert found["volume_um3"].monotone
    assert found["volume_um3"].first > found["volume_um3"].last
    assert found["growth"].monotone


def test_the_same_walk_gives_the_same_bytes(made, bundle, tmp_path):
    walk, out = made
    walk_latents(bundle, tmp_path / "again", OPTIONS)
    for name in ("walk.json", "walk.png", "walk.svg", "dataset.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes(), name
    assert read_walk(out / "walk.json") == walk


def test_the_file_is_strict(made, tmp_path):
    _, out = made
    said = json.loads((out / "walk.json").read_text())
    path = tmp_path / "walk.json"
    said["coeds"] = said.pop("codes")
    path.write_text(json.dumps(said))
    with pytest.raises(FormatError, match="coeds is unknown; did you mean codes"):
        read_walk(path)
    path.write_text("[]")
    with pytest.raises(FormatError, match="is no walk; make one with cellsynth latent --walk"):
        read_walk(path)


def test_a_broken_step_has_a_volume_and_no_cells(dividing_bundle, tmp_path: Path):
    preset = changed(dividing_bundle, tmp_path / "p", topology=Topology())
    options = WalkOptions((1, 2), Grid.over_omega((24, 24, 24)), 4, steps=2)
    walk = walk_latents(preset, tmp_path / "set", options)
    for step in walk.steps:
        assert step.cells is None
        assert (step.labels, step.pieces) == ("one body", 2)
        assert step.fault == "cells in the last frame: got 2, expected 1"
        assert step.total_um3 > 0
        assert step.growth > 1  # the union of two spheres that part
    assert set(trends(walk)) == {"total_um3", "growth"}


def test_cells_that_divide_count_once_each(dividing_bundle, tmp_path):
    options = WalkOptions((1, 2), Grid.over_omega((24, 24, 24)), 4, steps=2)
    walk = walk_latents(dividing_bundle, tmp_path / "set", options)
    for step in walk.steps:
        assert (step.labels, step.pieces) == ("cells", 2)
        # A course is a daughter with her mother's frames, so it is less than all together.
        assert step.cells.volume_um3 < step.total_um3


def test_a_step_without_a_cell_is_told(bundle, tmp_path):
    walk = walk_latents(bundle, tmp_path / "set", replace(OPTIONS, codes=(1, 3), steps=12))
    last = walk.steps[11]
    assert (last.number, last.sequence, last.labels, last.cells) == (12, None, None, None)
    assert (last.total_um3, last.growth, last.pieces) == (None, None, None)
    assert last.fault == "cells in the last frame: got 0, expected 1"
    there = [step for step in walk.steps if step.sequence]
    assert [step.number for step in there] == list(range(1, len(there) + 1))
    assert trends(walk)["volume_um3"].steps == len(there) > 1
