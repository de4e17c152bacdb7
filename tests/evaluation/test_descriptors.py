"""Volume, surface and sphericity against closed forms, and against a slow obvious count."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from cellsynth.errors import InputError, ShapeError
from cellsynth.evaluation.descriptors import (
    BATCH,
    STEPS,
    describe,
    direction_weights,
    frame_descriptors,
)
from cellsynth.geometry import random_rotation

CUBIC = (1.0, 1.0, 1.0)
FLAT = (0.5, 0.125, 0.2)


def body(inside, radius_um, voxel, rng):
    """Mask of a body, at a random place in a lattice, where ``inside`` takes x, y, z in µm."""
    n = [int(np.ceil(radius_um / s)) + 1 for s in voxel]
    z, y, x = (
        (np.arange(-k, k + 1) + rng.uniform(-0.5, 0.5)) * s for k, s in zip(n, voxel, strict=True)
    )
    return inside(np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], axis=-1))


def ball(radius):
    return lambda p: (p**2).sum(axis=-1) <= radius**2


def measured(shape, radius_um, voxel, times, turn=True):
    """Mean volume, surface and sphericity over random places and orientations."""
    found = []
    for i in range(times):
        rng = np.random.default_rng(i)
        rotation = random_rotation(rng) if turn else np.eye(3)
        d = describe(body(lambda p, r=rotation: shape(p @ r), radius_um, voxel, rng), voxel)
        found.append((d.volume_um3, d.surface_um2, d.sphericity))
    return np.mean(found, axis=0)


def by_sets(mask, voxel):
    """The same formula from a set of voxels, one pair of neighbours after the other."""
    inside = set(map(tuple, np.argwhere(mask)))
    surface = 0.0
    weights = dict(zip(STEPS, direction_weights(voxel), strict=True))
    for step in product((-1, 0, 1), repeat=3):
        if any(step):
            length = np.linalg.norm(np.multiply(step, voxel))
            # Each crossing is seen from inside, along a step or its opposite.
            crossings = sum(tuple(np.add(v, step)) not in inside for v in inside)
            weight = weights.get(step) or weights[tuple(-n for n in step)]
            surface += 2 * weight * crossings * np.prod(voxel) / length
    return len(inside) * np.prod(voxel), surface


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.sampled_from([0.1, 0.5, 1.0, 3.0])] * 3),
)
def test_equals_a_slow_count(seed, shape, voxel):
    mask = np.random.default_rng(seed).random(shape) < 0.4
    mask.flat[seed % mask.size] = True
    found = describe(mask, voxel)
    assert (found.volume_um3, found.surface_um2) == pytest.approx(by_sets(mask, voxel))


def test_crossings_do_not_depend_on_the_batch(monkeypatch):
    mask = np.random.default_rng(0).random((11, 20, 31)) < 0.5
    expected = describe(mask, FLAT)
    assert expected.surface_um2 == pytest.approx(by_sets(mask, FLAT)[1])
    for batch in (1, 97, BATCH * 64):
        monkeypatch.setattr("cellsynth.evaluation.descriptors.BATCH", batch)
        assert describe(mask, FLAT) == expected


def test_weights_of_cubic_voxels_are_the_published_ones():
    """Legland et al. 2007: for axes, for diagonals of faces, for diagonals of cubes."""
    published = {1: 0.04577789120476, 2: 0.03698062787608, 3: 0.03519563978232}
    for step, weight in zip(STEPS, direction_weights(CUBIC), strict=True):
        assert weight == pytest.approx(2 * published[sum(map(abs, step))], rel=1e-10)


@pytest.mark.parametrize(
    "voxel", [CUBIC, FLAT, (1, 0.09, 0.09), (0.2, 1, 1), (1, 2, 3), (1, 99, 1)]
)
def test_weights_are_shares_of_the_sphere(voxel):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((200_000, 3))
    directions = np.array(STEPS) * np.array(voxel, float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    nearest = np.abs(points @ directions.T).argmax(axis=1)
    shares = np.bincount(nearest, minlength=13) / len(points)
    np.testing.assert_allclose(direction_weights(voxel), shares, atol=0.005)
    assert sum(direction_weights(voxel)) == pytest.approx(1)


@pytest.mark.parametrize("voxel", [CUBIC, FLAT, (0.25, 1, 0.5)])
def test_balls(voxel):
    r = 12 * max(voxel)
    volume, surface, sphericity = measured(ball(r), r, voxel, times=3)
    assert volume == pytest.approx(4 / 3 * np.pi * r**3, rel=0.01)
    assert surface == pytest.approx(4 * np.pi * r**2, rel=0.01)
    assert sphericity == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("radius", [2, 3, 5])
def test_small_balls_lose_what_the_formula_says(radius):
    """A line that meets a ball in a chord shorter than the step is missed: |v|²/12r² of them."""
    squares = sum(
        w * sum(map(abs, s)) for s, w in zip(STEPS, direction_weights(CUBIC), strict=True)
    )
    lost = squares / 12 / radius**2
    _, surface, sphericity = measured(ball(radius), radius, CUBIC, times=400, turn=False)
    assert 1 - surface / (4 * np.pi * radius**2) == pytest.approx(lost, rel=0.25)
    assert 1 < sphericity < 1 + 4 * lost  # above 1, as the documentation says


@pytest.mark.parametrize("voxel", [CUBIC, (0.8, 0.4, 0.4)])
@pytest.mark.parametrize(("a", "c"), [(6.0, 12.0), (12.0, 4.0)])
def test_spheroids(a, c, voxel):
    """Two half axes a, one c, long or flat; the surface as an integral over latitudes."""
    area, _ = integrate.quad(
        lambda u: 2 * np.pi * a * np.sin(u) * np.hypot(a * np.cos(u), c * np.sin(u)), 0, np.pi
    )
    volume, surface, sphericity = measured(
        lambda p: ((p / [a, a, c]) ** 2).sum(axis=-1) <= 1, max(a, c), voxel, times=12
    )
    exact = 4 / 3 * np.pi * a * a * c
    assert volume == pytest.approx(exact, rel=0.01)
    assert surface == pytest.approx(area, rel=0.015)
    assert sphericity == pytest.approx(36 * np.pi * exact**2 / area**3, rel=0.045)


@pytest.mark.parametrize("voxel", [CUBIC, (1.4, 0.7, 0.7)])
def test_boxes_at_random_orientations(voxel):
    """Flat faces are where 13 directions are worst; over orientations the error cancels.

    What is left is lost at the edges, where lines cut through a corner between two neighbours:
    half as much of a box twice as large.
    """
    lost = []
    for scale, times in [(1, 100), (2, 40)]:
        a, b, c = sides = scale * np.array([14.0, 18.0, 22.0])
        _, surface, _ = measured(
            lambda p, half=sides / 2: (np.abs(p) <= half).all(axis=-1), 17 * scale, voxel, times
        )
        lost.append(1 - surface / (2 * (a * b + b * c + c * a)))
    assert 0.01 < lost[0] < 0.045
    assert lost[1] == pytest.approx(lost[0] / 2, abs=0.01)


def test_a_face_along_the_lattice_is_the_worst_case():
    """Twice the weighted mean of |n·v|/|v| is 0.926 there; edges take a little more."""
    mask = np.ones((80, 80, 80))
    assert 0.91 < describe(mask, CUBIC).surface_um2 / (6 * 80**2) < 0.926


def test_thin_tubes_lose_little():
    """Radius 2 voxels, any orientation, as filopodia have: 2 % of the surface, no more."""
    r, length = 2.0, 40.0

    def tube(p):
        along = np.clip(p[..., 0], -length / 2, length / 2)
        return (p[..., 0] - along) ** 2 + p[..., 1] ** 2 + p[..., 2] ** 2 <= r**2

    volume, surface, _ = measured(tube, length / 2 + r, CUBIC, times=20)
    assert volume == pytest.approx(np.pi * r**2 * length + 4 / 3 * np.pi * r**3, rel=0.01)
    lost = 1 - surface / (2 * np.pi * r * length + 4 * np.pi * r**2)
    assert 0.01 < lost < 0.03


@given(st.tuples(*[st.integers(0, 5)] * 3), st.tuples(*[st.integers(0, 5)] * 3))
def test_room_around_a_mask_changes_nothing(before, after):
    mask = np.random.default_rng(1).random((4, 5, 6)) < 0.5
    moved = np.pad(mask, list(zip(before, after, strict=True)))
    assert describe(moved, FLAT) == describe(mask, FLAT)


def test_scale():
    """Twice the voxel size: 8 times the volume, 4 times the surface, as round as before."""
    mask = body(ball(5), 5, CUBIC, np.random.default_rng(0))
    small, large = describe(mask, FLAT), describe(mask, tuple(2 * s for s in FLAT))
    assert large.volume_um3 == pytest.approx(8 * small.volume_um3)
    assert large.surface_um2 == pytest.approx(4 * small.surface_um2)
    assert large.sphericity == pytest.approx(small.sphericity)


def test_every_label_of_a_frame():
    rng = np.random.default_rng(0)
    one, two = body(ball(6), 6, FLAT, rng), body(ball(2), 2, FLAT, rng)
    labels = np.zeros((60, 200, 150), np.uint16)
    for label, mask, at in [(300, one, (2, 5, 7)), (7, two, (40, 120, 90))]:
        labels[tuple(slice(a, a + n) for a, n in zip(at, mask.shape, strict=True))] += (
            np.uint16(label) * mask
        )
    found = frame_descriptors(labels, FLAT)
    assert list(found) == [7, 300]
    assert found == {7: describe(two, FLAT), 300: describe(one, FLAT)}


def test_touching_cells_have_a_whole_surface_each():
    labels = np.ones((8, 8, 16), np.int32)
    labels[..., 8:] = 2
    found = frame_descriptors(labels, CUBIC)
    assert found[1] == found[2] == describe(np.ones((8, 8, 8)), CUBIC)


def test_labels_of_any_size_and_kind():
    labels = np.zeros((4, 5, 6), np.int64)
    labels[1:3, 1:3, 1:3] = 5_000_000_000
    labels[3, 3:, 3:] = 4
    found = frame_descriptors(labels, CUBIC)
    assert found == {4: describe(labels == 4, CUBIC), 5_000_000_000: describe(labels > 4, CUBIC)}
    assert frame_descriptors(labels > 4, CUBIC) == {1: found[5_000_000_000]}


def test_a_frame_without_cells_has_no_descriptors():
    assert frame_descriptors(np.zeros((3, 4, 5), np.uint16), CUBIC) == {}


@pytest.mark.parametrize(
    ("shape", "value", "voxel", "error", "message"),
    [
        ((4, 4), 1, CUBIC, ShapeError, r"mask has shape \(4, 4\), expected \(z, y, x\)"),
        ((2, 3, 4), 0, CUBIC, ShapeError, r"mask of shape \(2, 3, 4\) is empty"),
        ((2, 3, 4), 1, (1.0, -0.5, 1.0), InputError, r"above 0 on every axis, got .*-0\.5"),
        ((2, 3, 4), 1, (1.0, float("nan"), 1.0), InputError, "above 0 on every axis, got .*nan"),
    ],
)
def test_what_cannot_be_described(shape, value, voxel, error, message):
    with pytest.raises(error, match=message):
        describe(np.full(shape, value), voxel)


def test_labels_of_a_slice_are_refused():
    with pytest.raises(ShapeError, match=r"labels have shape \(4, 5\)"):
        frame_descriptors(np.ones((4, 5), np.uint16), CUBIC)
