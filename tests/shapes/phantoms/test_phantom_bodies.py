"""The implicit bodies against closed forms and slow references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import legendre

from cellsynth.shapes.phantoms.bodies import Family
from cellsynth.shapes.phantoms.celegans import build_family
from cellsynth.shapes.phantoms.courses import Course
from cellsynth.shapes.phantoms.lobes import (
    MODE_DEGREES,
    lobe_field,
    smooth_union,
    sphere_directions,
)


def _one_frame(*, stretch: np.ndarray, heights: np.ndarray, apart: float = 4.0) -> Family:
    """Two equal lobes of radius 1 on the z axis."""
    m = len(MODE_DEGREES)
    return Family(
        cells=("M", "Ma", "Mp"),
        division_frame=0,
        frame_interval_s=60.0,
        centres_um=np.array([[[-apart / 2, 0, 0], [apart / 2, 0, 0]]], float),
        radii_um=np.ones((1, 2)),
        stretches=np.broadcast_to(stretch, (1, 2, 3, 3)),
        mode_directions=sphere_directions(m),
        mode_heights=np.broadcast_to(heights, (1, 2, m)),
        blends_um=np.zeros(1),
    )


def _naive_field(family: Family, lobe: int, point: np.ndarray) -> float:
    q = np.linalg.solve(family.stretches[0, lobe], point - family.centres_um[0, lobe])
    u = q / np.linalg.norm(q)
    rho = 1.0
    for degree, n, height in zip(
        MODE_DEGREES, family.mode_directions, family.mode_heights[0, lobe], strict=True
    ):
        rho += height * legendre.legval(u @ n, [0] * degree + [1])
    return float(np.linalg.norm(q) / rho - family.radii_um[0, lobe])


def test_a_lobe_without_bumps_is_a_sphere() -> None:
    family = _one_frame(stretch=np.eye(3), heights=np.zeros(8))
    points = np.random.default_rng(0).uniform(-3, 3, (3, 200))
    centre = family.centres_um[0, 1]
    distance = np.linalg.norm(points.T - centre, axis=1) - 1
    np.testing.assert_allclose(lobe_field(family, 0, 1, list(points)), distance, atol=1e-12)
    assert family.gap_um(0) == pytest.approx(2, abs=0.01)
    assert family.farthest_um() == pytest.approx(3, abs=0.01)


def test_a_bumpy_ellipsoid_agrees_with_the_naive_formula_and_with_its_surface() -> None:
    rng = np.random.default_rng(1)
    a = rng.standard_normal((3, 3)) * 0.1
    stretch = np.eye(3) + a @ a.T
    family = _one_frame(stretch=stretch, heights=rng.standard_normal(8) * 0.05)
    points = rng.uniform(-3, 3, (50, 3))
    naive = [_naive_field(family, 0, p) for p in points]
    np.testing.assert_allclose(lobe_field(family, 0, 0, list(points.T)), naive, atol=1e-12)
    surface = family.surface(0, 0, sphere_directions(300))
    np.testing.assert_allclose(lobe_field(family, 0, 0, list(surface.T)), 0, atol=1e-12)
    low, high = family.boxes_um(0)[0]
    assert np.all((surface >= low) & (surface <= high))
    assert np.all(np.abs(surface) <= family.reach_um())


def test_a_grid_is_three_short_axes() -> None:
    family = _one_frame(stretch=np.eye(3), heights=np.full(8, 0.02))
    axes = [np.linspace(-3, 3, n, dtype=np.float32) for n in (4, 5, 6)]
    field = lobe_field(family, 0, 0, np.ix_(*axes))
    assert field.shape == (4, 5, 6)
    assert field.dtype == np.float32
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    np.testing.assert_allclose(field.ravel(), lobe_field(family, 0, 0, list(points)), atol=1e-6)


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0, 1))
def test_the_smooth_union_lies_below_the_union_by_a_quarter_of_its_width_at_most(
    a: float, b: float, width: float
) -> None:
    union = float(smooth_union(np.array(a), np.array(b), width))
    assert min(a, b) - width / 4 - 1e-12 <= union <= min(a, b) + 1e-12
    if abs(a - b) >= width:
        assert union == pytest.approx(min(a, b))


def test_directions_are_even() -> None:
    directions = sphere_directions(400)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose(directions.T @ directions / 400, np.eye(3) / 3, atol=0.01)


def test_the_mother_keeps_her_volume_and_place_while_she_constricts() -> None:
    after = np.arange(5)[:, None]
    course = Course(
        cells=("M", "Ma", "Mp"),
        mother_um=np.linspace(3.0, 2.6, 6),
        daughters_um=np.array([2.4, 2.0]) + 0 * after,
        separations_um=np.array([0.0, 3.6, 1.0]) + 0.1 * after,
    )
    family = build_family(course, np.random.default_rng(3))
    axes = [np.linspace(-3, 3, 80)] * 3
    for frame in range(family.division_frame):
        fields = [lobe_field(family, frame, lobe, np.ix_(*axes)) for lobe in (0, 1)]
        inside = np.argwhere(smooth_union(*fields, family.blends_um[frame]) < 0)
        volume = len(inside) * (6 / 79) ** 3
        assert volume == pytest.approx(np.pi / 6 * course.mother_um[frame] ** 3, rel=0.015)
        np.testing.assert_allclose(inside.mean(axis=0) * 6 / 79 - 3, 0, atol=0.05)
    # She lengthens: her lobes draw apart from frame to frame, along the axis of division.
    apart = np.linalg.norm(family.centres_um[:, 1] - family.centres_um[:, 0], axis=1)
    assert np.all(apart[:3] == 0)
    assert np.all(np.diff(apart[2:7]) > 0)
    np.testing.assert_allclose(np.linalg.det(family.stretches), 1)
    # The daughters: sizes and separations are the course's, their common centroid the origin.
    np.testing.assert_allclose(2 * family.radii_um[6:], course.daughters_um)
    np.testing.assert_allclose(
        family.centres_um[6:, 1] - family.centres_um[6:, 0], course.separations_um
    )
    weights = course.daughters_um[:, :, None] ** 3
    np.testing.assert_allclose((family.centres_um[6:] * weights).sum(axis=1), 0, atol=1e-12)
