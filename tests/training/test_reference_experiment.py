"""A folder that the authors' own code wrote, against their own dense evaluation of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid, frame_times
from cellsynth.presets.bundle import Bundle
from cellsynth.rendering.occupancy import occupancy, occupancy_dense
from cellsynth.training import imported

REFERENCE = Path(__file__).parents[2].parent / "shared" / "data" / "reference_experiment"
SIDE, SEQUENCES, FRAMES = 48, 3, 4

pytestmark = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the reference experiment is not beside this repository"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The folder as a preset."""
    out = tmp_path_factory.mktemp("imported") / "theirs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imported, "PREVIEW", 8)  # what it looks like is not asked here
        options = imported.ImportOptions("theirs", half_extent_um=5.0)
        return imported.import_experiment(REFERENCE, out, options)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> CellModel:
    return CellModel.from_bundle(bundle)


def test_their_distances_at_every_voxel(model, record_property):
    h5py = pytest.importorskip("h5py")
    # Their grid includes both ends of Ω: index i of n lies at -1 + 2i/(n-1).
    step = 2 / (SIDE - 1)
    grid = Grid((SIDE, SIDE, SIDE), (step, step, step), (-1.0, -1.0, -1.0))
    coords = grid.voxel_to_coords(np.indices(grid.shape).reshape(3, -1).T)
    largest = 0.0
    for i in range(SEQUENCES):
        (path,) = (REFERENCE / "OUT_reconstruct").glob(f"rec_seq_{i:03d}_*.h5")
        with h5py.File(path) as file:
            t_x_y_z = np.asarray(file["sdf_vid"]).transpose(3, 2, 1, 0)
        assert t_x_y_z.shape == (FRAMES, SIDE, SIDE, SIDE)
        for theirs, time in zip(t_x_y_z, frame_times(FRAMES), strict=True):
            field = model.at(model.latents[i], float(time), model.rotations[i])
            sdf = field.sdf(coords).reshape(grid.shape)
            largest = max(largest, float(np.abs(sdf - theirs.transpose(2, 1, 0)).max()))
            assert theirs.min() < 0 < theirs.max()
    record_property("largest difference", largest)
    print(f"largest difference from their distances: {largest:.2e}")  # noqa: T201
    assert largest < 1e-4


@pytest.mark.parametrize(("side", "frames"), [(48, range(FRAMES)), (96, (2,))])
def test_rendering_is_dense_evaluation(model, side, frames):
    grid = Grid.over_omega((side, side, side))
    for i in range(SEQUENCES):
        for t in frames:
            field = model.at(model.latents[i], float(frame_times(FRAMES)[t]), model.rotations[i])
            found = occupancy(field, grid, bound=model.preset.bound)
            dense = occupancy_dense(field, grid)
            assert dense.any()
            np.testing.assert_array_equal(found.to_dense(), dense)
            assert found.evaluations < grid.size


def test_what_the_folder_says(bundle):
    preset = bundle.preset
    assert (preset.training.steps, preset.training.sequences) == (60, SEQUENCES)
    assert (preset.field.latent_dim, preset.scale.n_frames) == (16, FRAMES)
    assert preset.scale.frame_interval_s is None
    # Two daughters at the end, as in the training masks.
    topology = preset.topology
    assert (topology.begin_cells, topology.divisions, topology.end_cells) == (1, 1, 2)
