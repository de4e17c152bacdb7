"""Training points against the sphere's closed form."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch

from cellsynth.errors import StorageError
from cellsynth.shapes import build_store, cut_cells
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.training import points as points_module
from cellsynth.training.points import SCALE, PointPool, build_pool

HALF_EXTENT_UM, N_FRAMES = 10.0, 4


def radius(sequence: int, frame: int) -> float:
    """As the masks were made, in units of Ω."""
    return (4.0 + 0.8 * sequence + 0.4 * frame) / HALF_EXTENT_UM


def rows(pool: PointPool, store) -> np.ndarray:
    """All points ``(sequences × frames, points, 4)`` as numbers of Ω."""
    return pool._points * (np.array([1, 1, 1, store.truncation]) / SCALE)


def test_shares_of_near_and_far(pool, sphere_store, recipe):
    found = rows(pool, sphere_store)
    assert found.shape == (12, 4096, 4)
    reach = 0.6 / HALF_EXTENT_UM
    # A voxel of 1 × 0.5 × 0.5 µm is 0.63 µm wide: nothing is known within that.
    reach = max(reach, 0.25 ** (1 / 3) / HALF_EXTENT_UM)
    near = round(4096 * recipe.points_near)
    assert (found[:, :near, 3] <= reach + 1e-4).all()
    assert (found[:, near:, 3] > reach).all()
    # Both sides of the surface are seen.
    inside = (found[:, :near, 3] < 0).mean(axis=1)
    assert ((inside > 0.4) & (inside < 0.95)).all()


def test_all_points_lie_in_the_ball(pool, sphere_store):
    found = rows(pool, sphere_store)
    assert np.linalg.norm(found[..., :3], axis=-1).max() <= 1 + 1e-4


def test_far_points_are_even_in_the_rest_of_the_ball(pool, sphere_store, recipe):
    far = rows(pool, sphere_store)[0, round(4096 * recipe.points_near) :]
    r = np.linalg.norm(far[:, :3], axis=1)
    inner = radius(0, 0) + 0.063
    assert r.min() > inner - 0.03
    # Even in volume: r³ is even between the two radii.
    share = (r**3 - inner**3) / (1 - inner**3)
    assert np.abs(np.quantile(share, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.06
    np.testing.assert_allclose(far[:, :3].mean(axis=0), 0, atol=0.06)


def test_distances_are_those_of_the_sphere(pool, sphere_store):
    found = rows(pool, sphere_store)
    voxel = 0.1  # the widest, in units of Ω
    for i, frame in enumerate(found):
        expected = np.linalg.norm(frame[:, :3], axis=1) - radius(*divmod(i, N_FRAMES))
        clipped = np.clip(expected, -sphere_store.truncation, sphere_store.truncation)
        error = frame[:, 3] - clipped
        near = np.abs(clipped) < 0.1
        assert np.abs(error).max() < voxel
        assert abs(error[near].mean()) < 0.1 * voxel
        assert np.abs(error[near]).mean() < 0.25 * voxel


@pytest.mark.parametrize("truncation", [0.15, 0.3])
def test_a_truncation_that_16_bits_round_up_is_still_outside(tmp_path, recipe, truncation):
    assert float(np.float16(truncation)) > truncation
    zyx = np.indices((40, 40, 40)).transpose(1, 2, 3, 0) * 0.5 - 39 / 4
    inside = np.linalg.norm(zyx, axis=-1) < 4
    source = MaskSequence("ball", 1, inside.shape, (0.5,) * 3, 60.0, lambda _: inside.astype(int))
    cells, _ = cut_cells([source])
    store = build_store(
        tmp_path / "store", cells, half_extent_um=HALF_EXTENT_UM, truncation=truncation
    )
    wide = recipe.model_copy(update={"near_um": 100.0, "points_near": 0.5})
    found = rows(build_pool(tmp_path / "points.npy", store, wide, seed=0), store)[0]
    outside = np.linalg.norm(found[:, :3], axis=1) > 0.45
    assert found[outside, 3].min() > 0


def test_points_lie_off_the_grid(pool, sphere_store):
    grid, alignment = sphere_store.grid(1, 2)
    coords = rows(pool, sphere_store)[1 * N_FRAMES + 2, :, :3]
    index = grid.coords_to_voxel(coords @ alignment.T)
    offset = index - np.round(index)
    # As far from a voxel's centre as can be, as often as not.
    np.testing.assert_allclose(np.abs(offset).mean(axis=0), 0.25, atol=0.03)


def test_distances_of_a_cell_that_was_aligned(tmp_path, recipe):
    """An ellipsoid that lies askew: points come in its own axes, longest first."""
    a = 0.7
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    axes_um = np.array([8.0, 5.0, 3.0])
    zyx = np.indices((40, 40, 40)).transpose(1, 2, 3, 0) * 0.5 - 39 / 4
    inside = (((zyx[..., ::-1] @ turn) / axes_um) ** 2).sum(-1) < 1
    source = MaskSequence(
        "egg", 1, inside.shape, (0.5,) * 3, 60.0, lambda _: inside.astype(np.uint8)
    )
    cells, _ = cut_cells([source])
    store = build_store(tmp_path / "store", cells, half_extent_um=HALF_EXTENT_UM)
    found = rows(build_pool(tmp_path / "points.npy", store, recipe, seed=0), store)[0]
    level = np.sqrt(((found[:, :3] * HALF_EXTENT_UM / axes_um) ** 2).sum(axis=1))
    clearly = np.abs(level - 1) > 0.2
    np.testing.assert_array_equal(found[clearly, 3] < 0, level[clearly] < 1)


def test_the_same_seed_gives_the_same_file(sphere_store, recipe, pool, pool_path, tmp_path):
    build_pool(tmp_path / "again.npy", sphere_store, recipe, seed=0)
    assert (tmp_path / "again.npy").read_bytes() == pool_path.read_bytes()
    build_pool(tmp_path / "other.npy", sphere_store, recipe, seed=1)
    assert (tmp_path / "other.npy").read_bytes() != pool_path.read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_near_ends_before_the_truncation(sphere_store, recipe, tmp_path):
    """Asked for points within 100 µm, it takes those that are known to be near."""
    wide = recipe.model_copy(update={"near_um": 100.0})
    found = rows(build_pool(tmp_path / "points.npy", sphere_store, wide, seed=0), sphere_store)
    near = round(4096 * recipe.points_near)
    limit = 0.9 * sphere_store.truncation
    assert found[:, :near, 3].max() <= limit + 1e-4
    assert found[:, near:, 3].min() > limit
    assert found[:, :near, 3].max() > 0.8 * limit


def test_a_cell_that_fills_the_ball_has_points_all_the_same(tmp_path, recipe):
    """Nothing of the ball is far from it."""
    zyx = np.indices((33, 33, 33)).transpose(1, 2, 3, 0) - 16.0
    inside = np.linalg.norm(zyx, axis=-1) < 14.5
    source = MaskSequence("ball", 1, inside.shape, (1.0,) * 3, 60.0, lambda _: inside.astype(int))
    cells, _ = cut_cells([source])
    store = build_store(tmp_path / "store", cells, half_extent_um=14.6)
    wide = recipe.model_copy(update={"near_um": 5.0})
    found = rows(build_pool(tmp_path / "points.npy", store, wide, seed=0), store)[0]
    assert np.linalg.norm(found[:, :3], axis=1).max() <= 1 + 1e-4
    assert (found[:, 3] < 0.18).all()


def test_near_points_gather_at_the_surface(sphere_store, recipe, tmp_path):
    """Twice as dense on the surface as ``focus`` away from it, but for the width of a voxel."""
    focus = 0.15
    density = []
    for value in (None, focus):
        asked = recipe.model_copy(
            update={"near_um": 5.0, "focus": value, "points_near": 1.0, "pool_points": 16384}
        )
        path = tmp_path / f"{value}.npy"
        found = rows(build_pool(path, sphere_store, asked, seed=0), sphere_store)[..., 3]
        at = np.abs(found) < 0.005
        away = np.abs(found - focus) < 0.005
        density.append(at.sum() / away.sum())
    assert 1.6 < density[1] / density[0] < 2.0


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_draws_have_their_share_of_near_points(sphere_store, recipe, tmp_path, share):
    recipe = recipe.model_copy(update={"points_near": share, "pool_points": 512})
    pool = build_pool(tmp_path / "points.npy", sphere_store, recipe, seed=0)
    for step in range(3):
        _, sdf = pool.draw(np.random.default_rng(step), np.arange(12))
        near = (sdf.numpy() <= 0.0631).sum(axis=1)
        # A far point may lie within a rounding of the limit.
        assert np.abs(near - round(64 * share)).max() <= (share == 0)


def test_a_draw_is_of_the_frames_it_is_asked_for(pool, sphere_store):
    which = np.array([5, 0, 11, 5])
    coords, sdf = pool.draw(np.random.default_rng(5), which)
    assert (coords.shape, sdf.shape) == ((4, 64, 3), (4, 64))
    assert coords.dtype == sdf.dtype == torch.float32
    for i, xyz, d in zip(which, coords.numpy(), sdf.numpy(), strict=True):
        there = {row.tobytes() for row in pool._points[i]}
        drawn = np.concatenate([xyz, d[:, None] / sphere_store.truncation], axis=1) * SCALE
        assert {row.tobytes() for row in np.rint(drawn).astype(np.int16)} <= there
    # Asked twice for a frame, other points of it.
    assert not torch.equal(coords[0], coords[3])


def test_draws_come_from_the_generator(pool):
    first, again = (pool.draw(np.random.default_rng([7, 3]), np.arange(12)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)


def test_points_that_are_held_are_drawn_alike(pool, pool_path, sphere_store, recipe):
    held = PointPool(pool_path, recipe, sphere_store.n_frames, sphere_store.truncation)
    held.hold(torch.device("cpu"))
    which = np.array([5, 0, 11, 5])
    from_disk, from_memory = (p.draw(np.random.default_rng(5), which) for p in (pool, held))
    for a, b in zip(from_disk, from_memory, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("share", [0.0, 0.8, 1.0])
def test_as_many_points_a_step_as_the_pool_has(sphere_store, recipe, tmp_path, share):
    greedy = recipe.model_copy(
        update={"pool_points": 100, "points_per_frame": 100, "points_near": share}
    )
    pool = build_pool(tmp_path / "points.npy", sphere_store, greedy, seed=0)
    coords, _ = pool.draw(np.random.default_rng(0), np.arange(12))
    assert coords.shape == (12, 100, 3)


def test_progress_counts_frames(sphere_store, recipe, tmp_path):
    told: list[tuple[int, int]] = []
    few = recipe.model_copy(update={"pool_points": 64})
    build_pool(tmp_path / "p.npy", sphere_store, few, seed=0, on_progress=lambda *s: told.append(s))
    assert told == [(i, 12) for i in range(1, 13)]


def test_a_full_disk_is_told_and_leaves_nothing(sphere_store, recipe, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(points_module.os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=r"p.npy: cannot write .*No space left on device"):
        build_pool(tmp_path / "p.npy", sphere_store, recipe, seed=0)
    assert not list(tmp_path.iterdir())
