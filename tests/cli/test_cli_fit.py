"""``cellsynth fit`` end to end on a cell of a few frames."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid


@pytest.fixture
def masks(tmp_path, sphere_bundle):
    model = CellModel.from_bundle(sphere_bundle)
    grid = Grid.over_omega((24, 24, 24))
    coords = grid.voxel_to_coords(np.indices(grid.shape).reshape(3, -1).T)
    inside = model.at(model.latents[0], 0.0, np.eye(3)).inside(coords).reshape(grid.shape)
    path = tmp_path / "ball.tif"
    tifffile.imwrite(path, np.stack([inside] * 4).astype(np.uint8), metadata={"axes": "TZYX"})
    return path


def test_fit(run, masks, sphere_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit = ("fit", masks, "--preset", sphere_bundle.folder, "--voxel-size", 10 / 24)
    found = run(*fit, "--starts", 4, "--steps", 3)
    assert found.code == 0, found
    assert found.last.startswith("wrote code and rotation of 1 cell to ball-fit.json; next: ")
    assert "assumed, since the data do not say: frame interval" in found.out
    assert "CELL" in found.out
    record = json.loads((tmp_path / "ball-fit.json").read_text())
    assert record["cells"][0]["dsc"]["worst"] > 0.97
    assert record["starts"] == 4
    assert "holds fitted cells already; pass --overwrite" in run(*fit).fault
    again = run(*fit, "--overwrite", "--as-it-lies", "--quiet", "--out", "ball-fit.json")
    assert again.code == 0
    assert len(again.out.splitlines()) == 1
    record = json.loads((tmp_path / "ball-fit.json").read_text())
    assert np.allclose(record["cells"][0]["rotation"], np.eye(3))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--starts", 0), "fit: --starts must be at least 1, got 0"),
        (("--voxel-size", "1,2"), "--voxel-size must be one number or three"),
        (("--frame-interval", -1), "--frame-interval must be above 0, got -1"),
        (("--device", "abacus"), "device 'abacus' cannot be used here"),
    ],
)
def test_bad_flags(run, masks, sphere_bundle, listing, flags, message):
    before = listing()
    fault = run("fit", masks, "--preset", sphere_bundle.folder, *flags).fault
    assert message in fault
    assert listing() == before


def test_missing_data(run, sphere_bundle):
    assert "nowhere: no such file" in run("fit", "nowhere", "--preset", sphere_bundle.folder).fault
