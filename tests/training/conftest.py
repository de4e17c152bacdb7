"""Spheres that grow, as masks, and the distances and points made of them; one thread for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.shapes import ShapeStore, build_store, cut_cells
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.training.points import PointPool, build_pool

VOXEL_UM = (1.0, 0.5, 0.5)
HALF_EXTENT_UM = 10.0
N_FRAMES = 4


def radius_um(sequence: int, frame: int) -> float:
    """Three sizes of spheres, all of which grow."""
    return 4.0 + 0.8 * sequence + 0.4 * frame


def sphere_masks(sequence: int) -> MaskSequence:
    """Masks of a sphere, on anisotropic voxels."""
    shape = (21, 42, 42)
    zyx_um = np.indices(shape).transpose(1, 2, 3, 0) * np.array(VOXEL_UM)
    centre_um = (np.array(shape) - 1) / 2 * np.array(VOXEL_UM)

    def read(t: int) -> np.ndarray:
        distance = np.linalg.norm(zyx_um - centre_um, axis=-1)
        return (distance < radius_um(sequence, t)).astype(np.uint16)

    return MaskSequence(f"sphere {sequence}", N_FRAMES, shape, VOXEL_UM, 60.0, read)


@pytest.fixture(scope="session")
def sphere_store(tmp_path_factory) -> ShapeStore:
    """Three growing spheres of 4 frames; Ω is 20 µm wide."""
    cells, left_out = cut_cells([sphere_masks(i) for i in range(3)])
    assert not left_out
    path = tmp_path_factory.mktemp("store") / "shapes.zarr"
    return build_store(path, cells, half_extent_um=HALF_EXTENT_UM)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Small steps that learn spheres in seconds."""
    return Recipe(
        near_um=0.6,
        pool_points=4096,
        frames_per_step=24,
        points_per_frame=64,
        learning_rate=2e-3,
        coords_gain=1.0,
    )


@pytest.fixture(scope="session")
def spec() -> FieldSpec:
    """A net of 3 layers of 24."""
    return FieldSpec(hidden_layers=3, width=24, latent_dim=4, latent_layers=(1,))


@pytest.fixture(scope="session")
def pool(sphere_store, recipe, tmp_path_factory) -> PointPool:
    """Points of the three spheres."""
    path = tmp_path_factory.mktemp("pool") / "points.npy"
    return build_pool(path, sphere_store, recipe, seed=0)


@pytest.fixture(scope="session")
def pool_path(pool) -> Path:
    """The file of :func:`pool`."""
    return Path(pool._points.filename)


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, by its path."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tests side by side do not fight for the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
