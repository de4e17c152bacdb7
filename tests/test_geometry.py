"""Grids, times and rotations: closed forms, round trips, two libraries as witnesses."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from cellsynth.errors import InputError
from cellsynth.geometry import (
    Grid,
    as_index,
    euler_to_matrix,
    frame_times,
    matrix_to_euler,
    random_rotation,
    rotation_angle,
    rotations_between,
    spread_frames,
)

positive = st.floats(1e-3, 10)
coordinate = st.floats(-10, 10)
grids = st.builds(
    Grid,
    st.tuples(*[st.integers(1, 300)] * 3),
    st.tuples(*[positive] * 3),
    st.tuples(*[coordinate] * 3),
)


@given(grids, st.tuples(*[st.floats(-50, 400)] * 3))
def test_voxels_and_coords_are_inverse(grid, index):
    there = grid.voxel_to_coords(np.array(index))
    np.testing.assert_allclose(grid.coords_to_voxel(there), index, atol=1e-6)


@given(grids, st.tuples(*[coordinate] * 3))
def test_coords_and_voxels_are_inverse(grid, coords):
    index = grid.coords_to_voxel(np.array(coords))
    np.testing.assert_allclose(grid.voxel_to_coords(index), coords, atol=1e-9)


def test_arrays_are_z_y_x_and_points_x_y_z():
    grid = Grid((3, 4, 5), spacing=(1.0, 10.0, 100.0), origin=(0.1, 0.2, 0.3))
    np.testing.assert_allclose(grid.voxel_to_coords(np.array([2, 0, 0])), [0.3, 0.2, 2.1])
    np.testing.assert_allclose(grid.voxel_to_coords(np.array([0, 0, 1])), [100.3, 0.2, 0.1])
    assert grid.voxel_to_coords(np.zeros((6, 7, 3))).shape == (6, 7, 3)
    assert grid.size == 60
    assert grid.voxel_size_um(2.0) == (2.0, 20.0, 200.0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (64, 512, 511)])
def test_a_grid_over_omega_fills_it(shape):
    grid = Grid.over_omega(shape)
    for n, spacing, origin in zip(shape, grid.spacing, grid.origin, strict=True):
        centres = origin + spacing * np.arange(n)
        np.testing.assert_allclose(centres, -1 + (2 * np.arange(n) + 1) / n, atol=1e-12)
        assert n * spacing == pytest.approx(2)


@given(st.tuples(*[st.floats(0.05, 5)] * 3), st.floats(2.5, 40))
def test_the_grid_of_a_voxel_size_is_the_largest_that_fits(voxel_size_um, half_extent_um):
    grid = Grid.from_voxel_size(voxel_size_um, half_extent_um)
    np.testing.assert_allclose(grid.voxel_size_um(half_extent_um), voxel_size_um)
    for n, size, spacing, origin in zip(
        grid.shape, voxel_size_um, grid.spacing, grid.origin, strict=True
    ):
        assert n * size <= 2 * half_extent_um * (1 + 1e-6)
        assert (n + 1) * size > 2 * half_extent_um
        assert origin + (n - 1) / 2 * spacing == pytest.approx(0, abs=1e-9)  # centred


def test_whole_quotients_do_not_lose_a_voxel():
    assert Grid.from_voxel_size((0.1, 0.2, 2.0), 1.0).shape == (20, 10, 1)
    assert Grid.from_voxel_size((0.3, 0.7, 0.6), 2.1).shape == (14, 6, 7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grid((1, 0, 1), (1, 1, 1), (0, 0, 0)), r"at least 1 .*\(1, 0, 1\)"),
        (lambda: Grid((1, 1, 1), (1, -2, 1), (0, 0, 0)), r"spacing must be above 0 .*-2"),
        (lambda: Grid((1, 1, 1), (1, math.nan, 1), (0, 0, 0)), r"spacing must be above 0 .*nan"),
        (lambda: Grid.over_omega((4, 4, 0)), r"at least 1 .*\(4, 4, 0\)"),
        (lambda: Grid.from_voxel_size((1, 0, 1), 5), r"voxel size must be above 0 .*\(1, 0, 1\)"),
        (lambda: Grid.from_voxel_size((1, math.inf, 1), 5), "voxel size must be above 0 .*inf"),
        (lambda: Grid.from_voxel_size((1, 1, 10.5), 5), "10.5.* does not fit: Ω is 10 µm wide"),
        (lambda: frame_times(0), "number of frames must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_value(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_times():
    np.testing.assert_array_equal(frame_times(1), [0])
    np.testing.assert_array_equal(frame_times(2), [-1, 1])
    np.testing.assert_allclose(frame_times(30), [-1 + 2 * i / 29 for i in range(30)])


def test_as_index_gives_plain_ints():
    assert all(type(i) is int for i in as_index(np.array([1, 2, 3])))


def rotations(n: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return np.stack([random_rotation(rng) for _ in range(n)])


def from_even_euler_angles(n: int) -> np.ndarray:
    """The paper's draw: each Euler angle even on its own, which favours the poles."""
    angles = np.random.default_rng(7).uniform(-math.pi, math.pi, (n, 3))
    return euler_to_matrix(torch.from_numpy(angles)).numpy()


def angle_distribution(degrees: np.ndarray) -> np.ndarray:
    """Share of uniform rotations that turn by less: (θ - sin θ) / π."""
    theta = np.radians(degrees)
    return np.asarray((theta - np.sin(theta)) / np.pi)


def test_random_rotations_are_rotations():
    for rotation in rotations(100):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)


