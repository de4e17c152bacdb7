"""Calibration of a preset: the grid that cells are judged on, what is judged, what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellsynth.errors import InUseError
from cellsynth.evaluation.courses import DESCRIPTORS
from cellsynth.field.model import CellModel
from cellsynth.presets.bundle import read_bundle
from cellsynth.presets.models import Topology
from cellsynth.training import calibrating
from cellsynth.training.calibrating import CellJudge, recalibrate, with_judging_grid


@pytest.fixture(autouse=True)
def small_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "GRIDS", (12, 24))


def test_descriptors_are_those_of_the_cell(sphere_bundle):
    """A sphere in closed form; the radius follows the code's first number."""
    model, judge = with_judging_grid(CellModel.from_bundle(sphere_bundle))
    found = judge(model.latents[0])
    assert set(found) == set(DESCRIPTORS)
    voxel = 2 * model.preset.scale.half_extent_um / 12
    radius = (3 * found["volume"] / (4 * np.pi)) ** (1 / 3)
    assert radius > 2 * voxel
    assert found["surface"] == pytest.approx(4 * np.pi * radius**2, rel=0.1)
    larger = model.latents[0].copy()
    larger[0] += 0.05
    assert judge(larger)["volume"] > found["volume"]


def test_a_code_is_rendered_once(sphere_bundle, monkeypatch):
    model = CellModel.from_bundle(sphere_bundle)
    judge = CellJudge(model)
    first = judge(model.latents[0])
    monkeypatch.setattr(calibrating, "judging_sequence", None)
    assert judge(model.latents[0].copy()) is first


def test_the_grid_is_the_coarsest_that_shows_the_learned_cells_whole(dividing_bundle, monkeypatch):
    model = CellModel.from_bundle(dividing_bundle)
    # On 6 voxels two daughters are one piece.
    monkeypatch.setattr(calibrating, "GRIDS", (6, 24, 48))
    found, judge = with_judging_grid(model)
    assert found.preset.topology.judged_at == 24
    assert judge.share_whole() == 1


def test_where_no_grid_shows_them_whole_the_finest_stays(sphere_bundle, monkeypatch):
    monkeypatch.setattr(calibrating, "GRIDS", (12, 16))
    model = CellModel.from_bundle(sphere_bundle)
    never = Topology(begin_cells=1, divisions=1, end_cells=2)
    preset = model.preset.model_copy(update={"topology": never})
    found, judge = with_judging_grid(replace(model, preset=preset))
    assert found.preset.topology.judged_at == 16
    assert judge.share_whole() == 0


def test_a_preset_is_calibrated_anew(sphere_bundle, tmp_path: Path):
    told: list[tuple[int, int]] = []
    out = tmp_path / "again"
    bundle = recalibrate(sphere_bundle, out, seed=1, on_progress=lambda *step: told.append(step))
    assert read_bundle(out).sha256 == bundle.sha256
    assert bundle.preset.topology.judged_at == 12
    assert bundle.preset.field == sphere_bundle.preset.field
    before, after = sphere_bundle.tensors(), bundle.tensors()
    for name, tensor in before.items():
        np.testing.assert_array_equal(after[name], tensor)
    figures = bundle.evaluation()["sampling"]
    assert figures[bundle.preset.sampling.strategy]["kept_topology"] > 0.9
    assert f"**{bundle.preset.sampling.strategy}**" in bundle.card()
    assert told[-1][0] <= told[-1][1]
    with pytest.raises(InUseError, match="again"):
        recalibrate(sphere_bundle, out, seed=1)
