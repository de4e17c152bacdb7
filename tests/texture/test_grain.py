"""Grain: its statistics; fixed in the cell's own coordinates however it is asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellsynth.errors import InputError
from cellsynth.texture import grain as module
from cellsynth.texture.grain import Grain, cell_grain
from cellsynth.texture.poses import CellPose, PoseTracker


def lattice(n: int, spacing_um: float) -> np.ndarray:
    axis = np.arange(n) * spacing_um
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


@pytest.mark.parametrize("octaves", [1, 3])
def test_mean_is_0_and_variance_1(octaves):
    points = np.random.default_rng(0).uniform(-12, 12, (40_000, 3))
    values = Grain((7, 1, 2))(points, 0.8, octaves=octaves)
    assert values.dtype == np.float32
    assert abs(values.mean()) < 0.02
    assert values.var() == pytest.approx(1, abs=0.04)
    # Nearly Gaussian, whose kurtosis is 3; that of a uniform value is 1.8.
    assert np.mean(values**4) / values.var() ** 2 == pytest.approx(2.8, abs=0.25)


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 0, 1), (0.6, 0.8, 0)])
def test_correlation_is_one_half_at_half_a_feature(direction):
    points = np.random.default_rng(0).uniform(-20, 20, (60_000, 3))
    grain = Grain((3,))
    here = grain(points, 1.0, octaves=1)
    there = grain(points + 0.5 * np.array(direction), 1.0, octaves=1)
    assert np.mean(here * there) == pytest.approx(0.5, abs=0.03)
    far = grain(points + 3.0 * np.array(direction), 1.0, octaves=1)
    assert abs(np.mean(here * far)) < 0.03


def test_it_is_continuous_and_has_nothing_finer_than_its_lattice():
    values = Grain((1,))(lattice(33, 0.02), 0.5, octaves=1)
    steps = np.abs(np.diff(values, axis=0)).max()
    coarse = Grain((1,))(lattice(17, 0.04), 0.5, octaves=1)
    np.testing.assert_array_equal(values[::2, ::2, ::2], coarse)
    assert steps < 0.35
    between = (coarse[1:] + coarse[:-1]) / 2
    assert np.abs(values[1::2, ::2, ::2] - between).max() < 0.03


def test_octaves_carry_equal_variance():
    points = np.random.default_rng(1).uniform(-15, 15, (40_000, 3))
    one, two = (Grain((5,))(points, 1.0, octaves=n) for n in (1, 2))
    second = np.sqrt(2) * two - one
    assert second.var() == pytest.approx(1, abs=0.05)
    assert abs(np.mean(one * second)) < 0.03


def test_keys_are_independent_and_repeatable():
    points = np.random.default_rng(2).uniform(-7, 7, (10_000, 3))
    keys = [(1, 2, 3), (1, 2, 4), (1, 3, 2), (2, 2, 3), (1, 2), (1, 2, 3, 0)]
    values = [Grain(key)(points, 0.7) for key in keys]
    np.testing.assert_array_equal(values[0], Grain([1, 2, 3])(points, 0.7))
    correlation = np.corrcoef(values) - np.eye(len(keys))
    assert np.abs(correlation).max() < 0.06


@given(seed=st.integers(0, 2**31), shift=st.floats(-500, 500))
@settings(max_examples=20, deadline=None)
def test_a_value_does_not_depend_on_the_other_points(seed, shift):
    points = np.random.default_rng(seed).uniform(-3, 3, (40, 3)) + shift
    grain = Grain((seed,))
    whole = grain(points, 0.3)
    np.testing.assert_array_equal(whole[13], grain(points[13], 0.3))
    np.testing.assert_array_equal(whole[5:20], grain(points[5:20], 0.3))


def test_scattered_points_are_taken_in_parts(monkeypatch):
    points = np.random.default_rng(0).uniform(-3, 3, (200, 3))
    grain = Grain((4,))
    whole = grain(points, 0.3)
    monkeypatch.setattr(module, "_TABLE", 500)
    np.testing.assert_array_equal(grain(points, 0.3), whole)


def test_far_points_cost_no_memory():
    points = np.array([[-1e6, 0, 0], [1e6, 1e6, 3], [0, 0, 1e6]])
    assert np.isfinite(Grain((0,))(points, 0.01)).all()


def test_no_points_give_no_values():
    assert Grain((0,))(np.zeros((0, 3)), 1.0).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature_um": 0.0}, "feature size must be above 0 µm, got 0.0"),
        ({"feature_um": 1.0, "octaves": 0}, "octaves must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Grain((1,))(np.zeros((1, 3)), **arguments)
    with pytest.raises(InputError, match="finite"):
        Grain((1,))(np.full((1, 3), np.nan), 1.0)
    with pytest.raises(InputError, match=r"whole numbers from 0, got \(1, -2\)"):
        Grain((1, -2))


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    index = np.indices(shape).reshape(len(shape), -1).T - np.array(centre)
    return (np.linalg.norm(index, axis=1) < radius).reshape(shape)


def two_cells() -> np.ndarray:
    labels = np.zeros((12, 24, 40), np.uint16)
    labels[ball(labels.shape, (6, 10, 10), 5)] = 3
    labels[ball(labels.shape, (6, 12, 28), 5)] = 9
    return labels


def test_grain_of_cells_is_theirs_alone_and_0_outside():
    labels = two_cells()
    size = (0.3, 0.1, 0.1)
    poses = PoseTracker(size).update(0, labels)
    settings = {"seed": 5, "sequence": 2, "feature_um": 0.5}
    values = cell_grain(labels, poses, size, **settings)
    assert (values[labels == 0] == 0).all()
    assert (values[labels > 0] != 0).all()
    only = cell_grain(np.where(labels == 9, labels, 0), poses, size, **settings)
    np.testing.assert_array_equal(only[labels == 9], values[labels == 9])
    # A part of the frame gives the same values as the whole.
    part = cell_grain(labels[:, 2:, 20:], poses, size, offset=(0, 2, 20), **settings)
    np.testing.assert_array_equal(part[labels[:, 2:, 20:] == 9], values[labels == 9])
    by_hand = Grain((5, 2, 9))(poses[9].own_points([[2.8, 1.2, 1.8]]), 0.5)
    assert values[6, 12, 28] == by_hand[0]


def test_grain_moves_with_the_cell():
    labels = two_cells()
    moved = np.roll(labels, (1, 3, 2), axis=(0, 1, 2))
    size = (0.3, 0.1, 0.1)
    tracker = PoseTracker(size)
    settings = {"seed": 5, "sequence": 2, "feature_um": 0.5}
    before = cell_grain(labels, tracker.update(0, labels), size, **settings)
    after = cell_grain(moved, tracker.update(1, moved), size, **settings)
    expected = np.roll(before, (1, 3, 2), axis=(0, 1, 2))
    np.testing.assert_allclose(after, expected, atol=1e-4)


def test_grain_turns_and_grows_with_the_cell():
    labels = np.ones((9, 9, 9), np.uint8)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # x to y
    centre = np.array([2.0, 2.0, 2.0])
    poses = [CellPose(centre, np.eye(3), 1.0), CellPose(centre, turn, 2.0)]
    settings = {"seed": 0, "sequence": 0, "feature_um": 1.0}
    first, second = (cell_grain(labels, {1: p}, (0.5,) * 3, **settings) for p in poses)
    # The point at +1 voxel in x is found at +2 voxels in y.
    assert second[4, 6, 4] == first[4, 4, 5]
    assert second[6, 4, 4] == first[5, 4, 4]


def test_flat_labels_have_a_flat_grain():
    labels = two_cells()[6]
    poses = PoseTracker((0.1, 0.1)).update(0, labels)
    values = cell_grain(labels, poses, (0.1, 0.1), seed=1, sequence=1, feature_um=0.4)
    assert values.shape == labels.shape
    assert values[labels > 0].std() > 0.5


def test_a_label_without_a_pose_is_refused():
    with pytest.raises(InputError, match="label 3 has no pose"):
        cell_grain(two_cells(), {}, (1, 1, 1), seed=1, sequence=1, feature_um=0.4)
