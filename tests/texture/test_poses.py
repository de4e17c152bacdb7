"""Poses: a turning cell is followed, a round one does not turn, axes never swap."""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.errors import InputError, ShapeError
from cellsynth.geometry import random_rotation, rotation_angle
from cellsynth.texture import poses as module
from cellsynth.texture.poses import CellPose, PoseTracker

SHAPE = (48, 48, 48)


def about(axis: str, degrees: float) -> np.ndarray:
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(3)
    turn[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return turn


def ellipsoid(radii, turn=None, *, centre=(24.0, 24.0, 24.0), voxel=(1.0, 1.0, 1.0), noise=0.0):
    """Voxels of an ellipsoid; radii in x, y, z, µm; its surface shaken by ``noise`` µm a voxel."""
    zyx = (np.indices(SHAPE).reshape(3, -1).T - np.array(centre)) * np.array(voxel)
    own = zyx[:, ::-1] @ (np.eye(3) if turn is None else turn)
    far = np.linalg.norm(own / np.array(radii), axis=1)
    if noise:
        far += np.random.default_rng(int(noise * 1e6)).normal(0, noise / min(radii), len(far))
    return (far < 1).reshape(SHAPE).astype(np.uint16)


def follow(frames, voxel=(1.0, 1.0, 1.0)) -> list[CellPose]:
    tracker = PoseTracker(voxel)
    return [tracker.update(t, frame)[1] for t, frame in enumerate(frames)]


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("step", [3.0, 15.0])
def test_a_turning_ellipsoid_is_followed(axis, step):
    start = random_rotation(np.random.default_rng(3))
    turns = [about(axis, step * t) @ start for t in range(9)]
    poses = follow([ellipsoid((20, 14, 9), turn) for turn in turns])
    for turn, pose in zip(turns, poses, strict=True):
        assert rotation_angle(pose.rotation, turn @ start.T) < 1.5
        np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose.rotation) == pytest.approx(1)


def test_a_turning_ellipsoid_is_followed_on_flat_voxels():
    turns = [about("y", 5.0 * t) for t in range(10)]
    frames = [ellipsoid((14, 9, 7), turn, voxel=(2.0, 0.7, 0.7)) for turn in turns]
    poses = follow(frames, (2.0, 0.7, 0.7))
    assert rotation_angle(poses[-1].rotation, turns[-1]) < 2


def test_a_large_turn_is_found_in_one_frame():
    poses = follow([ellipsoid((20, 14, 9)), ellipsoid((20, 14, 9), about("z", 40))])
    assert rotation_angle(poses[1].rotation, about("z", 40)) < 1


def test_a_sphere_with_voxel_noise_does_not_turn():
    poses = follow([ellipsoid((12, 12, 12), noise=0.5 + t * 1e-3) for t in range(12)])
    assert max(rotation_angle(p.rotation, np.eye(3)) for p in poses) < 0.1


def test_a_spheroid_turns_only_where_its_shape_shows_it():
    # It leans over about y and spins about its own axis, which cannot be seen.
    turns = [about("y", 4.0 * t) @ about("z", 20.0 * t) for t in range(10)]
    frames = [ellipsoid((9, 9, 18), turn, noise=0.3 + t * 1e-3) for t, turn in enumerate(turns)]
    poses = follow(frames)
    assert rotation_angle(poses[-1].rotation, about("y", 36)) < 2


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_axes_do_not_swap_as_two_moments_cross(noise):
    radii = [(16 - 0.4 * t, 12 + 0.4 * t, 8) for t in range(11)]
    frames = [ellipsoid(r, noise=noise and noise + t * 1e-3) for t, r in enumerate(radii)]
    poses = follow(frames)
    # A swap is a turn by 90°.
    assert max(rotation_angle(p.rotation, np.eye(3)) for p in poses) < 4


def test_axes_do_not_swap_in_a_jump():
    poses = follow([ellipsoid((18, 12, 8)), ellipsoid((12, 18, 8), noise=0.5)])
    assert rotation_angle(poses[1].rotation, np.eye(3)) < 3


def test_centre_scale_and_own_points():
    voxel = (2.0, 0.5, 0.25)
    small = np.zeros((10, 20, 30), np.uint8)
    small[2:5, 4:9, 10:20] = 7
    large = np.zeros((10, 20, 30), np.uint8)
    large[1:7, 2:12, 5:25] = 7
    tracker = PoseTracker(voxel)
    first, second = (tracker.update(t, frame)[7] for t, frame in enumerate((small, large)))
    np.testing.assert_allclose(first.centre_um, (3 * 2.0, 6 * 0.5, 14.5 * 0.25))
    assert first.scale == 1
    assert second.scale == pytest.approx(2)
    np.testing.assert_array_equal(first.rotation, np.eye(3))
    # One corner of the box in its own coordinates stays what it is.
    corners = [first.own_points((20 - 0.5, 9 - 0.5, 5 - 0.5) * np.array(voxel[::-1]))]
    corners += [second.own_points((25 - 0.5, 12 - 0.5, 7 - 0.5) * np.array(voxel[::-1]))]
    np.testing.assert_allclose(corners[0], corners[1])


