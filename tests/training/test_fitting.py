"""From masks to codes and rotations: the data's time and scale, what is left out, the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellsynth.errors import InputError, InUseError
from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid, random_rotation, times_at_interval
from cellsynth.shapes import build_store, cut_cells, open_masks
from cellsynth.training.fitting import (
    FitOptions,
    FitSummary,
    fit_cells,
    fit_masks,
    write_fits,
)

VOXEL_UM = (0.25, 0.25, 0.25)
INTERVAL_S = 30.0
OPTIONS = FitOptions(starts=4)


@pytest.fixture(scope="module")
def model(dividing_bundle) -> CellModel:
    """Two spheres that move apart along x."""
    return CellModel.from_bundle(dividing_bundle)


@pytest.fixture(scope="module")
def turn() -> np.ndarray:
    return random_rotation(np.random.default_rng(7))


def write_masks(path: Path, model: CellModel, turn: np.ndarray, times: np.ndarray) -> Path:
    """A TIFF stack of one cell of the model, turned, both its spheres under one label."""
    grid = Grid.from_voxel_size(VOXEL_UM, model.preset.scale.half_extent_um)
    coords = grid.voxel_to_coords(np.indices(grid.shape).reshape(3, -1).T)
    frames = [
        model.at(model.latents[1], float(time), turn).inside(coords).reshape(grid.shape)
        for time in times
    ]
    tifffile.imwrite(path, np.stack(frames).astype(np.uint8), metadata={"axes": "TZYX"})
    return path


@pytest.fixture(scope="module")
def masks(tmp_path_factory, model, turn) -> Path:
    path = tmp_path_factory.mktemp("masks") / "cell.tif"
    return write_masks(path, model, turn, np.linspace(-1, 1, 4))


@pytest.fixture(scope="module")
def summary(masks, model) -> FitSummary:
    return fit_masks(model, masks, OPTIONS, voxel_size_um=VOXEL_UM, frame_interval_s=INTERVAL_S)


def test_masks_are_fitted_as_they_were_observed(summary, turn, model):
    (cell,) = summary.cells
    assert cell.dsc.shape == (4,)
    assert cell.dsc.min() > 0.97
    # The pair of spheres is the same from all sides but along x.
    assert abs(cell.rotation[:, 0] @ turn[:, 0]) > np.cos(np.radians(2))
    assert np.linalg.det(cell.rotation) == pytest.approx(1)
    assert np.array_equal(summary.times, np.linspace(-1, 1, 4))
    assert summary.left_out == ()
    assert summary.assumed == ()
    assert cell.loss < 0.02


def test_another_interval_is_mapped_in_physical_time(tmp_path, model, turn, dividing_bundle):
    times = np.array([-1, 1 / 3])
    masks = write_masks(tmp_path / "slow.tif", model, turn, times)
    slow = fit_masks(model, masks, OPTIONS, voxel_size_um=VOXEL_UM, frame_interval_s=60)
    assert np.allclose(slow.times, times)
    assert slow.frame_interval_s == 60
    assert slow.cells[0].dsc.min() > 0.97


def test_too_slow_data_are_refused(masks, model):
    message = r"cell.tif: 100 s between frames, but cells of preset dividing last 90 s in all"
    with pytest.raises(InputError, match=message):
        fit_masks(model, masks, OPTIONS, voxel_size_um=VOXEL_UM, frame_interval_s=100)


def test_too_short_data_are_refused(masks, model):
    with pytest.raises(InputError, match=r"no usable track of 10 frames.*4 frames, 10 are needed"):
        fit_masks(model, masks, OPTIONS, voxel_size_um=VOXEL_UM, frame_interval_s=10)


def test_without_an_interval_a_frame_is_a_frame(masks, model):
    found = fit_masks(model, masks, OPTIONS, voxel_size_um=VOXEL_UM)
    assert found.assumed == ("frame interval",)
    assert np.array_equal(found.times, np.linspace(-1, 1, 4))


def test_cells_beyond_omega_are_told(masks, model):
    message = r"no cell fits into preset dividing: .* beyond the 5 µm .*--voxel-size"
    with pytest.raises(InputError, match=message):
        fit_masks(model, masks, OPTIONS, voxel_size_um=(2, 2, 2), frame_interval_s=INTERVAL_S)


def test_a_cell_beyond_omega_is_left_out(tmp_path, masks, model):
    small = tifffile.imread(masks)
    large = np.pad(small.repeat(2, 1).repeat(2, 2).repeat(2, 3), ((0, 0), *[(2, 2)] * 3))
    folder = tmp_path / "both"
    folder.mkdir()
    tifffile.imwrite(folder / "1.tif", small, metadata={"axes": "TZYX"})
    tifffile.imwrite(folder / "2.tif", large, metadata={"axes": "TZYX"})
    found = fit_masks(model, folder, OPTIONS, voxel_size_um=VOXEL_UM, frame_interval_s=INTERVAL_S)
    assert len(found.cells) == 1
    (left,) = found.left_out
    assert "beyond the 5 µm that the preset's cells have" in left.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"half_extent_um": 6.0}, "half_extent_um 6.0, expected 5.0"),
        ({"truncation": 0.1}, "truncation 0.1, expected 0.2"),
        ({"orientation": "none"}, "orientation none, expected sequence"),
    ],
)
def test_a_store_of_another_scale_is_refused(tmp_path, masks, model, change, message):
    cells, _ = cut_cells(open_masks(masks, voxel_size_um=VOXEL_UM), n_frames=4)
    store = build_store(tmp_path / "store", cells, **({"half_extent_um": 5.0} | change))
    with pytest.raises(InputError, match=message):
        fit_cells(model, store, OPTIONS)


def test_file_is_whole_and_ours(tmp_path, summary, dividing_bundle):
    out = tmp_path / "new" / "fit.json"
    write_fits(out, summary, dividing_bundle, OPTIONS)
    assert [path.name for path in out.parent.iterdir()] == ["fit.json"]
    record = json.loads(out.read_text())
    assert record["format"] == "cellsynth-fit"
    assert record["preset"] == {"name": "dividing", "sha256": dividing_bundle.sha256}
    (cell,) = record["cells"]
    assert np.array_equal(np.float32(cell["latent"]), summary.cells[0].latent)
    assert np.array_equal(cell["rotation"], summary.cells[0].rotation)
    assert cell["dsc"]["worst"] == pytest.approx(summary.cells[0].dsc.min(), abs=1e-5)
    with pytest.raises(InUseError, match="holds fitted cells already; pass --overwrite"):
        write_fits(out, summary, dividing_bundle, OPTIONS)
    write_fits(out, replace(summary, cells=()), dividing_bundle, OPTIONS, overwrite=True)
    assert json.loads(out.read_text())["cells"] == []
    out.write_text("[1]")
    with pytest.raises(InUseError, match="in use and holds no fitted cells"):
        write_fits(out, summary, dividing_bundle, OPTIONS, overwrite=True)


def test_times_at_another_interval():
    assert np.array_equal(
        times_at_interval(60, n_frames=30, frame_interval_s=60), np.linspace(-1, 1, 30)
    )
    assert len(times_at_interval(60.05, n_frames=30, frame_interval_s=60)) == 30
    half = times_at_interval(30, n_frames=30, frame_interval_s=60)
    assert len(half) == 59
    assert np.allclose(half, np.linspace(-1, 1, 59))
    coarse = times_at_interval(120, n_frames=30, frame_interval_s=60)
    assert np.allclose(coarse, np.linspace(-1, 1, 30)[::2])
    assert len(times_at_interval(2000, n_frames=30, frame_interval_s=60)) == 1
