"""Overlap and distance of surfaces in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellsynth.errors import InputError
from cellsynth.evaluation.agreement import dice, surface_distance
from cellsynth.evaluation.bodies import ball, voxelise
from cellsynth.evaluation.mask_surface import Surface, mask_surface


def mask(text: str) -> np.ndarray:
    return np.array([c == "#" for c in text])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("####", "####", 1.0),
        ("##..", "..##", 0.0),
        ("##..", ".##.", 0.5),
        ("####", "##..", 2 / 3),
        ("#...", "####", 0.4),
        ("....", "....", 1.0),
        ("....", "#...", 0.0),
    ],
)
def test_dice_in_closed_form(a, b, expected):
    assert dice(mask(a), mask(b)) == pytest.approx(expected)
    assert dice(mask(b), mask(a)) == dice(mask(a), mask(b))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_dice_lies_between_0_and_1_and_is_1_for_equals(pairs):
    a, b = np.array(pairs).T
    assert 0 <= dice(a, b) <= 1
    assert (dice(a, b) == 1) == np.array_equal(a, b)


def test_dice_of_two_balls():
    """A ball of radius r in one of radius R: 2 r³ / (r³ + R³)."""
    z, y, x = np.indices((80, 80, 80)) - 39.5
    r = np.sqrt(z**2 + y**2 + x**2)
    assert dice(r < 24, r < 36) == pytest.approx(2 * 24**3 / (24**3 + 36**3), rel=0.005)


VOXEL = (0.4, 0.2, 0.2)


def centred(radius: float, seed: int = 0) -> Surface:
    """Surface of a ball around the origin, whatever voxels it lies on."""
    mask = voxelise(ball(radius), VOXEL, np.random.default_rng(seed), turn=False)
    z, y, x = -np.argwhere(mask).mean(axis=0) * VOXEL
    return mask_surface(mask, VOXEL).moved((z, y, x))


def test_a_surface_is_not_apart_from_itself():
    one = centred(5)
    found = surface_distance(one, one)
    assert (found.mean_um, found.p95_um) == (0, 0)


def test_balls_around_one_middle():
    """5 µm and 8 µm: 3 µm everywhere, from either side, but for a quarter of a voxel."""
    small, large = centred(5), centred(8, seed=1)
    found = surface_distance(small, large)
    assert found.mean_um == pytest.approx(3, abs=0.1)
    assert found.p95_um == pytest.approx(3, abs=0.2)
    assert surface_distance(large, small) == found


def test_walls_in_closed_form():
    """Two pieces of a plane of 9 and 1 µm²; the small one lies 2 µm over, the rest 10 µm."""
    flat = Surface(np.array([[0.0, 0, 0], [0, 0, 100]]), np.array([9.0, 1.0]))
    over = Surface(np.array([[2.0, 0, 0], [10, 0, 100]]), np.array([9.0, 1.0]))
    found = surface_distance(flat, over)
    assert found.mean_um == pytest.approx((9 * 2 + 1 * 10) / 10)
    assert found.p95_um == pytest.approx(10)
    over = Surface(over.points_um, np.array([99.0, 1.0]))
    flat = Surface(flat.points_um, np.array([99.0, 1.0]))
    assert surface_distance(flat, over).p95_um == pytest.approx(2)


def test_what_sticks_out_of_one_only_counts_in_both_directions():
    """A far piece of a tenth of one surface: 95 % of that surface do not lie near the other."""
    flat = Surface(np.zeros((1, 3)), np.array([1.0]))
    more = Surface(np.array([[0.0, 0, 0], [0, 0, 7]]), np.array([0.9, 0.1]))
    found = surface_distance(flat, more)
    assert found.mean_um == pytest.approx((0 + 0.1 * 7) / 2)
    assert found.p95_um == pytest.approx(7)
    assert surface_distance(more, flat) == found


def test_the_same_ball_on_other_voxels_is_less_than_a_voxel_away():
    assert surface_distance(centred(6), centred(6, seed=3)).mean_um < 0.15


def test_nothing_is_not_near_anything():
    nothing = Surface(np.zeros((0, 3)), np.zeros(0))
    with pytest.raises(InputError, match="must have an area above 0"):
        surface_distance(nothing, centred(3))