def test_own_points_undo_rotation():
    turn = about("z", 90)
    pose = CellPose(np.array([3.0, 2.0, 1.0]), turn, 1.0)
    # One µm along y of the frame is one µm along x of a cell turned by 90°.
    np.testing.assert_allclose(pose.own_points([1.0, 3.0, 3.0]), [1, 0, 0], atol=1e-15)


def test_a_part_of_a_frame_and_slabs_give_the_same(monkeypatch):
    labels = ellipsoid((14, 9, 7), about("y", 20))
    labels[labels > 0] = 5
    labels[0, 0, 0] = 2
    tracker = PoseTracker((1.5, 0.5, 0.5))
    whole = tracker.update(0, labels)
    part = PoseTracker((1.5, 0.5, 0.5)).update(0, labels[3:, 5:, 2:], offset=(3, 5, 2))
    monkeypatch.setattr(module, "_SLAB", 3 * 48 * 48)
    slabs = PoseTracker((1.5, 0.5, 0.5)).update(0, labels)
    assert list(whole) == list(slabs) == [2, 5]
    assert list(part) == [5]
    np.testing.assert_allclose(part[5].centre_um, whole[5].centre_um)
    np.testing.assert_allclose(slabs[5].centre_um, whole[5].centre_um)


def test_every_label_is_followed_on_its_own():
    def frame(t):
        labels = np.zeros(SHAPE, np.uint16)
        labels[:, :, :24] = ellipsoid((10, 6, 5), about("z", 8 * t), centre=(24, 24, 11))[:, :, :24]
        right = ellipsoid((10, 6, 5), about("z", -8 * t), centre=(24, 24, 36))[:, :, 24:]
        labels[:, :, 24:] = 40000 * right
        return labels

    tracker = PoseTracker((1, 1, 1))
    for t in range(6):
        poses = tracker.update(t, frame(t))
    assert rotation_angle(poses[1].rotation, about("z", 40)) < 3
    assert rotation_angle(poses[40000].rotation, about("z", -40)) < 3


def test_daughters_begin_anew_and_gaps_are_bridged():
    tracker = PoseTracker((1, 1, 1))
    tracker.update(0, ellipsoid((14, 9, 7)))
    tracker.update(1, ellipsoid((14, 9, 7), about("z", 20)))
    daughter = tracker.update(2, 2 * ellipsoid((7, 9, 7), about("z", 20)))
    np.testing.assert_array_equal(daughter[2].rotation, np.eye(3))
    assert daughter[2].scale == 1
    again = tracker.update(3, ellipsoid((14, 9, 7), about("z", 40)))
    assert rotation_angle(again[1].rotation, about("z", 40)) < 2


def test_flat_cells_turn_about_z():
    def ellipse(degrees):
        return ellipsoid((16, 9, 9), about("z", degrees))[24]

    tracker = PoseTracker((0.5, 0.5))
    for t in range(10):
        poses = tracker.update(t, ellipse(7 * t))
    assert rotation_angle(poses[1].rotation, about("z", 63)) < 2
    assert poses[1].centre_um[0] == 0
    grown = tracker.update(10, np.kron(ellipse(63), np.ones((2, 2), np.uint16)))
    assert grown[1].scale == pytest.approx(2, rel=0.01)


def test_one_voxel_and_no_cell():
    labels = np.zeros((3, 4, 5), np.uint8)
    tracker = PoseTracker((1, 1, 1))
    assert tracker.update(0, labels) == {}
    labels[1, 2, 3] = 1
    for t in (1, 2):
        pose = tracker.update(t, labels)[1]
        np.testing.assert_array_equal(pose.centre_um, (1, 2, 3))
        np.testing.assert_array_equal(pose.rotation, np.eye(3))


def test_what_cannot_be_is_refused():
    tracker = PoseTracker((1, 1, 1))
    tracker.update(4, np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(InputError, match="frame 4 comes after frame 4"):
        tracker.update(4, np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(ShapeError, match="3 dimensions, got 2"):
        tracker.update(5, np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match=r"above 0, got \(1, 0\)"):
        PoseTracker((1, 0))