def uniformity(drawn: np.ndarray) -> float:
    """The smallest p-value of what uniform rotations do, over angles and directions."""
    angles = np.array([rotation_angle(np.eye(3), r) for r in drawn])
    # Where any one direction goes is even on the sphere: by Archimedes, its height is even.
    heights = drawn.reshape(-1, 9).T
    tests = [kstest(angles, angle_distribution)]
    tests += [kstest(height, "uniform", args=(-1, 2)) for height in heights]
    return min(float(test.pvalue) for test in tests)


def test_random_rotations_are_uniform():
    n = 4000
    drawn = rotations(n)
    assert uniformity(drawn) > 0.01
    entries = drawn.reshape(n, 9)
    np.testing.assert_allclose(entries.mean(axis=0), 0, atol=4 / math.sqrt(3 * n))
    # Entries are uncorrelated, each with a mean square of 1/3.
    np.testing.assert_allclose(entries.T @ entries / n, np.eye(9) / 3, atol=0.03)


def test_the_uniformity_test_tells_even_euler_angles_apart():
    assert uniformity(from_even_euler_angles(4000)) < 1e-6


def test_random_rotations_come_from_the_generator_alone():
    np.testing.assert_array_equal(rotations(3), rotations(3))


@pytest.mark.parametrize("degrees", [0.0, 1e-7, 1e-3, 30.0, 90.0, 179.9, 180.0])
def test_rotation_angle_in_closed_form(degrees):
    a = math.radians(degrees)
    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    base = rotations(1)[0]
    assert rotation_angle(base, base @ turn) == pytest.approx(degrees, rel=1e-6, abs=1e-9)


def xyz_reference(a: float, b: float, c: float) -> np.ndarray:
    """Rx(a) · Ry(b) · Rz(c), written out."""
    rx = [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]
    ry = [[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]]
    rz = [[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]]
    return np.array(rx) @ np.array(ry) @ np.array(rz)


@pytest.fixture(params=["pytorch3d", "roma"])
def library(request, monkeypatch) -> Iterator[str]:
    """Each library that may compute Euler angles; the other one cannot be imported."""
    if request.param == "roma":
        monkeypatch.setitem(sys.modules, "pytorch3d.transforms", None)
        monkeypatch.setitem(sys.modules, "pytorch3d", None)
    else:
        pytest.importorskip("pytorch3d.transforms", reason="the extra pytorch3d is not installed")
        monkeypatch.setitem(sys.modules, "roma", None)
    return request.param


def some_angles() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    angles = (torch.rand(40, 3, generator=generator, dtype=torch.float64) * 2 - 1) * math.pi
    angles[0] = 0
    return angles


def test_euler_angles_are_those_of_the_formula(library):
    angles = some_angles()
    expected = [xyz_reference(*row) for row in angles.tolist()]
    np.testing.assert_allclose(euler_to_matrix(angles), expected, atol=1e-12)


def test_euler_angles_keep_their_leading_shape(library):
    angles = some_angles().reshape(5, 8, 3)
    assert euler_to_matrix(angles).shape == (5, 8, 3, 3)
    assert matrix_to_euler(euler_to_matrix(angles)).shape == (5, 8, 3)
    assert euler_to_matrix(angles[0, 0].float()).dtype == torch.float32


def test_euler_angles_come_back(library):
    angles = some_angles()
    angles[:, 1] /= 2.01  # the middle angle is unique within ±90°
    np.testing.assert_allclose(matrix_to_euler(euler_to_matrix(angles)), angles, atol=1e-9)


def test_euler_gradients_are_those_of_the_formula(library):
    angles = some_angles().requires_grad_()
    weights = torch.arange(9.0, dtype=torch.float64).view(3, 3).sin()
    (gradient,) = torch.autograd.grad((euler_to_matrix(angles) * weights).sum(), angles)
    for row, found in zip(angles.tolist(), gradient, strict=True):
        for i in range(3):
            step = [1e-6 * (i == j) for j in range(3)]
            ahead, behind = (
                xyz_reference(*(a + sign * s for a, s in zip(row, step, strict=True)))
                for sign in (1, -1)
            )
            slope = ((ahead - behind) * weights.numpy()).sum() / 2e-6
            assert float(found[i]) == pytest.approx(slope, abs=1e-7)


def test_the_way_between_two_rotations_is_the_shortest_at_one_speed():
    rng = np.random.default_rng(5)
    for _ in range(20):
        a, b = random_rotation(rng), random_rotation(rng)
        found = rotations_between(a, b, np.array([0, 0.25, 1]))
        np.testing.assert_allclose(found @ found.transpose(0, 2, 1), [np.eye(3)] * 3, atol=1e-9)
        np.testing.assert_allclose(found[0], a, atol=1e-12)
        np.testing.assert_allclose(found[2], b, atol=1e-6)
        whole = rotation_angle(a, b)
        assert rotation_angle(a, found[1]) == pytest.approx(whole / 4, abs=1e-4)
        assert rotation_angle(found[1], b) == pytest.approx(3 * whole / 4, abs=1e-4)


def test_the_way_from_a_rotation_to_itself_stays():
    a = random_rotation(np.random.default_rng(6))
    np.testing.assert_allclose(rotations_between(a, a, np.array([0.5])), [a], atol=1e-7)


@pytest.mark.parametrize(
    ("n", "most", "expected"),
    [
        (5, None, (0, 1, 2, 3, 4)),
        (5, 9, (0, 1, 2, 3, 4)),
        (31, 4, (0, 10, 20, 30)),
        (30, 2, (0, 29)),
        (7, 1, (0,)),
        (1, 3, (0,)),
    ],
)
def test_frames_are_spread_from_the_first_to_the_last(n, most, expected):
    assert spread_frames(n, most) == expected
