from itertools import product

import edt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellsynth.errors import InputError, ShapeError
from cellsynth.shapes.distance import signed_distance


def signed_distance_naive(mask, voxel_size_um):
    """The slow obvious way: voxels at the odd points of a half-voxel lattice, where every face,
    edge and vertex between the phases is a source of one Euclidean distance transform."""
    lowest = np.ones([2 * n + 1 for n in mask.shape], dtype=bool)
    highest = np.zeros(lowest.shape, dtype=bool)
    for corner in product((0, 1, 2), repeat=3):
        at = tuple(slice(c, c + 2 * n - 1, 2) for c, n in zip(corner, mask.shape, strict=True))
        lowest[at] &= mask
        highest[at] |= mask
    distance = edt.edt(~(highest & ~lowest), anisotropy=tuple(s / 2 for s in voxel_size_um))
    return np.where(mask, -1, 1) * distance[1::2, 1::2, 1::2]


def ball(shape, centre, radius_um, voxel_size_um):
    zyx = np.indices(shape).transpose(1, 2, 3, 0)
    r_um = np.linalg.norm((zyx - np.array(centre)) * np.array(voxel_size_um), axis=-1)
    return r_um <= radius_um, (r_um - radius_um)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    voxel_size_um=st.tuples(*[st.sampled_from([0.1, 0.25, 1.0, 2.0])] * 3),
    filled=st.floats(0.02, 0.98),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_half_voxel_lattice(shape, voxel_size_um, filled, seed):
    mask = np.random.default_rng(seed).random(shape) < filled
    if mask.any() and not mask.all():
        expected = signed_distance_naive(mask, voxel_size_um)
        np.testing.assert_allclose(signed_distance(mask, voxel_size_um), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(40, 30, 25), (3, 70, 600), (90, 41, 2)])
def test_blocks_and_limits_change_nothing(shape):
    voxel_size_um = (0.5, 0.2, 0.1)
    mask = np.zeros(shape, dtype=bool)
    mask[shape[0] // 3 : shape[0] // 2 + 1, 5:9, 1 : shape[2] // 2] = True
    mask[-1, -3:, -1] = True
    expected = signed_distance_naive(mask, voxel_size_um)
    whole = signed_distance(mask, voxel_size_um)
    np.testing.assert_allclose(whole, expected, rtol=1e-5)
    for limit_um in (0.07, 0.6, 3.0, 1e6):
        limited = signed_distance(mask, voxel_size_um, limit_um=limit_um)
        cut = np.clip(whole, np.float32(-limit_um), np.float32(limit_um))
        np.testing.assert_allclose(limited, cut, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_plane_is_exact(axis):
    voxel_size_um = (2.0, 0.5, 0.25)
    mask = np.zeros((12, 12, 12), dtype=bool)
    np.moveaxis(mask, axis, 0)[:5] = True
    expected = (np.arange(12) - 4.5) * voxel_size_um[axis]
    found = np.moveaxis(signed_distance(mask, voxel_size_um), axis, -1)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-5)


@pytest.mark.parametrize("voxel_size_um", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5)])
def test_ball_is_unbiased(voxel_size_um):
    shape = tuple(int(60 / s) for s in voxel_size_um)
    centre = [n / 2 - 0.37 for n in shape]
    mask, expected = ball(shape, centre, 21.3, voxel_size_um)
    error = signed_distance(mask, voxel_size_um) - expected
    near = np.abs(expected) < 2 * max(voxel_size_um)
    assert abs(error[near].mean()) < 0.15 * min(voxel_size_um)
    # A face lies at most half a voxel's diagonal from the ball.
    half_diagonal = np.linalg.norm(voxel_size_um) / 2
    assert np.abs(error).max() < half_diagonal


def test_one_voxel():
    mask = np.zeros((3, 3, 3), dtype=np.uint16)
    mask[1, 1, 1] = 700
    found = signed_distance(mask, (2.0, 1.0, 0.5))
    assert found[1, 1, 1] == pytest.approx(-0.25)
    assert found[0, 1, 1] == pytest.approx(1.0)
    assert found[1, 0, 1] == pytest.approx(0.5)
    assert found[0, 0, 0] == pytest.approx(np.sqrt(1 + 0.25 + 0.0625))


def test_sign_is_the_mask():
    mask = np.random.default_rng(3).random((11, 12, 13)) < 0.4
    found = signed_distance(mask, (1.0, 0.3, 0.2))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found < 0, mask)
    assert (found != 0).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((4, 5, 6)), r"shape \(4, 5, 6\) is all 0"),
        (np.ones((4, 5, 6)), r"shape \(4, 5, 6\) is inside everywhere"),
        (np.ones((5, 6)), r"got shape \(5, 6\)"),
    ],
)
def test_no_surface(mask, message):
    with pytest.raises(ShapeError, match=message):
        signed_distance(mask, (1.0, 1.0, 1.0))


def test_bad_units():
    mask = np.eye(3, dtype=bool)[None]
    with pytest.raises(InputError, match=r"got \(1.0, -2.0, 1.0\)"):
        signed_distance(mask, (1.0, -2.0, 1.0))
    with pytest.raises(InputError, match="above 0 µm, got 0"):
        signed_distance(mask, (1.0, 1.0, 1.0), limit_um=0)
